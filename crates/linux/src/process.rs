//! Which process is meant: a pid alone is not enough, since pids come back.

use serde::{Deserialize, Serialize};

use crate::proc::Stat;

/// A process, told apart from a later one with the same pid by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid in our pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub start: u64,
}

impl ProcessId {
    /// The process that has this pid now; `None` when there is none or /proc
    /// does not show it.
    pub fn of(pid: i32) -> Option<ProcessId> {
        Stat::read(pid).ok().map(|stat| stat.id())
    }

    /// This very process.
    pub fn current() -> Option<ProcessId> {
        ProcessId::of(i32::try_from(std::process::id()).ok()?)
    }

    /// Whether it is still there, zombies included.
    pub fn exists(self) -> bool {
        ProcessId::of(self.pid) == Some(self)
    }
}
