//! Trials of what stands beside a limit: the watchdog's leases, the kernel's
//! triggers on memory pressure, and what swap makes of a limit on memory alone.

use memcap_linux::one_line;
use serde::{Deserialize, Serialize};

use super::error::TrialError;
use super::seen::Trial;
use super::{End, Verdict, hog, lease, open_swap, pressure};
use crate::{Fact, Host};

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aid {
    /// The soft RLIMIT_DATA of a running child is set, and refuses.
    Lease,
    /// A trigger on memory pressure is accepted.
    PressureTrigger,
    /// A limit on memory that leaves swap open.
    LimitWithoutSwap,
}

impl Aid {
    const ALL: [Aid; 3] = [Aid::Lease, Aid::PressureTrigger, Aid::LimitWithoutSwap];

    /// As it is written for people.
    pub fn text(self) -> &'static str {
        match self {
            Aid::Lease => "leases",
            Aid::PressureTrigger => "pressure triggers",
            Aid::LimitWithoutSwap => "a limit that leaves swap open",
        }
    }
}

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AidVerdict {
    /// It does what it is for.
    Works,
    /// It was accepted, and does not.
    Fails,
    /// The child finished above the limit, in swap.
    SwapAbsorbs,
    /// This host does not have it, or not for this user.
    NotAvailable,
    /// Nothing was tried, or the trial itself failed.
    NotTried,
}

impl AidVerdict {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            AidVerdict::Works => "works",
            AidVerdict::Fails => "fails",
            AidVerdict::SwapAbsorbs => "swap absorbs it",
            AidVerdict::NotAvailable => "not available",
            AidVerdict::NotTried => "not tried",
        }
    }
}

/// One of them and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AidTrial {
    /// Which.
    pub aid: Aid,
    /// What is known.
    pub verdict: AidVerdict,
    /// The evidence in one line, where a trial was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Why it is not "works".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl AidTrial {
    pub(super) fn works(aid: Aid, seen: String) -> AidTrial {
        AidTrial {
            aid,
            verdict: AidVerdict::Works,
            seen: Some(seen),
            because: None,
        }
    }

    pub(super) fn without(aid: Aid, verdict: AidVerdict, because: impl Into<String>) -> AidTrial {
        AidTrial {
            aid,
            verdict,
            seen: None,
            because: Some(because.into()),
        }
    }
}

/// Tries them all.
pub(super) fn try_all(host: &Host, program: &std::path::Path) -> Vec<AidTrial> {
    let attempt = |aid| match obstacle(host, aid) {
        Some(obstacle) => obstacle,
        None => {
            let outcome = match aid {
                Aid::Lease => lease::run(program).map(|seen| of_lease(&seen)),
                Aid::PressureTrigger => Ok(pressure::run(host)),
                Aid::LimitWithoutSwap => open_swap::run(host, program).map(of_open_swap),
            };
            outcome.unwrap_or_else(|error: TrialError| {
                AidTrial::without(aid, AidVerdict::NotTried, one_line(&error))
            })
        }
    };
    Aid::ALL.into_iter().map(attempt).collect()
}

/// What the facts alone say.
pub(super) fn facts_only(host: &Host, because: &str) -> Vec<AidTrial> {
    let judge = |aid| {
        obstacle(host, aid).unwrap_or_else(|| AidTrial::without(aid, AidVerdict::NotTried, because))
    };
    Aid::ALL.into_iter().map(judge).collect()
}

fn obstacle(host: &Host, aid: Aid) -> Option<AidTrial> {
    match aid {
        Aid::Lease | Aid::PressureTrigger => None,
        Aid::LimitWithoutSwap => open_swap::obstacle(host)
            .map(|(verdict, because)| AidTrial::without(aid, verdict, because)),
    }
}

/// A child whose soft limit was set while it ran.
fn of_lease(seen: &lease::Seen) -> AidTrial {
    let way = format!(
        "set on a running child, {} of {} MiB touched, then {}",
        seen.progress.mib(),
        super::TARGET.mib(),
        match seen.end {
            End::Exited(code) if code == i32::from(hog::REFUSED) => "refused".to_owned(),
            end => end.to_string(),
        }
    );
    let fails = |because: &str| AidTrial {
        aid: Aid::Lease,
        verdict: AidVerdict::Fails,
        seen: Some(way.clone()),
        because: Some(because.to_owned()),
    };
    match seen.end {
        End::Exited(code) if code == i32::from(hog::REFUSED) && seen.progress <= super::LIMIT => {
            AidTrial::works(Aid::Lease, way)
        }
        End::Exited(code) if code == i32::from(hog::REFUSED) => {
            fails("a mapping was refused, but only beyond the lease")
        }
        End::Exited(code) if code == i32::from(hog::TOUCHED_ALL) => {
            fails("the child mapped three times its lease (ignore_rlimit_data?)")
        }
        _ => AidTrial::without(
            Aid::Lease,
            AidVerdict::NotTried,
            format!("the child ended with {}", seen.end),
        ),
    }
}

/// A child above a limit on memory, where there is swap.
fn of_open_swap(trial: Trial) -> AidTrial {
    let verdict = match trial.verdict {
        Verdict::Enforced => AidVerdict::Works,
        Verdict::SwapAbsorbs => AidVerdict::SwapAbsorbs,
        Verdict::NotEnforced | Verdict::Throttled | Verdict::KilledByOther => AidVerdict::Fails,
        Verdict::NotAvailable => AidVerdict::NotAvailable,
        Verdict::NotTried => AidVerdict::NotTried,
    };
    AidTrial {
        aid: Aid::LimitWithoutSwap,
        verdict,
        seen: Some(trial.seen),
        because: trial.because,
    }
}

/// What a fact says of a group that is needed.
pub(super) fn against<T>(fact: &Fact<T>) -> Option<(AidVerdict, String)> {
    match fact {
        Fact::Present { .. } => None,
        Fact::Absent { because } => Some((AidVerdict::NotAvailable, because.clone())),
        Fact::Unknown { because } => Some((AidVerdict::NotTried, because.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memcap_linux::ByteSize;

    #[test]
    fn a_lease_must_refuse_within_what_it_leaves() {
        let verdict = |end, mib| {
            let seen = lease::Seen {
                progress: ByteSize::from_mib(mib),
                end,
            };
            let judged = of_lease(&seen);
            assert_eq!(
                judged.because.is_none(),
                judged.verdict == AidVerdict::Works
            );
            judged.verdict
        };
        let cases = [
            (End::Exited(43), 31, AidVerdict::Works),
            (End::Exited(43), 33, AidVerdict::Fails),
            (End::Exited(42), 96, AidVerdict::Fails),
            (End::Exited(44), 0, AidVerdict::NotTried),
            (End::Signaled(9), 10, AidVerdict::NotTried),
            (End::TimedOut, 10, AidVerdict::NotTried),
        ];
        for (end, mib, expected) in cases {
            assert_eq!(verdict(end, mib), expected, "{end} {mib}");
        }
    }
}
