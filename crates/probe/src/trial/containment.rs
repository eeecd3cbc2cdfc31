//! Trial of a v2 directory as the means to follow and end a tree, for which it
//! needs no memory controller.

use std::path::Path;
use std::time::Instant;

use memcap_linux::cgroup::V2Group;
use memcap_linux::proc::Stat;
use serde::{Deserialize, Serialize};

use super::TIME;
use super::child::{Child, Heard, Setup};
use super::deadline::Deadline;
use super::error::TrialError;
use super::group::{Owned, kill_members};

/// What a directory of the unified hierarchy can do for a tree of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainmentVerdict {
    /// Follows every descendant, freezes them and kills them at once.
    Works,
    /// Follows every descendant; the kernel lacks the atomic kill (Linux 5.14)
    /// or the freezer (5.2).
    FollowsOnly,
    /// A descendant escaped, or something survived.
    Fails,
    /// This host does not have it, or not for this user.
    NotAvailable,
    /// Nothing was tried, or the trial itself failed.
    NotTried,
}

impl ContainmentVerdict {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            ContainmentVerdict::Works => "works",
            ContainmentVerdict::FollowsOnly => "follows only",
            ContainmentVerdict::Fails => "fails",
            ContainmentVerdict::NotAvailable => "not available",
            ContainmentVerdict::NotTried => "not tried",
        }
    }
}

/// The outcome of this trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainmentTrial {
    /// What is known.
    pub verdict: ContainmentVerdict,
    /// The evidence in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Why it is not "works".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl ContainmentTrial {
    pub(super) fn without(verdict: ContainmentVerdict, because: impl Into<String>) -> Self {
        ContainmentTrial {
            verdict,
            seen: None,
            because: Some(because.into()),
        }
    }
}

/// What was seen of the tree.
struct Observed {
    members: usize,
    orphan_followed: bool,
    freeze_millis: Option<f64>,
    killed_at_once: bool,
    end_millis: f64,
    emptied: bool,
}

/// Starts a tree with an orphan in a session of its own, in a group below
/// `base`; freezes it, ends it, and removes the group.
pub(super) fn run(program: &Path, base: &Path) -> Result<ContainmentTrial, TrialError> {
    let owned = Owned::<V2Group>::create(base)?;
    let group = owned.group();
    let entrances = [group.entrance()?];
    let mut child = Child::start(
        program,
        &Setup {
            entrances: &entrances,
            ..Setup::default()
        },
    )?;
    let deadline = Deadline::after(TIME);
    if child.listen(deadline) != Heard::AllDone {
        return Err(TrialError::Child(child.end(deadline).to_string()));
    }
    let members = group.processes()?;
    // Asked while they live: a dead one has no parent to tell.
    let orphan_followed = members.iter().any(|pid| has_left(*pid, child.pid()));
    let started = Instant::now();
    let frozen =
        group.set_frozen(true).is_ok() && deadline.until(|| group.is_frozen().unwrap_or(false));
    let freeze_millis = frozen.then(|| millis_since(started));
    let started = Instant::now();
    let killed_at_once = group.kill().is_ok();
    if !killed_at_once {
        kill_members(group);
        // Thawed, so that kernels that do not kill frozen processes can.
        let _ = group.set_frozen(false);
    }
    child.end(deadline);
    let emptied = deadline.until(|| group.is_populated().is_ok_and(|populated| !populated));
    let observed = Observed {
        members: members.len(),
        orphan_followed,
        freeze_millis,
        killed_at_once,
        end_millis: millis_since(started),
        emptied,
    };
    owned.dispose()?;
    Ok(judge(&observed))
}

/// Whether a member is neither the child nor a child of the child.
fn has_left(pid: i32, child: i32) -> bool {
    pid != child && Stat::read(pid).is_ok_and(|stat| stat.ppid != child)
}

fn millis_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn judge(observed: &Observed) -> ContainmentTrial {
    let frozen = match observed.freeze_millis {
        Some(millis) => format!("frozen in {millis:.1} ms, "),
        None => String::new(),
    };
    let how = if observed.killed_at_once {
        "cgroup.kill"
    } else {
        "signals"
    };
    let seen = format!(
        "{} processes followed{}, {frozen}ended by {how} in {:.1} ms",
        observed.members,
        if observed.orphan_followed {
            ", an orphan among them"
        } else {
            ""
        },
        observed.end_millis,
    );
    let (verdict, because) = if !observed.orphan_followed {
        let because = "a descendant in a session of its own was not followed";
        (ContainmentVerdict::Fails, Some(because))
    } else if !observed.emptied {
        (ContainmentVerdict::Fails, Some("something survived"))
    } else if !observed.killed_at_once {
        let because = "this kernel has no cgroup.kill (Linux 5.14)";
        (ContainmentVerdict::FollowsOnly, Some(because))
    } else if observed.freeze_millis.is_none() {
        (
            ContainmentVerdict::FollowsOnly,
            Some("the tree could not be frozen"),
        )
    } else {
        (ContainmentVerdict::Works, None)
    };
    ContainmentTrial {
        verdict,
        seen: Some(seen),
        because: because.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_tree_frozen_and_killed_works() {
        let good = || Observed {
            members: 2,
            orphan_followed: true,
            freeze_millis: Some(0.2),
            killed_at_once: true,
            end_millis: 3.0,
            emptied: true,
        };
        let lost = Observed {
            orphan_followed: false,
            ..good()
        };
        let survived = Observed {
            emptied: false,
            ..good()
        };
        let no_kill = Observed {
            killed_at_once: false,
            ..good()
        };
        let no_freeze = Observed {
            freeze_millis: None,
            ..good()
        };
        let cases = [
            (good(), ContainmentVerdict::Works),
            (lost, ContainmentVerdict::Fails),
            (survived, ContainmentVerdict::Fails),
            (no_kill, ContainmentVerdict::FollowsOnly),
            (no_freeze, ContainmentVerdict::FollowsOnly),
        ];
        for (observed, expected) in cases {
            let judged = judge(&observed);
            assert_eq!(judged.verdict, expected, "{:?}", judged.because);
        }
    }
}
