//! Ending a whole tree: kill, reap, look again, until nothing is left.

use std::time::{Duration, Instant};

use memcap_linux::proc;
use memcap_linux::{PidFd, ProcessId};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::enclosure::Enclosure;
use super::sampler::descendants;
use crate::evidence::{JobEnd, LeftRunning};

/// How long a killed tree may take to be gone. A process in uninterruptible
/// sleep, or of another user, outlasts it and is listed.
const DEADLINE: Duration = Duration::from_secs(5);

/// Children that have ended, as far as they have.
#[derive(Debug, Default)]
pub(super) struct Reaped {
    /// How the main process ended, once it has.
    pub(super) main: Option<JobEnd>,
    /// No child is left: as subreaper, then no descendant is either.
    pub(super) childless: bool,
}

/// Collects every child that has ended. The status of `main` is kept.
pub(super) fn reap(main: i32, reaped: &mut Reaped) {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == main => {
                reaped.main = Some(JobEnd::Exited(code));
            }
            Ok(WaitStatus::Signaled(pid, signal, _core)) if pid.as_raw() == main => {
                reaped.main = Some(JobEnd::Signaled(signal as i32));
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
    let deadline = Instant::now() + DEADLINE;
    loop {
        reap(main, reaped);
        if reaped.childless && enclosure.is_empty() {
            return Vec::new();
        }
        enclosure.kill_members();
        let below = if reaped.childless {
            Vec::new()
        } else {
            descendants()
        };
        for stat in &below {
            kill(stat.id());
        }
        if Instant::now() >= deadline {
            return left_running(enclosure, &below);
        }
        pause(Duration::from_millis(5));
    }
}

/// Stops everything where it is, so that it can neither grow nor fork while it
/// is measured for the last time. Only before a kill: unlike a frozen group,
/// stopped processes are seen by their parents.
pub(super) fn stop(members: impl Iterator<Item = i32>) {
    for pid in members {
        if let Some(process) = ProcessId::of(pid)
            && let Ok(handle) = PidFd::open_verified(process)
        {
            // Gone meanwhile, or not ours to stop: it is killed next anyway.
            let _ = handle.send(Signal::SIGSTOP as i32);
        }
    }
}

fn kill(process: ProcessId) {
    let handle = match PidFd::open_verified(process) {
        Ok(handle) => handle,
        Err(error) if error.raw_os_error() == Some(Errno::ENOSYS as i32) => {
            return kill_by_number(process);
        }
        // Gone.
        Err(_) => return,
    };
    // A process of another user stays and is listed at the end.
    if handle.send(Signal::SIGKILL as i32).is_ok() {
        // Memory comes back sooner; nothing depends on it.
        let _ = handle.release_memory();
    }
}

/// Before Linux 5.3: the number, checked a moment before.
fn kill_by_number(process: ProcessId) {
    if process.exists() {
        // As in `kill`.
        let _ = nix::sys::signal::kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }
}

fn left_running(enclosure: &Enclosure, below: &[proc::Stat]) -> Vec<LeftRunning> {
    let mut left: Vec<ProcessId> = below.iter().map(proc::Stat::id).collect();
    left.extend(enclosure.members().into_iter().filter_map(ProcessId::of));
    left.sort_unstable();
    left.dedup();
    left.into_iter()
        .filter(|process| {
            proc::Stat::read(process.pid).is_ok_and(|s| s.id() == *process && !s.is_dead())
        })
        .map(|process| LeftRunning {
            process,
            command: proc::command_line(process.pid),
        })
        .collect()
}
