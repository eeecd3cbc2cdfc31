//! Processes held by descriptor, so that a recycled pid is never signalled.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::process::ProcessId;

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
