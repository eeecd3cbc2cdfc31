//! Running memcap and looking at what it leaves.
//!
//! A check is a function of a [`Scene`]; [`each_setting!`](crate::each_setting)
//! makes one test of it per [`Setting`]. The scene marks every process it
//! starts by a variable in the environment, which descendants inherit wherever
//! they flee, and ends them when it is dropped, whatever the check did.

mod cgroups;
mod invocation;
mod marker;
mod outer_group;
mod processes;
mod programs;
mod report;
mod require;
mod running;
mod scene;
mod setting;
mod terminal;
mod wait;

pub use cgroups::{MemcapGroup, memcap_groups};
pub use invocation::Invocation;
pub use marker::{MarkerEnvironment, MarkerParsers, mixed_pdf, sample_pdf};
pub use outer_group::OuterGroup;
pub use processes::Process;
pub use programs::{example_binary, memcap_binary};
pub use report::Report;
pub use require::{Requirement, SYSTEM_PATH, available_memory};
pub use running::{Finished, Running};
pub use scene::Scene;
pub use setting::{Account, Mechanism, Setting};
pub use terminal::Terminal;
pub use wait::{PATIENCE, poll_until, wait_until};
