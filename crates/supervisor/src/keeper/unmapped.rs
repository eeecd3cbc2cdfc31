//! Files in memory that are written and not mapped: no process shows their pages, so the
//! watchdog does not count them. Where the tree has them open, that much is told.

use std::path::Path;
use std::time::Duration;

use memcap_linux::proc::MemoryFiles;
use memcap_linux::{ByteSize, meminfo};

/// Looks come this often, the first one included.
const INTERVAL: Duration = Duration::from_millis(500);
/// Less is not worth a word, and the machine's figure changes by as much all day.
const SLACK: ByteSize = ByteSize::from_mib(32);

/// Looks from time to time: at one line of the machine's, and at the tree's descriptors
/// only where that has grown.
#[derive(Debug)]
pub(super) struct Unmapped {
    /// All files in memory of the machine, when the job began.
    before: ByteSize,
    next: Duration,
    most: ByteSize,
}

impl Unmapped {
    /// `None` where the machine does not tell.
    pub(super) fn begin() -> Option<Unmapped> {
        Some(Unmapped {
            before: machines()?,
            next: INTERVAL,
            most: ByteSize::ZERO,
        })
    }

    /// When [`Unmapped::look`] wants to be called, as time since the job's start.
    pub(super) fn next_look(&self) -> Duration {
        self.next
    }

    /// Looks where that is due. `tree` gives the members, and what they have mapped of
    /// shared memory at the most.
    pub(super) fn look(&mut self, now: Duration, tree: impl FnOnce() -> (Vec<i32>, ByteSize)) {
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let has_grown = machines().is_some_and(|now| now > self.before.saturating_add(SLACK));
        if !has_grown {
            return;
        }
        let (members, mapped) = tree();
        let mut files = MemoryFiles::default();
        for member in members {
            // Gone, or not ours to look into: what it holds is not known.
            let _ = files.add(member);
        }
        self.most = self.most.max(files.held().saturating_sub(mapped));
    }

    /// What there was at the least, in words.
    pub(super) fn note(&self) -> Option<String> {
        (self.most > SLACK).then(|| {
            format!(
                "at least {} were held in open files in memory (memfd, /dev/shm) that no process \
                 maps: the watchdog does not count those, and only a cgroup limits them",
                self.most
            )
        })
    }
}

fn machines() -> Option<ByteSize> {
    meminfo::shared(Path::new("/proc")).ok()
}
