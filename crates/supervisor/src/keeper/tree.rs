//! Ending a whole tree: kill, reap, look again, until nothing is left.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use memcap_linux::ProcessId;
use memcap_linux::proc::{self, Stat};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::enclosure::Enclosure;
use crate::evidence::{JobEnd, LeftRunning};

/// How long a killed tree may take to be gone. A process in uninterruptible
/// sleep outlasts it and is listed.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long it is waited for processes that are not ours to end (of another
/// user): they may be ending by themselves, as the rest of the tree is gone.
const REFUSAL_DEADLINE: Duration = Duration::from_millis(500);

/// Children that have ended, as far as they have.
#[derive(Debug, Default)]
pub(super) struct Reaped {
    /// How the main process ended, once it has.
    pub(super) main: Option<JobEnd>,
    /// No child is left: as subreaper, then no descendant is either.
    pub(super) childless: bool,
    /// Stops (with their signal) and continuations of the main process that
    /// nobody has taken note of yet.
    pub(super) turns: Vec<Turn>,
    /// Whether the main process is stopped now.
    pub(super) main_is_stopped: bool,
}

/// A job that job control has taken hold of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// By this signal.
    Stopped(Signal),
    /// By SIGCONT.
    Continued,
}

/// Collects every child that has ended. The status of `main` is kept, and
/// where it was stopped or continued, that too.
pub(super) fn reap(main: i32, reaped: &mut Reaped) {
    let wanted = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED | WaitPidFlag::WCONTINUED;
    loop {
        match waitpid(None::<Pid>, Some(wanted)) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == main => {
                reaped.main = Some(JobEnd::Exited(code));
            }
            Ok(WaitStatus::Signaled(pid, signal, _core)) if pid.as_raw() == main => {
                reaped.main = Some(JobEnd::Signaled(signal as i32));
            }
            Ok(WaitStatus::Stopped(pid, signal)) if pid.as_raw() == main => {
                reaped.main_is_stopped = true;
                reaped.turns.push(Turn::Stopped(signal));
            }
            Ok(WaitStatus::Continued(pid)) if pid.as_raw() == main => {
                reaped.main_is_stopped = false;
                reaped.turns.push(Turn::Continued);
            }
            Ok(WaitStatus::StillAlive) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => {
                reaped.childless = true;
                return;
            }
        }
    }
}

/// Kills everything in the enclosure and below this process, and waits until
/// it is gone. `pause` waits a little for something to change.
///
/// Returns what could not be ended.
pub(super) fn end(
    enclosure: &Enclosure,
    main: i32,
    reaped: &mut Reaped,
    mut pause: impl FnMut(Duration),
) -> Vec<LeftRunning> {
    let begun = Instant::now();
    let mut hunt = Hunt::default();
    loop {
        reap(main, reaped);
        if reaped.childless && enclosure.is_empty() {
            return Vec::new();
        }
        enclosure.kill_members();
        if reaped.childless {
            hunt.prey.clear();
        } else {
            hunt.round();
        }
        if begun.elapsed() >= DEADLINE || hunt.is_refused() {
            return left_running(enclosure, &hunt.prey);
        }
        if !hunt.is_hot {
            pause(Duration::from_millis(5));
        }
    }
}

/// Everything below this process that has not ended; nothing where /proc
/// cannot be listed.
pub(super) fn descendants() -> Vec<Stat> {
    let all = proc::all().unwrap_or_default();
    let ourselves = i32::try_from(std::process::id()).unwrap_or(0);
    let mut below = proc::descendants(&all, ourselves);
    below.retain(|stat| !stat.is_dead());
    below
}

/// Killing round by round. A tree may fork while it is looked at, and where no
/// group holds it, a process that forks and leaves at once must be found
/// within its short life: as long as a round meets newcomers, the next one
/// follows at once, and looks at newcomers only.
#[derive(Debug, Default)]
struct Hunt {
    /// What the last whole round found.
    prey: Vec<Stat>,
    /// The last round met somebody new.
    is_hot: bool,
    /// When everything that is left was first not ours to end.
    refused: Option<Instant>,
}

impl Hunt {
    fn round(&mut self) {
        let known: BTreeSet<ProcessId> = self.prey.iter().map(Stat::id).collect();
        self.prey = descendants();
        self.is_hot = self.prey.iter().any(|stat| !known.contains(&stat.id()));
        let refused = self.prey.iter().filter(|stat| is_refused(stat.id().kill()));
        let all_refused = refused.count() == self.prey.len() && !self.prey.is_empty();
        self.refused = self
            .refused
            .or(Some(Instant::now()))
            .filter(|_| all_refused);
    }

    /// Whether waiting longer would change nothing.
    fn is_refused(&self) -> bool {
        self.refused
            .is_some_and(|since| since.elapsed() >= REFUSAL_DEADLINE)
    }
}

/// Gone is what we want; a process of another user stays.
fn is_refused(killed: io::Result<()>) -> bool {
    killed.is_err_and(|error| error.raw_os_error() == Some(Errno::EPERM as i32))
}

fn left_running(enclosure: &Enclosure, below: &[Stat]) -> Vec<LeftRunning> {
    let mut left: Vec<ProcessId> = below.iter().map(Stat::id).collect();
    left.extend(enclosure.members().into_iter().filter_map(ProcessId::of));
    left.sort_unstable();
    left.dedup();
    left.into_iter()
        .filter(|process| process.is_alive())
        .map(|process| LeftRunning {
            process,
            command: proc::command_line(process.pid),
        })
        .collect()
}
