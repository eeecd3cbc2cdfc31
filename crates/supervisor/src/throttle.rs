//! Holds a tree back above its soft limit, without I/O: what was seen in, one
//! step out.
//!
//! Either the kernel does it (`memory.high`) and here is only watched whether
//! the tree still gets anywhere, or the tree is frozen for a part of every
//! [`PERIOD`], the larger the nearer it is to its limit. Neither may go on for
//! ever: a tree that cannot give memory back would stand still, so after the
//! deadline the throttle is lifted or the tree is ended.
//!
//! ```text
//!            above soft                 deadline over
//!   Running ───────────► Frozen(until) ───────────────► Lifted, or Stalled
//!      ▲                     │
//!      └──── until is over ──┘
//! ```

use std::time::Duration;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

/// One freeze and one thaw.
const PERIOD: Duration = Duration::from_millis(100);
/// How much of a period a tree just above its soft limit is frozen, and how
/// much one at its limit, in percent. Never all of it: it must be able to end.
const LEAST: u64 = 20;
const MOST: u64 = 80;
/// How often it is asked whether a tree at `memory.high` gets anywhere.
const LOOK: Duration = Duration::from_millis(500);
/// A tree at `memory.high` that has waited for memory for this share of an
/// interval stands still, in percent.
const STANDSTILL: u32 = 50;
/// The kernel holds a tree a little below `memory.high`, in percent of it.
const NEAR: u32 = 98;
/// How long a tree may stand still before it is let go, unless
/// [`Rules::stall`] says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// When a freeze that could not be ended is tried to be ended again.
const RETRY: Duration = Duration::from_millis(5);

/// Who holds the tree back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ThrottleBy {
    /// The kernel, by `memory.high` of the leaf.
    MemoryHigh,
    /// The keeper, by freezing the directory.
    Freezes,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) soft: ByteSize,
    pub(crate) limit: ByteSize,
    pub(crate) by: ThrottleBy,
    /// After so long without progress the tree is ended; `None`: it is let go
    /// after [`PATIENCE`].
    pub(crate) stall: Option<Duration>,
}

/// A look at the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What counts against the soft limit.
    pub(crate) current: ByteSize,
    /// How long all of the tree has waited for memory, in total; `None` where
    /// the kernel does not tell.
    pub(crate) waited: Option<Duration>,
}

/// What the keeper does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    Freeze,
    Thaw,
    /// Let the tree go for good.
    Lift,
    /// Let it go and end it.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Frozen { until: Duration },
    Over,
}

/// The throttle of one run.
#[derive(Debug)]
pub(crate) struct Throttle {
    rules: Rules,
    state: State,
    next_look: Duration,
    /// Since when the tree has not got anywhere.
    stalled_since: Option<Duration>,
    last: Option<(Duration, Seen)>,
}

impl Throttle {
    pub(crate) fn new(rules: Rules) -> Throttle {
        Throttle {
            rules,
            state: State::Running,
            next_look: Duration::ZERO,
            stalled_since: None,
            last: None,
        }
    }

    /// When [`Throttle::on`] must be called, as time since the job's start;
    /// `None`: never again.
    pub(crate) fn next_look(&self) -> Option<Duration> {
        (self.state != State::Over).then_some(self.next_look)
    }

    /// One step.
    pub(crate) fn on(&mut self, seen: Seen, now: Duration) -> Step {
        let step = match (self.state, self.rules.by) {
            (State::Over, _) => Step::Nothing,
            (State::Frozen { until }, _) if now < until => Step::Nothing,
            (State::Frozen { .. }, _) => self.thaw(seen, now),
            (State::Running, ThrottleBy::Freezes) => self.run_or_freeze(seen, now),
            (State::Running, ThrottleBy::MemoryHigh) => self.watch_kernel(seen, now),
        };
        self.last = Some((now, seen));
        step
    }

