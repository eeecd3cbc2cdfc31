//! Finding processes by the mark in their environment.
//!
//! The mark is inherited by every descendant through any number of forks,
//! sessions and execs, so what is found is exactly what a scene has started.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable that carries the mark.
pub(super) const MARK_VARIABLE: &str = "MEMCAP_TEST_MARK";

/// What a keeper calls itself.
const KEEPER_NAME: &str = "memcap-keeper";

/// A process seen in /proc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// Its parent's pid.
    pub parent: i32,
    /// The letter of its state, proc(5).
    pub state: char,
    /// Its short name.
    pub name: String,
}

impl Process {
    /// What /proc says of `pid`; `None` where it is gone.
    pub fn of(pid: i32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may contain any character.
        let (front, behind) = stat.rsplit_once(") ")?;
        let (_, name) = front.split_once('(')?;
        let mut fields = behind.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        Some(Process {
            pid,
            parent,
            state,
            name: name.to_owned(),
        })
    }

    /// Whether it has ended and is only waiting to be collected.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Whether it is stopped, as by SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    /// Whether it is a keeper of memcap's.
    pub fn is_keeper(&self) -> bool {
        self.name == KEEPER_NAME
    }

    /// Sends it `signal`; one that is gone meanwhile is left alone.
    pub fn signal(&self, signal: Signal) {
        // ESRCH is the only failure for our own descendants, and is wanted.
        let _ = kill(Pid::from_raw(self.pid), signal);
    }
}

/// Every process there is, in no order.
fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The living processes that carry `mark`.
pub(super) fn marked(mark: &str) -> Vec<Process> {
    all()
        .filter(|pid| carries(*pid, mark))
        .filter_map(Process::of)
        .collect()
}

/// The living children of `parent`, whichever of its threads forked them.
/// Where the kernel keeps no lists of children, every process is looked at.
pub(super) fn children_of(parent: i32) -> Vec<Process> {
    let threads = fs::read_dir(format!("/proc/{parent}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let lists: Option<Vec<String>> = threads
        .map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .collect();
    let pids: Vec<i32> = match lists {
        Some(lists) => lists
            .iter()
            .flat_map(|list| list.split_whitespace())
            .flat_map(str::parse)
            .collect(),
        None => all().collect(),
    };
    let living = |process: &Process| process.parent == parent && !process.is_dead();
    pids.into_iter()
        .filter_map(Process::of)
        .filter(living)
        .collect()
}

/// Whether the environment of `pid` holds `mark`; false for a process that is
/// gone, a zombie (its environment went with its memory), or not ours to read.
fn carries(pid: i32, mark: &str) -> bool {
    let wanted = format!("{MARK_VARIABLE}={mark}");
    let has_mark = |path: String| {
        let environment = fs::read(path).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
    };
    // The memory of a process whose first thread has ended is seen through the
    // others only.
    let threads = || {
        fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
    };
    has_mark(format!("/proc/{pid}/environ"))
        || threads()
            .flatten()
            .filter(|thread| thread.file_name().to_str() != Some(&pid.to_string()))
            .any(|thread| has_mark(thread.path().join("environ").display().to_string()))
}
