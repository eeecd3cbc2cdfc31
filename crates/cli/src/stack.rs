//! Room for memcap itself where the caller has left its stack little
//! (`ulimit -s 64`): that limit is the job's, and stays as it is.

use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;

use nix::sys::resource::{Resource, getrlimit};

/// What is enough, in bytes. Reading the arguments has been seen to take between
/// 192 and 256 KiB in a build without optimisation, below 48 KiB in one with.
const ENOUGH: u64 = 1 << 20;

/// Runs `main` on a stack that is large enough: a thread's own where this one's
/// is not. Only there is this process no longer single-threaded, so that its
/// keeper is executed and not forked.
pub(crate) fn with_room(main: fn() -> ExitCode) -> ExitCode {
    let is_small = getrlimit(Resource::RLIMIT_STACK).is_ok_and(|(soft, _hard)| soft < ENOUGH);
    if !is_small {
        return main();
    }
    match thread::Builder::new().stack_size(2 << 20).spawn(main) {
        Ok(running) => running.join().unwrap_or_else(|panic| resume_unwind(panic)),
        // No memory or no thread to be had: it may be enough.
        Err(_) => main(),
    }
}
