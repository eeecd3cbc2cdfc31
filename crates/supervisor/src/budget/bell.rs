//! One bell for all keepers of a budget: when one rings it, all of them wake up,
//! and nobody has to silence it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// A new bell. The descriptor closes on `exec`.
pub(crate) fn cast() -> io::Result<OwnedFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    Ok(EventFd::from_value_and_flags(0, flags)?.into())
}

/// Rings it.
pub(crate) fn ring(bell: &OwnedFd) {
    // Cannot fill up: 2^64 strokes.
    let _ = nix::unistd::write(bell, &1u64.to_ne_bytes());
}

/// Hears each stroke once. An event counter that nobody reads stays readable, so
/// the edges are what counts: every listener has its own.
#[derive(Debug)]
pub(crate) struct Ear(Epoll);

impl Ear {
    pub(crate) fn on(bell: &OwnedFd) -> io::Result<Ear> {
        let ear = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        ear.add(bell, EpollEvent::new(edges, 0))?;
        Ok(Ear(ear))
    }

    /// Readable after a stroke.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }

    /// Whether there was a stroke since this was asked last.
    pub(crate) fn has_heard(&self) -> bool {
        let mut events = [EpollEvent::empty()];
        loop {
            match self.0.wait(&mut events, EpollTimeout::ZERO) {
                Err(Errno::EINTR) => {}
                heard => return heard.is_ok_and(|count| count > 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    #[test]
    fn every_ear_hears_every_stroke_once() {
        let bell = cast().expect("a bell");
        let ears = [
            Ear::on(&bell).expect("an ear"),
            Ear::on(&bell).expect("an ear"),
        ];
        for _ in 0..3 {
            ring(&bell);
            for ear in &ears {
                let mut fds = [PollFd::new(ear.as_fd(), PollFlags::POLLIN)];
                assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(1));
                assert!(ear.has_heard());
                assert!(!ear.has_heard());
                let mut fds = [PollFd::new(ear.as_fd(), PollFlags::POLLIN)];
                assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(0));
            }
        }
    }
}
