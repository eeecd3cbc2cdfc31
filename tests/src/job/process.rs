//! Forking, detaching, waiting and being hard to end.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, clone};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe, setsid};

/// No job outlives this by itself, whatever a suite forgets.
const SAFETY_ALARM_SECONDS: u32 = 60;

/// Arms the alarm that ends this process after a minute. A forked child starts
/// without one; [`fork_job`] arms it again.
pub fn alarm() {
    nix::unistd::alarm::set(SAFETY_ALARM_SECONDS);
}

/// Stays alive, doing nothing, for `duration`; signals do not shorten it.
pub fn hold(duration: Duration) {
    let deadline = Instant::now() + duration;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        // Rounded up, so that the last stretch is one call and no spin.
        let timeout = left + Duration::from_micros(999);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut [], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // No descriptor can be at fault; ending early is the safe side.
            Err(_) => return,
        }
    }
}

/// How a forked job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(Signal),
}

/// Forks a child that runs `body` and exits with what it returns.
///
/// # Errors
/// The errno of `fork`.
pub fn fork_job(body: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the job programs never start a thread, so the child is a whole
    // copy of the process and may do anything.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            alarm();
            std::process::exit(body())
        }
    }
}

/// Waits until `child` has ended.
///
/// # Errors
/// The errno of `waitpid`, `EINTR` excepted.
pub fn end_of(child: Pid) -> io::Result<End> {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(End::Exited(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(End::Signaled(signal)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits until `child` has ended, and leaves it to be waited for.
///
/// # Errors
/// The errno of `waitid`, `EINTR` excepted.
pub fn end_without_waiting(child: Pid) -> io::Result<()> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::Pid(child), flags) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits until any child has ended.
///
/// # Errors
/// The errno of `waitpid`, `EINTR` excepted.
pub fn end_of_any() -> io::Result<()> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Forks and ends the parent: who returns is the child, an orphan.
///
/// # Errors
/// The errno of `fork`, in the parent.
pub fn continue_in_child() -> io::Result<()> {
    // SAFETY: as in `fork_job`.
    match unsafe { fork() }? {
        // Without the exit handlers: a link of a chain does as little as it can.
        // SAFETY: ends the process; nothing of it is needed any more.
        ForkResult::Parent { .. } => unsafe { libc::_exit(0) },
        ForkResult::Child => Ok(()),
    }
}

/// Ends the calling thread and no other. Called in the first one, the process
/// goes on and /proc shows it as a zombie.
pub fn end_first_thread() -> ! {
    // SAFETY: ends this thread alone; the others own whatever they use.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit(2) does not return")
}

/// Starts a child that runs `body` in this process's own memory, while this
/// process waits, as `vfork` does. Returns when the child has ended.
///
/// # Errors
/// The errno of `clone`.
pub fn share_memory_with_child(body: impl Fn() -> i32) -> io::Result<()> {
    let mut stack = vec![0; 256 << 10];
    let run = || {
        alarm();
        isize::try_from(body()).unwrap_or(1)
    };
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: the child has a stack of its own, and nobody else touches the
    // shared memory while it lives: this thread, the only one, waits.
    unsafe { clone(Box::new(run), &mut stack, flags, Some(libc::SIGCHLD)) }?;
    Ok(())
}

/// Halts another process by ptrace(2) for as long as this one lives.
///
/// # Errors
/// `EPERM` where this process may not trace it.
pub fn halt_by_ptrace(process: Pid) -> io::Result<()> {
    for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
        // SAFETY: neither request reads or writes memory of ours.
        if unsafe { libc::ptrace(request, process.as_raw(), 0, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Has the kernel kill another process as soon as it uses a processor.
///
/// # Errors
/// The errno of `prlimit`.
pub fn forbid_processor_time(process: Pid) -> io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `none` lives until the call returns; nothing is asked for.
    let done = unsafe {
        libc::prlimit(
            process.as_raw(),
            libc::RLIMIT_CPU,
            &raw const none,
            std::ptr::null_mut(),
        )
    };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Forks `body` and waits for its end.
///
/// # Errors
/// As [`fork_job`] and [`end_of`].
pub fn run_forked(body: impl FnOnce() -> i32) -> io::Result<End> {
    end_of(fork_job(body)?)
}

/// Starts `body` the way a daemon starts: `setsid` and two forks, so that its
/// parent is dead, it leads nothing, and it shares no group or session with
/// us. Returns its pid once it is on its own.
///
/// # Errors
/// The errno of `fork` or `pipe`, or an unexpected end of the pipe where the
/// daemon could not be made.
pub fn detach(body: impl FnOnce() -> i32) -> io::Result<Pid> {
    let (reader, writer) = pipe()?;
    run_forked(move || match setsid() {
        Ok(_) => match fork_job(body) {
            Ok(daemon) => report_pid(&writer, daemon),
            Err(_) => 1,
        },
        Err(_) => 1,
    })?;
    read_pid(reader)
}

fn report_pid(writer: &OwnedFd, pid: Pid) -> i32 {
    match nix::unistd::write(writer, &pid.as_raw().to_le_bytes()) {
        Ok(_) => 0,
        Err(_) => 1,
    }
}

/// Reads what [`report_pid`] wrote: four bytes, which a pipe hands over whole.
fn read_pid(reader: OwnedFd) -> io::Result<Pid> {
    let timeout = PollTimeout::from(10_000_u16);
    poll(
        &mut [PollFd::new(
            std::os::fd::AsFd::as_fd(&reader),
            PollFlags::POLLIN,
        )],
        timeout,
    )?;
    let mut bytes = [0; 4];
    match nix::unistd::read(&reader, &mut bytes)? {
        4 => Ok(Pid::from_raw(i32::from_le_bytes(bytes))),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Ignores `signals` from here on, children included.
///
/// # Errors
/// The errno of `sigaction` (a signal that cannot be ignored).
pub fn ignore_signals(signals: &[Signal]) -> io::Result<()> {
    for &one in signals {
        // SAFETY: ignoring installs no handler, so nothing runs in a signal's
        // context.
        unsafe { signal(one, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Raises `signal` on this process with the kernel's own action, whatever the
/// language's runtime has installed (it catches SIGSEGV and SIGBUS).
///
/// # Errors
/// The errno of `raise`.
pub fn raise_default(one: Signal) -> io::Result<()> {
    // SAFETY: the default action installs no handler. SIGKILL and SIGSTOP have
    // no other action, so their refusal changes nothing.
    let _ = unsafe { signal(one, SigHandler::SigDfl) };
    Ok(raise(one)?)
}

/// Sets the core size to 0, for jobs that die by a core-dumping signal.
///
/// # Errors
/// The errno of `setrlimit`.
pub fn stop_dumping_core() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}
