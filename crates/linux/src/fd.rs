//! Descriptors that crossed an `exec`, and letting go of those that must not.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// Takes ownership of a descriptor that was inherited over `exec` under a
/// known number, and closes it on the next `exec`.
///
/// # Errors
/// When the number is no open descriptor (EBADF), or one of the standard
/// streams.
pub fn adopt_fd(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_SETFD on any number is harmless; an unopened one fails.
    let done = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (checked above) and was handed to this
    // process to own; the caller names it once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A descriptor of our own for what was inherited over `exec` under a number that
/// the user named: a file, a pipe or a socket, which cannot be opened anew by its
/// name in /proc. Position and flags stay shared.
///
/// # Errors
/// When nothing was inherited under the number (EBADF): what this process has
/// opened itself closes on `exec`, and is none of the user's, nor is what Rust's
/// start-up code has put in the place of a closed stream.
pub fn share_inherited(number: RawFd) -> io::Result<OwnedFd> {
    let stream = usize::try_from(number).unwrap_or(usize::MAX);
    if closed_at_start().get(stream) == Some(&true) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_GETFD on any number is harmless; an unopened one fails.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags == -1 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: a duplicate takes nothing from whoever owns the original.
    match unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just made it for us.
        copy => Ok(unsafe { OwnedFd::from_raw_fd(copy) }),
    }
}

/// Closes every descriptor above the standard streams except `keep`, so that
/// pipes the job was given end when the job closes them.
///
/// The caller must be the only owner of descriptors in the process: a Rust
/// value whose descriptor is closed here would act on a stranger's.
pub fn close_all_except(keep: &[RawFd]) {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().chain([RawFd::MAX]) {
        if first < fd {
            close_range(first, fd - 1);
        }
        first = fd.saturating_add(1);
    }
}

fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: closing descriptors touches no memory; ownership is the
    // documented duty of `close_all_except`'s caller.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done == 0 {
        return;
    }
    // Before Linux 5.9: one by one, over what is really open.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| (first..=last).contains(fd))
        .collect();
    for fd in open {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

static CLOSED_AT_START: AtomicU8 = AtomicU8::new(0);

extern "C" fn remember_closed() {
    let mut bits = 0;
    for stream in 0..=2 {
        // SAFETY: F_GETFD on any number is harmless; an unopened one fails.
        bits |= u8::from(unsafe { libc::fcntl(stream, libc::F_GETFD) } == -1) << stream;
    }
    CLOSED_AT_START.store(bits, Ordering::Relaxed);
}

// SAFETY: the section holds pointers to functions that the loader calls before
// `main`; this one makes three syscalls and needs nothing initialised.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER_CLOSED: extern "C" fn() = remember_closed;

/// Which of standard input, output and error this process was started without.
/// Rust's start-up code has opened `/dev/null` in their places since, so that no
/// file of ours can come there.
pub fn closed_at_start() -> [bool; 3] {
    let bits = CLOSED_AT_START.load(Ordering::Relaxed);
    [0, 1, 2].map(|stream| bits >> stream & 1 == 1)
}

/// Points standard input, output and error at `/dev/null`, so that readers of
/// the job's pipes see their end when the job is done, not when we are.
///
/// # Errors
/// When neither `/dev/null` nor `/`, which holds the places in a /dev without
/// it, can be opened.
pub fn detach_standard_streams() -> io::Result<()> {
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .or_else(|_| std::fs::File::open("/"))?;
    for stream in 0..=2 {
        // SAFETY: both descriptors are valid for the duration of the call.
        if unsafe { libc::dup2(null.as_raw_fd(), stream) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Lets a command's child keep one descriptor of ours over `exec`, without a
/// moment in which another thread's child could inherit it too.
pub fn keep_open(command: &mut std::process::Command, descriptor: RawFd) {
    use std::os::unix::process::CommandExt;
    let clear_close_on_exec = move || {
        // SAFETY: fcntl is async-signal-safe and touches no memory.
        match unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: the closure runs between fork and exec and makes one
    // async-signal-safe call; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(clear_close_on_exec) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_was_inherited_is_shared_and_what_is_ours_is_not() {
        let (ours, mut other) = UnixStream::pair().expect("a pair");
        let number = ours.as_raw_fd();
        let refused = share_inherited(number).expect_err("it closes on exec");
        assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
        // SAFETY: the descriptor is open, and its flag is nobody else's.
        assert_eq!(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }, 0);
        let shared = share_inherited(number).expect("a copy");
        drop(ours);
        UnixStream::from(shared).write_all(b"!").expect("written");
        let mut word = String::new();
        other.read_to_string(&mut word).expect("read to its end");
        assert_eq!(word, "!");
    }

    #[test]
    fn what_is_not_open_is_refused() {
        for number in [-1, RawFd::MAX] {
            let refused = share_inherited(number).expect_err("not open");
            assert_eq!(refused.raw_os_error(), Some(libc::EBADF), "{number}");
        }
    }
}
