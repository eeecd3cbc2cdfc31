//! Which process is meant: a pid alone is not enough, since pids come back.

use std::cmp::Ordering;
use std::io;

use serde::{Deserialize, Serialize};

use crate::PidFd;
use crate::proc::Stat;

/// A process, told apart from a later one with the same pid by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid in our pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub start: u64,
}

impl ProcessId {
    /// The process that has this pid now; `None` when there is none or /proc
    /// does not show it.
    pub fn of(pid: i32) -> Option<ProcessId> {
        Stat::read(pid).ok().map(|stat| stat.id())
    }

    /// This very process.
    pub fn current() -> Option<ProcessId> {
        ProcessId::of(i32::try_from(std::process::id()).ok()?)
    }

    /// Whether it is still there, zombies included.
    pub fn exists(self) -> bool {
        ProcessId::of(self.pid) == Some(self)
    }

    /// Whether it is still there and does something: one that has ended and
    /// waits to be reaped does not.
    pub fn is_alive(self) -> bool {
        Stat::read(self.pid).is_ok_and(|stat| stat.id() == self && !stat.is_dead())
    }

    /// Whether it is surely not there any more, or has ended. One that /proc does not
    /// show may be hidden (`hidepid`), as processes that may not be traced are from
    /// their own user too.
    pub fn is_gone(self) -> bool {
        use nix::errno::Errno;
        use nix::sys::signal::kill;
        match Stat::read(self.pid) {
            Ok(stat) => stat.id() != self || stat.is_dead(),
            Err(_) => kill(nix::unistd::Pid::from_raw(self.pid), None) == Err(Errno::ESRCH),
        }
    }

    /// Ends this very process with SIGKILL, through a handle that was verified;
    /// before Linux 5.3 by its number, checked a moment before.
    ///
    /// # Errors
    /// ESRCH when it is gone, EPERM when it is not ours to end.
    pub fn kill(self) -> io::Result<()> {
        let handle = match PidFd::open_verified(self) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                return self.kill_by_number();
            }
            opened => opened?,
        };
        handle.send(libc::SIGKILL)
    }

    /// Gives back the memory of this process, which has been killed, in our own
    /// time: it need not get a processor for that ([`PidFd::release_memory`]).
    ///
    /// # Errors
    /// As there; nothing need be done about any of them.
    pub fn release_memory(self) -> io::Result<()> {
        PidFd::open_verified(self)?.release_memory()
    }

    fn kill_by_number(self) -> io::Result<()> {
        if !self.exists() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // SAFETY: plain numbers.
        match unsafe { libc::kill(self.pid, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Whether two processes are one address space (CLONE_VM), so that every page
/// of one is a page of the other.
///
/// # Errors
/// As [`memory_order`].
pub fn share_memory(one: i32, other: i32) -> io::Result<bool> {
    memory_order(one, other).map(Ordering::is_eq)
}

/// The order of two processes' address spaces, equal for those that are one: as good as
/// any, and the same as long as they live (kcmp(2), Linux 3.5).
///
/// # Errors
/// EPERM for processes that may not be looked into, ENOSYS on a kernel built
/// without it, ESRCH when one is gone.
pub fn memory_order(one: i32, other: i32) -> io::Result<Ordering> {
    /// KCMP_VM of linux/kcmp.h.
    const VM: libc::c_long = 1;
    // SAFETY: plain numbers.
    match unsafe { libc::syscall(libc::SYS_kcmp, one, other, VM, 0, 0) } {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        -1 => Err(io::Error::last_os_error()),
        // Not equal, and no order.
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_has_memory_of_its_own() {
        let ourselves = i32::try_from(std::process::id()).expect("a pid");
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("starts");
        let other = i32::try_from(child.id()).expect("a pid");
        let (same, different) = (
            share_memory(ourselves, ourselves),
            share_memory(ourselves, other),
        );
        let orders = [(ourselves, other), (other, ourselves)];
        let orders = orders.map(|(one, other)| memory_order(one, other).ok());
        drop(child.stdin.take());
        child.wait().expect("ends");
        assert_eq!(same.ok(), Some(true));
        assert_eq!(different.ok(), Some(false));
        assert_eq!(orders[0], orders[1].map(Ordering::reverse));
    }
}
