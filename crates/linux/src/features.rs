//! Whether this kernel has a system call, found out by calling it: versions
//! mislead (backports, filters of system calls).

use std::io;

use crate::PidFd;

/// Whether processes can be held by a handle (pidfd_open(2), Linux 5.3).
///
/// # Errors
/// ENOSYS on older kernels; EPERM by a filter.
pub fn has_pidfd() -> io::Result<()> {
    own_handle().map(drop)
}

/// Whether a dying process's memory can be freed by another
/// (process_mrelease(2), Linux 5.15).
///
/// # Errors
/// ENOSYS on older kernels; EPERM by a filter.
pub fn has_process_mrelease() -> io::Result<()> {
    match own_handle()?.release_memory() {
        // We are not dying, and the kernel could tell.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

/// Whether a child can be born into a v2 group (clone3(2) with
/// CLONE_INTO_CGROUP, Linux 5.7). No child is made: the group is none.
///
/// # Errors
/// ENOSYS, E2BIG or EINVAL on older kernels; EPERM by a filter.
pub fn has_clone_into_cgroup() -> io::Result<()> {
    /// The constant of the libc crate has lost this bit.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: plain numbers; all zero is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    // No descriptor has this number: the limit of their count is lower.
    arguments.cgroup = u64::from(i32::MAX.unsigned_abs());
    let size = size_of::<libc::clone_args>();
    // SAFETY: points to a live structure of the size it states. The kernel
    // refuses a descriptor that is not open before it makes a child.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) } {
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EBADF) => Ok(()),
            error => Err(error),
        },
        // SAFETY: ends a child that should not be, without running anything.
        0 => unsafe { libc::_exit(0) },
        _ => Err(io::Error::other("a child was made")),
    }
}

fn own_handle() -> io::Result<PidFd> {
    PidFd::open(i32::try_from(std::process::id()).map_err(io::Error::other)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn asking_makes_no_child() {
        // What is answered depends on the kernel; that nothing is left does not.
        let _ = super::has_clone_into_cgroup();
        let child = nix::sys::wait::waitpid(
            nix::unistd::Pid::from_raw(-1),
            Some(nix::sys::wait::WaitPidFlag::WNOHANG | nix::sys::wait::WaitPidFlag::__WNOTHREAD),
        );
        assert_eq!(child, Err(nix::errno::Errno::ECHILD));
    }
}
