//! A watcher that waits behind the job it watches, or for its own pages to
//! come back from swap, is late.

/// Asks the scheduler to prefer this process (nice -10). Without CAP_SYS_NICE
/// nothing changes, which is harmless. Children inherit it: call it after the
/// job has started.
pub fn prefer_this_process() {
    // SAFETY: plain numbers.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
}

/// Keeps this process's pages in memory once they are touched. Beyond
/// RLIMIT_MEMLOCK nothing changes, which is harmless.
pub fn stay_in_memory() {
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: plain numbers.
    let _ = unsafe { libc::mlockall(flags) };
}
