//! What a trial's observations mean. Reads nothing, starts nothing.

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use super::End;
use super::hog;

/// What is known about a mechanism on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A child that exceeded the limit was stopped there.
    Enforced,
    /// The limit is in force, but the child went to swap and finished.
    SwapAbsorbs,
    /// The child exceeded the limit and finished.
    NotEnforced,
    /// The child was slowed down and neither stopped nor finished.
    Throttled,
    /// The child was killed, but not by this limit.
    KilledByOther,
    /// This host does not have it, or not for this user.
    NotAvailable,
    /// Nothing was tried, or the trial itself failed.
    NotTried,
}

impl Verdict {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::Enforced => "enforced",
            Verdict::SwapAbsorbs => "swap absorbs it",
            Verdict::NotEnforced => "not enforced",
            Verdict::Throttled => "throttles only",
            Verdict::KilledByOther => "other killer",
            Verdict::NotAvailable => "not available",
            Verdict::NotTried => "not tried",
        }
    }
}

/// What was seen of one child under one limit. Absent is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// The limit it was under.
    pub limit: ByteSize,
    /// The memory it was to touch.
    pub target: ByteSize,
    /// The memory it reported to have touched.
    pub progress: ByteSize,
    /// How it ended.
    pub end: End,
    /// OOM kills of group members, by any OOM killer. With `memory.oom.group`
    /// one killed process counts twice, so this is zero or not zero.
    pub oom_kills: Option<u64>,
    /// How often the group was at its limit (`max` of memory.events).
    pub limit_hits: Option<u64>,
    /// Memory in swap while the child was alive and done.
    pub swapped: Option<ByteSize>,
    /// The largest charge of the group.
    pub peak: Option<ByteSize>,
}

/// A verdict and, unless it is "enforced", the reason in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What is known.
    pub verdict: Verdict,
    /// Why it is not "enforced".
    pub because: Option<String>,
}

/// Past the limit by this much, it was not the limit that stopped a child.
/// The child's own code and page tables are small, and what it reports lags
/// behind what is charged, never the other way round.
const TOLERANCE: ByteSize = ByteSize::from_mib(8);

const SIGKILL: i32 = nix::sys::signal::Signal::SIGKILL as i32;

/// Judges a child under a cgroup's limit.
pub fn judge_group(seen: &Observation) -> Judgement {
    let stopped_late = seen.progress > seen.limit.saturating_add(TOLERANCE);
    let swapped = seen.swapped.is_some_and(|bytes| bytes > ByteSize::ZERO);
    match seen.end {
        End::Signaled(SIGKILL) => match seen.oom_kills {
            Some(0) => killed_by_other("no OOM kill is counted in the group"),
            None => killed_by_other("the kernel does not say whether it was an OOM kill"),
            Some(_) if stopped_late => killed_by_other(&format!(
                "an OOM killer came only at {}, so it served another limit",
                seen.progress
            )),
            Some(_) => enforced(),
        },
        End::Signaled(_) => killed_by_other("it was not SIGKILL"),
        End::Exited(code) if code == i32::from(hog::TOUCHED_ALL) => {
            if swapped {
                judgement(
                    Verdict::SwapAbsorbs,
                    "what exceeded the limit was moved to swap, which this limit does not include",
                )
            } else if seen.limit_hits.is_some_and(|hits| hits > 0) {
                judgement(
                    Verdict::NotEnforced,
                    "the limit was met, but the child finished nevertheless",
                )
            } else {
                judgement(
                    Verdict::NotEnforced,
                    "the child touched three times the limit and finished",
                )
            }
        }
        End::Exited(code) if code == i32::from(hog::REFUSED) => judgement(
            Verdict::NotTried,
            "an allocation was refused before the limit was met",
        ),
        End::Exited(code) => broken(code),
        End::Unseen => unseen(),
        End::TimedOut if seen.limit_hits.is_some_and(|hits| hits > 0) => judgement(
            Verdict::Throttled,
            "at the limit the child neither ended nor finished",
        ),
        End::TimedOut => judgement(
            Verdict::NotTried,
            "the child did not finish in time, and the limit was not met",
        ),
    }
}

/// Judges a child under a fixed RLIMIT_DATA.
pub fn judge_rlimit(seen: &Observation) -> Judgement {
    match seen.end {
        End::Exited(code) if code == i32::from(hog::REFUSED) && seen.progress <= seen.limit => {
            enforced()
        }
        End::Exited(code) if code == i32::from(hog::REFUSED) => judgement(
            Verdict::NotEnforced,
            "an allocation was refused, but only beyond the limit",
        ),
        End::Exited(code) if code == i32::from(hog::TOUCHED_ALL) => judgement(
            Verdict::NotEnforced,
            "the child touched three times the limit and finished",
        ),
        End::Exited(code) => broken(code),
        End::Signaled(_) => killed_by_other("RLIMIT_DATA refuses, it does not kill"),
        End::TimedOut => judgement(Verdict::NotTried, "the child did not finish in time"),
        End::Unseen => unseen(),
    }
}

/// Judges a child that the watchdog watched. `noticed` is the first sample
/// above the limit.
pub fn judge_watchdog(seen: &Observation, noticed: Option<ByteSize>) -> Judgement {
    match (noticed, seen.end) {
        (_, End::Unseen) => unseen(),
        (Some(_), End::Signaled(SIGKILL)) => enforced(),
        (Some(_), end) => judgement(
            Verdict::NotEnforced,
            &format!("the excess was seen and SIGKILL sent, but the child ended with {end}"),
        ),
        (None, End::Signaled(_)) => killed_by_other("the watchdog had not seen any excess"),
        (None, _) => judgement(
            Verdict::NotEnforced,
            "the child exceeded the limit, and no sample showed it",
        ),
    }
}

