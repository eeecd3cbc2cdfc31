//! How much memory the machine has, from /proc/meminfo.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::ByteSize;
use crate::file::{self, FileError};

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
/// When it cannot be read, or does not tell MemTotal and SwapTotal.
pub fn read(proc_root: &Path) -> Result<MachineMemory, FileError> {
    let path = proc_root.join("meminfo");
    let mut buffer = Vec::new();
    let text = file::read_into(&path, &mut buffer)?;
    parse(text).ok_or_else(|| FileError::parse(&path, "no MemTotal or no SwapTotal in it"))
}

/// Understands the text of meminfo, of which only whole lines count; `None`
/// without MemTotal or SwapTotal. (The procfs crate wants a dozen fields more,
/// multiplies without looking, and panics on a name that is not ASCII.)
pub fn parse(text: &[u8]) -> Option<MachineMemory> {
    Some(MachineMemory {
        total: field(text, b"MemTotal:")?,
        available: field(text, b"MemAvailable:"),
        swap_total: field(text, b"SwapTotal:")?,
    })
}

/// MemAvailable alone, in one short read: for whoever asks many times a second.
///
/// # Errors
/// When `meminfo` below the proc root cannot be read, or does not tell (before
/// Linux 3.14).
pub fn available(proc_root: &Path) -> io::Result<ByteSize> {
    const NAME: &[u8] = b"MemAvailable:";
    // It is the third line of some fifty.
    let mut head = [0; 512];
    let length = File::open(proc_root.join("meminfo"))?.read(&mut head)?;
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "no MemAvailable in meminfo");
    field(&head[..length], NAME).ok_or_else(missing)
}

/// What the machine holds in files in memory (tmpfs, memfd) and in shared mappings that
/// no file is behind: Shmem, by sysinfo(2), in less than a microsecond.
pub fn shared() -> ByteSize {
    let mut info = std::mem::MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: it is filled by the kernel, and zero bytes are a valid value. It cannot fail
    // with a valid address.
    let info = unsafe {
        libc::sysinfo(info.as_mut_ptr());
        info.assume_init()
    };
    ByteSize::from_bytes(info.sharedram.saturating_mul(u64::from(info.mem_unit)))
}

/// One field, in kB by its name; `None` without a whole line of it.
fn field(text: &[u8], name: &[u8]) -> Option<ByteSize> {
    let whole = text.iter().rposition(|byte| *byte == b'\n')?;
    let line = text[..whole]
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(name))?;
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
                field(head, b"MemAvailable:"),
                bytes.map(ByteSize::from_bytes),
                "{text}"
            );
        }
    }

    #[test]
    fn what_a_machine_needs_not_have_is_not_needed() {
        let few = b"MemTotal: 8 kB\nSwapTotal: 0 kB\n";
        let memory = MachineMemory {
            total: ByteSize::from_kib(8),
            available: None,
            swap_total: ByteSize::ZERO,
        };
        assert_eq!(parse(few), Some(memory));
        assert_eq!(parse(b"MemTotal: 8 kB\n"), None);
        assert_eq!(parse(b"SwapTotal: 8 kB\n"), None);
        // 2^64 bytes and more.
        assert_eq!(
            parse(b"MemTotal: 18014398509481984 kB\nSwapTotal: 0 kB\n"),
            None
        );
        assert_eq!(
            parse("Mem\u{fc}\nMemTotal: 8 kB\nSwapTotal: 0 kB\n".as_bytes()),
            Some(memory)
        );
    }

    #[test]
    fn another_reader_agrees() {
        use procfs::prelude::*;
        let theirs = procfs::Meminfo::current().expect("readable");
        let ours = read(Path::new("/proc")).expect("readable");
        assert_eq!(ours.total.bytes(), theirs.mem_total);
        assert_eq!(ours.swap_total.bytes(), theirs.swap_total);
        assert_eq!(ours.available.is_some(), theirs.mem_available.is_some());
        // Not of the same moment.
        let shared = shared().bytes().abs_diff(theirs.shmem.expect("told"));
        assert!(shared < theirs.mem_total / 8, "{shared}");
    }

    #[test]
    fn this_machine_tells() {
        let proc_root = Path::new("/proc");
        let available = available(proc_root).expect("readable");
        let total = read(proc_root).expect("readable").total;
        assert!(shared() <= total);
        assert!(
            ByteSize::ZERO < available && available <= total,
            "{available}"
        );
    }
}
