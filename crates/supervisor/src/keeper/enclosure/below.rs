//! Kills by a v1 limit in groups that the job has made below it. v1 counts an OOM kill
//! in the group of the process that was killed, and in no other (mm/memcontrol.c:
//! `memory.oom_control` shows the local count), but tells the group whose limit it was,
//! and every group below that one, that memory ran out. So a count below that rises
//! when our group was told is a kill by our limit, or by one around us.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memcap_linux::cgroup::{Limit, V1Memory};

use super::v1::BATCH;

/// A group is told just before the kernel chooses a victim: that may take this long.
const AFTERMATH: Duration = Duration::from_millis(200);
/// Meanwhile counts are read this often: a group may be removed soon after the kill.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// What is known of the groups below.
#[derive(Debug, Default)]
pub(super) struct KillsBelow {
    groups: BTreeMap<PathBuf, Counted>,
    /// When our group was last told that memory ran out, while there were groups below.
    ran_out: Option<Instant>,
    next_look: Option<Instant>,
}

/// The OOM kills of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    all: u64,
    /// By a limit of the job's own making.
    own_affair: u64,
}

/// What one look at a group saw.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    kills: u64,
    /// Whether the limit of this group, or of one between it and ours, was met.
    own_limit_met: bool,
}

impl KillsBelow {
    /// `group`, which is ours, was told that memory ran out.
    pub(super) fn ran_out(&mut self, group: &V1Memory) {
        let seen = look_below(group);
        if seen.is_empty() {
            return;
        }
        let now = Instant::now();
        self.ran_out = Some(now);
        self.count(seen, now);
    }

    /// Looks at the groups below now.
    pub(super) fn look(&mut self, group: &V1Memory) {
        self.count(look_below(group), Instant::now());
    }

    /// When [`KillsBelow::look`] is to be called next; `None` while nothing is to come.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Processes below that were killed for want of memory, and not by a limit of the
    /// job's own.
    pub(super) fn kills(&self) -> u64 {
        let of_others = |counted: &Counted| counted.all.saturating_sub(counted.own_affair);
        self.groups.values().map(of_others).sum()
    }

    /// Whether our group was told that memory ran out while there were groups below, and
    /// no kill was seen there.
    pub(super) fn may_have_missed_a_kill(&self) -> bool {
        self.ran_out.is_some() && self.kills() == 0
    }

    fn count(&mut self, seen: Vec<Seen>, now: Instant) {
        let until = self.ran_out.map(|ran_out| ran_out + AFTERMATH);
        let ours_can_kill = until.is_some_and(|until| now < until);
        for Seen {
            path,
            kills,
            own_limit_met,
        } in seen
        {
            let known = self.groups.entry(path).or_insert(Counted {
                all: 0,
                // What was there before the first look is of unknown origin.
                own_affair: if own_limit_met { kills } else { 0 },
            });
            // A group of the same name may have been made anew.
            let grown = kills.saturating_sub(known.all);
            known.all = known.all.max(kills);
            if !ours_can_kill && own_limit_met {
                known.own_affair += grown;
            }
            known.own_affair = known.own_affair.min(known.all);
        }
        self.next_look = (ours_can_kill && self.kills() == 0).then(|| now + BETWEEN_LOOKS);
    }
}

/// Groups that cannot be read are left out: they are being removed.
fn look_below(group: &V1Memory) -> Vec<Seen> {
    let mut seen = Vec::new();
    collect(group, false, &mut seen);
    seen
}

fn collect(group: &V1Memory, met_above: bool, seen: &mut Vec<Seen>) {
    for child in group.children() {
        let own_limit_met = met_above || has_met_its_limit(&child);
        if let Ok(Some(kills)) = child.oom_kills() {
            seen.push(Seen {
                path: Path::to_owned(child.path()),
                kills,
                own_limit_met,
            });
        }
        collect(&child, own_limit_met, seen);
    }
}

fn has_met_its_limit(group: &V1Memory) -> bool {
    let met = |limit, peak: Result<memcap_linux::ByteSize, _>| match (limit, peak) {
        (Ok(Limit::At(limit)), Ok(peak)) => peak.saturating_add(BATCH) >= limit,
        (_, _) => false,
    };
    met(group.limit(), group.peak_without_swap()) || met(group.limit_with_swap(), group.peak())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(path: &str, kills: u64, own_limit_met: bool) -> Vec<Seen> {
        let path = path.into();
        vec![Seen {
            path,
            kills,
            own_limit_met,
        }]
    }

    /// Kills after looks that saw so much; memory ran out at our limit before those
    /// marked so.
    fn kills(looks: &[(u64, bool, bool)]) -> u64 {
        let mut below = KillsBelow::default();
        let mut now = Instant::now();
        for (kills, own_limit_met, ran_out) in looks {
            now += AFTERMATH;
            if *ran_out {
                below.ran_out = Some(now);
            }
            below.count(seen("/inner", *kills, *own_limit_met), now);
        }
        below.kills()
    }

    #[test]
    fn what_no_limit_of_the_jobs_own_can_have_done_was_done_to_it() {
        assert_eq!(kills(&[(1, false, false)]), 1);
        assert_eq!(kills(&[(0, false, false), (2, false, false)]), 2);
    }

    #[test]
    fn a_kill_by_the_groups_own_limit_is_its_own_affair() {
        assert_eq!(kills(&[(1, true, false), (3, true, false)]), 0);
        // Of unknown origin.
        assert_eq!(kills(&[(1, true, true)]), 0);
    }

    #[test]
    fn what_rises_when_memory_ran_out_here_is_a_kill_from_here() {
        assert_eq!(kills(&[(0, true, false), (1, true, true)]), 1);
        assert_eq!(
            kills(&[(2, true, false), (3, true, true), (5, true, false)]),
            1
        );
    }

    #[test]
    fn looks_follow_closely_until_the_kill_is_seen_or_cannot_come() {
        let mut below = KillsBelow::default();
        let begin = Instant::now();
        below.count(seen("/inner", 0, true), begin);
        assert_eq!(below.next_look(), None);
        below.ran_out = Some(begin);
        below.count(seen("/inner", 0, true), begin);
        assert_eq!(below.next_look(), Some(begin + BETWEEN_LOOKS));
        let late = begin + AFTERMATH;
        below.count(seen("/inner", 0, true), late);
        assert_eq!(below.next_look(), None);
        assert!(below.may_have_missed_a_kill());
        below.ran_out = Some(late);
        below.count(seen("/inner", 1, true), late);
        assert_eq!((below.kills(), below.next_look()), (1, None));
        assert!(!below.may_have_missed_a_kill());
    }
}
