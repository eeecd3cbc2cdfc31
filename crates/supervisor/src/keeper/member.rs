//! One process of the tree, and what is known of its memory and its lease.

use std::time::{Duration, Instant};

use memcap_linux::proc::{self, PageCounts, Resident, Stat};
use memcap_linux::{ByteSize, PidFd, ProcessId, data_limit};

use crate::lease::{self, Terms};

/// File-backed memory may be shared memory: when it has changed by this much,
/// the dearer status file tells which.
const BACKED_STEP: ByteSize = ByteSize::from_mib(1);
/// Where a process has so much of it, that file is read once in so long all the same:
/// as much of one may have been exchanged for the other.
const MUCH_BACKED: ByteSize = ByteSize::from_mib(64);
const BACKED_STANDS_FOR: Duration = Duration::from_secs(1);
/// Mapping or touching this much between two looks is growing.
const GROWTH: ByteSize = ByteSize::from_kib(256);

/// A process, and what was seen of it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: ProcessId,
    pub(super) counts: Option<PageCounts>,
    pub(super) handle: Option<PidFd>,
    /// What it may share with whoever it was forked by: what it held when it was
    /// first seen, or nothing once measured. (Its parent tells nothing: that may be
    /// who adopted it.)
    pub(super) inherited: Option<ByteSize>,
    pub(super) resident: Resident,
    /// What `inherited` was at first: for one that may not be looked into.
    inherited_at_first: ByteSize,
    /// Who may have the same address space: whoever it was born by, until that is known
    /// not to be so.
    pub(super) partner: Option<i32>,
    /// File-backed and shared memory when the status file was read last.
    backed: ByteSize,
    backed_at: Option<Instant>,
    /// Minor faults at the last measurement; none for who was born since.
    pub(super) faults: u64,
    /// The same at the last look that asked.
    pub(super) faults_seen: u64,
    /// When its lease, its mappings or its memory were last seen to grow.
    grew: Option<Instant>,
    lease: Lease,
}

/// What is known of a member's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    /// It has its parent's.
    Inherited,
    /// We have set this soft limit, in bytes.
    Given(u64),
    /// It has a limit of its own, or is not ours to limit.
    LeftAlone,
}

/// What a member could still map.
pub(super) struct LeftOfLease {
    pub(super) before: ByteSize,
    pub(super) after: ByteSize,
}

impl Member {
    /// A newcomer.
    pub(super) fn new(stat: &Stat) -> Member {
        Member {
            // The handle is taken while the counts are open: as long as those can be
            // read, it is a handle on the process they are about.
            counts: PageCounts::open(stat.pid).ok(),
            handle: PidFd::open(stat.pid).ok(),
            id: stat.id(),
            inherited: None,
            resident: Resident::default(),
            inherited_at_first: ByteSize::ZERO,
            partner: Some(stat.ppid),
            backed: ByteSize::MAX,
            backed_at: None,
            faults: 0,
            faults_seen: 0,
            grew: None,
            lease: Lease::Inherited,
        }
    }

    /// Whether its lease, its mappings or its memory have grown so recently.
    pub(super) fn has_grown_within(&self, time: Duration, now: Instant) -> bool {
        self.grew
            .is_some_and(|grew| now.saturating_duration_since(grew) < time)
    }

    /// Looks again; false when it is gone.
    pub(super) fn look(&mut self, pid: i32, swap_exists: bool, text: &mut Vec<u8>) -> bool {
        let before = self.resident;
        let there = self.read(pid, swap_exists, text);
        let after = self.resident;
        let step = |now: ByteSize, then: ByteSize| now.saturating_sub(then) >= GROWTH;
        // The first look tells where it starts, not how it grows.
        let seen_before = before != Resident::default();
        if seen_before && (step(after.data, before.data) || step(after.anonymous, before.anonymous))
        {
            self.grew = Some(Instant::now());
        }
        if self.inherited.is_none() {
            self.inherited_at_first = self.private();
            self.inherited = Some(self.inherited_at_first);
        }
        there
    }

    fn read(&mut self, pid: i32, swap_exists: bool, text: &mut Vec<u8>) -> bool {
        if let (Some(counts), false) = (&self.counts, swap_exists) {
            let Ok(pages) = counts.read() else {
                return false;
            };
            let stands = pages.backed < MUCH_BACKED
                || self
                    .backed_at
                    .is_some_and(|at| at.elapsed() < BACKED_STANDS_FOR);
            if stands && pages.backed.bytes().abs_diff(self.backed.bytes()) < BACKED_STEP.bytes() {
                self.resident.anonymous = pages.anonymous;
                self.resident.data = pages.data;
                return true;
            }
            self.backed = pages.backed;
            self.backed_at = Some(Instant::now());
        }
        match Resident::read(pid, text) {
            Ok(resident) => {
                self.resident = resident;
                true
            }
            // Out of descriptors, say, it is there and holds what it held.
            Err(error) => !error.is_absent() && !error.is_of_a_lost_process(),
        }
    }

    /// Inherited pages only become fewer.
    pub(super) fn still_inherited(&self) -> ByteSize {
        let private = self.private();
        self.inherited.unwrap_or(private).min(private)
    }

    /// What is its own for certain where its pages cannot be seen: not what it was first
    /// seen with, unless its page faults say that it may have touched that itself.
    pub(super) fn own_at_least(&self) -> ByteSize {
        let private = self.private();
        let faults = in_pages(self.faults_seen);
        let untouched = self.inherited_at_first.saturating_sub(faults);
        private.saturating_sub(untouched)
    }

    /// What it may have written since it was first seen: by page faults, or, in huge pages,
    /// by what it holds in addition.
    pub(super) fn written_at_most(&self) -> ByteSize {
        let faults = in_pages(self.faults_seen);
        let grown = self.private().saturating_sub(self.inherited_at_first);
        faults.max(grown)
    }

    pub(super) fn slack(&self) -> ByteSize {
        self.resident.data.saturating_sub(self.private())
    }

    /// Renews the lease so that `room` is left over what is mapped now. What is
    /// left of the old lease and of the new; `None` for one that has none.
    pub(super) fn renew(&mut self, pid: i32, room: ByteSize, terms: Terms) -> Option<LeftOfLease> {
        let mapped = self.resident.data;
        let wanted = terms.lease(mapped, room);
        let in_force = match self.lease {
            Lease::Given(bytes) => Some(bytes),
            Lease::Inherited => None,
            Lease::LeftAlone => return None,
        };
        let left = |lease: u64| ByteSize::from_bytes(lease).saturating_sub(mapped);
        let before = left(in_force.unwrap_or(wanted));
        if lease::is_worth_setting(in_force, wanted, room) {
            self.lease = self
                .handle
                .as_ref()
                .and_then(|handle| {
                    let may_replace = |limit| terms.may_replace(limit);
                    data_limit::replace_soft(pid, handle, wanted, may_replace)
                        .ok()
                        .flatten()
                })
                .map_or(Lease::LeftAlone, Lease::Given);
        }
        match self.lease {
            Lease::Given(bytes) => Some(LeftOfLease {
                before,
                after: left(bytes),
            }),
            Lease::Inherited | Lease::LeftAlone => None,
        }
    }

    pub(super) fn private(&self) -> ByteSize {
        self.resident
            .anonymous
            .saturating_add(self.resident.swapped)
    }
}

/// What so many page faults may have written at the most, one page each.
pub(super) fn in_pages(faults: u64) -> ByteSize {
    ByteSize::from_bytes(faults.saturating_mul(proc::page_size()))
}
