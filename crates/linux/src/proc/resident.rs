//! The memory of one process in /proc/PID/status.

use super::pid_file::{other_threads, pid_file};
use super::units::kib;
use crate::ByteSize;
use crate::file::{self, FileError};

/// Memory of one process that a limit is about: what it would take to swap it
/// out. File-backed pages are left out, since the kernel can drop them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resident {
    /// RssAnon.
    pub anonymous: ByteSize,
    /// RssShmem: shared memory and tmpfs pages it has mapped.
    pub shared: ByteSize,
    /// VmSwap.
    pub swapped: ByteSize,
    /// VmData: private writable mappings, touched or not; what RLIMIT_DATA
    /// bounds.
    pub data: ByteSize,
    /// VmHWM: the largest resident set since the last `exec`, file pages
    /// included.
    pub high_water: ByteSize,
}

impl Resident {
    /// Reads /proc/PID/status into a buffer that is kept between calls; about
    /// 10 µs. A kernel thread or a zombie holds nothing.
    ///
    /// # Errors
    /// When the process is gone or hidden.
    pub fn read(pid: i32, buffer: &mut Vec<u8>) -> Result<Resident, FileError> {
        let status = file::read_into(&pid_file(pid, "status"), buffer)?;
        if !has_lost_its_first_thread(status) {
            return Ok(Resident::parse(status));
        }
        let seen = other_threads(pid, "status").find_map(|path| {
            let status = file::read_into(&path, buffer).ok()?;
            Some(Resident::parse(status)).filter(|resident| resident.high_water > ByteSize::ZERO)
        });
        Ok(seen.unwrap_or_default())
    }

    /// Understands the text of a status file; absent lines count as nothing.
    pub fn parse(status: &[u8]) -> Resident {
        let mut resident = Resident::default();
        for line in status.split(|byte| *byte == b'\n') {
            if let Some(rest) = line.strip_prefix(b"VmHWM:") {
                resident.high_water = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"RssAnon:") {
                resident.anonymous = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"RssShmem:") {
                resident.shared = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"VmData:") {
                resident.data = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"VmSwap:") {
                resident.swapped = kib(rest);
                break;
            }
        }
        resident
    }

    /// All of it. Summed over a tree this is an upper bound: pages shared by
    /// several members count once for each.
    pub fn total(self) -> ByteSize {
        self.anonymous
            .saturating_add(self.shared)
            .saturating_add(self.swapped)
    }
}

/// A process with threads and without memory of its own: the memory is seen
/// through another thread than the first.
fn has_lost_its_first_thread(status: &[u8]) -> bool {
    let mut lines = status.split(|byte| *byte == b'\n');
    !status.windows(6).any(|word| word == b"VmRSS:")
        && lines.any(|line| {
            line.strip_prefix(b"Threads:")
                .is_some_and(|count| kib(count) > ByteSize::from_kib(1))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn status_counts_what_cannot_be_dropped() {
        let text = b"Name:\tx\nRssAnon:\t     100 kB\nRssFile:\t 50 kB\nRssShmem:\t 7 kB\nVmSwap:\t 3 kB\n";
        assert_eq!(Resident::parse(text).total(), ByteSize::from_kib(110));
        assert_eq!(
            Resident::parse(b"Name:\tkthreadd\n").total(),
            ByteSize::ZERO
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,120}") {
            let _ = Resident::parse(text.as_bytes());
        }
    }
}
