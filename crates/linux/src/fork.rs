//! A child without `exec`: it begins with a copy of this process's memory and
//! needs neither loading nor linking, which is most of what a small helper
//! costs.

use std::ffi::CStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use crate::signals;

/// Runs `child` in a fork of this process and ends that with the code it
/// returns. Both processes get `value`: a descriptor in it is open in both.
/// `name` is what ps(1) and pgrep(1) show of the child.
///
/// `None`, and no child, where this process has a second thread: a lock that
/// thread holds would stay locked in the child for ever.
///
/// The child starts with every signal blocked and no handler of ours in place
/// (what was ignored stays ignored). No destructor of the caller's runs in it,
/// and nothing that is buffered is written twice.
///
/// # Errors
/// EAGAIN or ENOMEM of fork(2).
pub fn fork_alone<T>(
    name: &CStr,
    value: T,
    child: impl FnOnce(T) -> u8,
) -> io::Result<Option<(i32, T)>> {
    if !is_alone() {
        return Ok(None);
    }
    // A signal between `fork` and the child's own mask would run our handlers
    // there, and be told to us as if it were ours.
    let mut mask = SigSet::empty();
    sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut mask),
    )?;
    // SAFETY: this is the only thread, so the child's memory is consistent and
    // whatever it does there is as sound as it would be here.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        signals::forget_handlers();
        set_name(name);
        // A panic must not unwind into the caller's frames, which are the
        // parent's business.
        let code = catch_unwind(AssertUnwindSafe(|| child(value))).unwrap_or(101);
        // SAFETY: ends the child without running anybody's exit handlers.
        unsafe { libc::_exit(code.into()) }
    }
    let failure = io::Error::last_os_error();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
    if pid == -1 {
        return Err(failure);
    }
    Ok(Some((pid, value)))
}

/// Whether this process has one thread, as /proc has it: a directory's links
/// are its own two and one for each directory in it.
fn is_alone() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/task").is_ok_and(|tasks| tasks.nlink() == 3)
}

/// The arguments as the kernel laid them out.
static ARGV: AtomicPtr<*mut libc::c_char> = AtomicPtr::new(std::ptr::null_mut());
static ARGC: AtomicUsize = AtomicUsize::new(0);

/// glibc hands constructors what it hands `main`; other C libraries do not.
#[cfg(target_env = "gnu")]
extern "C" fn remember_arguments(count: libc::c_int, arguments: *mut *mut libc::c_char) {
    ARGC.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
    ARGV.store(arguments, Ordering::Relaxed);
}

// SAFETY: the section holds pointers to functions that the loader calls before
// `main`; this one stores two words and needs nothing initialised.
#[cfg(target_env = "gnu")]
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER_ARGUMENTS: extern "C" fn(libc::c_int, *mut *mut libc::c_char) = remember_arguments;

/// Names this process, which nobody else runs in: its `comm`, and its command
/// line, so that a kill of everything that looks like the parent spares it.
fn set_name(name: &CStr) {
    // Fails for no name that is a string.
    let _ = nix::sys::prctl::set_name(name);
    let argv = ARGV.load(Ordering::Relaxed);
    let mut end: *mut libc::c_char = std::ptr::null_mut();
    let mut room = 0;
    for index in 0..ARGC.load(Ordering::Relaxed) {
        // SAFETY: `argv` has this many entries, for the life of the process.
        let argument = unsafe { *argv.add(index) };
        if argument.is_null() || (index > 0 && argument != end) {
            // Somebody else has been at work here.
            break;
        }
        // SAFETY: every argument is a NUL-terminated string.
        let size = unsafe { libc::strlen(argument) } + 1;
        // SAFETY: one past the string's NUL, in or at the end of its area.
        end = unsafe { argument.add(size) };
        room += size;
    }
    let bytes = name.to_bytes();
    if room <= bytes.len() {
        return;
    }
    // SAFETY: not null, since there is room.
    let area = unsafe { *argv };
    // SAFETY: `room` contiguous bytes that a program may write to (C17
    // 5.1.2.2.1); no other thread is there to read them, and each argument
    // stays NUL-terminated.
    unsafe { std::ptr::write_bytes(area, 0, room) };
    // SAFETY: as above, and `name` is no part of them.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), area, bytes.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_forbids_it() {
        // The test runner's own thread is the second one.
        let forked = fork_alone(c"never", 7, |_| 0).expect("no fork is tried");
        assert_eq!(forked, None);
    }
}
