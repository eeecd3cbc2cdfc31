//! The limits and OOM killers around the job, before and after: whose kill was
//! it?

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;
use memcap_linux::cgroup::{FlatKeyed, Limit, V1Memory, V2Group};

use crate::wire::Surroundings;

/// Counters of every group the embedding program is in.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// v2 groups with how often their own limit led to an OOM.
    v2: Vec<(PathBuf, u64)>,
    /// v1 memory groups, with what tells of an OOM in them where the kernel
    /// lets us ask.
    v1: Vec<(PathBuf, Option<OwnedFd>)>,
    /// Where OOM kills near the job are counted, and how many there were.
    kills: Option<(Counter, u64)>,
}

/// What has happened around since they were read.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// An enclosing group whose own limit was hit, in words.
    pub(super) limit_hit: Option<String>,
    /// How often v1 groups were told of an OOM, at their own limit or at one around
    /// them; `None` where nobody is told.
    pub(super) told: Option<u64>,
}

#[derive(Debug)]
enum Counter {
    V2(PathBuf),
    V1(PathBuf),
    Machine,
}

impl Counter {
    fn read(&self) -> Option<u64> {
        match self {
            Counter::V2(dir) => V2Group::at(dir).local_events().ok()?.get("oom_kill"),
            Counter::V1(dir) => V1Memory::at(dir).oom_kills().ok()?,
            // Every OOM kill there is, of groups too (Linux 4.13).
            Counter::Machine => FlatKeyed::parse(&read_vmstat()?).get("oom_kill"),
        }
    }
}

impl Around {
    /// Reads the counters before the job starts.
    pub(super) fn observe(surroundings: &Surroundings) -> Around {
        let Surroundings { v2, v1 } = surroundings;
        let nearest = match (v1.first(), v2.first()) {
            (Some(dir), _) => Some(Counter::V1(dir.clone())),
            (None, Some(dir)) => Some(Counter::V2(dir.clone())),
            (None, None) => None,
        };
        // The root group counts nothing, and not every host has groups.
        let counters = nearest.into_iter().chain([Counter::Machine]);
        Around {
            v2: v2
                .iter()
                .filter_map(|dir| Some((dir.clone(), ooms(dir)?)))
                .collect(),
            v1: v1
                .iter()
                .map(|dir| (dir.clone(), V1Memory::at(dir).oom_notifier().ok()))
                .collect(),
            kills: counters
                .filter_map(|counter| counter.read().map(|kills| (counter, kills)))
                .next(),
        }
    }

    /// What has happened since. Asked once: what is told of an OOM is read by this.
    pub(super) fn since(&self) -> Since {
        let told: Vec<_> = self
            .v1
            .iter()
            .map(|(dir, notifier)| (dir.as_path(), notifier.as_ref().map(count_of)))
            .collect();
        let v2 = self
            .v2
            .iter()
            .find(|(dir, before)| ooms(dir).is_some_and(|now| now > *before));
        let limit_hit = match v2 {
            Some((dir, _)) => Some(format!("the limit of {} was hit", dir.display())),
            None => v1_limit_hit(&told),
        };
        Since {
            limit_hit,
            told: told.iter().filter_map(|(_, count)| *count).max(),
        }
    }

    /// What must stay open until the end.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let notifiers = self.v1.iter().filter_map(|(_, notifier)| notifier.as_ref());
        notifiers.map(AsRawFd::as_raw_fd)
    }

    /// OOM kills since, in the nearest group that counts them or on the machine.
    pub(super) fn kills(&self) -> Option<u64> {
        let (counter, before) = self.kills.as_ref()?;
        Some(counter.read()?.saturating_sub(*before))
    }
}

/// How often it was written to; nothing is left to be read.
pub(super) fn count_of(notifier: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match nix::unistd::read(notifier, &mut count) {
        Ok(8) => u64::from_ne_bytes(count),
        // Nobody has since.
        _ => 0,
    }
}

/// v1 tells a group and all below it of an OOM, so it was the outermost that was told.
/// Where nobody can be told, a group that has been at its limit is the best that can be
/// said.
fn v1_limit_hit(told: &[(&Path, Option<u64>)]) -> Option<String> {
    let was_told = |count: &Option<u64>| count.is_some_and(|count| count > 0);
    if let Some((dir, _)) = told.iter().rfind(|(_, count)| was_told(count)) {
        return Some(format!("the limit of {} was hit", dir.display()));
    }
    let at_limit = |dir: &Path| {
        let peak = V1Memory::at(dir).peak().ok();
        peak.zip(v1_limit(dir))
            .is_some_and(|(peak, limit)| peak >= limit)
    };
    let (dir, _) = told
        .iter()
        .find(|(dir, count)| count.is_none() && at_limit(dir))?;
    Some(format!("{} has been at its limit", dir.display()))
}

/// How often this group's own limit led to an OOM.
fn ooms(dir: &Path) -> Option<u64> {
    V2Group::at(dir).local_events().ok()?.get("oom")
}

fn v1_limit(dir: &Path) -> Option<ByteSize> {
    match V1Memory::at(dir).limit() {
        Ok(Limit::At(bytes)) => Some(bytes),
        Ok(Limit::Unlimited) | Err(_) => None,
    }
}

fn read_vmstat() -> Option<String> {
    std::fs::read_to_string("/proc/vmstat").ok()
}
