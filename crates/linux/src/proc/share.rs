//! Memory with shared pages counted in part: /proc/PID/smaps_rollup.

use super::pid_file::pid_file;
use super::units::kib;
use crate::ByteSize;
use crate::file::{self, FileError};

/// A process's proportional share of pages: those that it shares with n others
/// count for an n-th part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Anonymous memory.
    pub anonymous: ByteSize,
    /// Shared memory.
    pub shared: ByteSize,
    /// In swap.
    pub swapped: ByteSize,
}

impl Share {
    /// Reads /proc/PID/smaps_rollup. Exact for a tree when summed, but costs
    /// about 10 ms per GiB of 4 KiB pages.
    ///
    /// # Errors
    /// When the process is gone, is not ours to look into (EACCES), or the
    /// kernel does not give the parts (before Linux 5.9).
    pub fn read(pid: i32, buffer: &mut Vec<u8>) -> Result<Share, FileError> {
        let path = pid_file(pid, "smaps_rollup");
        let text = file::read_into(&path, buffer)?;
        Share::parse(text).ok_or_else(|| FileError::parse(&path, "no Pss_Anon line"))
    }

    /// Understands the text; `None` without the parts.
    pub fn parse(rollup: &[u8]) -> Option<Share> {
        let (mut anonymous, mut share) = (None, Share::default());
        for line in rollup.split(|byte| *byte == b'\n') {
            if let Some(rest) = line.strip_prefix(b"Pss_Anon:") {
                anonymous = Some(kib(rest));
            } else if let Some(rest) = line.strip_prefix(b"Pss_Shmem:") {
                share.shared = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"SwapPss:") {
                share.swapped = kib(rest);
            }
        }
        share.anonymous = anonymous?;
        Some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollup_leaves_file_pages_out() {
        let text = b"Rss: 10 kB\nPss: 9 kB\nPss_Anon:  5 kB\nPss_File: 3 kB\nPss_Shmem: 1 kB\nSwap: 8 kB\nSwapPss: 4 kB\n";
        let share = Share {
            anonymous: ByteSize::from_kib(5),
            shared: ByteSize::from_kib(1),
            swapped: ByteSize::from_kib(4),
        };
        assert_eq!(Share::parse(text), Some(share));
        assert_eq!(Share::parse(b"Rss: 10 kB\n"), None);
    }
}
