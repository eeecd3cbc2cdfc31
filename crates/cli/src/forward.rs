//! Signals sent to memcap alone are passed on to the job. Those of the
//! terminal reach the job by themselves, since it is in our process group, and
//! so do those that a member of the job sends to that group: an editor stops
//! itself by `kill(0, SIGTSTP)`, and a copy of ours that came when it has been
//! continued would stop it again.
//!
//! SIGTSTP is taken over too: a program that tidies the terminal up before it
//! stops (an editor, a pager) must have done so before the shell takes the
//! terminal back, which it does as soon as we stop. So we stop when the job has
//! (`Supervisor::mirrors_stops`), and what asks for it is held back for a while
//! (`held`).

mod held;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use memcap_linux::proc::{Stat, is_ours};
use memcap_linux::read_text;
use memcap_supervisor::{Control, Moment};
use nix::libc::{SIGPWR, SIGXCPU};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::time::TimeSpec;
use nix::unistd::{getpgrp, getpid};
use signal_hook::consts::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2,
    SIGVTALRM,
};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

use self::held::{Heard, PassOn, Requests};

/// Those that end a process, or stop it, where it does nothing about them, but for the
/// kernel's answers to what a process does itself (SIGSEGV, SIGPIPE) and the
/// real-time ones.
const FORWARDED: [i32; 14] = [
    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGALRM, SIGVTALRM,
    SIGPROF, SIGXCPU, SIGIO, SIGPWR,
];

/// What the kernel sends to a whole process group when it is typed or hung up.
const OF_TERMINAL: [i32; 5] = [SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGCONT];

/// Handlers that are in place before the job starts, so that no signal is lost.
pub(crate) struct Forwarder {
    signals: SignalDelivery<UnixStream, WithOrigin>,
    seen: Seen,
}

/// Which signals have come, known from the moment their handler has run: the
/// thread that passes them on may be later than the job's end.
pub(crate) struct Seen(Vec<(i32, Arc<AtomicBool>)>);

impl Seen {
    /// Those that have come so far.
    pub(crate) fn signals(&self) -> Vec<i32> {
        let came = self
            .0
            .iter()
            .filter(|(_, came)| came.load(Ordering::SeqCst));
        came.map(|(signal, _)| *signal).collect()
    }
}

impl Forwarder {
    /// Takes the signals over, except those that were ignored when we were
    /// started: the job must find them ignored too (`nohup`).
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub(crate) fn install() -> std::io::Result<Forwarder> {
        let ignored = ignored_signals();
        let wanted: Vec<i32> = FORWARDED
            .into_iter()
            .filter(|signal| ignored >> (signal - 1) & 1 == 0)
            .collect();
        let seen = wanted.iter().map(|signal| {
            let came = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(*signal, Arc::clone(&came))?;
            Ok((*signal, came))
        });
        let seen = Seen(seen.collect::<std::io::Result<_>>()?);
        let (read, write) = UnixStream::pair()?;
        Ok(Forwarder {
            seen,
            signals: SignalDelivery::with_pipe(read, write, WithOrigin::default(), wanted)?,
        })
    }

    /// Passes signals on for the rest of this process's life; an error when no
    /// thread can be made.
    pub(crate) fn start(self, control: Control) -> (Seen, std::io::Result<()>) {
        let mut signals = self.signals;
        let pass_on = move || {
            let mut requests = Requests::default();
            loop {
                wait(signals.get_read(), requests.due());
                // Before they are collected: should we be stopped from here on, the
                // keeper knows by this that a request is from before.
                let now = (Instant::now(), Moment::now());
                let mut heard = Heard::default();
                for origin in signals.pending() {
                    heard.continued |= origin.signal == SIGCONT;
                    match origin.signal {
                        signal if has_reached_the_job(&origin) => control.note(signal),
                        SIGTSTP => heard.stop = true,
                        SIGCONT => heard.go_on |= !is_from_keeper(&origin),
                        signal => control.signal(signal),
                    }
                }
                match requests.hear(heard, now) {
                    Some(PassOn::Stop { went_on }) => control.suspend(went_on),
                    Some(PassOn::Continue { seen }) => control.resume(seen),
                    None => {}
                }
            }
        };
        let started = std::thread::Builder::new().spawn(pass_on).map(drop);
        if started.is_ok() {
            leave_job_control_to_others();
        }
        (self.seen, started)
    }
}

/// Waits for a signal, at the longest until then.
fn wait(signals: &UnixStream, due: Option<Instant>) {
    let longest = due.map(|due| due.saturating_duration_since(Instant::now()));
    let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    // Woken early, or by the handler itself: what is there is taken anyway.
    let _ = ppoll(&mut fds, longest.map(TimeSpec::from), None);
}

/// Lets the handlers of SIGTSTP and SIGCONT run on the thread that passes them on
/// alone: when it goes on after a stop, that of SIGCONT comes before all else.
fn leave_job_control_to_others() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTSTP);
    signals.add(Signal::SIGCONT);
    // Cannot fail: the set is a set of signals.
    let _ = signals.thread_block();
}

/// Whether the job has got it by itself. SIGCONT is passed on all the same: the
/// keeper knows whether there is anything to continue.
fn has_reached_the_job(origin: &Origin) -> bool {
    match &origin.process {
        // An alarm that was set before memcap was executed is one for the job.
        _ if matches!(origin.cause, Cause::Kernel) => OF_TERMINAL.contains(&origin.signal),
        Some(sender) => origin.signal != SIGCONT && is_of_job_in_our_group(sender.pid),
        None => false,
    }
}

/// Whether this process is a descendant of ours, as only the job is, in our own
/// process group. What such a one sends came to the whole group: it does not know
/// of us. (A script around memcap may be in our group too, and means us.)
fn is_of_job_in_our_group(pid: i32) -> bool {
    is_ours()
        && Stat::read(pid).is_ok_and(|stat| stat.pgrp == getpgrp().as_raw())
        && is_descendant(pid)
}

/// Whether the keeper sent it, the only child that we have: that SIGCONT follows
/// the job's and is no word of anybody's.
fn is_from_keeper(origin: &Origin) -> bool {
    let is_child = |pid| Stat::read(pid).is_ok_and(|stat| stat.ppid == getpid().as_raw());
    let sender = origin.process.as_ref();
    sender.is_some_and(|sender| is_ours() && is_child(sender.pid))
}

fn is_descendant(pid: i32) -> bool {
    let ourselves = getpid().as_raw();
    let parent = |pid: &i32| Stat::read(*pid).ok().map(|stat| stat.ppid);
    std::iter::successors(parent(&pid), parent)
        .take_while(|ancestor| *ancestor > 1)
        .any(|ancestor| ancestor == ourselves)
}

/// Bits of the signals this process ignores: signal n is bit n - 1.
pub(crate) fn ignored_signals() -> u64 {
    let status = read_text(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}
