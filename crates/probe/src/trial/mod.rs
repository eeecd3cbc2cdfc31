//! Trials: whether a limit holds is found out by exceeding it.
//!
//! For each mechanism a child of ours is started in it, with a limit of 32 MiB
//! and 96 MiB to touch, and what happens is classified. The same child without
//! any limit must succeed (the negative control), else its end would say
//! nothing. A trial ends within five seconds; what it made is removed on every
//! way out. The child is the first that the kernel's OOM killer takes.

mod aid;
mod child;
mod classify;
mod containment;
mod deadline;
mod error;
mod group;
mod harmless;
mod hog;
mod lease;
mod open_swap;
mod plan;
mod pressure;
mod rlimit;
mod room;
mod safety;
mod seen;
mod systemd;
mod v1;
mod v2;
mod watchdog;

use std::time::Duration;

use memcap_linux::ByteSize;

pub use aid::{Aid, AidTrial, AidVerdict};
pub use child::End;
pub use classify::{Judgement, Observation, Verdict, judge_group, judge_rlimit, judge_watchdog};
pub use containment::{ContainmentTrial, ContainmentVerdict};
pub use error::TrialError;
pub use harmless::{HarmlessTrial, Standing, try_v1, try_v2};
pub use hog::{HOG_ARGUMENT, hog_main};
pub use plan::{Control, MechanismTrial, Trials, facts_only, run_all};
pub use safety::room_for_harmless;

/// The limit that a trial's child is to exceed.
pub const LIMIT: ByteSize = ByteSize::from_mib(32);
/// The memory it touches when nothing stops it.
pub const TARGET: ByteSize = ByteSize::from_mib(96);
/// How long one trial may take.
const TIME: Duration = Duration::from_secs(5);

use seen::{Trial, swapped};
