//! The tree's memory by sampling /proc.

use memcap_linux::ByteSize;
use memcap_linux::cgroup::V2Group;
use memcap_linux::proc::{self, Resident};

use crate::governor::Sum;

/// Members whose memory is too small to make twins of them.
const SMALL: ByteSize = ByteSize::from_mib(1);

/// Keeps buffers and the list of members between looks.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    text: Vec<u8>,
    members: Vec<Member>,
    newest_pid: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    pid: i32,
    /// What it held when first seen; nothing once an exact measurement has
    /// told how much of it is shared.
    inherited: Option<ByteSize>,
    private: ByteSize,
}

impl Sampler {
    /// Sums over the members. Processes that end meanwhile hold nothing.
    pub(super) fn look(&mut self, directory: Option<&V2Group>) -> Sum {
        self.find_members(directory);
        let mut sum = Sum::default();
        for member in &mut self.members {
            member.private = ByteSize::ZERO;
            let Ok(resident) = Resident::read(member.pid, &mut self.text) else {
                continue;
            };
            let private = resident.anonymous.saturating_add(resident.swapped);
            // Inherited pages only become fewer.
            let inherited = *member.inherited.get_or_insert(private);
            member.private = private;
            sum.private = sum.private.saturating_add(private);
            sum.shared = sum.shared.saturating_add(resident.shared);
            sum.inherited = sum.inherited.saturating_add(inherited.min(private));
            sum.members += usize::from(resident.total() > ByteSize::ZERO);
        }
        sum.twins = self.has_twins();
        sum
    }

    /// Shared pages counted once. A member that may not be looked into counts
    /// with its whole resident memory, so the result is never too small.
    /// Afterwards no member has inherited anything that is not known.
    pub(super) fn exact(&mut self, directory: Option<&V2Group>) -> ByteSize {
        self.find_members(directory);
        let mut total = ByteSize::ZERO;
        for member in &mut self.members {
            let pid = member.pid;
            let bytes = proc::proportional(pid, &mut self.text)
                .or_else(|_| Resident::read(pid, &mut self.text).map(Resident::total));
            total = total.saturating_add(bytes.unwrap_or_default());
            member.inherited = Some(ByteSize::ZERO);
        }
        total
    }

    /// The members as of the last look.
    pub(super) fn members(&self) -> impl Iterator<Item = i32> {
        self.members.iter().map(|member| member.pid)
    }

    fn has_twins(&self) -> bool {
        let mut sizes: Vec<ByteSize> = self
            .members
            .iter()
            .map(|member| member.private)
            .filter(|size| *size > SMALL)
            .collect();
        sizes.sort_unstable();
        sizes.windows(2).any(|pair| pair[0] == pair[1])
    }

    fn find_members(&mut self, directory: Option<&V2Group>) {
        if let Some(group) = directory
            && let Ok(pids) = group.processes()
        {
            self.replace_members(&pids);
            return;
        }
        // Listing /proc costs milliseconds; a process that was not there at
        // the last listing has moved the newest pid.
        let newest_pid = newest_pid();
        if newest_pid.is_none() || newest_pid != self.newest_pid {
            let pids: Vec<i32> = descendants().iter().map(|stat| stat.pid).collect();
            self.replace_members(&pids);
            self.newest_pid = newest_pid;
        }
    }

    fn replace_members(&mut self, pids: &[i32]) {
        let known = |pid: i32| {
            self.members
                .iter()
                .find(|member| member.pid == pid)
                .copied()
        };
        let newcomer = |pid| Member {
            pid,
            inherited: None,
            private: ByteSize::ZERO,
        };
        self.members = pids
            .iter()
            .map(|pid| known(*pid).unwrap_or(newcomer(*pid)))
            .collect();
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
