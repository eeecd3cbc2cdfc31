//! A limit that a v1 group holds.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use memcap_linux::cgroup::V1Memory;
use memcap_linux::{ByteSize, FileError};

use super::below::KillsBelow;
use crate::evidence::GroupCounters;
use crate::keeper::around::count_of;

/// How far below its limit a group's peak may stay when the limit was what was hit:
/// charges come in batches of 64 pages per CPU.
pub(super) const BATCH: ByteSize = ByteSize::from_kib(256);

/// The group, and what was seen of it.
#[derive(Debug)]
pub(super) struct HeldByV1 {
    group: V1Memory,
    limit: ByteSize,
    /// What may be in swap beside the limit.
    swap: ByteSize,
    notifier: Option<OwnedFd>,
    /// How often we were told that memory ran out here, or around.
    told: Cell<u64>,
    below: RefCell<KillsBelow>,
    /// Whether somebody had switched the OOM killer off when memory ran out.
    made_to_wait: Cell<bool>,
}

impl HeldByV1 {
    /// For a group that is still to be given its limits.
    pub(super) fn new(group: V1Memory, limit: ByteSize, swap: ByteSize) -> HeldByV1 {
        HeldByV1 {
            group,
            limit,
            swap,
            notifier: None,
            told: Cell::default(),
            below: RefCell::default(),
            made_to_wait: Cell::default(),
        }
    }

    /// Wants to be told when memory runs out.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn listen(&mut self) -> Result<(), FileError> {
        self.notifier = Some(self.group.oom_notifier()?);
        Ok(())
    }

    pub(super) fn group(&self) -> &V1Memory {
        &self.group
    }

    /// What becomes readable when memory has run out.
    pub(super) fn oom_signal(&self) -> Option<BorrowedFd<'_>> {
        self.notifier.as_ref().map(AsFd::as_fd)
    }

    /// Takes note that it has, so that the next time is told again.
    pub(super) fn acknowledge(&self) {
        let Some(notifier) = &self.notifier else {
            return;
        };
        self.told
            .set(self.told.get().saturating_add(count_of(notifier)));
        if self.group.waits_at_limit().is_ok_and(|waits| waits) {
            self.made_to_wait.set(true);
            // Else the job waits until its time is over.
            let _ = self.group.kill_at_limit();
        }
        self.below.borrow_mut().ran_out(&self.group);
    }

    /// Looks for kills in groups that the job has made below, which the kernel does not
    /// count here.
    pub(super) fn look_below(&self) {
        self.below.borrow_mut().look(&self.group);
    }

    /// When to do so next; `None` while there is no reason to.
    pub(super) fn next_look_below(&self) -> Option<Instant> {
        self.below.borrow().next_look()
    }

    /// Processes of the group, and of those below, killed by any OOM killer.
    pub(super) fn kills(&self) -> Option<u64> {
        let kills = self.group.oom_kills().ok()??;
        Some(kills.saturating_add(self.below.borrow().kills()))
    }

    /// The counters, where groups around were told of an OOM so often. Each of those was
    /// told here too, and who has read files has been at this limit as well.
    pub(super) fn counters(&self, around: Option<u64>) -> Option<GroupCounters> {
        let unread = self.notifier.as_ref().map_or(0, count_of);
        self.told.set(self.told.get().saturating_add(unread));
        let is_own = around.is_none_or(|around| self.told.get() > around);
        let was_at_limit = |peak: ByteSize| peak.saturating_add(BATCH) >= self.limit;
        Some(GroupCounters {
            oom_kills: self.kills()?,
            own_limit_hit: self.peak().map(|peak| was_at_limit(peak) && is_own),
        })
    }

    /// The largest of what counts against the limit.
    pub(super) fn peak(&self) -> Option<ByteSize> {
        match self.swap > ByteSize::ZERO {
            true => self.group.peak_without_swap().ok(),
            false => self.group.peak().ok(),
        }
    }

    /// What `counters` cannot tell, in words.
    pub(super) fn uncounted(&self, counters: GroupCounters) -> Option<String> {
        let missed = counters.oom_kills == 0 && self.below.borrow().may_have_missed_a_kill();
        missed.then(|| {
            "memory ran out, at this limit or at one around it, while the job had control groups \
             of its own below: whom the kernel may have killed in those, cgroup v1 does not count \
             here"
                .into()
        })
    }

    /// That nobody would have been killed at the limit, in words.
    pub(super) fn was_made_to_wait(&self) -> Option<String> {
        let file = self.group.path().join("memory.oom_control");
        self.made_to_wait.get().then(|| {
            format!(
                "{} was set to 1 by somebody else, so that the job would have waited at its \
                 limit; it was set back to 0",
                file.display()
            )
        })
    }
}
