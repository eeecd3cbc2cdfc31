//! RLIMIT_DATA of another process: how much it may map privately and writably,
//! touched or not. The kernel asks only when something is mapped, so a limit
//! below what is mapped takes nothing away.

use std::io;

use crate::PidFd;

/// No limit.
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// The soft limit of a process, in bytes; [`UNLIMITED`] for none.
///
/// # Errors
/// EPERM for another user's process, ESRCH when it is gone.
pub fn soft(pid: i32) -> io::Result<u64> {
    Ok(exchange(pid, None)?.rlim_cur)
}

/// Sets the soft limit of the process behind `handle`, whose pid is `pid`, and
/// leaves its hard limit alone; nothing happens where `may_replace` refuses the
/// soft limit in force. Returns what was set: never more than the hard limit.
///
/// A process that is still there afterwards had this pid all the time; a
/// stranger that has got the pid meanwhile gets its limit back.
///
/// # Errors
/// EPERM for another user's process, ESRCH when it is gone.
pub fn replace_soft(
    pid: i32,
    handle: &PidFd,
    bytes: u64,
    may_replace: impl FnOnce(u64) -> bool,
) -> io::Result<Option<u64>> {
    let before = exchange(pid, None)?;
    if !may_replace(before.rlim_cur) {
        return Ok(None);
    }
    let wanted = libc::rlimit {
        rlim_cur: bytes.min(before.rlim_max),
        rlim_max: before.rlim_max,
    };
    let replaced = exchange(pid, Some(&wanted))?;
    if let Err(error) = handle.send(0) {
        // Whoever it is, as it was.
        let _ = exchange(pid, Some(&replaced));
        return Err(error);
    }
    Ok(Some(wanted.rlim_cur))
}

/// prlimit(2), Linux 2.6.36. Returns the limit that was in force.
fn exchange(pid: i32, new: Option<&libc::rlimit>) -> io::Result<libc::rlimit> {
    let mut old = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: a null or live limit to read, and a live one to write.
    match unsafe { libc::prlimit(pid, libc::RLIMIT_DATA, new, &raw mut old) } {
        0 => Ok(old),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_of_a_child_goes_down_and_up_and_its_hard_limit_stays() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        let handle = PidFd::open(pid).expect("our child");
        let hard = exchange(pid, None).expect("readable").rlim_max;
        let set = |bytes| replace_soft(pid, &handle, bytes, |_| true).and_then(|_| soft(pid));
        let (down, up) = (set(64 << 20), set(128 << 20));
        let kept = replace_soft(pid, &handle, 1 << 20, |now| now != 128 << 20);
        let hard_after = exchange(pid, None).expect("readable").rlim_max;
        drop(child.stdin.take());
        child.wait().expect("ends");
        assert_eq!(down.ok(), Some(64 << 20));
        assert_eq!(up.ok(), Some(128 << 20));
        assert_eq!(hard_after, hard);
        assert_eq!(kept.ok(), Some(None));
        let late = replace_soft(pid, &handle, 1 << 20, |_| true);
        assert!(late.is_err(), "it is gone");
    }
}
