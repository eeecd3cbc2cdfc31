//! The small process between the embedding program and the job.
//!
//! It is the job's parent and the subreaper of everything the job starts, it
//! stands outside the limit, and it watches the embedding program: when that
//! dies or is stopped, the limit stays in force, and after its death the tree
//! is ended and the groups are removed. A guardian beside the job could not do
//! this: when a subreaper dies, `setsid` children go to init and are lost.
//!
//! The embedding program starts it as `memcap __keeper FD`, with one end of a
//! socket pair as descriptor FD and with the job's streams and environment as
//! its own. A program that has one thread may fork it instead
//! ([`crate::Supervisor::forks_keeper`]). In [`crate::Supervisor::in_process`] the
//! same loop runs in a thread and touches nothing of the whole process.

mod alarm;
mod around;
mod beside;
mod enclosure;
mod held_files;
mod home;
mod hook;
mod job_control;
mod member;
mod members;
mod names;
mod not_executed;
mod punctuality;
mod recorder;
mod roll_call;
mod room;
mod roster;
mod run;
mod sampler;
mod scope;
mod seat;
mod soft;
pub(crate) mod start;
mod sweep;
mod tree;
mod victims;
mod walk;

pub(crate) use home::{Home, name as name_of_home};
pub use hook::hook;
pub(crate) use hook::{is_without_hook, own_program};
pub(crate) use room::Room;
pub(crate) use run::in_a_thread;
pub use run::main;
pub(crate) use sweep::sweep;
