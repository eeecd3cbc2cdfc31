//! What may be asked for, and how a tree is followed. The mechanisms themselves
//! are named by the probe, which proves them.

use std::fmt;
use std::str::FromStr;

use memcap_probe::Mechanism;
use serde::{Deserialize, Serialize};

/// What the user asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MechanismChoice {
    /// The strongest that works here.
    #[default]
    Auto,
    /// This one or none.
    Only(Mechanism),
}

impl fmt::Display for MechanismChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MechanismChoice::Auto => f.pad("auto"),
            MechanismChoice::Only(mechanism) => mechanism.fmt(f),
        }
    }
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
    /// A thread of the embedding program, walking /proc: descendants that flee
    /// before they were seen are lost.
    InProcess,
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Containment::CgroupV2 => "cgroup-v2",
            Containment::Keeper => "keeper",
            Containment::InProcess => "in-process",
        })
    }
}
