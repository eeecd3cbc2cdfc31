//! Killing what a group lists, where the kernel does not do it at once.

use std::collections::BTreeSet;

use memcap_linux::{PidFd, ProcessId};
use nix::errno::Errno;
use nix::sys::signal::Signal;

/// How many handles are held at a time: far fewer than descriptors there are.
const HANDLES: usize = 128;

/// Kills every process that `list` gives, one by one. A process that is still
/// listed after a handle on it was taken is the one that is meant.
pub(super) fn kill_listed(list: impl Fn() -> Vec<i32>) {
    for pids in list().chunks(HANDLES) {
        let taken: Vec<(i32, Handle)> = pids
            .iter()
            .filter_map(|pid| Some((*pid, Handle::take(*pid)?)))
            .collect();
        let listed: BTreeSet<i32> = list().into_iter().collect();
        for (_, handle) in taken.iter().filter(|(pid, _)| listed.contains(pid)) {
            handle.kill();
        }
    }
}

enum Handle {
    Descriptor(PidFd),
    /// Before Linux 5.3: pid and start time.
    Number(ProcessId),
}

impl Handle {
    /// `None` where the process is gone.
    fn take(pid: i32) -> Option<Handle> {
        match PidFd::open(pid) {
            Ok(handle) => Some(Handle::Descriptor(handle)),
            Err(error) if error.raw_os_error() == Some(Errno::ENOSYS as i32) => {
                ProcessId::of(pid).map(Handle::Number)
            }
            Err(_) => None,
        }
    }

    fn kill(&self) {
        // Gone meanwhile is what we want; what stays is listed at the end.
        let _ = match self {
            Handle::Descriptor(handle) => handle.send(Signal::SIGKILL as i32),
            Handle::Number(process) => process.kill(),
        };
    }
}
