//! Who has left the group of the limit? A job that may write to the groups
//! around it (root, or the owner of a delegated group) can move itself out of
//! its own, and the limit does not hold for it there. It is not brought back,
//! since container engines move what they start for good reasons; it is told,
//! and ended with the tree, of which it still is a part.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use memcap_linux::ProcessId;
use memcap_linux::proc::{self, Stat};

use super::alarm::{self, Alarm};
use super::enclosure::Enclosure;
use super::recorder::cpu_time;
use super::tree::{self, Family};
use crate::evidence::{COMMAND_PATIENCE, LeftRunning};

/// The first look comes this long after the job's start …
const FIRST: Duration = Duration::from_millis(100);
/// … and where an alarm can be set, this long.
const FIRST_WITH_ALARM: Duration = Duration::from_millis(25);
/// It is set this long after the start: what it costs a run that ends sooner is more
/// than that could do elsewhere meanwhile.
const ALARM_AFTER: Duration = Duration::from_millis(10);
/// From then on there are looks at the most this often …
const INTERVAL: Duration = Duration::from_secs(1);
/// … and they take at the most one part in so many of the time.
const SHARE: u32 = 1000;
/// Looks because of an alarm, which may be anybody's, take at the most one part in so
/// many of the time …
const ALARM_SHARE: u32 = 50;
/// … as if the job had begun so much earlier: the first ones never wait.
const ALARM_CREDIT: Duration = Duration::from_secs(5);
/// A process that is just ending has left its group for a moment before it
/// looks dead: who is out must be out at this many looks.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// What tells of moves.
#[derive(Debug)]
enum Setting {
    /// The run may end before it is worth it.
    Later,
    Set(Alarm),
    /// Nobody could leave, or nothing would tell.
    Never,
}

/// Looks from time to time, and at once when something was written to the groups
/// around.
#[derive(Debug)]
pub(super) struct RollCall {
    family: Family,
    main: i32,
    next: Option<Duration>,
    alarm: Setting,
    /// It has told of something that has not been looked into.
    is_rung: bool,
    /// Processor time that all looks have taken.
    spent: Duration,
    left: Vec<LeftRunning>,
}

impl RollCall {
    /// Does nothing where no group holds the limit.
    pub(super) fn new(enclosure: &Enclosure, family: Family, main: i32) -> RollCall {
        let alarm = match family {
            Family::Descendants if enclosure.limiting_group().is_some_and(alarm::is_of_use) => {
                Setting::Later
            }
            // A signal would be the embedding program's.
            Family::Descendants | Family::OfMain => Setting::Never,
        };
        let first = match alarm {
            Setting::Later | Setting::Set(_) => ALARM_AFTER,
            Setting::Never => FIRST,
        };
        RollCall {
            family,
            main,
            next: enclosure.limiting_group().map(|_| first),
            alarm,
            is_rung: false,
            spent: Duration::ZERO,
            left: Vec::new(),
        }
    }

    /// What becomes readable when something was written to the groups around; not
    /// asked again before that is looked into.
    pub(super) fn alarm(&self) -> Option<BorrowedFd<'_>> {
        match &self.alarm {
            Setting::Set(alarm) if !self.is_rung => Some(alarm.ear()),
            Setting::Set(_) | Setting::Later | Setting::Never => None,
        }
    }

    /// Takes note that the alarm has told of something.
    pub(super) fn ring(&mut self, now: Duration) {
        self.is_rung = true;
        let earliest = alarm_may_be_answered_at(self.spent).max(now);
        self.next = self.next.map(|next| next.min(earliest));
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
        if is_due && matches!(self.alarm, Setting::Later) {
            let set = enclosure.limiting_group().and_then(Alarm::around);
            self.alarm = set.map_or(Setting::Never, Setting::Set);
            self.next = Some(FIRST_WITH_ALARM.max(now));
            return false;
        }
        if is_due {
            let (begun, used) = (Instant::now(), cpu_time());
            self.listen();
            self.look(enclosure, pause);
            self.next = Some(now + INTERVAL.max(begun.elapsed() * SHARE));
            self.spent += cpu_time().saturating_sub(used);
        }
        is_due
    }

    /// Whatever happens from here on rings again.
    fn listen(&mut self) {
        if let (Setting::Set(alarm), true) = (&mut self.alarm, self.is_rung) {
            alarm.renew();
        }
        self.is_rung = false;
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

/// As time since the job's start, where looks have taken so much processor time.
fn alarm_may_be_answered_at(spent: Duration) -> Duration {
    (spent * ALARM_SHARE).saturating_sub(ALARM_CREDIT)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_without_end_cost_a_bounded_share() {
        let cases = [(0, 0), (100, 0), (101, 50), (300, 10_000)];
        for (spent, expected) in cases {
            let earliest = alarm_may_be_answered_at(Duration::from_millis(spent));
            assert_eq!(earliest, Duration::from_millis(expected), "{spent} ms");
        }
    }
}
