//! The life of a run as a state machine without I/O: events in, one action
//! out. The keeper's loop has nothing left to decide.
//!
//! ```text
//!              breach, OOM kill, host gone
//!   Running ───────────────────────────────► Ending ──► (tree empty)
//!      │  time over, stop asked                ▲  ▲
//!      └──────────► Terminating ───────────────┘  │
//!                   (SIGTERM, grace)  grace over  │
//!      main process ended ───────────────────────-┘
//! ```
//!
//! Looking costs CPU, not looking costs overshoot. The next look comes when
//! the tree could at the earliest reach the limit, at [`FILL_RATE`].

use std::time::Duration;

use memcap_linux::ByteSize;

use crate::evidence::{Cause, Shortage};
use crate::lease;

/// How fast a tree may be taken to grow, per second. One thread touches fresh
/// pages at 0.3-2.7 GiB/s, 4.6 GiB/s with huge pages (measured); several
/// threads share the memory bus.
const FILL_RATE: ByteSize = ByteSize::from_gib(8);
/// Looks are never closer: below this the look itself is what costs.
const SHORTEST: Duration = Duration::from_micros(500);
/// While leases bound what can be mapped and slack fits, looks come no closer
/// than this: what no lease bounds grows by 5 MiB meanwhile (2.7 GiB/s, one
/// thread at full speed).
const BOUNDED: Duration = Duration::from_millis(2);
/// After somebody has joined, looks come this close and then draw apart: a
/// newcomer should be seen while it is small, and rarely comes alone.
const RESTLESS: Duration = Duration::from_millis(2);
/// Looks are never rarer.
const LONGEST: Duration = Duration::from_millis(250);
/// After a check that found pages counted twice, growth of this much brings
/// the next check, however often the sum of the members is over the limit.
const RECHECK_STEP: ByteSize = ByteSize::from_mib(4);
/// From this share of the limit on, in percent, it is learned what the sum
/// counts twice: while the tree is small that is cheap, and at the limit it
/// would cost the time in which the tree grows.
const LEARN_FROM: u32 = 25;
/// From this share of the limit on, in percent, a sum is not believed without.
const PREPARE_FROM: u32 = 75;
/// What may be counted twice without being worth a measurement, in percent of
/// the limit.
const NEGLIGIBLE: u32 = 2;
/// An exact measurement is not repeated before this many times its own cost
/// has passed, so that a tree that forks all the time is not measured all the
/// time: at most a fiftieth of a processor far from the limit, a fifth near it.
const PATIENCE_FAR: u32 = 50;
const PATIENCE_NEAR: u32 = 4;

/// What the governor has to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The limit to hold by sampling; `None` where the kernel holds it.
    pub(crate) sampled_limit: Option<ByteSize>,
    /// The wall time.
    pub(crate) time: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub(crate) grace: Duration,
    /// How often the embedding program wants a sample.
    pub(crate) sample_every: Option<Duration>,
    /// Whether what members map is bounded between looks.
    pub(crate) leases: bool,
}

/// Something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The tree's memory as the sum over its members: an upper bound.
    Sum(Sum),
    /// The tree's memory with shared pages counted once.
    Exact {
        /// Shared pages counted once.
        bytes: ByteSize,
        /// The sum at the same moment.
        sum: Sum,
        /// What the measurement took.
        took: Duration,
    },
    /// The kernel killed a member of the group.
    KernelOom,
    /// The tree has used up its CPU time.
    CpuUsedUp,
    /// The tree made no progress above its soft limit.
    Stalled,
    /// The tree wanted a process more than it may have.
    TooManyProcesses,
    /// The machine has less available than is to stay free.
    Short(Shortage),
    /// The main process has ended.
    MainEnded,
    /// The embedding program asks to end the job.
    StopAsked,
    /// The embedding program asks to end the tree at once.
    KillAsked,
    /// The embedding program is gone.
    HostGone,
    /// The main process was stopped: its wall time stands still.
    MainStopped,
    /// It goes on.
    MainContinued,
    /// Nothing but time passed.
    Tick,
}

