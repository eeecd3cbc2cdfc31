//! A watcher that waits behind the job it watches, or for its own pages to
//! come back from swap, is late.

/// Asks the scheduler to prefer this process (nice -10, unless it is preferred
/// more already). Without CAP_SYS_NICE
/// nothing changes, which is harmless. Children inherit it: call it after the
/// job has started.
pub fn prefer_this_process() {
    // SAFETY: plain numbers; -1 can be an answer and is one of the valid ones.
    let _ = unsafe {
        let now = libc::getpriority(libc::PRIO_PROCESS, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, now.min(-10))
    };
}

/// The same for the session that this process leads. Where the scheduler puts
/// each session in a group of its own (`sched_autogroup_enabled`; sched(7)), nice
/// values count within a session alone, and the session's own count beside others.
pub fn prefer_this_session() {
    // Absent, or not permitted: everything stays as it was.
    let _ = std::fs::write("/proc/self/autogroup", "-10");
}

/// Keeps this process's pages in memory once they are touched, where that may be
/// without end. Below a limit on locked memory (RLIMIT_MEMLOCK, often 8 MiB) nothing
/// is locked: whatever came to be mapped above it would be refused, the stack of a
/// new thread among it.
pub fn stay_in_memory() {
    if !may_lock(PLENTY) {
        return;
    }
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: plain numbers.
    let _ = unsafe { libc::mlockall(flags) };
}

/// More than a watcher ever maps, the 64 MiB included that the C library reserves
/// for each thread.
const PLENTY: usize = 1 << 30;

/// Whether the kernel lets this process lock so many bytes more. Asked by locking:
/// whether CAP_IPC_LOCK counts depends on the user namespace as well.
fn may_lock(bytes: usize) -> bool {
    let (protection, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, which nobody else knows.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: that mapping. Only touched pages would be locked, and none can be.
    let locked = unsafe { libc::syscall(libc::SYS_mlock2, address, bytes, libc::MLOCK_ONFAULT) };
    // SAFETY: the same, and nothing points into it.
    unsafe { libc::munmap(address, bytes) };
    locked == 0
}

/// Asks for short time slices (0.1 ms), so that this process preempts the job
/// it watches as soon as it wakes: since Linux 6.12 the scheduler (EEVDF, with
/// its feature `PREEMPT_SHORT`) lets a waking task with a shorter slice go
/// first. Needs no privilege; older kernels ignore the value, which is
/// harmless.
pub fn ask_for_short_slices() {
    #[repr(C)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    // SAFETY: plain numbers; -1 can be an answer and is one of the valid ones.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attr = SchedAttr {
        // The first published size of the structure (sched_setattr(2)).
        size: 48,
        policy: libc::SCHED_OTHER.unsigned_abs(),
        flags: 0,
        nice,
        priority: 0,
        runtime: 100_000,
        deadline: 0,
        period: 0,
    };
    // SAFETY: points to a live structure of the size it states.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_locked_memory_is_asked_of_the_kernel() {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: points to a live structure.
        unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
        if limit.rlim_cur >= 1 << 20 {
            assert!(may_lock(4096));
        }
        // More than any address space has.
        assert!(!may_lock(1 << 60));
    }
}
