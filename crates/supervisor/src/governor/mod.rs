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
mod measuring;
mod sum;

use std::time::Duration;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use self::clock::{RESTLESS, SHORTEST, time_to_ask, time_to_next};
use self::measuring::{Depth, Measuring, NEGLIGIBLE, PREPARE_FROM};
use self::sum::Learned;
use crate::evidence::{Cause, Reached, Shortage};
use crate::lease;

pub(crate) use self::clock::{LONGEST, shortest_of, time_to_fill};
pub(crate) use self::measuring::Measured;
pub(crate) use self::sum::{Leases, Share, Sum};

/// What the governor has to hold.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Input {
    /// The tree's memory as the sum over its members: an upper bound.
    Sum(Sum),
    /// Bounds of the tree's memory, shared pages counted once.
    Bounds(Measured),
    /// The tree's memory with shared pages counted once: both bounds are equal, unless a
    /// member may not be looked into.
    Exact(Measured),
    /// The kernel killed a member of the group.
    KernelOom,
    /// The tree has used up its CPU time.
    CpuUsedUp,
    /// The tree made no progress above its soft limit.
    Stalled,
    /// The tree wanted a process more than it may have.
    TooManyProcesses,
    /// Nothing holds the limit any more.
    LimitLost,
    /// The machine has less available than is to stay free.
    Short(Shortage),
    /// The members of a budget hold its total, and it is this one's turn to go.
    BudgetReached(Reached),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Wait for the next event.
    Wait,
    /// Find out quickly what the tree holds at the least and at the most.
    MeasureBounds,
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
    measuring: Measuring,
    /// What the other members of a budget leave to this tree.
    left_by_others: ByteSize,
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
            measuring: Measuring::default(),
            left_by_others: ByteSize::MAX,
            next_look: Duration::ZERO,
            calm: RESTLESS,
            stopped_at: None,
            stopped_for: Duration::ZERO,
        }
    }

    /// What it has to hold.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Why the tree was ended by us, if it was.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// One step. `now` is the time since the job's start.
    pub(crate) fn on(&mut self, input: Input, now: Duration) -> Action {
        let action = match input {
            Input::Sum(sum) => self.on_sum(sum, now),
            Input::Bounds(measured) => {
                let narrowed = self.with_what_was_known(measured);
                self.on_measured(Depth::Bounds, narrowed, now)
            }
            Input::Exact(measured) => self.on_measured(Depth::Exact, measured, now),
            Input::KernelOom => self.end(Some(Cause::KernelOom)),
            Input::HostGone => self.end(Some(Cause::HostGone)),
            Input::CpuUsedUp => self.ask_to_end(Cause::CpuLimit, now),
            Input::Stalled => self.ask_to_end(Cause::Stalled, now),
            Input::TooManyProcesses => self.end(Some(Cause::ProcessLimit)),
            Input::LimitLost => self.end(Some(Cause::LimitLost)),
            Input::Short(shortage) => self.end(Some(Cause::Reserve(shortage))),
            Input::BudgetReached(reached) => self.end(Some(Cause::Budget(reached))),
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

    /// Has the tree looked at as soon as possible.
    pub(crate) fn look_soon(&mut self) {
        self.next_look = Duration::ZERO;
    }

    /// What the tree holds at the least, and at the most.
    pub(crate) fn bounds(&self, sum: Sum) -> (ByteSize, ByteSize) {
        (self.learned.at_least(sum), self.learned.at_most(sum))
    }

    /// What the tree can hold: its limit, or what is left to it of a budget.
    fn room(&self) -> Option<ByteSize> {
        let limit = self.rules.sampled_limit?;
        Some(limit.min(self.left_by_others))
    }

    /// What the tree holds, as far as is known. Where that is doubtful, no more
    /// than is certain or was at its `peak`; a measurement follows then.
    pub(crate) fn believable(&self, sum: Sum, peak: ByteSize) -> ByteSize {
        let Some(limit) = self.room() else {
            return sum.total();
        };
        let at_most = self.learned.at_most(sum);
        if self.learned.doubt(sum) > limit.percent(NEGLIGIBLE) {
            self.learned.at_least(sum).max(at_most.min(peak))
        } else {
            at_most
        }
    }

    /// Whether the next sum needs to know what members have written: where it
    /// holds enough that is counted twice to hide a breach.
    pub(crate) fn wants_faults(&self, sum: Sum) -> bool {
        self.room().is_some_and(|limit| {
            self.learned.knows_of_any() && sum.total() >= limit.percent(PREPARE_FROM)
        })
    }

    /// What members may map in addition until the next look; `None` where
    /// nobody bounds that. Nothing during the grace: it is for ending.
    pub(crate) fn allowance(&self, sum: Sum) -> Option<ByteSize> {
        let limit = self.room().filter(|_| self.rules.leases)?;
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
        self.room().is_some_and(|limit| {
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
        if let Some(share) = sum.share {
            self.left_by_others = share.leaves;
        }
        let room = limit.min(self.left_by_others);
        let headroom = limit.saturating_sub(self.learned.at_most(sum));
        self.calm = if sum.newcomers {
            RESTLESS
        } else {
            (self.calm * 2).min(LONGEST)
        };
        let wait = wait
            .min(time_to_next(headroom, sum.leases))
            .min(sum.share.map_or(LONGEST, time_to_ask))
            .min(self.calm);
        self.next_look = now + wait.clamp(SHORTEST, LONGEST);
        if self.learned.at_least(sum) >= limit {
            return self.end(Some(Cause::Watchdog));
        }
        if let Some(reached) = sum.share.and_then(|share| share.goes) {
            return self.end(Some(Cause::Budget(reached)));
        }
        let depth = self.measuring.after_look(&self.learned, sum, room, now);
        measure(depth)
    }

    /// What was known before a measurement is true as well.
    fn with_what_was_known(&self, measured: Measured) -> Measured {
        let Measured { sum, .. } = measured;
        let least = measured.least.max(self.learned.at_least(sum));
        let least = least.min(sum.total());
        let most = measured.most.min(self.learned.at_most(sum)).max(least);
        Measured {
            least,
            most,
            ..measured
        }
    }

    fn on_measured(&mut self, depth: Depth, measured: Measured, now: Duration) -> Action {
        let suspected = self.learned.at_most(measured.sum);
        self.learned = measured.teaches();
        let Some(limit) = self.rules.sampled_limit else {
            return Action::Wait;
        };
        if measured.least >= limit {
            return self.end(Some(Cause::Watchdog));
        }
        let room = limit.min(self.left_by_others);
        measure(
            self.measuring
                .after_measurement(depth, measured, suspected, room, now),
        )
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

fn measure(depth: Option<Depth>) -> Action {
    match depth {
        None => Action::Wait,
        Some(Depth::Bounds) => Action::MeasureBounds,
        Some(Depth::Exact) => Action::MeasureExactly,
    }
}

#[cfg(test)]
mod replay;
#[cfg(test)]
mod tests;
