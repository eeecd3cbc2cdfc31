//! The trial before a run: a limit is met, and nobody is killed for it.
//!
//! In a small leaf beside the place of the job a child of ours touches twice the
//! leaf's limit of anonymous memory, a little at a time, and marks what it has
//! touched as free to be discarded. The kernel has to take it back at the limit.
//! An OOM kill would be counted in every group around the leaf, and a scheduler
//! may take it for the job's.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use memcap_linux::cgroup::{Limit, V1Memory, V2Group};
use memcap_linux::{ByteSize, one_line};
use serde::{Deserialize, Serialize};

use super::child::{Child, End, Heard};
use super::deadline::Deadline;
use super::error::{LimitText, TrialError};
use super::group::{Group, Owned};
use super::hog;

/// More than a child needs for itself, and touched within a millisecond or two.
const LIMIT_PAGES: u64 = 256;
/// A busy machine; what takes longer holds up the job, and is no proof.
const TIME: Duration = Duration::from_secs(1);

/// What is known of a limit after such a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It was met, counted, and not exceeded.
    Holds,
    /// Neither shown nor refuted.
    Unproven,
    /// It was exceeded, and the kernel did nothing.
    Fails,
}

/// A trial that was made, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HarmlessTrial {
    /// What is known.
    pub standing: Standing,
    /// The evidence in one line; for [`Standing::Unproven`], what it lacks.
    pub seen: String,
}

/// What was seen of the child and its leaf. Absent is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    limit: ByteSize,
    /// Everything was touched, and the child was listed in the leaf meanwhile.
    listed: Option<bool>,
    end: End,
    hits: Option<u64>,
    oom_kills: Option<u64>,
    peak: Option<ByteSize>,
}

/// Tries `memory.max` in a leaf below `base`, which must grant the controller.
pub fn try_v2(base: &Path) -> HarmlessTrial {
    concluded(in_v2(base))
}

/// Tries `memory.limit_in_bytes` in a group below `base`.
pub fn try_v1(base: &Path) -> HarmlessTrial {
    concluded(in_v1(base))
}

fn concluded(outcome: Result<Seen, TrialError>) -> HarmlessTrial {
    outcome
        .as_ref()
        .map_or_else(|error| unproven(&one_line(error)), judge)
}

fn in_v2(base: &Path) -> Result<Seen, TrialError> {
    let limit = limit();
    let owned = Owned::<V2Group>::create(base)?;
    let leaf = owned.group();
    match leaf.set_swap_max(ByteSize::ZERO) {
        // Without swap support; then there is none to take the excess either.
        Err(error) if !error.is_absent() => return Err(error.into()),
        _ => {}
    }
    leaf.set_max(limit)?;
    kept(leaf.max()?, limit)?;
    let (listed, held, end) = fill(&owned, &leaf.entrance()?, limit, || leaf.current().ok())?;
    let events = super::v2::events(leaf)?;
    let seen = Seen {
        limit,
        listed,
        end,
        hits: events.get("max"),
        oom_kills: events.get("oom_kill"),
        // Before Linux 5.19 nobody else remembers it.
        peak: leaf.peak().ok().or(held),
    };
    owned.dispose()?;
    Ok(seen)
}

fn in_v1(base: &Path) -> Result<Seen, TrialError> {
    let limit = limit();
    let owned = Owned::<V1Memory>::create(base)?;
    let group = owned.group();
    // Of two equal limits the one with swap is met first, and not every kernel
    // counts that.
    group.set_limit(limit, limit.saturating_add(limit))?;
    kept(group.limit()?, limit)?;
    let (listed, _, end) = fill(&owned, &group.entrance()?, limit, || None)?;
    let seen = Seen {
        limit,
        listed,
        end,
        hits: group.limit_hits().ok(),
        // Before Linux 4.13 an end by SIGKILL tells as much.
        oom_kills: group.oom_kills()?.or(Some(0)),
        peak: group.peak_without_swap().ok(),
    };
    owned.dispose()?;
    Ok(seen)
}

/// Whether all was touched by a listed child, what the group held then, and how
/// the child ended.
fn fill<G: Group>(
    owned: &Owned<G>,
    entrance: &memcap_linux::cgroup::Entrance,
    limit: ByteSize,
    current: impl FnOnce() -> Option<ByteSize>,
) -> Result<(Option<bool>, Option<ByteSize>, End), TrialError> {
    let mut child = Child::discarding(entrance, limit.saturating_add(limit))?;
    let deadline = Deadline::after(TIME);
    let (listed, held) = match child.listen(deadline) {
        Heard::AllDone => (Some(owned.holds(child.pid())?), current()),
        Heard::Gone | Heard::Nothing => (None, None),
    };
    child.let_go();
    Ok((listed, held, child.end(deadline)))
}

fn kept(found: Limit, limit: ByteSize) -> Result<(), TrialError> {
    if found == Limit::At(limit) {
        return Ok(());
    }
    Err(TrialError::LimitNotKept {
        wrote: limit,
        read: LimitText(found),
    })
}

fn limit() -> ByteSize {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let page = page
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok());
    ByteSize::from_bytes(page.unwrap_or(4096) * LIMIT_PAGES)
}