/// A look at every member. Pages that several members share count once for
/// each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Anonymous and swapped memory.
    pub(crate) private: ByteSize,
    /// Shared memory.
    pub(crate) shared: ByteSize,
    /// Processes that hold memory; one cannot count a page twice.
    pub(crate) members: usize,
    /// What members that joined since the last exact measurement held when
    /// they were first seen. Private pages come to be counted twice only by
    /// inheritance, which ends with the first write: a newcomer shares at most
    /// this.
    pub(crate) inherited: ByteSize,
    /// Two members hold exactly the same: they may be one address space
    /// (CLONE_VM), whose pages are all counted twice.
    pub(crate) twins: bool,
    /// Somebody has joined since the last look.
    pub(crate) newcomers: bool,
    /// What members held that have left since the last exact measurement. It
    /// may have been what others were counted twice with.
    pub(crate) departed: ByteSize,
    /// What members may have written since the last exact measurement, by their
    /// page faults, where that was asked for ([`Governor::wants_faults`]). A
    /// shared page that is written is a page of its own from then on, and the
    /// sum does not change.
    pub(crate) written: ByteSize,
    /// Mapped privately, writably and not touched yet.
    pub(crate) slack: ByteSize,
    /// The leases that are in force until the next look.
    pub(crate) leases: Option<Leases>,
}

/// Leases as they were given at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leases {
    /// What the member with the tightest lease may still map.
    pub(crate) room: ByteSize,
    /// All of them together allow no more than fits.
    pub(crate) fit: bool,
}

impl Sum {
    pub(crate) fn total(self) -> ByteSize {
        self.private.saturating_add(self.shared)
    }
}

/// What an exact measurement taught.
#[derive(Debug, Clone, Copy, Default)]
struct Learned {
    /// What the sum counted too much.
    twice: ByteSize,
    /// Shared memory in the sum, then.
    shared: ByteSize,
}

impl Learned {
    /// What the tree holds at the most: counted twice is what was, except for
    /// what has left or has been written since.
    fn at_most(&self, sum: Sum) -> ByteSize {
        let still_twice = self
            .twice
            .saturating_sub(sum.departed)
            .saturating_sub(sum.written);
        match sum.members {
            0 | 1 => sum.total(),
            _ => sum.total().saturating_sub(still_twice),
        }
    }

    /// What the tree holds at the least: counted twice are also what newcomers
    /// have inherited and shared memory that others may have mapped since.
    fn at_least(&self, sum: Sum) -> ByteSize {
        match sum.members {
            0 | 1 => sum.total(),
            _ if sum.twins => ByteSize::ZERO,
            _ => sum
                .total()
                .saturating_sub(self.twice)
                .saturating_sub(sum.inherited)
                .saturating_sub(sum.shared.saturating_sub(self.shared)),
        }
    }

    /// How much of the sum may be counted twice without our knowing.
    fn doubt(&self, sum: Sum) -> ByteSize {
        self.at_most(sum).saturating_sub(self.at_least(sum))
    }
}

/// What the keeper does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Wait for the next event.
    Wait,
    /// Measure the tree exactly, frozen where that is invisible.
    MeasureExactly,
    /// Ask the main process to end (SIGTERM).
    AskToEnd,
    /// End the tree now.
    EndTree,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Terminating { until: Duration },
    Ending,
}

/// The state of a run.
#[derive(Debug)]
pub(crate) struct Governor {
    rules: Rules,
    phase: Phase,
    cause: Option<Cause>,
    learned: Learned,
    /// Up to this much at the most, no further exact measurement is worth it.
    recheck_above: ByteSize,
    /// When the last exact measurement ended, and what it took.
    measured: Option<(Duration, Duration)>,
    /// The sum at the last look.
    last_total: ByteSize,
    next_look: Duration,
    /// The longest wait for now; doubles while nobody joins.
    calm: Duration,
    /// Since when the main process is stopped, if it is.
    stopped_at: Option<Duration>,
    /// How long it was stopped before.
    stopped_for: Duration,
}

