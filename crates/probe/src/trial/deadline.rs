//! Waiting for conditions, never for time alone.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The moment at which a trial gives up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

/// How often a condition is looked at that no descriptor announces.
const LOOK_EVERY: Duration = Duration::from_millis(1);

impl Deadline {
    /// So long from now.
    pub(super) fn after(duration: Duration) -> Deadline {
        Deadline(Instant::now() + duration)
    }

    /// Whether it has passed.
    pub(super) fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// Waits until `fd` is readable or closed at its other end, at most `longest` and not
    /// beyond the deadline. Whether it is.
    pub(super) fn wait_readable(self, fd: BorrowedFd<'_>, longest: Duration) -> bool {
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        loop {
            // An interrupted wait is begun again, as far as time allows.
            match poll(&mut fds, self.timeout(longest)) {
                Err(nix::errno::Errno::EINTR) if !self.has_passed() => {}
                outcome => return matches!(outcome, Ok(ready) if ready > 0),
            }
        }
    }

    /// Looks every millisecond until the condition holds. Whether it came to.
    pub(super) fn until(self, mut condition: impl FnMut() -> bool) -> bool {
        loop {
            if condition() {
                return true;
            }
            if self.has_passed() {
                return false;
            }
            // Without descriptors poll only lets a moment pass.
            let _ = poll(&mut [], self.timeout(LOOK_EVERY));
        }
    }

    fn timeout(self, longest: Duration) -> PollTimeout {
        let left = self
            .0
            .saturating_duration_since(Instant::now())
            .min(longest);
        // Rounded up, so that a short rest is not waited for in a busy loop.
        let millis = left.as_micros().div_ceil(1000);
        PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
    }
}
