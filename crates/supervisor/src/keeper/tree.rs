//! Ending a whole tree: kill, reap, look again, until nothing is left.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use memcap_linux::proc::{self, Stat};
use memcap_linux::spawn::Spawned;
use memcap_linux::{ChildChange, ChildState, ChildStatus, PidFd, ProcessId, next_child_change};
use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::enclosure::Enclosure;
use crate::evidence::{COMMAND_PATIENCE, JobEnd, LeftRunning};

/// How long a killed tree may take to be gone. A process in uninterruptible
/// sleep outlasts it and is listed.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long it is waited for processes that are not ours to end (of another
/// user): they may be ending by themselves, as the rest of the tree is gone.
const REFUSAL_DEADLINE: Duration = Duration::from_millis(500);

/// Whose processes the tree is made of, beside those in its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Every descendant of this process: it is a subreaper that starts nothing
    /// else.
    Descendants,
    /// What descends from the main process, and whoever was seen to. This
    /// process has other children, and orphans go to init.
    OfMain,
}

/// Children that have ended, as far as they have.
#[derive(Debug, Default)]
pub(super) struct Reaped {
    /// How the main process ended, once it has.
    pub(super) main: Option<JobEnd>,
    /// No child is left: as subreaper, then no descendant is either. In
    /// [`Family::OfMain`]: the main process is gone.
    pub(super) childless: bool,
    /// What the main process and those it waited for have used, where that is
    /// not asked of the whole process.
    pub(super) cpu: Duration,
    /// Stops (with their signal) and continuations of the main process that
    /// nobody has taken note of yet.
    pub(super) turns: Vec<Turn>,
}

/// A job that job control has taken hold of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// By this signal.
    Stopped(Signal),
    /// By SIGCONT.
    Continued,
}

/// Collects children that have ended. The status of the main process is kept.
pub(super) fn reap(family: Family, main: &Spawned, reaped: &mut Reaped) {
    match family {
        Family::Descendants => reap_all(main.pid, reaped),
        Family::OfMain if !reaped.childless => reap_main(main, reaped),
        Family::OfMain => {}
    }
}

fn reap_main(main: &Spawned, reaped: &mut Reaped) {
    match main.pidfd.as_ref().map(PidFd::reap) {
        Some(Ok(ChildState::Running)) => {}
        Some(Ok(ChildState::Ended(end))) => {
            reaped.main = Some(match end.status {
                ChildStatus::Exited(code) => JobEnd::Exited(code),
                ChildStatus::Signaled(signal) => JobEnd::Signaled(signal),
            });
            reaped.cpu = end.cpu;
            reaped.childless = true;
        }
        // Somebody else in this process was faster; how it ended is lost.
        Some(Err(_)) | None => reaped.childless = true,
    }
}

/// Where the main process was stopped or continued, that is kept too.
fn reap_all(main: i32, reaped: &mut Reaped) {
    loop {
        match next_child_change() {
            Ok(Some((pid, change))) => reaped.note(main, pid, change),
            Ok(None) => return,
            // ECHILD is the only error left.
            Err(_) => {
                reaped.childless = true;
                return;
            }
        }
    }
}

impl Reaped {
    /// Takes note of what has become of the child `pid`. Once the main process
    /// is reaped its number may be given to another of the tree's: orphans that
    /// fork and leave at once use up all numbers within seconds.
    fn note(&mut self, main: i32, pid: i32, change: ChildChange) {
        if pid != main || self.main.is_some() {
            return;
        }
        match change {
            ChildChange::Exited(code) => self.main = Some(JobEnd::Exited(code)),
            ChildChange::Signaled(signal) => self.main = Some(JobEnd::Signaled(signal)),
            ChildChange::Stopped(signal) => {
                // Only standard signals stop.
                let signal = Signal::try_from(signal).unwrap_or(Signal::SIGSTOP);
                self.turns.push(Turn::Stopped(signal));
            }
            ChildChange::Continued => self.turns.push(Turn::Continued),
        }
    }
}

/// Kills everything in the enclosure and in the family, and waits until it is
/// gone. `known` are members that were seen, wherever they are now; `pause`
/// waits a little for something to change.
///
/// Returns what could not be ended.
pub(super) fn end(
    enclosure: &Enclosure,
    family: Family,
    main: &Spawned,
    known: &[ProcessId],
    reaped: &mut Reaped,
    mut pause: impl FnMut(Duration),
) -> Vec<LeftRunning> {
    let begun = Instant::now();
    let mut hunt = Hunt::new(known);
    loop {
        reap(family, main, reaped);
        hunt.look(family, main.pid, reaped);
        if reaped.childless && hunt.prey.is_empty() && enclosure.is_empty() {
            return Vec::new();
        }
        enclosure.kill_members();
        hunt.strike();
        hunt.release_memory();
        if begun.elapsed() >= DEADLINE || hunt.is_refused() {
            return left_running(enclosure, hunt.prey);
        }
        if !hunt.is_hot {
            pause(Duration::from_millis(5));
        }
    }
}

