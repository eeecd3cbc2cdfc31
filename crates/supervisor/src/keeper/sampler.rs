//! The tree's memory by sampling /proc.

use memcap_linux::ByteSize;
use memcap_linux::cgroup::V2Group;
use memcap_linux::proc::{self, Resident};

/// A look at the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// The sum over its members.
    pub(super) sum: ByteSize,
    /// Processes that were counted.
    pub(super) members: usize,
}

/// Keeps buffers and the list of members between looks.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    text: Vec<u8>,
    pids: Vec<i32>,
    newest_pid: Option<String>,
}

impl Sampler {
    /// Sums over the members. Processes that end meanwhile hold nothing.
    pub(super) fn look(&mut self, directory: Option<&V2Group>) -> Look {
        self.find_members(directory);
        let mut look = Look {
            sum: ByteSize::ZERO,
            members: 0,
        };
        for pid in &self.pids {
            if let Ok(resident) = Resident::read(*pid, &mut self.text) {
                look.sum = look.sum.saturating_add(resident.total());
                look.members += usize::from(resident.total() > ByteSize::ZERO);
            }
        }
        look
    }

    /// Shared pages counted once. A member that may not be looked into counts
    /// with its whole resident memory, so the result is never too small.
    pub(super) fn exact(&mut self, directory: Option<&V2Group>) -> ByteSize {
        self.find_members(directory);
        let mut total = ByteSize::ZERO;
        for pid in &self.pids {
            let bytes = proc::proportional(*pid, &mut self.text)
                .or_else(|_| Resident::read(*pid, &mut self.text).map(Resident::total));
            total = total.saturating_add(bytes.unwrap_or_default());
        }
        total
    }

    /// The members as of the last look.
    pub(super) fn members(&self) -> &[i32] {
        &self.pids
    }

    fn find_members(&mut self, directory: Option<&V2Group>) {
        if let Some(group) = directory
            && let Ok(pids) = group.processes()
        {
            self.pids = pids;
            return;
        }
        // Listing /proc costs milliseconds; a process that was not there at
        // the last listing has moved the newest pid.
        let newest_pid = newest_pid();
        if newest_pid.is_none() || newest_pid != self.newest_pid {
            self.pids = descendants().iter().map(|stat| stat.pid).collect();
            self.newest_pid = newest_pid;
        }
    }
}

/// Everything below this process that has not ended.
pub(super) fn descendants() -> Vec<proc::Stat> {
    let Ok(all) = proc::all() else {
        return Vec::new();
    };
    let ourselves = i32::try_from(std::process::id()).unwrap_or(0);
    let mut below = proc::descendants(&all, ourselves);
    below.retain(|stat| !stat.is_dead());
    below
}

/// The last field of /proc/loadavg: the pid given out last in our namespace.
fn newest_pid() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next_back().map(str::to_owned)
}
