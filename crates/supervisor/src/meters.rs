//! When to look at what a tree uses beside its memory limit, and whether that is
//! too much. Reads nothing; asked by the keeper's loop.
//!
//! As for memory, a look comes when the limit could at the earliest be
//! reached: a tree uses CPU time no faster than its processors give it, and
//! makes tasks no faster than [`FORK_RATE`].

use std::time::Duration;

use memcap_linux::ByteSize;

use crate::evidence::Shortage;
use crate::governor::time_to_fill;

/// Looks are never closer.
const SHORTEST: Duration = Duration::from_millis(2);
/// Looks are never rarer.
const LONGEST: Duration = Duration::from_secs(1);
/// How many tasks a tree may be taken to make in a second. One process makes
/// about 5,000 threads and 2,000 processes a second.
const FORK_RATE: u64 = 10_000;
/// A look is not repeated before this many times its own cost has passed: at
/// most a twentieth of a processor.
const PATIENCE: u32 = 20;

/// The CPU time of the tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuMeter {
    limit: Duration,
    processors: u32,
    next_look: Duration,
}

impl CpuMeter {
    /// `processors`: how many the tree can use at once; 0 counts as 1.
    pub(crate) fn new(limit: Duration, processors: u32) -> CpuMeter {
        let processors = processors.max(1);
        CpuMeter {
            limit,
            processors,
            next_look: (limit / processors).min(LONGEST),
        }
    }

    /// When to look, as time since the job's start.
    pub(crate) fn next_look(&self) -> Duration {
        self.next_look
    }

    /// A look found `used` and took `cost`. True: that is the limit.
    pub(crate) fn is_over(&mut self, used: Duration, cost: Duration, now: Duration) -> bool {
        let left = self.limit.saturating_sub(used);
        let wait = (left / self.processors).clamp(SHORTEST, LONGEST);
        self.next_look = now + wait.max(rest_after(cost));
        left.is_zero()
    }
}

/// The number of processes and threads, where no `pids.max` holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskMeter {
    limit: u64,
    next_look: Duration,
}

impl TaskMeter {
    pub(crate) fn new(limit: u64) -> TaskMeter {
        TaskMeter {
            limit,
            next_look: Duration::ZERO,
        }
    }

    /// As [`CpuMeter::next_look`].
    pub(crate) fn next_look(&self) -> Duration {
        self.next_look
    }

    /// A look found `tasks` and took `cost`. True: that is more than allowed.
    pub(crate) fn is_over(&mut self, tasks: u64, cost: Duration, now: Duration) -> bool {
        let left = self.limit.saturating_sub(tasks);
        let wait = Duration::from_millis(left.saturating_mul(1000) / FORK_RATE);
        // A slow maker is seen soon, whatever the limit.
        let wait = wait.clamp(SHORTEST, LONGEST / 4);
        self.next_look = now + wait.max(rest_after(cost));
        tasks > self.limit
    }
}

/// What is available on the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReserveMeter {
    reserve: ByteSize,
    next_look: Duration,
}

impl ReserveMeter {
    /// `reserve` is to stay available.
    pub(crate) fn new(reserve: ByteSize) -> ReserveMeter {
        ReserveMeter {
            reserve,
            next_look: Duration::ZERO,
        }
    }

    /// As [`CpuMeter::next_look`].
    pub(crate) fn next_look(&self) -> Duration {
        self.next_look
    }

    /// A look found `available`, or nothing, and took `cost`. `Some`: that is
    /// too little.
    pub(crate) fn shortage(
        &mut self,
        available: Option<ByteSize>,
        cost: Duration,
        now: Duration,
    ) -> Option<Shortage> {
        let left = available.map(|available| available.saturating_sub(self.reserve));
        let wait = left.map_or(SHORTEST, time_to_fill).max(rest_after(cost));
        self.next_look = now + wait.clamp(SHORTEST, LONGEST / 4);
        let available = available.filter(|available| *available < self.reserve)?;
        Some(Shortage {
            available,
            reserve: self.reserve,
        })
    }
}

/// A look that took long because others were served first is no reason to be
/// away for longer than [`LONGEST`].
fn rest_after(cost: Duration) -> Duration {
    (cost * PATIENCE).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn cpu_time_is_looked_at_when_it_could_be_used_up() {
        let cheap = Duration::ZERO;
        let cases = [
            // limit, processors, used, cost, wait, over
            (ms(1000), 4, ms(0), cheap, ms(250), false),
            (ms(1000), 4, ms(800), cheap, ms(50), false),
            (ms(1000), 0, ms(800), cheap, ms(200), false),
            (ms(1000), 4, ms(999), cheap, SHORTEST, false),
            (ms(1000), 4, ms(1000), cheap, SHORTEST, true),
            (ms(1000), 4, ms(5000), cheap, SHORTEST, true),
            // An hour is no reason to sleep for one: members come and go.
            (ms(3_600_000), 1, ms(0), cheap, LONGEST, false),
            // A walk through a full /proc is dear.
            (ms(1000), 4, ms(900), ms(10), ms(200), false),
        ];
        for (limit, processors, used, cost, wait, over) in cases {
            let mut meter = CpuMeter::new(limit, processors);
            assert_eq!(meter.is_over(used, cost, ms(10)), over, "{used:?}");
            assert_eq!(meter.next_look(), ms(10) + wait, "{used:?}");
        }
        assert_eq!(CpuMeter::new(ms(1000), 2).next_look(), ms(500));
    }

    #[test]
    fn the_machine_is_looked_at_when_the_reserve_could_be_reached() {
        let cases = [
            // available in MiB, cost, wait, short
            (Some(1024 + 80), ms(0), Duration::from_micros(9765), false),
            (Some(100_000), ms(0), ms(250), false),
            (Some(1024), ms(0), SHORTEST, false),
            (Some(1023), ms(0), SHORTEST, true),
            (Some(0), ms(0), SHORTEST, true),
            (None, ms(0), SHORTEST, false),
            // A busy machine is one more reason to look.
            (Some(1024), ms(1), ms(20), false),
            (Some(1024), ms(400), ms(250), false),
        ];
        let reserve = ByteSize::from_gib(1);
        for (mib, cost, wait, short) in cases {
            let mut meter = ReserveMeter::new(reserve);
            assert_eq!(meter.next_look(), Duration::ZERO);
            let available = mib.map(ByteSize::from_mib);
            let expected = available
                .filter(|_| short)
                .map(|available| Shortage { available, reserve });
            assert_eq!(meter.shortage(available, cost, ms(5)), expected, "{mib:?}");
            assert_eq!(meter.next_look(), ms(5) + wait, "{mib:?}");
        }
    }

    #[test]
    fn tasks_are_counted_the_sooner_the_fewer_are_left() {
        let cases = [
            (100, 1, ms(0), SHORTEST.max(ms(9)), false),
            (100, 100, ms(0), SHORTEST, false),
            (100, 101, ms(0), SHORTEST, true),
            (1_000_000, 1, ms(0), LONGEST / 4, false),
            (100, 99, ms(1), ms(20), false),
        ];
        for (limit, tasks, cost, wait, over) in cases {
            let mut meter = TaskMeter::new(limit);
            assert_eq!(meter.next_look(), Duration::ZERO);
            assert_eq!(meter.is_over(tasks, cost, ms(5)), over, "{tasks}");
            assert_eq!(meter.next_look(), ms(5) + wait, "{tasks}");
        }
    }
}
