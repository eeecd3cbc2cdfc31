//! Why limits do not work on a host, and what to do about it.
//!
//! A table of causes, each a function from what is known to a finding. A cause
//! speaks only where it is certain; the codes are those of `docs/doctor.md`.

mod access;
mod controller;
mod explain;
mod known;
mod limits;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::trial::Trials;
use crate::{Host, Mechanism};

pub use explain::{EXPLANATIONS, Explanation, explanation};

use known::Known;

/// How much a cause matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Because of it no limit on a whole tree is held by the kernel here.
    Blocks,
    /// Because of it a limit that is set, or would be, does less than it seems.
    Weakens,
    /// It does no harm to memcap, but explains something that is seen.
    Note,
}

/// One cause that is at work on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its code, `C0` to `C16`; stable between versions.
    pub code: String,
    /// How much it matters.
    pub weight: Weight,
    /// What was seen.
    pub seen: String,
    /// What follows from it.
    pub means: String,
    /// What memcap does as long as this is so.
    pub meanwhile: String,
    /// What to do, a line each; a line may be a command.
    pub fix: Vec<String>,
}

type Cause = fn(&Known<'_>) -> Option<Finding>;

/// In the order of the codes.
const TABLE: &[Cause] = &[
    controller::in_a_container,
    controller::first_subsystem,
    controller::turned_off,
    controller::bound_to_v1,
    controller::hidden_from_systemd,
    controller::not_given_on_our_path,
    access::not_ours_to_use,
    access::no_manager,
    access::a_group_for_each_distribution,
    limits::swap_not_included,
    limits::set_elsewhere,
    limits::only_slowed_down,
    limits::less_than_expected,
    limits::partial_kill,
    limits::resident_is_not_charged,
    limits::not_enforced,
    controller::nothing_mounted,
];

/// Every cause that is certainly at work: what matters most first, then in the
/// order of the codes.
pub fn diagnose(host: &Host, trials: &Trials, facts: &Facts) -> Vec<Finding> {
    let known = Known {
        host,
        trials,
        facts,
    };
    let mut findings: Vec<Finding> = TABLE.iter().filter_map(|cause| cause(&known)).collect();
    findings.sort_by_key(|finding| finding.weight);
    findings
}

/// A finding whose remedy memcap does not need, or that it lives with in its
/// usual way.
fn finding(
    known: &Known<'_>,
    code: &str,
    weight: Weight,
    (seen, means): (impl Into<String>, impl Into<String>),
    fix: impl IntoIterator<Item = impl Into<String>>,
) -> Option<Finding> {
    Some(Finding {
        code: code.to_owned(),
        weight,
        seen: seen.into(),
        means: means.into(),
        meanwhile: known.meanwhile(),
        fix: fix.into_iter().map(Into::into).collect(),
    })
}

impl Finding {
    /// The same, where memcap does something of its own about it.
    #[must_use]
    fn meanwhile(mut self, meanwhile: impl Into<String>) -> Finding {
        self.meanwhile = meanwhile.into();
        self
    }
}

/// What a run does here, in words.
fn conduct(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::CgroupV2 => "limits by a cgroup v2 leaf",
        Mechanism::Systemd => "limits by a scope that systemd makes for it",
        Mechanism::CgroupV1 => "limits by a cgroup v1 group, swap included where it is counted",
        Mechanism::Watchdog => {
            "watches the whole tree itself and ends it above the limit (tree-sampled)"
        }
        Mechanism::Rlimit => "can only limit each process by itself",
    }
}
