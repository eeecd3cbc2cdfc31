//! The ways of enforcing a limit by name, and what each can promise.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A way to stop a process tree from growing, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// A cgroup v2 leaf with `memory.max` and `memory.swap.max`.
    CgroupV2,
    /// A scope asked for over systemd's bus.
    Systemd,
    /// A cgroup v1 group with memory and memory-plus-swap limits.
    CgroupV1,
    /// Sampling of /proc and a kill.
    Watchdog,
    /// A fixed RLIMIT_DATA.
    Rlimit,
}

impl Mechanism {
    /// All of them in the order in which a run prefers them.
    pub const ALL: [Mechanism; 5] = [
        Mechanism::CgroupV2,
        Mechanism::Systemd,
        Mechanism::CgroupV1,
        Mechanism::Watchdog,
        Mechanism::Rlimit,
    ];

    /// As it is written on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::CgroupV2 => "cgroup-v2",
            Mechanism::Systemd => "systemd",
            Mechanism::CgroupV1 => "cgroup-v1",
            Mechanism::Watchdog => "watchdog",
            Mechanism::Rlimit => "rlimit",
        }
    }

    /// What it promises where it works.
    pub fn guarantee(self) -> Guarantee {
        match self {
            Mechanism::CgroupV2 | Mechanism::Systemd | Mechanism::CgroupV1 => Guarantee::TreeExact,
            Mechanism::Watchdog => Guarantee::TreeSampled,
            Mechanism::Rlimit => Guarantee::ProcessExact,
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How far a limit can be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// The kernel holds the whole tree to the byte (rounded to pages).
    TreeExact,
    /// The whole tree is watched; it can exceed the limit between two looks.
    TreeSampled,
    /// The kernel holds each process by itself; several together can exceed it.
    ProcessExact,
    /// Nothing is promised.
    None,
}

impl Guarantee {
    /// As it is written in reports.
    pub fn name(self) -> &'static str {
        match self {
            Guarantee::TreeExact => "tree-exact",
            Guarantee::TreeSampled => "tree-sampled",
            Guarantee::ProcessExact => "process-exact",
            Guarantee::None => "none",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