fn judge(seen: &Seen) -> HarmlessTrial {
    const SIGKILL: i32 = nix::sys::signal::Signal::SIGKILL as i32;
    match (seen.listed, seen.end) {
        (Some(true), End::Exited(code)) if code == i32::from(hog::TOUCHED_ALL) => {
            judge_charge(seen)
        }
        (Some(false), _) => unproven("the child was not listed in its group"),
        (_, End::Signaled(SIGKILL)) if seen.oom_kills.is_some_and(|kills| kills > 0) => {
            unproven("the kernel took back nothing at the limit, and killed the child")
        }
        (_, End::Exited(code)) if code == i32::from(hog::REFUSED) => {
            unproven("the child could not touch memory and give it up again")
        }
        (_, end) => unproven(&format!("the child ended with {end}")),
    }
}

/// Everything was touched, in the group.
fn judge_charge(seen: &Seen) -> HarmlessTrial {
    let limit = seen.limit;
    let Some(peak) = seen.peak else {
        return unproven("the kernel does not say how much was charged");
    };
    let part = ByteSize::from_bytes(limit.bytes() / 4);
    match (seen.hits, seen.oom_kills) {
        (Some(0), _) if peak > limit.saturating_add(part) => HarmlessTrial {
            standing: Standing::Fails,
            seen: format!(
                "{peak} were charged under a limit of {limit}, which the kernel never met"
            ),
        },
        (_, Some(1..) | None) => unproven("an OOM kill may have been counted"),
        (Some(0) | None, _) => unproven(&format!(
            "no meeting of the limit of {limit} was counted, at a peak of {peak}"
        )),
        (Some(_), _) if peak > limit || peak < limit.saturating_sub(part) => {
            unproven(&format!("the peak was {peak} under a limit of {limit}"))
        }
        (Some(hits), Some(0)) => HarmlessTrial {
            standing: Standing::Holds,
            seen: format!(
                "{} touched under a limit of {limit}: met {hits} times, peak {peak}, nobody killed",
                limit.saturating_add(limit)
            ),
        },
    }
}

fn unproven(because: &str) -> HarmlessTrial {
    HarmlessTrial {
        standing: Standing::Unproven,
        seen: because.to_owned(),
    }
}

impl Child {
    /// Starts a fork of ours that touches memory that can be discarded.
    fn discarding(
        entrance: &memcap_linux::cgroup::Entrance,
        bytes: ByteSize,
    ) -> Result<Child, TrialError> {
        let (ours, theirs) = Child::pair().map_err(TrialError::Link)?;
        let spawned = memcap_linux::touch_discardable(&memcap_linux::Discardable {
            entrance,
            bytes,
            link: theirs.as_fd(),
            done: hog::ALL_DONE,
            answered: hog::TOUCHED_ALL,
            refused: hog::REFUSED,
            broken: hog::BROKEN,
        })
        .map_err(|error: io::Error| TrialError::Fork(error))?;
        Ok(Child::of(spawned, ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: ByteSize = ByteSize::from_mib(1);

    fn good() -> Seen {
        Seen {
            limit: LIMIT,
            listed: Some(true),
            end: End::Exited(42),
            hits: Some(7),
            oom_kills: Some(0),
            peak: Some(LIMIT),
        }
    }

    #[test]
    fn only_a_counted_meeting_at_the_limit_is_a_proof() {
        let kib = |kib| Some(ByteSize::from_kib(kib));
        let killed = Seen {
            listed: None,
            end: End::Signaled(9),
            oom_kills: Some(1),
            ..good()
        };
        let refused = Seen {
            listed: None,
            end: End::Exited(43),
            ..good()
        };
        let elsewhere = Seen {
            listed: Some(false),
            ..good()
        };
        let cases = [
            ("as it should be", good(), Standing::Holds),
            (
                "batches stay back",
                Seen {
                    peak: kib(800),
                    ..good()
                },
                Standing::Holds,
            ),
            (
                "never met",
                Seen {
                    hits: Some(0),
                    ..good()
                },
                Standing::Unproven,
            ),
            (
                "not counted",
                Seen {
                    hits: None,
                    ..good()
                },
                Standing::Unproven,
            ),
            (
                "a kill counted",
                Seen {
                    oom_kills: Some(1),
                    ..good()
                },
                Standing::Unproven,
            ),
            (
                "kills unknown",
                Seen {
                    oom_kills: None,
                    ..good()
                },
                Standing::Unproven,
            ),
            (
                "charged elsewhere",
                Seen {
                    peak: kib(100),
                    ..good()
                },
                Standing::Unproven,
            ),
            (
                "above, and met",
                Seen {
                    peak: kib(1100),
                    ..good()
                },
                Standing::Unproven,
            ),
            (
                "peak unknown",
                Seen {
                    peak: None,
                    ..good()
                },
                Standing::Unproven,
            ),
            (
                "stuck",
                Seen {
                    end: End::TimedOut,
                    ..good()
                },
                Standing::Unproven,
            ),
            ("killed", killed, Standing::Unproven),
            ("refused", refused, Standing::Unproven),
            ("not in there", elsewhere, Standing::Unproven),
            (
                "ignored",
                Seen {
                    hits: Some(0),
                    peak: kib(2048),
                    ..good()
                },
                Standing::Fails,
            ),
        ];
        for (name, seen, expected) in cases {
            assert_eq!(judge(&seen).standing, expected, "{name}");
        }
    }
}
