//! How much memory the machine has, from /proc/meminfo.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use procfs::prelude::*;

use crate::ByteSize;

/// The part of /proc/meminfo that decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MachineMemory {
    /// MemTotal.
    pub total: ByteSize,
    /// MemAvailable: what can be used without swapping (Linux 3.14).
    pub available: Option<ByteSize>,
    /// SwapTotal.
    pub swap_total: ByteSize,
}

/// Reads `meminfo` below a proc root such as `/proc`.
///
/// # Errors
/// When it cannot be read or parsed.
pub fn read(proc_root: &Path) -> io::Result<MachineMemory> {
    let info = procfs::Meminfo::from_file(proc_root.join("meminfo"))
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(MachineMemory {
        total: ByteSize::from_bytes(info.mem_total),
        available: info.mem_available.map(ByteSize::from_bytes),
        swap_total: ByteSize::from_bytes(info.swap_total),
    })
}

/// MemAvailable alone, in one short read: for whoever asks many times a second.
///
/// # Errors
/// When `meminfo` below the proc root cannot be read, or does not tell (before
/// Linux 3.14).
pub fn available(proc_root: &Path) -> io::Result<ByteSize> {
    // It is the third line of some fifty.
    let mut head = [0; 512];
    let length = File::open(proc_root.join("meminfo"))?.read(&mut head)?;
    parse_available(&head[..length])
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no MemAvailable in meminfo"))
}

/// `None` without a whole line of it.
fn parse_available(head: &[u8]) -> Option<ByteSize> {
    let whole = head.iter().rposition(|byte| *byte == b'\n')?;
    let line = head[..whole]
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"MemAvailable:"))?;
    let kib = std::str::from_utf8(line).ok()?.trim().strip_suffix(" kB")?;
    let bytes = kib.trim_end().parse::<u64>().ok()?.checked_mul(1024)?;
    Some(ByteSize::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read_from_a_whole_line_only() {
        let cases: [(&[u8], _); 7] = [
            (
                b"MemTotal:       24625952 kB\nMemFree:  5 kB\nMemAvailable:   23 kB\nBuff",
                Some(23 << 10),
            ),
            (b"MemAvailable:0 kB\n", Some(0)),
            // Cut off: more digits may follow.
            (b"MemTotal: 9 kB\nMemAvailable:   23", None),
            (b"MemTotal: 9 kB\nMemFree: 5 kB\n", None),
            (b"MemAvailable: 23 MB\n", None),
            (b"MemAvailable: 18446744073709551615 kB\n", None),
            (b"", None),
        ];
        for (head, bytes) in cases {
            let text = String::from_utf8_lossy(head);
            assert_eq!(
                parse_available(head),
                bytes.map(ByteSize::from_bytes),
                "{text}"
            );
        }
    }

    #[test]
    fn this_machine_tells() {
        let proc_root = Path::new("/proc");
        let available = available(proc_root).expect("readable");
        let total = read(proc_root).expect("readable").total;
        assert!(
            ByteSize::ZERO < available && available <= total,
            "{available}"
        );
    }
}
