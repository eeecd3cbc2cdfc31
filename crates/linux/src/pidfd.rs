//! Processes held by descriptor, so that a recycled pid is never signalled.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use std::time::Duration;

use crate::process::ProcessId;

/// What waiting for a child brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// It is still there.
    Running,
    /// It has ended and is gone now.
    Ended(ChildEnd),
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildEnd {
    /// Its exit code, or the signal that killed it.
    pub status: ChildStatus,
    /// User and system time, its own reaped children's included.
    pub cpu: Duration,
}

/// Exit code or signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildStatus {
    /// By itself, 0 to 255.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// A handle on one process (pidfd_open(2), Linux 5.3). Readable in `poll`
/// once the process has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl From<OwnedFd> for PidFd {
    /// Takes a descriptor that clone3(2) has made (CLONE_PIDFD).
    fn from(handle: OwnedFd) -> PidFd {
        PidFd(handle)
    }
}

impl PidFd {
    /// Opens a handle on whatever process has this pid now. Safe against
    /// recycling only for an unreaped child of the caller; for others use
    /// [`PidFd::open_verified`].
    ///
    /// # Errors
    /// ESRCH when there is none, ENOSYS before Linux 5.3.
    pub fn open(pid: i32) -> io::Result<PidFd> {
        // SAFETY: no pointers; the result is a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = RawFd::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Opens a handle and then checks that the process is still the one that
    /// was meant, by its start time.
    ///
    /// # Errors
    /// ESRCH when it is gone or another process has its pid now.
    pub fn open_verified(process: ProcessId) -> io::Result<PidFd> {
        let fd = PidFd::open(process.pid)?;
        match ProcessId::of(process.pid) {
            Some(now) if now == process => Ok(fd),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// Sends a signal (pidfd_send_signal(2), Linux 5.1).
    ///
    /// # Errors
    /// ESRCH when it has been reaped, EPERM for another user's process.
    pub fn send(&self, signal: i32) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: a null siginfo is documented as "as kill(2) would".
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                info,
                0,
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Reaps the child if it has ended (waitid(2) with P_PIDFD, Linux 5.4).
    /// Never waits, and never meets another child, whoever reaps what in this
    /// process.
    ///
    /// # Errors
    /// ECHILD when it is no child of ours or somebody else has reaped it (SIGCHLD
    /// ignored, or another thread in wait(2)); EINVAL before Linux 5.4.
    pub fn reap(&self) -> io::Result<ChildState> {
        use std::os::fd::AsRawFd;
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: both structures are live and of the kernel's layout; the
        // fifth argument is the rusage that the C library's wrapper leaves out.
        let done = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                self.0.as_raw_fd(),
                info.as_mut_ptr(),
                libc::WEXITED | libc::WNOHANG,
                usage.as_mut_ptr(),
            )
        };
        if done == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all-zero is a valid value of both, and the kernel has filled
        // them where there was something to say.
        let (info, usage) = unsafe { (info.assume_init(), usage.assume_init()) };
        // SAFETY: the fields of SIGCHLD are what waitid fills.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(ChildState::Running);
        }
        let status = match info.si_code {
            libc::CLD_EXITED => ChildStatus::Exited(status),
            // CLD_KILLED and CLD_DUMPED.
            _ => ChildStatus::Signaled(status),
        };
        let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
        Ok(ChildState::Ended(ChildEnd { status, cpu }))
    }

    /// Waits until the child stops, or has ended (waitid(2) with P_PIDFD, Linux
    /// 5.4). True for a stop, which is taken note of; an end is left to be reaped.
    /// Job control alone: what a tracer does is no stop.
    ///
    /// # Errors
    /// ECHILD when it is no child of ours or somebody has reaped it, EINVAL before
    /// Linux 5.4.
    pub fn wait_for_stop(&self) -> io::Result<bool> {
        let seen = self.waitid(libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT)?;
        let is_stop = seen.si_code == libc::CLD_STOPPED;
        if is_stop {
            // Told once. It may have been continued meanwhile.
            self.waitid(libc::WSTOPPED | libc::WNOHANG)?;
        }
        Ok(is_stop)
    }

    fn waitid(&self, wanted: i32) -> io::Result<libc::siginfo_t> {
        use std::os::fd::AsRawFd;
        let number = self.0.as_raw_fd().unsigned_abs();
        loop {
            let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
            // SAFETY: points to a live structure.
            if unsafe { libc::waitid(libc::P_PIDFD, number, info.as_mut_ptr(), wanted) } == 0 {
                // SAFETY: all-zero is valid, and the kernel has filled in the rest.
                return Ok(unsafe { info.assume_init() });
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Another descriptor of the same handle.
    ///
    /// # Errors
    /// EMFILE.
    pub fn try_clone(&self) -> io::Result<PidFd> {
        self.0.try_clone().map(PidFd)
    }

    /// Frees the memory of a dying process from our own context
    /// (process_mrelease(2), Linux 5.15). Only sensible after SIGKILL.
    ///
    /// # Errors
    /// ENOSYS on older kernels, EINVAL when it is not dying, ESRCH when it is
    /// gone; all of them mean that nothing need be done.
    pub fn release_memory(&self) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        // SAFETY: no pointers.
        let done = unsafe { libc::syscall(libc::SYS_process_mrelease, self.0.as_raw_fd(), 0) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_are_told_once_each_and_an_end_stays_to_be_reaped() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        let handle = PidFd::open(pid).expect("a handle");
        for _ in 0..2 {
            handle.send(libc::SIGSTOP).expect("sent");
            assert!(handle.wait_for_stop().expect("a child"));
            handle.send(libc::SIGCONT).expect("sent");
        }
        handle.send(libc::SIGKILL).expect("sent");
        assert!(!handle.wait_for_stop().expect("not yet reaped"));
        assert!(!child.wait().expect("reaped").success());
        let gone = handle.wait_for_stop().expect_err("no child any more");
        assert_eq!(gone.raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn a_child_is_reaped_once_and_by_handle() {
        let start = |script: &str| {
            std::process::Command::new("sh")
                .args(["-c", script])
                .spawn()
                .expect("starts")
        };
        let handle = |child: &std::process::Child| {
            PidFd::open(i32::try_from(child.id()).expect("a pid")).expect("a handle")
        };
        let ended = |child: &PidFd| loop {
            match child.reap().expect("reaps") {
                ChildState::Running => std::thread::yield_now(),
                ChildState::Ended(end) => break end,
            }
        };
        let sleeper = handle(&start("sleep 60"));
        let quick = handle(&start("exit 3"));
        assert_eq!(ended(&quick).status, ChildStatus::Exited(3));
        let again = quick.reap().expect_err("it is gone");
        assert_eq!(again.raw_os_error(), Some(libc::ECHILD));
        assert_eq!(sleeper.reap().expect("asks"), ChildState::Running);
        sleeper.send(libc::SIGTERM).expect("sent");
        assert_eq!(ended(&sleeper).status, ChildStatus::Signaled(libc::SIGTERM));
    }
}
