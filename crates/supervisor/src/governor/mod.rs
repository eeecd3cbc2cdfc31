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
//! `sum` says what may be believed of a look, `clock` when to look again.

mod clock;
mod sum;

use std::time::Duration;

use memcap_linux::ByteSize;

use self::clock::{LONGEST, RESTLESS, SHORTEST, time_to_next};
use self::sum::Learned;
use crate::evidence::{Cause, Shortage};
use crate::lease;

pub(crate) use self::clock::time_to_fill;
pub(crate) use self::sum::{Leases, Sum};

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

#[cfg(test)]
mod tests;
