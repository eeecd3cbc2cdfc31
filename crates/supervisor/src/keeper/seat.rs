//! A keeper's seat at the table of a budget: tells what its tree holds, hears
//! what the others' do, and whose turn it is.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use memcap_linux::cgroup::V2Group;
use memcap_linux::{ByteSize, ProcessId, adopt_fd};

use super::enclosure::Enclosure;
use super::home::Home;
use super::run::JOB_OOM_SCORE;
use super::victims;
use crate::budget::bell::{self, Ear};
use crate::budget::pace::Pace;
use crate::budget::rules::{self, Member, Phase, Total, Turn, Used};
use crate::budget::{COMING_BACK, Table, Ticket};
use crate::evidence::{Reached, SharedTotal};
use crate::governor::{Input, LONGEST, Share, shortest_of, time_to_fill};
use crate::wire::Seating;

/// Where the kernel holds the total, it is no worse than the kernel's choice if
/// a look comes late: it need not be closer than this.
const SHORTEST: Duration = Duration::from_millis(1);
/// Nor closer than this while nothing grows.
const AT_REST: Duration = Duration::from_millis(20);
/// What counts as growth between two looks.
const GROWTH: ByteSize = ByteSize::from_kib(256);

/// The `oom_score_adj` of the eldest member: as that of any job.
const ELDEST: i32 = JOB_OOM_SCORE;
/// That of the others.
const PREFERRED: i32 = 1000;

/// A keeper's seat; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    table: Table,
    bell: OwnedFd,
    ear: Ear,
    ticket: Ticket,
    total: ByteSize,
    /// Since this was made, the time of `pace`.
    made: Instant,
    pace: Pace,
    phase: Phase,
    /// All members, this one among them, at the last look.
    members: Vec<Member>,
    /// Whether others were there at the last look.
    others: bool,
    /// When others were last seen.
    others_at: Option<Instant>,
    /// What all held at the last look.
    used: ByteSize,
    /// Whether the job was started as one that the kernel takes before elder ones.
    is_preferred: bool,
    next_look: Duration,
    wait: Duration,
    /// The group to freeze, where that is seen by nobody.
    can_freeze: Option<V2Group>,
    frozen_since: Option<Instant>,
    frozen_for: Duration,
}

impl Seat {
    /// Takes it. `own` are the descriptors for a thread, which inherits none.
    pub(super) fn take(seating: &Seating, own: Option<[OwnedFd; 2]>) -> io::Result<Seat> {
        let [table, bell] = match own {
            Some(descriptors) => descriptors,
            None => {
                let [table, bell] = seating.descriptors.map(adopt_fd);
                [table?, bell?]
            }
        };
        let table = Table::attach(std::os::fd::AsFd::as_fd(&table))?;
        let unseen = || io::Error::other("this process is not visible in /proc");
        table.sit(seating.ticket, ProcessId::current().ok_or_else(unseen)?);
        Ok(Seat {
            table,
            ear: Ear::on(&bell)?,
            bell,
            ticket: seating.ticket,
            total: seating.total,
            made: Instant::now(),
            pace: Pace::default(),
            phase: Phase::Running,
            members: Vec::new(),
            others: false,
            others_at: None,
            used: ByteSize::ZERO,
            is_preferred: false,
            next_look: Duration::ZERO,
            wait: SHORTEST,
            can_freeze: None,
            frozen_since: None,
            frozen_for: Duration::ZERO,
        })
    }

    /// Lets the job be paused where that is seen by nobody: by the freezer of its
    /// v2 directory.
    pub(super) fn may_pause(&mut self, enclosure: &Enclosure) {
        self.can_freeze = enclosure.directory().cloned();
    }

    /// The `oom_score_adj` of a job that is about to start. Where the kernel has to
    /// choose, it takes those that are not the eldest before that one, unless it
    /// is larger by half of the total.
    pub(super) fn oom_score(&mut self) -> i32 {
        self.table.read(&mut self.members);
        let order = self.ticket.order;
        self.is_preferred = self.members.iter().any(|member| member.order < order);
        match self.is_preferred {
            true => PREFERRED,
            false => ELDEST,
        }
    }

