//! How long the watchdog was kept from looking: by a busy machine, or by somebody who
//! has halted the keeper. Reads no clocks.

use std::time::Duration;

/// A point in time: since the job's start, and what the keeper had used of a processor.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stamp {
    pub(super) now: Duration,
    pub(super) used: Duration,
}

/// What the loop did last, and the worst of it.
#[derive(Debug, Default)]
pub(super) struct Punctuality {
    woken: Stamp,
    worst: Duration,
}

impl Punctuality {
    /// The loop has slept, and was to wake at `due` at the latest.
    pub(super) fn woke(&mut self, due: Option<Duration>, stamp: Stamp) {
        let late = due.map(|due| stamp.now.saturating_sub(due.max(self.woken.now)));
        self.worst = self.worst.max(late.unwrap_or_default());
        self.woken = stamp;
    }

    /// The loop has done its work: what that took beyond the processor time, it stood
    /// still.
    pub(super) fn worked(&mut self, stamp: Stamp) {
        let took = stamp.now.saturating_sub(self.woken.now);
        let used = stamp.used.saturating_sub(self.woken.used);
        self.worst = self.worst.max(took.saturating_sub(used));
        self.woken = stamp;
    }

    /// The longest that it was kept from looking at one time.
    pub(super) fn worst(&self) -> Duration {
        self.worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(now: u64, used: u64) -> Stamp {
        Stamp {
            now: Duration::from_millis(now),
            used: Duration::from_millis(used),
        }
    }

    fn after(steps: impl FnOnce(&mut Punctuality)) -> u128 {
        let mut punctuality = Punctuality::default();
        steps(&mut punctuality);
        punctuality.worst().as_millis()
    }

    #[test]
    fn only_what_is_beyond_its_time_counts() {
        let due = |milliseconds| Some(Duration::from_millis(milliseconds));
        assert_eq!(after(|at| at.woke(due(250), stamp(251, 0))), 1);
        assert_eq!(after(|at| at.woke(due(250), stamp(100, 0))), 0);
        assert_eq!(after(|at| at.woke(None, stamp(5000, 0))), 0);
        let work = |now, used| {
            move |at: &mut Punctuality| {
                at.woke(due(10), stamp(10, 2));
                at.worked(stamp(now, used));
            }
        };
        assert_eq!(after(work(1010, 1002)), 0);
        assert_eq!(after(work(1010, 2)), 1000);
        // What it had to do at once was not due before it could.
        let overdue = |at: &mut Punctuality| {
            at.worked(stamp(300, 300));
            at.woke(due(100), stamp(301, 300));
        };
        assert_eq!(after(overdue), 1);
    }
}