impl Governor {
    pub(crate) fn new(rules: Rules) -> Governor {
        Governor {
            rules,
            phase: Phase::Running,
            cause: None,
            learned: Learned::default(),
            recheck_above: ByteSize::ZERO,
            measured: None,
            last_total: ByteSize::ZERO,
            next_look: Duration::ZERO,
            calm: RESTLESS,
            stopped_at: None,
            stopped_for: Duration::ZERO,
        }
    }

    /// Why the tree was ended by us, if it was.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// One step. `now` is the time since the job's start.
    pub(crate) fn on(&mut self, input: Input, now: Duration) -> Action {
        let action = match input {
            Input::Sum(sum) => self.on_sum(sum, now),
            Input::Exact { bytes, sum, took } => self.on_exact(bytes, sum, took, now),
            Input::KernelOom => self.end(Some(Cause::KernelOom)),
            Input::HostGone => self.end(Some(Cause::HostGone)),
            Input::CpuUsedUp => self.ask_to_end(Cause::CpuLimit, now),
            Input::Stalled => self.ask_to_end(Cause::Stalled, now),
            Input::TooManyProcesses => self.end(Some(Cause::ProcessLimit)),
            Input::Short(shortage) => self.end(Some(Cause::Reserve(shortage))),
            Input::MainEnded => self.end(None),
            Input::KillAsked => self.end(Some(Cause::StopAsked)),
            Input::StopAsked => self.ask_to_end(Cause::StopAsked, now),
            Input::MainStopped => {
                self.stopped_at.get_or_insert(now);
                Action::Wait
            }
            Input::MainContinued => {
                if let Some(since) = self.stopped_at.take() {
                    self.stopped_for += now.saturating_sub(since);
                }
                Action::Wait
            }
            Input::Tick => Action::Wait,
        };
        if action == Action::Wait {
            self.on_time(now)
        } else {
            action
        }
    }

