//! Files in memory that a process holds open (memfd_create(2), `/dev/shm`): what is
//! written to them shows in no process unless it is mapped.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::PROC;
use crate::ByteSize;

/// More descriptors of one process are not looked at.
const MOST: usize = 1024;

/// The unit of `st_blocks`, whatever the file system (inode(7)).
const BLOCK: u64 = 512;

/// What open files in memory hold, each file once, by device and inode.
#[derive(Debug, Default)]
pub struct MemoryFiles {
    held: BTreeMap<(u64, u64), u64>,
}

impl MemoryFiles {
    /// Adds those that a process has open.
    ///
    /// # Errors
    /// When the process is gone or may not be looked into.
    pub fn add(&mut self, pid: i32) -> io::Result<()> {
        let entries = fs::read_dir(Path::new(PROC).join(pid.to_string()).join("fd"))?;
        for entry in entries.take(MOST).filter_map(Result::ok) {
            let path = entry.path();
            // By the name alone first: to ask a file of a network that does not answer
            // would take for ever.
            if !fs::read_link(&path).is_ok_and(|name| is_in_memory(name.as_os_str().as_bytes())) {
                continue;
            }
            if let Ok(data) = fs::metadata(&path) {
                self.held
                    .insert((data.dev(), data.ino()), data.blocks() * BLOCK);
            }
        }
        Ok(())
    }

    /// What all of them hold together.
    pub fn held(&self) -> ByteSize {
        ByteSize::from_bytes(
            self.held
                .values()
                .fold(0, |sum, one| sum.saturating_add(*one)),
        )
    }
}

/// As the kernel names what is open (proc_pid_fd(5)).
fn is_in_memory(name: &[u8]) -> bool {
    name.starts_with(b"/memfd:") || name.starts_with(b"/dev/shm/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_files_in_memory_are_asked() {
        let cases: [(&[u8], bool); 5] = [
            (b"/memfd:pool (deleted)", true),
            (b"/dev/shm/#12 (deleted)", true),
            (b"/dev/shmem", false),
            (b"/mnt/far/away", false),
            (b"pipe:[7]", false),
        ];
        for (name, expected) in cases {
            let text = String::from_utf8_lossy(name);
            assert_eq!(is_in_memory(name), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_found_once_though_it_is_open_twice() {
        let name = c"test-of-memcap";
        let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
        let file = nix::sys::memfd::memfd_create(name, flags).expect("a file");
        let mut file = fs::File::from(file);
        file.write_all(&vec![1; 3 << 20]).expect("written");
        let _second = file.try_clone().expect("another descriptor");
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let mut files = MemoryFiles::default();
        files.add(pid).expect("readable");
        let held = files.held();
        assert!(held >= ByteSize::from_mib(3), "{held}");
        assert!(held < ByteSize::from_mib(6), "{held}");
    }
}
