//! Signal masks, and the disposition of SIGPIPE before Rust changed it.
//!
//! Rust's start-up code ignores SIGPIPE. A wrapper that is to be transparent
//! must hand the job what its own parent gave it, so a constructor that runs
//! before `main` remembers it.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

extern "C" fn remember_sigpipe() {
    let mut old = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with a null new action this only fills `old`.
    let done = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), old.as_mut_ptr()) };
    if done == 0 {
        // SAFETY: filled by the successful call above.
        let handler = unsafe { old.assume_init() }.sa_sigaction;
        SIGPIPE_WAS_IGNORED.store(handler == libc::SIG_IGN, Ordering::Relaxed);
    }
}

// SAFETY: the section holds pointers to functions that the loader calls before
// `main`; this one makes a single syscall and needs nothing initialised.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER_SIGPIPE: extern "C" fn() = remember_sigpipe;

/// Whether this process was started with SIGPIPE ignored.
pub fn sigpipe_was_ignored() -> bool {
    SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

/// The calling thread's signal mask as bits: signal n is bit n - 1.
pub fn blocked() -> u64 {
    let mut old = SigSet::empty();
    // Reading the mask cannot fail (sigprocmask(2): only EFAULT and EINVAL).
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, None, Some(&mut old));
    old.iter()
        .fold(0, |bits, signal| bits | 1 << (signal as i32 - 1))
}

/// Blocks every signal that can be blocked in the calling thread.
pub fn block_all() {
    // As above: no error is possible for a valid set.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
}

/// A set from bits as [`blocked`] gives them.
pub(crate) fn set_from_bits(bits: u64) -> SigSet {
    nix::sys::signal::Signal::iterator()
        .filter(|signal| bits >> (*signal as i32 - 1) & 1 == 1)
        .collect()
}
