//! The ways to hold a limit, and what each is worth.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who stops a tree from growing, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// A leaf of the unified hierarchy with `memory.max`, no swap and
    /// `memory.oom.group`.
    CgroupV2,
    /// A transient scope made by systemd. Not built yet.
    Systemd,
    /// A group of the v1 memory hierarchy with memory and memory+swap limited.
    CgroupV1,
    /// Our own sampling of /proc, which ends the tree at the limit.
    Watchdog,
    /// A fixed RLIMIT_DATA on every process.
    Rlimit,
}

impl Mechanism {
    /// In the order in which `auto` tries them.
    pub const ALL: [Mechanism; 5] = [
        Mechanism::CgroupV2,
        Mechanism::Systemd,
        Mechanism::CgroupV1,
        Mechanism::Watchdog,
        Mechanism::Rlimit,
    ];

    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::CgroupV2 => "cgroup-v2",
            Mechanism::Systemd => "systemd",
            Mechanism::CgroupV1 => "cgroup-v1",
            Mechanism::Watchdog => "watchdog",
            Mechanism::Rlimit => "rlimit",
        }
    }

    /// What a run under it may count on.
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

/// What the user asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MechanismChoice {
    /// The strongest that works here.
    #[default]
    Auto,
    /// This one or none.
    Only(Mechanism),
}

/// The text is no mechanism.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown mechanism `{0}`")]
pub struct UnknownMechanism(String);

impl FromStr for MechanismChoice {
    type Err = UnknownMechanism;

    fn from_str(text: &str) -> Result<Self, UnknownMechanism> {
        if text == "auto" {
            return Ok(MechanismChoice::Auto);
        }
        Mechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.name() == text)
            .map(MechanismChoice::Only)
            .ok_or_else(|| UnknownMechanism(text.to_owned()))
    }
}

/// How the tree is followed and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Containment {
    /// A directory of the unified hierarchy, with or without the memory
    /// controller: exact membership, atomic kill.
    CgroupV2,
    /// The keeper as subreaper, walking /proc.
    Keeper,
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Containment::CgroupV2 => "cgroup-v2",
            Containment::Keeper => "keeper",
        })
    }
}

/// What may be counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// The kernel holds the sum over the whole tree at the limit.
    TreeExact,
    /// The sum over the tree is sampled; it can pass the limit between two
    /// looks, by what the report calls overshoot.
    TreeSampled,
    /// The kernel holds each process at the limit, not their sum.
    ProcessExact,
    /// Nothing holds.
    None,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Guarantee::TreeExact => "tree-exact",
            Guarantee::TreeSampled => "tree-sampled",
            Guarantee::ProcessExact => "process-exact",
            Guarantee::None => "none",
        })
    }
}
