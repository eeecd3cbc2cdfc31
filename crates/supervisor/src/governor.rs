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

use crate::evidence::Cause;

/// How fast a tree may be taken to grow, per second. One thread touches fresh
/// pages at 0.3-2.7 GiB/s, 4.6 GiB/s with huge pages (measured); several
/// threads share the memory bus.
const FILL_RATE: ByteSize = ByteSize::from_gib(8);
/// Looks are never closer: below this the look itself is what costs.
const SHORTEST: Duration = Duration::from_micros(500);
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
    /// The main process has ended.
    MainEnded,
    /// The embedding program asks to end the job.
    StopAsked,
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
    /// How much of the sum may be counted twice without our knowing: what
    /// newcomers have inherited, and shared memory that others may have mapped
    /// since.
    fn doubt(&self, sum: Sum) -> ByteSize {
        match sum.members {
            0 | 1 => ByteSize::ZERO,
            _ if sum.twins => sum.total(),
            _ => sum
                .inherited
                .saturating_add(sum.shared.saturating_sub(self.shared)),
        }
    }

    /// What the tree holds if nothing more is counted twice than was.
    fn at_most(&self, sum: Sum) -> ByteSize {
        match sum.members {
            0 | 1 => sum.total(),
            _ => sum.total().saturating_sub(self.twice),
        }
    }

    /// What the tree holds at the least.
    fn at_least(&self, sum: Sum) -> ByteSize {
        self.at_most(sum).saturating_sub(self.doubt(sum))
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
    /// The sum below which no further exact measurement is worth it.
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
            Input::MainEnded => self.end(None),
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
        let wait = wait.min(time_to_fill(headroom)).min(self.calm);
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
        if over && sum.total() < self.recheck_above {
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
        self.recheck_above = sum.total().saturating_add(RECHECK_STEP);
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

/// How long a tree needs for `headroom` at the fastest.
fn time_to_fill(headroom: ByteSize) -> Duration {
    let micros = u128::from(headroom.bytes()) * 1_000_000 / u128::from(FILL_RATE.bytes());
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: ByteSize = ByteSize::from_mib(512);

    fn watchdog() -> Governor {
        Governor::new(Rules {
            sampled_limit: Some(LIMIT),
            time: None,
            grace: Duration::from_secs(2),
            sample_every: None,
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
