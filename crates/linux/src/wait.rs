//! Waiting for any child, with every signal there is: a child that was ended
//! by a real-time signal is a dead child too.

use std::io;

/// What has become of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildChange {
    /// It ended by itself, with this code (0 to 255), and is reaped.
    Exited(i32),
    /// This signal ended it (1 to 64), and it is reaped.
    Signaled(i32),
    /// This signal stopped it.
    Stopped(i32),
    /// SIGCONT made it go on.
    Continued,
}

/// The next change of any child, stops included, if there is one (waitpid(2)
/// with WNOHANG). Never waits. Only for a process all of whose children are
/// the caller's to reap.
///
/// # Errors
/// ECHILD when no child is left.
pub fn next_child_change() -> io::Result<Option<(i32, ChildChange)>> {
    let wanted = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    let mut status = 0;
    loop {
        // SAFETY: points to a live integer.
        match unsafe { libc::waitpid(-1, &mut status, wanted) } {
            0 => return Ok(None),
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            pid => return Ok(Some((pid, ChildChange::decode(status)))),
        }
    }
}

impl ChildChange {
    fn decode(status: i32) -> ChildChange {
        if libc::WIFEXITED(status) {
            ChildChange::Exited(libc::WEXITSTATUS(status))
        } else if libc::WIFSTOPPED(status) {
            ChildChange::Stopped(libc::WSTOPSIG(status))
        } else if libc::WIFCONTINUED(status) {
            ChildChange::Continued
        } else {
            ChildChange::Signaled(libc::WTERMSIG(status))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_meaning() {
        // As wait(2) lays them out.
        assert_eq!(ChildChange::decode(3 << 8), ChildChange::Exited(3));
        assert_eq!(ChildChange::decode(9), ChildChange::Signaled(9));
        assert_eq!(ChildChange::decode(0x80 | 11), ChildChange::Signaled(11));
        // SIGRTMIN and above have no name in nix.
        assert_eq!(ChildChange::decode(40), ChildChange::Signaled(40));
        let stopped = (libc::SIGTSTP << 8) | 0x7f;
        assert_eq!(
            ChildChange::decode(stopped),
            ChildChange::Stopped(libc::SIGTSTP)
        );
        assert_eq!(ChildChange::decode(0xffff), ChildChange::Continued);
    }
}