    /// When [`Governor::on`] must be called again at the latest.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let time = match self.phase {
            Phase::Running if self.stopped_at.is_some() => None,
            Phase::Running => self.rules.time.map(|limit| limit + self.stopped_for),
            Phase::Terminating { until } => Some(until),
            Phase::Ending => return None,
        };
        let look = self.looks().then_some(self.next_look);
        [time, look].into_iter().flatten().min()
    }

    /// Whether a look at the tree's memory is due.
    pub(crate) fn look_is_due(&self, now: Duration) -> bool {
        self.looks() && self.phase != Phase::Ending && now >= self.next_look
    }

    /// What the tree holds, as far as is known from looks and measurements;
    /// `None` for a sum so large and so doubtful that it needs a measurement
    /// to be believed.
    pub(crate) fn believable(&self, sum: Sum) -> Option<ByteSize> {
        let Some(limit) = self.rules.sampled_limit else {
            return Some(sum.total());
        };
        let doubtful = self.learned.doubt(sum) > limit.percent(NEGLIGIBLE);
        let large = self.learned.at_most(sum) >= limit.percent(PREPARE_FROM);
        (!(doubtful && large)).then(|| self.learned.at_most(sum))
    }

    /// Whether the next sum needs to know what members have written: where it
    /// holds enough that is counted twice to hide a breach.
    pub(crate) fn wants_faults(&self, sum: Sum) -> bool {
        self.rules.sampled_limit.is_some_and(|limit| {
            self.learned.twice > ByteSize::ZERO && sum.total() >= limit.percent(PREPARE_FROM)
        })
    }

    /// What members may map in addition until the next look; `None` where
    /// nobody bounds that. Nothing during the grace: it is for ending.
    pub(crate) fn allowance(&self, sum: Sum) -> Option<ByteSize> {
        let limit = self.rules.sampled_limit.filter(|_| self.rules.leases)?;
        Some(match self.phase {
            Phase::Running => {
                let headroom = limit.saturating_sub(self.learned.at_most(sum));
                lease::allowance(headroom, sum.slack)
            }
            Phase::Terminating { .. } | Phase::Ending => ByteSize::ZERO,
        })
    }

    /// Whether everything that is mapped fits below the limit.
    pub(crate) fn slack_fits(&self, sum: Sum) -> bool {
        self.rules.sampled_limit.is_some_and(|limit| {
            let headroom = limit.saturating_sub(self.learned.at_most(sum));
            lease::slack_fits(headroom, sum.slack)
        })
    }

    fn looks(&self) -> bool {
        self.rules.sampled_limit.is_some() || self.rules.sample_every.is_some()
    }

    fn on_sum(&mut self, sum: Sum, now: Duration) -> Action {
        let wait = self.rules.sample_every.unwrap_or(LONGEST);
        let Some(limit) = self.rules.sampled_limit else {
            self.next_look = now + wait;
            return Action::Wait;
        };
        let headroom = limit.saturating_sub(self.learned.at_most(sum));
        self.calm = if sum.newcomers {
            RESTLESS
        } else {
            (self.calm * 2).min(LONGEST)
        };
        let wait = wait.min(time_to_next(headroom, sum.leases)).min(self.calm);
        self.next_look = now + wait.clamp(SHORTEST, LONGEST);
        if self.learned.at_least(sum) >= limit {
            return self.end(Some(Cause::Watchdog));
        }
        let growing = sum.total() > self.last_total;
        self.last_total = sum.total();
        if self.is_worth_measuring(sum, limit, growing, now) {
            return Action::MeasureExactly;
        }
        Action::Wait
    }

    /// Over the limit by a sum that may count pages twice, or on the way there
    /// without knowing how many.
    fn is_worth_measuring(&self, sum: Sum, limit: ByteSize, growing: bool, now: Duration) -> bool {
        let at_most = self.learned.at_most(sum);
        let over = at_most >= limit;
        let negligible = self.learned.doubt(sum) <= limit.percent(NEGLIGIBLE);
        if over && negligible && growing {
            // Certainty comes by itself, sooner than by a measurement.
            return false;
        }
        if over && at_most < self.recheck_above {
            return false;
        }
        if !over && negligible {
            return false;
        }
        let patience = match at_most {
            near if near >= limit.percent(PREPARE_FROM) => PATIENCE_NEAR,
            far if far >= limit.percent(LEARN_FROM) => PATIENCE_FAR,
            _ => return false,
        };
        self.measured
            .is_none_or(|(ended, took)| now >= ended + took * patience)
    }

    fn on_exact(&mut self, exact: ByteSize, sum: Sum, took: Duration, now: Duration) -> Action {
        self.learned = Learned {
            twice: sum.total().saturating_sub(exact),
            shared: sum.shared,
        };
        self.measured = Some((now, took));
        if self.rules.sampled_limit.is_some_and(|limit| exact >= limit) {
            return self.end(Some(Cause::Watchdog));
        }
        self.recheck_above = exact.saturating_add(RECHECK_STEP);
        Action::Wait
    }

    fn on_time(&mut self, now: Duration) -> Action {
        match self.phase {
            Phase::Running if self.time_is_over(now) => self.ask_to_end(Cause::TimeLimit, now),
            Phase::Terminating { until } if now >= until => self.end(self.cause),
            Phase::Running | Phase::Terminating { .. } | Phase::Ending => Action::Wait,
        }
    }

    /// Time in which the main process was stopped does not count.
    fn time_is_over(&self, now: Duration) -> bool {
        let not_counted = self.stopped_for + self.stopped_at.map_or(Duration::ZERO, |at| now - at);
        self.rules
            .time
            .is_some_and(|limit| now >= limit + not_counted)
    }

    fn ask_to_end(&mut self, cause: Cause, now: Duration) -> Action {
        if self.phase != Phase::Running {
            return Action::Wait;
        }
        self.cause = Some(cause);
        if self.rules.grace.is_zero() {
            return self.end(self.cause);
        }
        self.phase = Phase::Terminating {
            until: now + self.rules.grace,
        };
        Action::AskToEnd
    }

    /// The first cause stays: a job that ends during its grace was ended by
    /// what began the grace. Memory is the exception, it overrules patience.
    fn end(&mut self, cause: Option<Cause>) -> Action {
        if self.phase == Phase::Ending {
            return Action::Wait;
        }
        self.phase = Phase::Ending;
        if matches!(cause, Some(Cause::Watchdog | Cause::KernelOom)) || self.cause.is_none() {
            self.cause = cause;
        }
        Action::EndTree
    }
}

