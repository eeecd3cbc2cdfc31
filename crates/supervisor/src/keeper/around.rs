//! The limits and OOM killers around the job, before and after: whose kill was
//! it?

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;
use memcap_linux::cgroup::{FlatKeyed, Limit, V1Memory, V2Group};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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

    /// An enclosing group whose own limit was hit since, in words.
    pub(super) fn limit_hit(&self) -> Option<String> {
        let v2 = self
            .v2
            .iter()
            .find(|(dir, before)| ooms(dir).is_some_and(|now| now > *before));
        if let Some((dir, _)) = v2 {
            return Some(format!("the limit of {} was hit", dir.display()));
        }
        self.v1_limit_hit()
    }

    /// v1 tells a group and all below it of an OOM, so it was the outermost
    /// that was told. Where nobody can be told, a group that has been at its
    /// limit is the best that can be said.
    fn v1_limit_hit(&self) -> Option<String> {
        let told = |notifier: &Option<OwnedFd>| notifier.as_ref().is_some_and(is_readable);
        if let Some((dir, _)) = self.v1.iter().rfind(|(_, notifier)| told(notifier)) {
            return Some(format!("the limit of {} was hit", dir.display()));
        }
        let at_limit = |dir: &Path| {
            let peak = V1Memory::at(dir).peak().ok();
            peak.zip(v1_limit(dir))
                .is_some_and(|(peak, limit)| peak >= limit)
        };
        let (dir, _) = self
            .v1
            .iter()
            .find(|(dir, notifier)| notifier.is_none() && at_limit(dir))?;
        Some(format!("{} has been at its limit", dir.display()))
    }

    /// How often v1 groups around were told of an OOM since, at their own limit or at one
    /// around them; `None` where nobody is told. Asked once, after [`Around::limit_hit`].
    pub(super) fn told(&self) -> Option<u64> {
        let notifiers = self.v1.iter().filter_map(|(_, notifier)| notifier.as_ref());
        notifiers.map(count_of).max()
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

fn is_readable(notifier: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(notifier.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
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
