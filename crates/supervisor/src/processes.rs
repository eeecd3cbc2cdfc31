//! Which process held how much: the largest of them by name. Bounded, however
//! many processes a job has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use memcap_linux::{ByteSize, ProcessId};
use serde::{Deserialize, Serialize};

/// So many processes are told one by one.
const MOST: usize = 64;
/// So many of the others are counted.
const MOST_COUNTED: usize = 4096;

/// What was seen of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessPeak {
    /// Which.
    #[serde(flatten)]
    pub process: ProcessId,
    /// Its short name, at most 15 bytes (`comm`).
    pub name: String,
    /// Its command line, at most 200 characters; `None` where it could not be
    /// read or was redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its largest resident set when it was last looked at (VmHWM, file pages
    /// included). What it reached after that look is not in it.
    #[serde(rename = "peak_bytes")]
    pub peak: ByteSize,
    /// User and system time at the last look.
    pub cpu: Duration,
}

/// The largest processes of a job, largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// At most 64.
    pub largest: Vec<ProcessPeak>,
    /// How many more were seen, counted up to about 4,000; those that lived
    /// between two looks were not.
    pub others: u64,
}

/// Collects [`Processes`] while a job runs.
#[derive(Debug, Default)]
pub(crate) struct Book {
    seen: BTreeMap<ProcessId, ProcessPeak>,
    left_out: BTreeSet<ProcessId>,
}

impl Book {
    /// Notes what a look showed; true where its command line is not known yet
    /// and would be kept.
    pub(crate) fn note(
        &mut self,
        process: ProcessId,
        peak: ByteSize,
        cpu: Duration,
        name: &str,
    ) -> bool {
        if let Some(known) = self.seen.get_mut(&process) {
            known.peak = known.peak.max(peak);
            known.cpu = known.cpu.max(cpu);
            if known.name == name {
                return false;
            }
            // After an `exec`: another name, the same process.
            name.clone_into(&mut known.name);
            known.command = None;
            return true;
        }
        // Twice as many as are told, so that a late grower is not crowded out
        // by those that were large when it came.
        if self.seen.len() >= 2 * MOST {
            let smallest = self.seen.values().min_by_key(|known| known.peak);
            let Some(smallest) = smallest.map(|known| (known.process, known.peak)) else {
                return false;
            };
            if smallest.1 >= peak {
                self.leave_out(process);
                return false;
            }
            self.seen.remove(&smallest.0);
            self.leave_out(smallest.0);
            self.left_out.remove(&process);
        }
        self.seen.insert(
            process,
            ProcessPeak {
                process,
                name: name.to_owned(),
                command: None,
                peak,
                cpu,
            },
        );
        true
    }

    fn leave_out(&mut self, process: ProcessId) {
        if self.left_out.len() < MOST_COUNTED {
            self.left_out.insert(process);
        }
    }

    /// What was learned of a process later.
    pub(crate) fn set_command(&mut self, process: ProcessId, command: Option<String>) {
        if let Some(known) = self.seen.get_mut(&process) {
            known.command = command;
        }
    }

    pub(crate) fn close(self) -> Processes {
        let seen = self.seen.len();
        let mut largest: Vec<ProcessPeak> = self.seen.into_values().collect();
        largest.sort_by(|a, b| b.peak.cmp(&a.peak).then(a.process.cmp(&b.process)));
        largest.truncate(MOST);
        let others = seen - largest.len() + self.left_out.len();
        Processes {
            largest,
            others: u64::try_from(others).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32) -> ProcessId {
        ProcessId { pid, start: 7 }
    }

    fn note(book: &mut Book, pid: i32, mib: u64) {
        let name = format!("p{pid}");
        book.note(process(pid), ByteSize::from_mib(mib), Duration::ZERO, &name);
    }

    #[test]
    fn peaks_only_rise_and_the_largest_come_first() {
        let mut book = Book::default();
        note(&mut book, 1, 10);
        note(&mut book, 2, 30);
        note(&mut book, 1, 50);
        note(&mut book, 1, 20);
        let cpu = Duration::ZERO;
        assert!(book.note(process(1), ByteSize::ZERO, cpu, "sh"));
        assert!(!book.note(process(1), ByteSize::ZERO, cpu, "sh"));
        book.set_command(process(1), Some("sh -c x".into()));
        assert_eq!(book.seen[&process(1)].command.as_deref(), Some("sh -c x"));
        let told = book.close();
        let seen: Vec<_> = told
            .largest
            .iter()
            .map(|p| (p.process.pid, p.peak.mib(), p.name.as_str()))
            .collect();
        assert_eq!(seen, [(1, 50, "sh"), (2, 30, "p2")]);
        assert_eq!(told.others, 0);
    }

    #[test]
    fn thousands_of_processes_leave_the_largest() {
        let mut book = Book::default();
        for pid in 1..=1000 {
            note(&mut book, pid, u64::try_from(pid).expect("positive"));
        }
        let told = book.close();
        assert_eq!(told.largest.len(), 64);
        assert_eq!(told.largest[0].peak.mib(), 1000);
        assert_eq!(told.largest[63].peak.mib(), 937);
        assert_eq!(told.others, 1000 - 64);
    }
}