/// The tree's living members as far as they descend from it; nothing where /proc
/// cannot be listed.
pub(super) fn members(family: Family, main: i32) -> Vec<Stat> {
    let mut members = match family {
        Family::Descendants => below(i32::try_from(std::process::id()).unwrap_or(0)),
        Family::OfMain => below(main).into_iter().chain(Stat::read(main)).collect(),
    };
    members.retain(|stat| !stat.is_dead());
    members
}

/// Nobody where /proc speaks of another pid namespace: its numbers are others'.
fn below(pid: i32) -> Vec<Stat> {
    if !proc::is_ours() {
        return Vec::new();
    }
    proc::descendants(&proc::all().unwrap_or_default(), pid)
}

/// Killing round by round. A tree may fork while it is looked at, and where no
/// group holds it, a process that forks and leaves at once must be found
/// within its short life: as long as a round meets newcomers, the next one
/// follows at once, and looks at newcomers only.
#[derive(Debug)]
struct Hunt {
    /// What the last whole round found.
    prey: Vec<ProcessId>,
    /// The last round met somebody new.
    is_hot: bool,
    /// What they held has been given back.
    is_released: bool,
    /// When everything that is left was first not ours to end.
    refused: Option<Instant>,
}

impl Hunt {
    fn new(known: &[ProcessId]) -> Hunt {
        Hunt {
            prey: known.to_vec(),
            is_hot: false,
            is_released: false,
            refused: None,
        }
    }

    /// Finds what is left of the tree.
    fn look(&mut self, family: Family, main: i32, reaped: &Reaped) {
        let known: BTreeSet<ProcessId> = self.prey.drain(..).collect();
        self.prey = match family {
            Family::Descendants if reaped.childless => Vec::new(),
            Family::Descendants => ids(members(family, main)),
            // Orphans are nobody's descendants any more: those that were seen
            // are remembered, with what is below them.
            Family::OfMain => {
                let roots = known.iter().copied().filter(|process| process.is_alive());
                let mut found: BTreeSet<ProcessId> = roots
                    .flat_map(|root| ids(below(root.pid)).into_iter().chain([root]))
                    .collect();
                if !reaped.childless {
                    found.extend(ids(members(family, main)));
                }
                found.into_iter().filter(|found| found.is_alive()).collect()
            }
        };
        self.is_hot = self.prey.iter().any(|process| !known.contains(process));
    }

    fn strike(&mut self) {
        let refused = self
            .prey
            .iter()
            .filter(|process| is_refused(process.kill()));
        let all_refused = refused.count() == self.prey.len() && !self.prey.is_empty();
        self.refused = self
            .refused
            .or(Some(Instant::now()))
            .filter(|_| all_refused);
    }

    /// Gives back what they hold, once all have been killed: those who wait for
    /// the memory need not wait until each got a processor to end with.
    fn release_memory(&mut self) {
        if self.is_hot || !self.is_released {
            self.is_released = true;
            for process in &self.prey {
                // It does so itself in the end.
                let _ = process.release_memory();
            }
        }
    }

    /// Whether waiting longer would change nothing.
    fn is_refused(&self) -> bool {
        self.refused
            .is_some_and(|since| since.elapsed() >= REFUSAL_DEADLINE)
    }
}

fn ids(stats: Vec<Stat>) -> Vec<ProcessId> {
    stats.iter().map(Stat::id).collect()
}

/// Gone is what we want; a process of another user stays.
fn is_refused(killed: io::Result<()>) -> bool {
    killed.is_err_and(|error| error.raw_os_error() == Some(Errno::EPERM as i32))
}

fn left_running(enclosure: &Enclosure, below: Vec<ProcessId>) -> Vec<LeftRunning> {
    let mut left = below;
    left.extend(enclosure.members().into_iter().filter_map(ProcessId::of));
    left.sort_unstable();
    left.dedup();
    left.into_iter()
        .filter(|process| process.is_alive())
        .map(|process| LeftRunning {
            process,
            command: proc::command_line_within(process.pid, COMMAND_PATIENCE),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_given_out_anew_is_not_the_main_process() {
        let term = Signal::SIGTERM as i32;
        let mut reaped = Reaped::default();
        reaped.note(7, 8, ChildChange::Exited(3));
        assert_eq!(reaped.main, None);
        reaped.note(7, 7, ChildChange::Stopped(Signal::SIGTSTP as i32));
        reaped.note(7, 7, ChildChange::Continued);
        let turns = [Turn::Stopped(Signal::SIGTSTP), Turn::Continued];
        assert_eq!(reaped.turns, turns);
        reaped.note(7, 7, ChildChange::Signaled(term));
        for of_another in [
            ChildChange::Stopped(term),
            ChildChange::Exited(0),
            ChildChange::Continued,
        ] {
            reaped.note(7, 7, of_another);
        }
        assert_eq!(reaped.main, Some(JobEnd::Signaled(term)));
        assert_eq!(reaped.turns.len(), 2);
    }
}