    /// What must stay open.
    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        [self.bell.as_raw_fd(), self.ear.as_fd().as_raw_fd()]
    }

    /// Readable when all keepers are to look.
    pub(super) fn ear(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }

    /// Takes note of the bell: true when it has rung.
    pub(super) fn has_heard(&mut self) -> bool {
        let heard = self.ear.has_heard();
        if heard {
            self.next_look = Duration::ZERO;
        }
        heard
    }

    /// Tells what the tree holds and hears what the others do, who hold the total
    /// together with it.
    pub(super) fn share(&mut self, at_least: ByteSize, at_most: ByteSize) -> (Share, Turn) {
        self.table.tell(self.ticket, at_least, at_most);
        self.table.read(&mut self.members);
        let used = self.members.iter().fold(
            Used {
                at_least: ByteSize::ZERO,
                at_most: ByteSize::ZERO,
            },
            |sum, member| Used {
                at_least: sum.at_least.saturating_add(member.at_least),
                at_most: sum.at_most.saturating_add(member.at_most),
            },
        );
        let total = self.total_for(used.at_least);
        let (turn, headroom) = self.turn(used, total);
        let share = Share {
            leaves: total
                .near
                .saturating_sub(used.at_most.saturating_sub(at_most)),
            headroom,
            members: self.keepers(),
            goes: (turn == Turn::End).then_some(Reached {
                used: used.at_most,
                total: self.total,
            }),
        };
        (share, turn)
    }

    /// How many were at the table at the last look.
    fn keepers(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// When [`Seat::look`] must be called, as time since the job's start.
    pub(super) fn next_look(&self) -> Duration {
        self.next_look
    }

    /// The same where a group holds the total, by what that has charged.
    pub(super) fn look(
        &mut self,
        home: &Home,
        enclosure: &Enclosure,
        now: Duration,
    ) -> Option<Input> {
        if now < self.next_look {
            return None;
        }
        let held = enclosure.charged_to_budget().unwrap_or_default();
        self.table.tell(self.ticket, held, held);
        self.table.read(&mut self.members);
        let mut used = home.current().unwrap_or_default();
        self.table.note_peak(used);
        let total = self.total_for(used);
        if used >= total.near {
            // Page cache goes by itself.
            used = home.charged_for_good().map_or(used, |kept| kept.min(used));
        }
        let both = Used {
            at_least: used,
            at_most: used,
        };
        let (turn, headroom) = self.turn(both, total);
        let grew = used > self.used.saturating_add(GROWTH);
        self.used = used;
        self.wait = match grew {
            true => shortest_of(SHORTEST, self.keepers()),
            false => (self.wait * 2).min(AT_REST),
        };
        let is_eldest = !self.members.iter().any(|m| m.order < self.ticket.order);
        let wait = match time_to_fill(headroom) {
            _ if is_eldest => LONGEST,
            wait => wait.max(self.wait).min(LONGEST),
        };
        self.next_look = now + wait;
        if is_eldest && self.others && self.is_preferred {
            self.is_preferred = false;
            victims::set_preference(enclosure, PREFERRED, ELDEST);
        }
        match turn {
            Turn::End => {
                let own = enclosure.limiting_group();
                if own.is_some_and(|own| home.makes_room_already(own)) {
                    return None;
                }
                // Until our kill has made room, the kernel may have to choose too,
                // and shall choose who is going already.
                victims::set_preference(enclosure, ELDEST, PREFERRED);
                Some(Input::BudgetReached(Reached {
                    used,
                    total: self.total,
                }))
            }
            turn => self.act(turn),
        }
    }

    /// The total, with what is to stay free of it while all grow as they do.
    fn total_for(&mut self, used: ByteSize) -> Total {
        self.pace.note(used, self.made.elapsed());
        Total::with_growth(self.total, self.pace.meanwhile(), &self.members)
    }

    /// Whose turn it is, and how much all may grow until it is asked again. Rings
    /// where the others must know.
    fn turn(&mut self, used: Used, total: Total) -> (Turn, ByteSize) {
        self.table.note_peak(used.at_most);
        let order = self.ticket.order;
        self.others = self.members.iter().any(|member| member.order != order);
        if self.others {
            self.others_at = Some(Instant::now());
        }
        let until_near = total.near.saturating_sub(used.at_most);
        if self.others && self.table.is_news(until_near) {
            bell::ring(&self.bell);
        }
        let Some(me) = self.members.iter().find(|member| member.order == order) else {
            return (Turn::Stay, until_near);
        };
        let can_pause = self.can_freeze.is_some();
        let turn = rules::turn(me, &self.members, used, total, can_pause);
        let headroom = rules::headroom(me, &self.members, used, total, can_pause);
        (turn, headroom)
    }

    /// Freezes the job, or lets it go on. What the governor is to be told of it:
    /// meanwhile its wall time stands still.
    pub(super) fn act(&mut self, turn: Turn) -> Option<Input> {
        match turn {
            Turn::Pause => {
                let group = self.can_freeze.as_ref()?;
                if group.set_frozen(true).is_err() {
                    // Before Linux 5.2; it is ended in its turn.
                    self.can_freeze = None;
                    return None;
                }
                self.frozen_since = Some(Instant::now());
                self.stand(Phase::Paused);
                Some(Input::MainStopped)
            }
            Turn::Resume => self.resume().then_some(Input::MainContinued),
            Turn::Stay | Turn::End => None,
        }
    }

    /// Whether the job is frozen so that others can finish.
    pub(super) fn is_paused(&self) -> bool {
        self.frozen_since.is_some()
    }

    /// Lets the job run for good: it is asked to end, and must be able to.
    pub(super) fn give_up_pausing(&mut self) {
        if self.resume() || !self.is_paused() {
            self.can_freeze = None;
        }
    }

    fn resume(&mut self) -> bool {
        let (Some(since), Some(group)) = (self.frozen_since, &self.can_freeze) else {
            return false;
        };
        match group.set_frozen(false) {
            Err(error) if !error.is_absent() => false,
            // Removed under us: nobody is in it.
            _ => {
                self.frozen_for += since.elapsed();
                self.frozen_since = None;
                self.stand(Phase::Running);
                true
            }
        }
    }

    /// Says that what the tree holds is coming back.
    pub(super) fn begin_to_end(&mut self) {
        self.stand(Phase::Ending);
    }

    fn stand(&mut self, phase: Phase) {
        self.phase = phase;
        self.table.turn_to(self.ticket, phase);
        bell::ring(&self.bell);
    }

    /// What was seen of the budget; what the kernel did is not known here.
    pub(super) fn evidence(&mut self) -> SharedTotal {
        let was_there = self
            .others_at
            .is_some_and(|seen| seen.elapsed() < COMING_BACK);
        self.table.read(&mut self.members);
        let order = self.ticket.order;
        let others = self.members.iter().any(|member| member.order != order);
        let paused = self
            .frozen_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        SharedTotal {
            others: others || was_there,
            hit: None,
            paused: self.frozen_for + paused,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.table.leave(self.ticket);
        bell::ring(&self.bell);
    }
}
