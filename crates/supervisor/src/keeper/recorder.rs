//! Memory over time and the largest processes, for the report. Looks grow
//! rarer as the run grows longer, so that they cost nothing that could be
//! noticed.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use memcap_linux::proc::{self, Resident, Stat};
use memcap_linux::{ByteSize, ProcessId};

use crate::processes::{Book, Processes};
use crate::timeline::{Happening, Timeline};

/// Looks at processes take at most this share of a processor: one part in so
/// many.
const SHARE: u32 = 200;

/// Keeps the record of one job.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    timeline: Timeline,
    book: Book,
    commands: Commands,
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

    pub(super) fn event_once(&mut self, now: Duration, what: Happening) {
        if self
            .timeline
            .events()
            .iter()
            .all(|event| event.what != what)
        {
            self.timeline.event(now, what);
        }
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
            let peak = resident.high_water;
            if self.book.note(stat.id(), peak, stat.cpu, &stat.comm) {
                self.commands.ask(stat.id());
            }
        }
        self.take_commands();
        let cost = cpu_time().saturating_sub(before);
        self.next_processes = now + wait_after(cost, now);
    }

    fn take_commands(&mut self) {
        while let Some((process, command)) = self.commands.answer() {
            self.book.set_command(process, command);
        }
    }

    pub(super) fn close(mut self) -> (Timeline, Processes) {
        self.take_commands();
        (self.timeline, self.book.close())
    }
}

/// How long to wait after a look at the processes that took so much of a
/// processor. However dear it was (the first one pays for what is cold), the
/// age of the run may double before the next: a few looks more in all.
fn wait_after(cost: Duration, now: Duration) -> Duration {
    let least = (now / 16).clamp(Duration::from_millis(20), Duration::from_secs(1));
    least.max((cost * SHARE).min(now))
}

/// Reads command lines on a thread of its own: the kernel takes them from the
/// process's memory, and one that is stuck at its limit holds its readers up.
/// The loop that has the limit to hold must not be among them.
#[derive(Debug, Default)]
struct Commands(Option<Reader>);

#[derive(Debug)]
struct Reader {
    questions: Sender<ProcessId>,
    answers: Receiver<(ProcessId, Option<String>)>,
}

impl Commands {
    fn ask(&mut self, process: ProcessId) {
        if self.0.is_none() {
            // Without a thread there are names, and no command lines.
            self.0 = Reader::start().ok();
        }
        if let Some(reader) = &self.0 {
            // The thread lives as long as we do.
            let _ = reader.questions.send(process);
        }
    }

    fn answer(&self) -> Option<(ProcessId, Option<String>)> {
        self.0.as_ref()?.answers.try_recv().ok()
    }
}

impl Reader {
    fn start() -> std::io::Result<Reader> {
        let (questions, asked) = channel::<ProcessId>();
        let (told, answers) = channel();
        let read = move || {
            for process in asked {
                let command = proc::command_line(process.pid).filter(|_| process.exists());
                if told.send((process, command)).is_err() {
                    return;
                }
            }
        };
        // A stack for one small file; it is not waited for at the end.
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(read)?;
        Ok(Reader { questions, answers })
    }
}

/// What this thread has used of a processor so far.
pub(super) fn cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_rare_when_they_are_dear_and_never_too_rare_for_a_short_run() {
        let cases = [
            // cost in us, age of the run in ms, wait in ms
            (10, 0, 20),
            (10, 3_200, 200),
            (10, 60_000, 1_000),
            (50_000, 60_000, 10_000),
            (16_000, 10, 20),
            (16_000, 400, 400),
        ];
        for (cost, now, wait) in cases {
            let (cost, now) = (Duration::from_micros(cost), Duration::from_millis(now));
            assert_eq!(wait_after(cost, now), Duration::from_millis(wait));
        }
    }
}
