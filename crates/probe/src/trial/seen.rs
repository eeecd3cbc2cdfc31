//! One line of evidence from what a trial observed.

use memcap_linux::ByteSize;
use memcap_linux::proc::Resident;

use super::End;
use super::classify::{Judgement, Observation, Verdict};

/// A trial that was made, with its evidence.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) verdict: Verdict,
    pub(super) because: Option<String>,
    pub(super) seen: String,
}

impl Trial {
    pub(super) fn of_group(judged: Judgement, seen: &Observation) -> Trial {
        let mut details = vec![format!("limit {}", seen.limit)];
        if let Some(kills) = seen.oom_kills {
            details.push(format!("oom_kill {kills}"));
        }
        if let Some(swapped) = seen.swapped {
            details.push(format!("swapped {swapped}"));
        }
        if let Some(peak) = seen.peak {
            details.push(format!("peak {peak}"));
        }
        Trial::new(judged, format!("{} ({})", course(seen), details.join(", ")))
    }

    pub(super) fn of_rlimit(judged: Judgement, seen: &Observation) -> Trial {
        Trial::new(judged, format!("{} (limit {})", course(seen), seen.limit))
    }

    pub(super) fn of_watchdog(
        judged: Judgement,
        seen: &Observation,
        noticed: Option<ByteSize>,
    ) -> Trial {
        let sample = match noticed {
            Some(bytes) => format!("seen at {bytes}"),
            None => "never seen above it".to_owned(),
        };
        let line = format!("{} (limit {}, {sample})", course(seen), seen.limit);
        Trial::new(judged, line)
    }

    /// Adds what the trial changed for good.
    pub(super) fn note(&mut self, stays: Option<String>) {
        if let Some(stays) = stays {
            self.seen.push_str("; ");
            self.seen.push_str(&stays);
        }
    }

    fn new(judged: Judgement, seen: String) -> Trial {
        Trial {
            verdict: judged.verdict,
            because: judged.because,
            seen,
        }
    }
}

/// What became of the child.
fn course(seen: &Observation) -> String {
    let way = format!("{} of {} MiB", seen.progress.mib(), seen.target.mib());
    match seen.end {
        End::Signaled(_) => format!("killed at {way}"),
        End::Exited(code) if code == i32::from(super::hog::REFUSED) => format!("refused at {way}"),
        End::Exited(code) if code == i32::from(super::hog::TOUCHED_ALL) => format!("touched {way}"),
        End::Exited(_) | End::TimedOut | End::Unseen => format!("{way}, then {}", seen.end),
    }
}

/// Memory of a living child that is in swap; `None` when it cannot be read.
pub(super) fn swapped(pid: i32) -> Option<ByteSize> {
    Resident::read(pid, &mut Vec::new())
        .ok()
        .map(|resident| resident.swapped)
}