/// A killed child that does not go away.
pub(super) fn remained() -> Judgement {
    judgement(
        Verdict::NotEnforced,
        "the child was killed, but something of it remains",
    )
}

fn enforced() -> Judgement {
    Judgement {
        verdict: Verdict::Enforced,
        because: None,
    }
}

fn judgement(verdict: Verdict, because: &str) -> Judgement {
    Judgement {
        verdict,
        because: Some(because.to_owned()),
    }
}

fn killed_by_other(because: &str) -> Judgement {
    judgement(Verdict::KilledByOther, because)
}

fn unseen() -> Judgement {
    judgement(
        Verdict::NotTried,
        "how the child ended was not seen: does this process ignore SIGCHLD?",
    )
}

fn broken(code: i32) -> Judgement {
    judgement(
        Verdict::NotTried,
        &format!("the child itself failed with exit code {code}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: ByteSize = ByteSize::from_mib(32);
    const DONE: End = End::Exited(42);
    const REFUSED: End = End::Exited(43);
    const KILLED: End = End::Signaled(9);

    fn seen(end: End, progress_mib: u64) -> Observation {
        Observation {
            limit: LIMIT,
            target: ByteSize::from_mib(96),
            progress: ByteSize::from_mib(progress_mib),
            end,
            oom_kills: Some(0),
            limit_hits: None,
            swapped: None,
            peak: None,
        }
    }

    #[test]
    fn a_group_is_judged_by_the_kernels_own_counter() {
        let counted = |end, progress, kills| Observation {
            oom_kills: kills,
            ..seen(end, progress)
        };
        let hit = |end, hits| Observation {
            limit_hits: Some(hits),
            ..seen(end, 96)
        };
        let swapping = Observation {
            swapped: Some(ByteSize::from_mib(64)),
            ..hit(DONE, 1202)
        };
        let cases = [
            (
                "killed at the limit",
                counted(KILLED, 30, Some(1)),
                Verdict::Enforced,
            ),
            (
                "oom.group counts twice",
                counted(KILLED, 31, Some(2)),
                Verdict::Enforced,
            ),
            (
                "reports lag",
                counted(KILLED, 0, Some(1)),
                Verdict::Enforced,
            ),
            (
                "killed far beyond",
                counted(KILLED, 64, Some(1)),
                Verdict::KilledByOther,
            ),
            (
                "killed uncounted",
                counted(KILLED, 30, Some(0)),
                Verdict::KilledByOther,
            ),
            (
                "no counter",
                counted(KILLED, 30, None),
                Verdict::KilledByOther,
            ),
            (
                "another signal",
                counted(End::Signaled(15), 30, Some(0)),
                Verdict::KilledByOther,
            ),
            ("finished in swap", swapping, Verdict::SwapAbsorbs),
            ("finished, limit met", hit(DONE, 3), Verdict::NotEnforced),
            (
                "finished, limit not met",
                hit(DONE, 0),
                Verdict::NotEnforced,
            ),
            (
                "finished, hits unknown",
                seen(DONE, 96),
                Verdict::NotEnforced,
            ),
            (
                "stuck at the limit",
                hit(End::TimedOut, 9),
                Verdict::Throttled,
            ),
            ("slow machine", hit(End::TimedOut, 0), Verdict::NotTried),
            ("an rlimit was first", seen(REFUSED, 5), Verdict::NotTried),
            ("broken child", seen(End::Exited(44), 0), Verdict::NotTried),
        ];
        for (name, observation, expected) in cases {
            let judged = judge_group(&observation);
            assert_eq!(judged.verdict, expected, "{name}");
            let explained = judged.because.is_some();
            assert_eq!(explained, expected != Verdict::Enforced, "{name}");
        }
    }

    #[test]
    fn an_rlimit_refuses_within_the_limit() {
        let cases = [
            (seen(REFUSED, 29), Verdict::Enforced),
            (seen(REFUSED, 33), Verdict::NotEnforced),
            (seen(DONE, 96), Verdict::NotEnforced),
            (seen(KILLED, 10), Verdict::KilledByOther),
            (seen(End::Exited(44), 10), Verdict::NotTried),
            (seen(End::TimedOut, 10), Verdict::NotTried),
        ];
        for (observation, expected) in cases {
            assert_eq!(
                judge_rlimit(&observation).verdict,
                expected,
                "{observation:?}"
            );
        }
    }

    #[test]
    fn the_watchdog_must_have_seen_it_and_ended_it() {
        let noticed = Some(ByteSize::from_mib(33));
        let cases = [
            (noticed, KILLED, Verdict::Enforced),
            (noticed, DONE, Verdict::NotEnforced),
            (noticed, End::TimedOut, Verdict::NotEnforced),
            (None, KILLED, Verdict::KilledByOther),
            (None, DONE, Verdict::NotEnforced),
        ];
        for (noticed, end, expected) in cases {
            let judged = judge_watchdog(&seen(end, 40), noticed);
            assert_eq!(judged.verdict, expected, "{noticed:?} {end:?}");
        }
    }
}
