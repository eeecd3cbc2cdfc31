//! Whoever keeps a job, seen from the embedding program: a keeper process, or
//! a thread of our own.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use memcap_linux::{ChildState, ChildStatus, PidFd, signals};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Two system calls in a loop, and what the standard library needs to begin.
const GUARD_STACK: usize = 64 << 10;

/// Who keeps the job.
#[derive(Debug)]
pub(crate) enum Guardian {
    /// The keeper: a process that may be killed.
    Process {
        /// An unreaped child of ours, unless the host reaps it.
        pid: i32,
        /// A handle that stays true when the host reaps every child it has;
        /// `None` before Linux 5.3.
        handle: Option<PidFd>,
        /// How often somebody has stopped it; nobody counts before
        /// [`Guardian::watch_over`].
        stops: Option<Arc<AtomicU32>>,
    },
    /// A thread; `None` once it is joined.
    Thread(Option<JoinHandle<()>>),
}

impl Guardian {
    /// A child that was started just now.
    pub(crate) fn process(pid: i32) -> Guardian {
        Guardian::Process {
            pid,
            handle: PidFd::open(pid).ok(),
            stops: None,
        }
    }

    /// From here on a thread continues a keeper process that somebody stops, one
    /// that is stopped already too. Once is enough.
    pub(crate) fn watch_over(&mut self) {
        if let Guardian::Process {
            handle: Some(handle),
            stops: stops @ None,
            ..
        } = self
            && let Ok(handle) = handle.try_clone()
        {
            let counted = Arc::clone(stops.insert(Arc::default()));
            // No thread to be had: then nobody continues it.
            let _ = std::thread::Builder::new()
                .name("memcap-guard".into())
                .stack_size(GUARD_STACK)
                .spawn(move || keep_going(&handle, &counted));
        }
    }

    /// What the report says of somebody who stopped it.
    pub(crate) fn note(&self) -> Option<String> {
        match self {
            Guardian::Process { stops, .. } => match stops.as_ref()?.load(Ordering::Relaxed) {
                0 => None,
                1 => Some("somebody stopped the keeper; it was continued at once".into()),
                often => Some(format!(
                    "somebody stopped the keeper {often} times; it was continued at once each time"
                )),
            },
            Guardian::Thread(_) => None,
        }
    }

    /// The process that keeps the job.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Guardian::Process { pid, .. } => pid.unsigned_abs(),
            Guardian::Thread(_) => std::process::id(),
        }
    }

    /// What becomes readable when the keeper is dead, should a copy of its
    /// channel live on in a child that the host has forked meanwhile.
    pub(crate) fn death(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Guardian::Process { handle, .. } => handle.as_ref().map(AsFd::as_fd),
            Guardian::Thread(_) => None,
        }
    }

    /// Kills a keeper that does not answer any more; a thread cannot be killed.
    pub(crate) fn kill(&mut self) {
        // Gone is what we want.
        match self {
            Guardian::Process {
                handle: Some(handle),
                ..
            } => drop(handle.send(Signal::SIGKILL as i32)),
            Guardian::Process { pid, .. } => drop(kill(Pid::from_raw(*pid), Signal::SIGKILL)),
            Guardian::Thread(_) => {}
        }
    }

    /// Waits until it is gone. True: it exited by itself.
    pub(crate) fn wait(&mut self) -> bool {
        match self {
            Guardian::Process { pid, handle, .. } => match handle {
                Some(handle) => wait_by_handle(handle, *pid),
                None => wait_by_number(*pid),
            },
            Guardian::Thread(thread) => thread.take().is_none_or(|thread| thread.join().is_ok()),
        }
    }
}

/// Continues a keeper that somebody stops, since a limit that is sampled would
/// not hold meanwhile. (Job control does not reach it: it is in a session of its
/// own.) Over with the keeper; before Linux 5.4 nobody is told of stops.
fn keep_going(handle: &PidFd, stops: &AtomicU32) {
    // The program's handlers run on its own threads.
    signals::block_all();
    while let Ok(true) = handle.wait_for_stop() {
        stops.fetch_add(1, Ordering::Relaxed);
        // Gone meanwhile is what the next wait finds out.
        let _ = handle.send(Signal::SIGCONT as i32);
    }
}

/// Never meets another child under a recycled number, even where the host
/// reaps all its children itself: that leaves nothing to learn here.
fn wait_by_handle(handle: &PidFd, pid: i32) -> bool {
    loop {
        let mut fds = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
        if matches!(poll(&mut fds, PollTimeout::NONE), Ok(count) if count > 0) {
            break;
        }
    }
    match handle.reap() {
        Ok(ChildState::Ended(end)) => matches!(end.status, ChildStatus::Exited(_)),
        Ok(ChildState::Running) => false,
        // Before Linux 5.4 there is no waiting by handle.
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => wait_by_number(pid),
        Err(_) => false,
    }
}

fn wait_by_number(pid: i32) -> bool {
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Err(Errno::EINTR) => {}
            outcome => return matches!(outcome, Ok(WaitStatus::Exited(..))),
        }
    }
}