/// How long the next look can wait: until the tree could have filled the
/// headroom, or a member its lease, which is then raised in time. Leases that
/// fit hold the rest.
fn time_to_next(headroom: ByteSize, leases: Option<Leases>) -> Duration {
    match leases {
        Some(leases) if leases.fit => time_to_fill(headroom.min(leases.room)).max(BOUNDED),
        Some(leases) => time_to_fill(headroom.min(leases.room)),
        None => time_to_fill(headroom),
    }
}

/// How long a tree needs for `headroom` at the fastest.
pub(crate) fn time_to_fill(headroom: ByteSize) -> Duration {
    let micros = u128::from(headroom.bytes()) * 1_000_000 / u128::from(FILL_RATE.bytes());
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: ByteSize = ByteSize::from_mib(512);

    fn watchdog() -> Governor {
        Governor::new(Rules {
            sampled_limit: Some(LIMIT),
            time: None,
            grace: Duration::from_secs(2),
            sample_every: None,
            leases: false,
        })
    }

    fn look(mib: u64, members: usize) -> Sum {
        Sum {
            private: ByteSize::from_mib(mib),
            members,
            ..Sum::default()
        }
    }

    /// Everything the members hold may have been inherited.
    fn forked(mib: u64, members: usize) -> Sum {
        Sum {
            inherited: ByteSize::from_mib(mib),
            ..look(mib, members)
        }
    }

    fn sum(mib: u64, members: usize) -> Input {
        Input::Sum(look(mib, members))
    }

    fn exact(mib: u64, sum: Sum) -> Input {
        Input::Exact {
            bytes: ByteSize::from_mib(mib),
            sum,
            took: Duration::from_millis(1),
        }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn looks_come_closer_as_the_limit_does() {
        let mut governor = watchdog();
        let mut wait_after = |look: Sum| {
            assert_eq!(governor.on(Input::Sum(look), Duration::ZERO), Action::Wait);
            governor.wake_at().expect("a watchdog always looks again")
        };
        let newcomer = Sum {
            newcomers: true,
            ..look(0, 1)
        };
        assert_eq!(wait_after(newcomer), RESTLESS);
        assert_eq!(wait_after(look(0, 1)), 2 * RESTLESS);
        for _ in 0..6 {
            wait_after(look(0, 1));
        }
        assert_eq!(wait_after(look(0, 1)), Duration::from_micros(62_500));
        assert_eq!(wait_after(look(500, 1)), Duration::from_micros(1464));
        assert_eq!(wait_after(look(511, 1)), SHORTEST);
        assert_eq!(wait_after(newcomer), RESTLESS);
    }

    #[test]
    fn one_process_at_the_limit_is_ended_at_once() {
        let mut governor = watchdog();
        assert_eq!(governor.on(sum(512, 1), at(1)), Action::EndTree);
        assert_eq!(governor.cause(), Some(Cause::Watchdog));
        assert_eq!(governor.on(Input::MainEnded, at(2)), Action::Wait);
        assert_eq!(governor.wake_at(), None);
    }

    #[test]
    fn members_that_grew_by_themselves_need_no_measurement() {
        let mut governor = watchdog();
        assert_eq!(governor.on(sum(511, 4), at(1)), Action::Wait);
        assert_eq!(governor.on(sum(512, 4), at(2)), Action::EndTree);
    }

    #[test]
    fn inherited_pages_are_checked_once_and_remembered() {
        let mut governor = watchdog();
        assert_eq!(
            governor.on(Input::Sum(forked(800, 4)), at(1)),
            Action::MeasureExactly
        );
        assert_eq!(governor.on(exact(300, forked(800, 4)), at(2)), Action::Wait);
        // 500 MiB are known to be counted twice, and nobody has joined.
        assert_eq!(governor.on(sum(1011, 4), at(3)), Action::Wait);
        assert_eq!(governor.on(sum(1012, 4), at(4)), Action::EndTree);
    }

    /// 300 MiB and two forked children that have inherited all of it.
    fn known_to_share() -> Governor {
        let mut governor = watchdog();
        governor.on(exact(300, forked(900, 3)), at(1));
        assert_eq!(
            governor.believable(look(900, 3)),
            Some(ByteSize::from_mib(300))
        );
        governor
    }

    #[test]
    fn shared_pages_that_are_written_count_though_the_sum_stays() {
        let mut governor = known_to_share();
        assert!(governor.wants_faults(look(900, 3)));
        let after = |mib| Sum {
            written: ByteSize::from_mib(mib),
            ..look(900, 3)
        };
        assert_eq!(governor.on(Input::Sum(after(50)), at(10)), Action::Wait);
        let much = after(100);
        assert_eq!(
            governor.on(Input::Sum(much), at(20)),
            Action::MeasureExactly
        );
        assert_eq!(governor.on(exact(400, much), at(21)), Action::Wait);
        assert_eq!(
            governor.on(Input::Sum(after(112)), at(30)),
            Action::MeasureExactly
        );
        assert_eq!(governor.on(exact(512, after(112)), at(31)), Action::EndTree);
        // A tree that could not breach if every page were its own costs nothing.
        assert!(!known_to_share().wants_faults(look(380, 3)));
        assert!(!watchdog().wants_faults(look(900, 3)));
    }

    #[test]
    fn who_leaves_takes_along_what_was_counted_twice() {
        let mut governor = known_to_share();
        // One of the children has ended: 300 MiB are held, not none.
        let left = Sum {
            departed: ByteSize::from_mib(300),
            ..look(600, 2)
        };
        let grown = Sum {
            private: ByteSize::from_mib(812),
            ..left
        };
        assert_eq!(governor.believable(left), Some(ByteSize::from_mib(300)));
        assert_eq!(
            governor.on(Input::Sum(grown), at(20)),
            Action::MeasureExactly
        );
        assert_eq!(governor.on(exact(512, grown), at(21)), Action::EndTree);
    }

    #[test]
    fn leases_are_half_of_the_headroom_or_more_and_closed_during_the_grace() {
        let rules = Rules {
            leases: true,
            time: Some(at(100)),
            ..watchdog().rules
        };
        let mut governor = Governor::new(rules);
        let slack = |mib| Sum {
            slack: ByteSize::from_mib(mib),
            ..look(112, 1)
        };
        let mib = |mib| Some(ByteSize::from_mib(mib));
        assert_eq!(governor.allowance(slack(100)), mib(300));
        assert_eq!(governor.allowance(slack(1000)), mib(200));
        assert!(governor.slack_fits(slack(200)) && !governor.slack_fits(slack(201)));
        assert_eq!(governor.on(Input::Tick, at(100)), Action::AskToEnd);
        assert_eq!(governor.allowance(slack(0)), mib(0));
        assert_eq!(watchdog().allowance(slack(0)), None);
    }

    #[test]
    fn a_grace_ends_at_the_limit() {
        let mut governor = watchdog();
        assert_eq!(governor.on(Input::StopAsked, at(1)), Action::AskToEnd);
        assert_eq!(governor.on(sum(511, 1), at(2)), Action::Wait);
        assert_eq!(governor.on(sum(512, 1), at(3)), Action::EndTree);
        assert_eq!(governor.cause(), Some(Cause::Watchdog));
    }

    #[test]
    fn the_clock_knows_leases() {
        let near = ByteSize::from_mib(4);
        let leases = |room, fit| Some(Leases { room, fit });
        let gib = ByteSize::from_gib(1);
        assert_eq!(time_to_next(near, None), time_to_fill(near));
        assert_eq!(time_to_next(near, leases(near, false)), time_to_fill(near));
        assert_eq!(time_to_next(near, leases(near, true)), BOUNDED);
        // A member with a tight lease gets more before it is refused.
        assert_eq!(time_to_next(gib, leases(near, false)), time_to_fill(near));
    }

    proptest! {
        /// One process that obeys its lease and grows as fast as it can: at
        /// every look it has mapped what it was given and touched all it has
        /// mapped. It never holds more than the limit.
        #[test]
        fn who_touches_what_a_lease_allows_never_breaches(
            shares in proptest::collection::vec((0u64..=100, 0u64..=100), 1..60),
        ) {
            let rules = Rules { leases: true, ..watchdog().rules };
            let mut governor = Governor::new(rules);
            let (mut mapped, mut touched, mut now) = (0u64, 0u64, Duration::ZERO);
            for (takes, touches) in shares {
                let sum = Sum {
                    private: ByteSize::from_bytes(touched),
                    slack: ByteSize::from_bytes(mapped - touched),
                    members: 1,
                    ..Sum::default()
                };
                let fits = governor.slack_fits(sum);
                let allowance = governor.allowance(sum).expect("leases are on");
                if governor.on(Input::Sum(sum), now) == Action::EndTree {
                    break;
                }
                now = governor.wake_at().expect("looks again");
                mapped += allowance.bytes() * takes / 100;
                if fits {
                    // The kernel alone holds this step, however late the look.
                    prop_assert!(mapped <= LIMIT.bytes());
                }
                touched += (mapped - touched) * touches / 100;
            }
        }

        /// Without leases, a tree that grows at [`FILL_RATE`] at the most is
        /// over by what it fills in the shortest wait, as far as looks come
        /// when they are due.
        #[test]
        fn overshoot_is_what_the_shortest_wait_fills(
            rates in proptest::collection::vec(0u64..=100, 200..1200),
        ) {
            let mut governor = watchdog();
            let (mut held, mut now) = (0u64, Duration::ZERO);
            let filled = |wait: Duration, percent: u64| {
                let full = u128::from(FILL_RATE.bytes()) * wait.as_micros() / 1_000_000;
                u64::try_from(full).expect("small") * percent / 100
            };
            for rate in rates {
                let sum = Sum {
                    private: ByteSize::from_bytes(held),
                    members: 1,
                    ..Sum::default()
                };
                if governor.on(Input::Sum(sum), now) == Action::EndTree {
                    break;
                }
                let due = governor.wake_at().expect("looks again");
                held += filled(due - now, rate);
                now = due;
                prop_assert!(held <= LIMIT.bytes() + filled(SHORTEST, 100));
            }
        }
    }

    #[test]
    fn what_is_counted_twice_is_learned_before_the_limit() {
        let mut governor = watchdog();
        assert_eq!(governor.on(Input::Sum(forked(127, 4)), at(1)), Action::Wait);
        assert_eq!(
            governor.on(Input::Sum(forked(128, 4)), at(2)),
            Action::MeasureExactly
        );
        assert_eq!(governor.on(exact(124, forked(128, 4)), at(3)), Action::Wait);
        assert_eq!(governor.on(sum(515, 4), at(4)), Action::Wait);
        assert_eq!(governor.on(sum(516, 4), at(5)), Action::EndTree);
    }

    #[test]
    fn newcomers_bring_doubt_by_what_they_may_share() {
        let mut governor = watchdog();
        governor.on(exact(300, look(300, 4)), at(1));
        let little = Sum {
            inherited: ByteSize::from_mib(4),
            ..look(512, 5)
        };
        // Still growing: it will be certain in a moment. Steady: measured.
        assert_eq!(governor.on(Input::Sum(little), at(5)), Action::Wait);
        assert_eq!(
            governor.on(Input::Sum(little), at(6)),
            Action::MeasureExactly
        );
        let mut governor = watchdog();
        let over = Sum {
            inherited: ByteSize::from_mib(4),
            ..look(516, 5)
        };
        assert_eq!(governor.on(Input::Sum(over), at(5)), Action::EndTree);
    }

    #[test]
    fn measurements_keep_their_distance() {
        let mut governor = watchdog();
        governor.on(exact(300, look(300, 4)), at(1));
        // Measured a moment ago: patience first, more of it far from the limit.
        assert_eq!(
            governor.on(Input::Sum(forked(200, 5)), at(40)),
            Action::Wait
        );
        assert_eq!(
            governor.on(Input::Sum(forked(200, 5)), at(51)),
            Action::MeasureExactly
        );
        let mut governor = watchdog();
        governor.on(exact(300, look(300, 4)), at(1));
        assert_eq!(governor.on(Input::Sum(forked(600, 5)), at(4)), Action::Wait);
        assert_eq!(
            governor.on(Input::Sum(forked(600, 5)), at(5)),
            Action::MeasureExactly
        );
    }

    #[test]
    fn one_address_space_seen_twice_is_not_believed() {
        let mut governor = watchdog();
        let twins = Sum {
            twins: true,
            ..look(600, 2)
        };
        assert_eq!(
            governor.on(Input::Sum(twins), at(1)),
            Action::MeasureExactly
        );
        assert_eq!(governor.on(exact(300, twins), at(2)), Action::Wait);
    }

    #[test]
    fn growing_shared_memory_is_measured_not_believed() {
        let mut governor = watchdog();
        let shared = |mib| Sum {
            shared: ByteSize::from_mib(mib),
            ..look(100, 4)
        };
        governor.on(exact(200, shared(100)), at(1));
        assert_eq!(
            governor.on(Input::Sum(shared(600)), at(9)),
            Action::MeasureExactly
        );
        assert_eq!(governor.on(exact(250, shared(600)), at(9)), Action::Wait);
    }

    #[test]
    fn time_limit_asks_then_ends() {
        let mut governor = Governor::new(Rules {
            time: Some(at(100)),
            sampled_limit: None,
            ..watchdog().rules
        });
        assert_eq!(governor.wake_at(), Some(at(100)));
        assert_eq!(governor.on(Input::Tick, at(99)), Action::Wait);
        assert_eq!(governor.on(Input::Tick, at(100)), Action::AskToEnd);
        assert_eq!(governor.wake_at(), Some(at(2100)));
        assert_eq!(governor.on(Input::Tick, at(2100)), Action::EndTree);
        assert_eq!(governor.cause(), Some(Cause::TimeLimit));
    }

    #[test]
    fn time_stands_still_while_the_main_process_is_stopped() {
        let rules = Rules {
            time: Some(at(100)),
            sampled_limit: None,
            ..watchdog().rules
        };
        let mut governor = Governor::new(rules);
        assert_eq!(governor.on(Input::MainStopped, at(60)), Action::Wait);
        // Told twice, as by SIGTSTP on SIGSTOP.
        assert_eq!(governor.on(Input::MainStopped, at(80)), Action::Wait);
        assert_eq!(governor.wake_at(), None);
        assert_eq!(governor.on(Input::Tick, at(5000)), Action::Wait);
        assert_eq!(governor.on(Input::MainContinued, at(6060)), Action::Wait);
        assert_eq!(governor.wake_at(), Some(at(6100)));
        assert_eq!(governor.on(Input::Tick, at(6099)), Action::Wait);
        assert_eq!(governor.on(Input::Tick, at(6100)), Action::AskToEnd);
    }

    #[test]
    fn the_first_cause_stays_but_memory_overrules() {
        let started = || {
            let mut governor = watchdog();
            assert_eq!(governor.on(Input::StopAsked, at(1)), Action::AskToEnd);
            governor
        };
        let mut obedient = started();
        assert_eq!(obedient.on(Input::MainEnded, at(2)), Action::EndTree);
        assert_eq!(obedient.cause(), Some(Cause::StopAsked));
        let mut greedy = started();
        assert_eq!(greedy.on(sum(600, 1), at(2)), Action::EndTree);
        assert_eq!(greedy.cause(), Some(Cause::Watchdog));
    }

    #[test]
    fn a_kernel_limit_needs_no_looks() {
        let rules = Rules {
            sampled_limit: None,
            ..watchdog().rules
        };
        let mut governor = Governor::new(rules);
        assert_eq!(governor.wake_at(), None);
        assert!(!governor.look_is_due(at(1000)));
        assert_eq!(governor.on(Input::KernelOom, at(1)), Action::EndTree);
    }
}
