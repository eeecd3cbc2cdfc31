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
/// Looks are never rarer.
const LONGEST: Duration = Duration::from_millis(250);
/// After a check that found pages counted twice, growth of this much brings
/// the next check, however often the sum of the members is over the limit.
const RECHECK_STEP: ByteSize = ByteSize::from_mib(4);

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
    Sum {
        /// The sum.
        bytes: ByteSize,
        /// Processes it was taken over; one cannot count a page twice.
        members: usize,
    },
    /// The tree's memory with shared pages counted once, and the sum it
    /// belongs to.
    Exact {
        /// Shared pages counted once.
        bytes: ByteSize,
        /// The sum at the same moment.
        sum: ByteSize,
    },
    /// The kernel killed a member of the group.
    KernelOom,
    /// The main process has ended.
    MainEnded,
    /// The embedding program asks to end the job.
    StopAsked,
    /// The embedding program is gone.
    HostGone,
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
    /// What the sum counts too much, as last measured.
    counted_twice: ByteSize,
    /// The sum below which no further exact measurement is worth it.
    recheck_above: ByteSize,
    next_look: Duration,
}

impl Governor {
    pub(crate) fn new(rules: Rules) -> Governor {
        Governor {
            rules,
            phase: Phase::Running,
            cause: None,
            counted_twice: ByteSize::ZERO,
            recheck_above: ByteSize::ZERO,
            next_look: Duration::ZERO,
        }
    }

    /// Why the tree was ended by us, if it was.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// One step. `now` is the time since the job's start.
    pub(crate) fn on(&mut self, input: Input, now: Duration) -> Action {
        let action = match input {
            Input::Sum { bytes, members } => self.on_sum(bytes, members, now),
            Input::Exact { bytes, sum } => self.on_exact(bytes, sum),
            Input::KernelOom => self.end(Some(Cause::KernelOom)),
            Input::HostGone => self.end(Some(Cause::HostGone)),
            Input::MainEnded => self.end(None),
            Input::StopAsked => self.ask_to_end(Cause::StopAsked, now),
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
            Phase::Running => self.rules.time,
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

    fn looks(&self) -> bool {
        self.rules.sampled_limit.is_some() || self.rules.sample_every.is_some()
    }

    fn on_sum(&mut self, sum: ByteSize, members: usize, now: Duration) -> Action {
        let mut wait = self.rules.sample_every.unwrap_or(LONGEST);
        let Some(limit) = self.rules.sampled_limit else {
            self.next_look = now + wait;
            return Action::Wait;
        };
        let counted_twice = if members <= 1 {
            ByteSize::ZERO
        } else {
            self.counted_twice
        };
        let estimate = sum.saturating_sub(counted_twice);
        if estimate >= limit {
            self.next_look = now + SHORTEST;
            return match members {
                0 | 1 => self.end(Some(Cause::Watchdog)),
                _ if sum >= self.recheck_above => Action::MeasureExactly,
                _ => Action::Wait,
            };
        }
        wait = wait.min(time_to_fill(limit.saturating_sub(estimate)));
        self.next_look = now + wait.clamp(SHORTEST, LONGEST);
        Action::Wait
    }

    fn on_exact(&mut self, exact: ByteSize, sum: ByteSize) -> Action {
        self.counted_twice = sum.saturating_sub(exact);
        if self.rules.sampled_limit.is_some_and(|limit| exact >= limit) {
            return self.end(Some(Cause::Watchdog));
        }
        self.recheck_above = sum.saturating_add(RECHECK_STEP);
        Action::Wait
    }

    fn on_time(&mut self, now: Duration) -> Action {
        match self.phase {
            Phase::Running if self.rules.time.is_some_and(|limit| now >= limit) => {
                self.ask_to_end(Cause::TimeLimit, now)
            }
            Phase::Terminating { until } if now >= until => self.end(self.cause),
            Phase::Running | Phase::Terminating { .. } | Phase::Ending => Action::Wait,
        }
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

    fn sum(mib: u64, members: usize) -> Input {
        Input::Sum {
            bytes: ByteSize::from_mib(mib),
            members,
        }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn looks_come_closer_as_the_limit_does() {
        let mut governor = watchdog();
        let mut wait_after = |mib| {
            assert_eq!(governor.on(sum(mib, 1), Duration::ZERO), Action::Wait);
            governor.wake_at().expect("a watchdog always looks again")
        };
        assert_eq!(wait_after(0), Duration::from_micros(62_500));
        assert_eq!(wait_after(500), Duration::from_micros(1464));
        assert_eq!(wait_after(511), SHORTEST);
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
    fn shared_pages_are_checked_once_and_remembered() {
        let mut governor = watchdog();
        assert_eq!(governor.on(sum(800, 4), at(1)), Action::MeasureExactly);
        let exact = Input::Exact {
            bytes: ByteSize::from_mib(300),
            sum: ByteSize::from_mib(800),
        };
        assert_eq!(governor.on(exact, at(1)), Action::Wait);
        // 500 MiB are known to be counted twice.
        assert_eq!(governor.on(sum(900, 4), at(2)), Action::Wait);
        assert_eq!(governor.on(sum(1012, 4), at(3)), Action::MeasureExactly);
        let exact = Input::Exact {
            bytes: ByteSize::from_mib(512),
            sum: ByteSize::from_mib(1012),
        };
        assert_eq!(governor.on(exact, at(3)), Action::EndTree);
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
