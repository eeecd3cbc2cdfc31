//! Signal masks, and dispositions as they were before Rust or we changed them.
//!
//! Rust's start-up code ignores SIGPIPE, and a process that waits for children
//! must not ignore SIGCHLD. A wrapper that is to be transparent must hand the
//! job what its own parent gave it, so a constructor that runs before `main`
//! remembers both.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

/// The signals that are remembered and restored.
pub(crate) const REMEMBERED: [i32; 2] = [libc::SIGPIPE, libc::SIGCHLD];

/// The largest signal number of Linux.
const LAST: i32 = 64;

static IGNORED_AT_START: AtomicU64 = AtomicU64::new(0);

extern "C" fn remember_ignored() {
    let mut bits = 0;
    for signal in REMEMBERED {
        let mut old = std::mem::MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: with a null new action this only fills `old`.
        let done = unsafe { libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) };
        if done == 0 {
            // SAFETY: filled by the successful call above.
            let handler = unsafe { old.assume_init() }.sa_sigaction;
            bits |= u64::from(handler == libc::SIG_IGN) << (signal - 1);
        }
    }
    IGNORED_AT_START.store(bits, Ordering::Relaxed);
}

// SAFETY: the section holds pointers to functions that the loader calls before
// `main`; this one makes two syscalls and needs nothing initialised.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER_IGNORED: extern "C" fn() = remember_ignored;

/// Which of SIGPIPE and SIGCHLD this process was started with ignored: signal
/// n is bit n - 1.
pub fn ignored_at_start() -> u64 {
    IGNORED_AT_START.load(Ordering::Relaxed)
}

/// Makes children of this process wait to be reaped, whatever our parent had
/// set: with SIGCHLD ignored, waitpid(2) learns nothing of them.
pub fn keep_dead_children() {
    // SAFETY: SIGCHLD with its default disposition.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Gives every signal that has a handler its default disposition, as `exec`
/// would. The handlers of Rust's runtime, which tell a stack overflow, stay.
pub(crate) fn forget_handlers() {
    for signal in 1..=libc::SIGRTMAX() {
        if matches!(signal, libc::SIGSEGV | libc::SIGBUS) {
            continue;
        }
        let mut old = std::mem::MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: with a null new action this only fills `old`.
        if unsafe { libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) } != 0 {
            // The C library keeps a few for itself.
            continue;
        }
        // SAFETY: filled by the successful call above.
        let handler = unsafe { old.assume_init() }.sa_sigaction;
        if handler != libc::SIG_IGN && handler != libc::SIG_DFL {
            // SAFETY: a valid signal with its default disposition.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// The calling thread's signal mask as bits: signal n is bit n - 1.
pub fn blocked() -> u64 {
    let mut old = SigSet::empty();
    // Reading the mask cannot fail (sigprocmask(2): only EFAULT and EINVAL).
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, None, Some(&mut old));
    // By number: real-time signals have no name in nix.
    let is_blocked = |signal: &i32| {
        // SAFETY: points to a live set.
        unsafe { libc::sigismember(old.as_ref(), *signal) == 1 }
    };
    (1..=LAST)
        .filter(is_blocked)
        .fold(0, |bits, signal| bits | 1 << (signal - 1))
}

/// Blocks every signal that can be blocked in the calling thread.
pub fn block_all() {
    // As above: no error is possible for a valid set.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
}

/// A set from bits as [`blocked`] gives them.
pub(crate) fn set_from_bits(bits: u64) -> SigSet {
    let mut set = *SigSet::empty().as_ref();
    for signal in (1..=LAST).filter(|signal| bits >> (signal - 1) & 1 == 1) {
        // SAFETY: points to a live set. What the C library keeps for itself is
        // refused, and stays out.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    // SAFETY: made by the C library's own functions.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_read_back_with_its_real_time_signals() {
        let real_time = libc::SIGRTMIN() + 3;
        let bits = 1 << (libc::SIGUSR1 - 1) | 1 << (real_time - 1) | 1 << (libc::SIGRTMAX() - 1);
        let set = set_from_bits(bits);
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), Some(&mut before)).expect("set");
        let read = blocked();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).expect("as before");
        assert_eq!(read, bits);
    }
}
