//! A child that touches more memory than a group may hold, and lets the kernel
//! take it back: every page is free to be discarded (MADV_FREE, Linux 4.5)
//! before the next ones are touched, so a limit is met and nobody is killed.
//!
//! It is a fork without `exec`, so it needs no program, and only makes system
//! calls on what was prepared before. Anonymous memory needs no file system
//! either: page cache would not do where there is only tmpfs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::cgroup::Entrance;
use crate::spawn::{Spawned, clone_into, enter, raise_oom_score, tie_to_parent};
use crate::{ByteSize, PidFd};

/// Pages touched before they are given up: few enough that what the kernel
/// still holds back in its per-processor batches is small beside a limit.
const PAGES_A_STEP: usize = 16;

/// What the child is to do.
#[derive(Debug)]
pub struct Discardable<'a> {
    /// The group to enter first.
    pub entrance: &'a Entrance,
    /// How much to touch, in whole steps of 16 pages.
    pub bytes: ByteSize,
    /// Where it writes one byte when all is touched; it then waits for one.
    pub link: BorrowedFd<'a>,
    /// What it writes.
    pub done: u8,
    /// Its exit code when it was answered.
    pub answered: u8,
    /// Its exit code when memory was refused, or cannot be given up here.
    pub refused: u8,
    /// Its exit code when anything else failed.
    pub broken: u8,
}

/// Starts it: an unreaped child of the caller that dies with the calling
/// thread, the first victim of any OOM killer.
///
/// # Errors
/// EAGAIN or ENOMEM of fork(2).
pub fn touch_discardable(request: &Discardable<'_>) -> io::Result<Spawned> {
    let prepared = Prepared {
        parent: i32::try_from(std::process::id()).unwrap_or(0),
        step: page_size() * PAGES_A_STEP,
        bytes: usize::try_from(request.bytes.bytes()).map_err(io::Error::other)?,
        link: request.link.as_raw_fd(),
        request,
    };
    if let Some(directory) = request.entrance.directory() {
        // SAFETY: the child only runs `live`, which makes async-signal-safe
        // calls on memory prepared before and never returns.
        match unsafe { clone_into(directory) } {
            Ok(None) => prepared.live(None),
            Ok(Some((pid, handle))) => {
                return Ok(Spawned {
                    pid,
                    pidfd: Some(handle),
                });
            }
            // As in `spawn`: the child finds out on its way.
            Err(_) => {}
        }
    }
    // SAFETY: as above.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => prepared.live(Some(request.entrance.list())),
        pid => Ok(Spawned {
            pid,
            pidfd: PidFd::open(pid).ok(),
        }),
    }
}

fn page_size() -> usize {
    // SAFETY: no memory is involved.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

struct Prepared<'a> {
    parent: i32,
    step: usize,
    bytes: usize,
    link: RawFd,
    request: &'a Discardable<'a>,
}

impl Prepared<'_> {
    /// The child's whole life.
    fn live(&self, list: Option<RawFd>) -> ! {
        let code = self.touch_and_wait(list);
        // SAFETY: ends the child without running anybody's exit handlers.
        unsafe { libc::_exit(code.into()) }
    }

    fn touch_and_wait(&self, list: Option<RawFd>) -> u8 {
        if !tie_to_parent(self.parent) || !list.is_none_or(enter) {
            return self.request.broken;
        }
        raise_oom_score(b"1000");
        if !self.touch() {
            return self.request.refused;
        }
        let mut byte = self.request.done;
        // SAFETY: one byte from a live variable to a descriptor the caller holds.
        if unsafe { libc::write(self.link, (&raw const byte).cast(), 1) } != 1 {
            return self.request.broken;
        }
        // SAFETY: one byte to a live variable.
        match unsafe { libc::read(self.link, (&raw mut byte).cast(), 1) } {
            1 => self.request.answered,
            _ => self.request.broken,
        }
    }

    fn touch(&self) -> bool {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let area =
            unsafe { libc::mmap(std::ptr::null_mut(), self.bytes, protection, flags, -1, 0) };
        if area == libc::MAP_FAILED {
            return false;
        }
        // One huge page would be the whole limit. Refused where the kernel has
        // none.
        // SAFETY: the mapping made just now.
        unsafe { libc::madvise(area, self.bytes, libc::MADV_NOHUGEPAGE) };
        let page = self.step / PAGES_A_STEP;
        for start in (0..self.bytes).step_by(self.step) {
            let end = self.bytes.min(start + self.step);
            for offset in (start..end).step_by(page) {
                // SAFETY: inside the mapping.
                let byte = unsafe { area.cast::<u8>().add(offset) };
                // SAFETY: mapped, writable, and known to nobody else.
                unsafe { byte.write_volatile(1) };
            }
            // SAFETY: inside the mapping.
            let first = unsafe { area.cast::<u8>().add(start) };
            // SAFETY: part of the mapping, and nobody reads it again.
            if unsafe { libc::madvise(first.cast(), end - start, libc::MADV_FREE) } == -1 {
                return false;
            }
        }
        true
    }
}
