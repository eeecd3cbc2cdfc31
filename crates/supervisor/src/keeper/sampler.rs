//! The tree's memory by sampling /proc.

use memcap_linux::ByteSize;
use memcap_linux::cgroup::V2Group;
use memcap_linux::proc::{self, Resident};

use crate::governor::Sum;

/// Keeps buffers and the list of members between looks.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    text: Vec<u8>,
    pids: Vec<i32>,
    generation: u64,
    newest_pid: Option<String>,
}

impl Sampler {
    /// Sums over the members. Processes that end meanwhile hold nothing.
    pub(super) fn look(&mut self, directory: Option<&V2Group>) -> Sum {
        self.find_members(directory);
        let mut sum = Sum {
            private: ByteSize::ZERO,
            shared: ByteSize::ZERO,
            members: 0,
            generation: self.generation,
        };
        for pid in &self.pids {
            if let Ok(resident) = Resident::read(*pid, &mut self.text) {
                let private = resident.anonymous.saturating_add(resident.swapped);
                sum.private = sum.private.saturating_add(private);
                sum.shared = sum.shared.saturating_add(resident.shared);
                sum.members += usize::from(resident.total() > ByteSize::ZERO);
            }
        }
        sum
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
            self.replace_members(pids);
            return;
        }
        // Listing /proc costs milliseconds; a process that was not there at
        // the last listing has moved the newest pid.
        let newest_pid = newest_pid();
        if newest_pid.is_none() || newest_pid != self.newest_pid {
            self.replace_members(descendants().iter().map(|stat| stat.pid).collect());
            self.newest_pid = newest_pid;
        }
    }

    fn replace_members(&mut self, pids: Vec<i32>) {
        if pids.iter().any(|pid| !self.pids.contains(pid)) {
            self.generation += 1;
        }
        self.pids = pids;
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
