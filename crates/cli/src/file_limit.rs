//! `ulimit -f`: a log or a report that may not grow is an error to be told. By
//! default it is a signal that would end memcap, and the job's exit code with it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use signal_hook::consts::SIGXFSZ;

use crate::forward::ignored_signals;

/// Has writes beyond the limit fail. A handler ends with `exec`, so that the job
/// finds the signal as we did; where it was ignored, it stays so.
pub(crate) fn outlive() {
    let is_limited =
        getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(soft, _hard)| soft != RLIM_INFINITY);
    if is_limited && ignored_signals() >> (SIGXFSZ - 1) & 1 == 0 {
        // Where no handler can be had, a write beyond the limit ends us.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }
}
