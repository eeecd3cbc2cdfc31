//! Who has left the group of the limit? A job that may write to the groups
//! around it (root, or the owner of a delegated group) can move itself out of
//! its own, and the limit does not hold for it there. It is not brought back,
//! since container engines move what they start for good reasons; it is told,
//! and ended with the tree, of which it still is a part.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use memcap_linux::ProcessId;
use memcap_linux::proc::{self, Stat};

use super::enclosure::Enclosure;
use super::tree::{self, Family};
use crate::evidence::{COMMAND_PATIENCE, LeftRunning};

/// The first look comes this long after the job's start.
const FIRST: Duration = Duration::from_millis(100);
/// From then on there are looks at the most this often …
const INTERVAL: Duration = Duration::from_secs(1);
/// … and they take at the most one part in so many of the time.
const SHARE: u32 = 1000;
/// A process that is just ending has left its group for a moment before it
/// looks dead: who is out must be out at this many looks.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// Looks from time to time.
#[derive(Debug)]
pub(super) struct RollCall {
    family: Family,
    main: i32,
    next: Option<Duration>,
    left: Vec<LeftRunning>,
}

impl RollCall {
    /// Does nothing where no group holds the limit.
    pub(super) fn new(enclosure: &Enclosure, family: Family, main: i32) -> RollCall {
        RollCall {
            family,
            main,
            next: enclosure.limited().map(|_| FIRST),
            left: Vec::new(),
        }
    }

    /// When [`RollCall::look_if_due`] wants to be called, as time since the
    /// job's start.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.next
    }

    /// Whether it was due.
    pub(super) fn look_if_due(
        &mut self,
        enclosure: &Enclosure,
        now: Duration,
        pause: impl Fn(Duration),
    ) -> bool {
        let is_due = self.next.is_some_and(|next| now >= next);
        if is_due {
            let begun = Instant::now();
            self.look(enclosure, pause);
            self.next = Some(now + INTERVAL.max(begun.elapsed() * SHARE));
        }
        is_due
    }

    /// Everybody who has left and is still there, those seen before included.
    pub(super) fn look(&mut self, enclosure: &Enclosure, pause: impl Fn(Duration)) {
        if self.next.is_none() {
            return;
        }
        let members = || tree::members(self.family, self.main);
        let mut outside = outside(members(), enclosure);
        for _ in 1..LOOKS {
            if outside.is_empty() {
                return;
            }
            pause(BETWEEN_LOOKS);
            let again: BTreeSet<_> = self::outside(members(), enclosure)
                .iter()
                .map(Stat::id)
                .collect();
            outside.retain(|stat| again.contains(&stat.id()));
        }
        for stat in outside {
            if self.left.iter().all(|left| left.process != stat.id()) {
                self.left.push(LeftRunning {
                    process: stat.id(),
                    command: proc::command_line_within(stat.pid, COMMAND_PATIENCE),
                });
            }
        }
    }

    /// Everybody who was seen outside.
    pub(super) fn seen(&self) -> impl Iterator<Item = ProcessId> {
        self.left.iter().map(|left| left.process)
    }

    /// The same, for the report.
    pub(super) fn take(&mut self) -> Vec<LeftRunning> {
        std::mem::take(&mut self.left)
    }
}

/// Whether it runs something; what is just ending is in no group's list.
fn is_running(process: ProcessId) -> bool {
    Stat::read(process.pid).is_ok_and(|stat| stat.id() == process && !stat.is_ending())
}

/// Living members of the tree that the limited group does not list. The tree
/// was listed first: who is born later is in neither list.
fn outside(mut below: Vec<Stat>, enclosure: &Enclosure) -> Vec<Stat> {
    let Some(inside) = enclosure.limited() else {
        return Vec::new();
    };
    below.retain(|stat| !inside.contains(&stat.pid) && is_running(stat.id()));
    below
}
