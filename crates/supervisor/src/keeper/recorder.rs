//! Memory over time and the largest processes, for the report. Looks grow
//! rarer as the run grows longer, so that they cost nothing that could be
//! noticed.

use std::time::Duration;

use memcap_linux::ByteSize;
use memcap_linux::proc::{self, Resident, Stat};

use crate::processes::{Book, Processes};
use crate::timeline::{Happening, Timeline};

/// Looks at processes take at most this share of a processor: one part in so
/// many.
const SHARE: u32 = 400;

/// Keeps the record of one job.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    timeline: Timeline,
    book: Book,
    text: Vec<u8>,
    next_sample: Duration,
    next_processes: Duration,
}

impl Recorder {
    /// When it next wants a sample or a look at the processes.
    pub(super) fn wake_at(&self, samples_itself: bool) -> Duration {
        if samples_itself {
            self.next_sample.min(self.next_processes)
        } else {
            self.next_processes
        }
    }

    /// Whether a sample is due, where nobody else takes any.
    pub(super) fn wants_sample(&self, now: Duration) -> bool {
        now >= self.next_sample
    }

    /// Whether a look at the processes is due.
    pub(super) fn wants_processes(&self, now: Duration) -> bool {
        now >= self.next_processes
    }

    /// Takes note of the tree's memory.
    pub(super) fn sample(&mut self, now: Duration, bytes: ByteSize) {
        self.timeline.sample(now, bytes);
        let wait = (now / 64).clamp(Duration::from_millis(5), Duration::from_millis(500));
        self.next_sample = now + wait;
    }

    pub(super) fn event(&mut self, now: Duration, what: Happening) {
        self.timeline.event(now, what);
    }

    /// Looks at these processes; those that are gone are passed over.
    pub(super) fn look(&mut self, now: Duration, pids: &[i32]) {
        // Not wall time: on a crowded machine a look takes long and costs little.
        let before = cpu_time();
        for pid in pids {
            let Ok(stat) = Stat::read(*pid) else { continue };
            let Ok(resident) = Resident::read(*pid, &mut self.text) else {
                continue;
            };
            if stat.is_dead() {
                continue;
            }
            let describe = || (stat.comm.clone(), proc::command_line(*pid));
            self.book
                .note(stat.id(), resident.high_water, stat.cpu, describe);
            if !self.book.knows(stat.id(), &stat.comm) {
                self.book
                    .rename(stat.id(), &stat.comm, proc::command_line(*pid));
            }
        }
        let wait = (now / 16).clamp(Duration::from_millis(20), Duration::from_secs(1));
        self.next_processes = now + wait.max(cpu_time().saturating_sub(before) * SHARE);
    }

    pub(super) fn close(self) -> (Timeline, Processes) {
        (self.timeline, self.book.close())
    }
}

/// What this thread has used of a processor so far.
fn cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}