    /// The tree is asked to end: it is not held back any more.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Over;
    }

    /// A [`Step::Thaw`] failed: it is asked for again.
    pub(crate) fn thaw_failed(&mut self, now: Duration) {
        let until = now + RETRY;
        self.state = State::Frozen { until };
        self.next_look = until;
    }

    fn thaw(&mut self, seen: Seen, now: Duration) -> Step {
        self.state = State::Running;
        self.next_look = now + PERIOD - self.share(seen.current);
        Step::Thaw
    }

    fn run_or_freeze(&mut self, seen: Seen, now: Duration) -> Step {
        self.next_look = now + PERIOD;
        if seen.current <= self.rules.soft {
            self.stalled_since = None;
            return Step::Nothing;
        }
        let since = *self.stalled_since.get_or_insert(now);
        if let Some(end) = self.deadline_over(since, now) {
            return end;
        }
        let until = now + self.share(seen.current);
        self.state = State::Frozen { until };
        self.next_look = until;
        Step::Freeze
    }

    fn watch_kernel(&mut self, seen: Seen, now: Duration) -> Step {
        self.next_look = now + LOOK;
        let Some((before, last)) = self.last else {
            return Step::Nothing;
        };
        let interval = now.saturating_sub(before);
        let stands_still = match seen.waited.zip(last.waited) {
            Some((waited, earlier)) => {
                waited.saturating_sub(earlier) * 100 >= interval * STANDSTILL
            }
            // Without pressure information, being at the soft limit must do.
            None => true,
        };
        if !stands_still || seen.current < self.rules.soft.percent(NEAR) {
            self.stalled_since = None;
            return Step::Nothing;
        }
        let since = *self.stalled_since.get_or_insert(before);
        self.deadline_over(since, now).unwrap_or(Step::Nothing)
    }

    fn deadline_over(&mut self, since: Duration, now: Duration) -> Option<Step> {
        let patience = self.rules.stall.unwrap_or(PATIENCE);
        if now.saturating_sub(since) < patience {
            return None;
        }
        self.state = State::Over;
        Some(match self.rules.stall {
            Some(_) => Step::End,
            None => Step::Lift,
        })
    }

    /// How long to freeze in a period.
    fn share(&self, current: ByteSize) -> Duration {
        let range = self.rules.limit.saturating_sub(self.rules.soft).bytes();
        let above = current.saturating_sub(self.rules.soft).bytes().min(range);
        let extra = u128::from(above) * u128::from(MOST - LEAST) / u128::from(range.max(1));
        let percent = LEAST + u64::try_from(extra).unwrap_or(0);
        PERIOD * u32::try_from(percent).unwrap_or(0) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(by: ThrottleBy, stall: Option<Duration>) -> Rules {
        Rules {
            soft: ByteSize::from_mib(100),
            limit: ByteSize::from_mib(200),
            by,
            stall,
        }
    }

    fn seen(mib: u64, waited: Option<u64>) -> Seen {
        Seen {
            current: ByteSize::from_mib(mib),
            waited: waited.map(Duration::from_millis),
        }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_tree_is_frozen_the_longer_the_nearer_it_is_to_its_limit() {
        let frozen_for = |mib| {
            let mut throttle = Throttle::new(rules(ThrottleBy::Freezes, None));
            match throttle.on(seen(mib, None), ms(10)) {
                Step::Freeze => throttle.next_look().map(|until| until - ms(10)),
                _ => None,
            }
        };
        let cases = [
            (99, None),
            (100, None),
            (101, Some(20)),
            (150, Some(50)),
            (200, Some(80)),
            (999, Some(80)),
        ];
        for (mib, millis) in cases {
            assert_eq!(frozen_for(mib), millis.map(ms), "{mib}");
        }
    }

    #[test]
    fn every_freeze_ends_at_its_time_and_is_followed_by_a_run() {
        let mut throttle = Throttle::new(rules(ThrottleBy::Freezes, None));
        let high = seen(150, None);
        assert_eq!(throttle.on(high, ms(0)), Step::Freeze);
        assert_eq!(throttle.on(high, ms(49)), Step::Nothing);
        assert_eq!(throttle.on(high, ms(50)), Step::Thaw);
        assert_eq!(throttle.next_look(), Some(ms(100)));
        assert_eq!(throttle.on(high, ms(100)), Step::Freeze);
        // The keeper was late.
        assert_eq!(throttle.on(high, ms(900)), Step::Thaw);
        assert_eq!(throttle.next_look(), Some(ms(950)));
        // A thaw that failed is tried again, whatever the size is by then.
        throttle.thaw_failed(ms(900));
        assert_eq!(throttle.next_look(), Some(ms(905)));
        assert_eq!(throttle.on(seen(1, None), ms(905)), Step::Thaw);
    }

    /// Runs to the end: when it came, and what it was.
    fn outlast(throttle: &mut Throttle, size: impl Fn(u64) -> Seen) -> Option<(u64, Step)> {
        for _ in 0..10_000 {
            let now = throttle.next_look()?;
            let millis = u64::try_from(now.as_millis()).ok()?;
            match throttle.on(size(millis), now) {
                Step::Nothing | Step::Freeze | Step::Thaw => {}
                end @ (Step::Lift | Step::End) => {
                    assert_eq!(throttle.next_look(), None);
                    return Some((millis, end));
                }
            }
        }
        None
    }

    #[test]
    fn nobody_is_held_back_for_ever() {
        let freezes = |stall, size: fn(u64) -> Seen| {
            outlast(&mut Throttle::new(rules(ThrottleBy::Freezes, stall)), size)
        };
        let above = |_| seen(150, None);
        assert_eq!(freezes(None, above), Some((60_000, Step::Lift)));
        assert_eq!(freezes(Some(ms(1000)), above), Some((1000, Step::End)));
        // One that falls below now and then gets on.
        let breathing = |millis: u64| seen(if millis % 1000 < 200 { 90 } else { 150 }, None);
        assert_eq!(freezes(Some(ms(5000)), breathing), None);

        let kernel = |stall, size: fn(u64) -> Seen| {
            outlast(
                &mut Throttle::new(rules(ThrottleBy::MemoryHigh, stall)),
                size,
            )
        };
        assert_eq!(
            kernel(None, |now| seen(100, Some(now))),
            Some((60_000, Step::Lift))
        );
        assert_eq!(
            kernel(Some(ms(2000)), |now| seen(100, Some(now / 2))),
            Some((2000, Step::End))
        );
        // It waits a little and works more; it waits, but for another limit.
        assert_eq!(kernel(Some(ms(2000)), |now| seen(100, Some(now / 4))), None);
        assert_eq!(kernel(Some(ms(2000)), |now| seen(50, Some(now))), None);
        // Nobody tells how long it has waited.
        assert_eq!(
            kernel(Some(ms(2000)), |_| seen(100, None)),
            Some((2000, Step::End))
        );
    }
}
