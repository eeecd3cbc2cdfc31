//! Files in memory (memfd_create(2), tmpfs, shared mappings that no file is behind): what
//! they hold shows in a process only as far as that has touched it through a mapping.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sys::stat::{major, minor};

use super::PROC;
use super::pid_file::pid_file;
use crate::ByteSize;
use crate::file;
use crate::mappings::{FileKey, Mapping, shared_mappings};

/// More descriptors of one process are not looked at.
const MOST: usize = 1024;

/// The unit of `st_blocks`, whatever the file system (inode(7)).
const BLOCK: u64 = 512;

/// What the files in memory hold that some processes have open or mapped, each file
/// once, by device and inode.
#[derive(Debug)]
pub struct MemoryFiles {
    /// Files with a name that were there earlier are somebody else's.
    since: SystemTime,
    held: BTreeMap<FileKey, u64>,
    /// Mapped, and nobody says what they hold: how far they are mapped.
    untold: BTreeMap<FileKey, u64>,
    text: Vec<u8>,
}

impl MemoryFiles {
    /// None yet. Files that still have a name and were made before `since` will be left
    /// out, as on kernels that do not tell when they were made.
    pub fn since(since: SystemTime) -> MemoryFiles {
        MemoryFiles {
            since,
            held: BTreeMap::new(),
            untold: BTreeMap::new(),
            text: Vec::new(),
        }
    }

    /// Adds those that a process has open.
    ///
    /// # Errors
    /// When the process is gone or may not be looked into.
    pub fn add_open(&mut self, pid: i32) -> io::Result<()> {
        let entries = fs::read_dir(of_process(pid, "fd"))?;
        for entry in entries.take(MOST).filter_map(Result::ok) {
            let path = entry.path();
            // By the name alone first: to ask a file of a network that does not answer
            // would take for ever.
            if !fs::read_link(&path).is_ok_and(|name| is_in_memory(name.as_os_str().as_bytes())) {
                continue;
            }
            if let Ok(data) = fs::metadata(&path) {
                self.note(&data);
            }
        }
        Ok(())
    }

    /// Adds those that a process has mapped shared. What they hold, the kernel tells root
    /// alone (proc_pid_map_files(5)).
    ///
    /// # Errors
    /// When the process is gone or may not be looked into.
    pub fn add_mapped(&mut self, pid: i32) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.text);
        let read = file::read_into(pid_file(pid, "maps").as_ref(), &mut text);
        if let Ok(maps) = &read {
            for mapping in shared_mappings(maps).filter(|it| is_in_memory(it.name)) {
                self.add_mapping(pid, &mapping);
            }
        }
        let outcome = read.map(drop);
        self.text = text;
        outcome.map_err(|error| io::Error::other(error.to_string()))
    }

    fn add_mapping(&mut self, pid: i32, mapping: &Mapping<'_>) {
        let key = mapping.file;
        if self.held.contains_key(&key) {
            return;
        }
        if !self.untold.contains_key(&key) {
            let name = format!("map_files/{:x}-{:x}", mapping.start, mapping.end);
            if let Ok(data) = fs::metadata(of_process(pid, &name)) {
                return self.note(&data);
            }
        }
        let length = mapping.end - mapping.start;
        let until = self.untold.entry(key).or_default();
        *until = mapping.offset.saturating_add(length).max(*until);
    }

    fn note(&mut self, data: &Metadata) {
        let is_of_these = data.nlink() == 0 || data.created().is_ok_and(|made| made >= self.since);
        if is_of_these {
            let device = data.dev();
            let key = (major(device) << 32 | minor(device), data.ino());
            self.held.insert(key, data.blocks() * BLOCK);
        }
    }

    /// What all of them hold together, beyond what they held `before`.
    pub fn held_beyond(&self, before: &MemoryFiles) -> ByteSize {
        let earlier = |key: &FileKey| before.held.get(key).copied().unwrap_or(0);
        let grown = |(key, held): (&FileKey, &u64)| held.saturating_sub(earlier(key));
        let grown = self.held.iter().map(grown);
        ByteSize::from_bytes(grown.fold(0, u64::saturating_add))
    }

    /// What those can hold at the most of which nobody tells how much they do.
    pub fn untold(&self) -> ByteSize {
        let untold = |(key, until): (&FileKey, &u64)| match self.held.contains_key(key) {
            true => 0,
            false => *until,
        };
        let untold = self.untold.iter().map(untold);
        ByteSize::from_bytes(untold.fold(0, u64::saturating_add))
    }
}

fn of_process(pid: i32, name: &str) -> PathBuf {
    Path::new(PROC).join(pid.to_string()).join(name)
}

/// As the kernel names what is open (proc_pid_fd(5)) or mapped (proc_pid_maps(5)).
/// tmpfs(5) is at other places too, which no name tells.
fn is_in_memory(name: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 4] = [b"/memfd:", b"/dev/shm/", b"/dev/zero (deleted)", b"/SYSV"];
    BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_files_in_memory_are_asked() {
        let cases: [(&[u8], bool); 8] = [
            (b"/memfd:pool (deleted)", true),
            (b"/dev/shm/#12 (deleted)", true),
            (b"/dev/zero (deleted)", true),
            (b"/SYSV00000000 (deleted)", true),
            (b"/dev/zero", false),
            (b"/dev/shmem", false),
            (b"/mnt/far/away", false),
            (b"pipe:[7]", false),
        ];
        for (name, expected) in cases {
            let text = String::from_utf8_lossy(name);
            assert_eq!(is_in_memory(name), expected, "{text}");
        }
    }

    fn file_in_memory(bytes: usize) -> fs::File {
        let name = c"test-of-memcap";
        let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
        let file = nix::sys::memfd::memfd_create(name, flags).expect("a file");
        let mut file = fs::File::from(file);
        file.write_all(&vec![1; bytes]).expect("written");
        file
    }

    fn ours() -> i32 {
        i32::try_from(std::process::id()).expect("a pid")
    }

    #[test]
    fn what_is_written_is_found_once_though_it_is_open_twice() {
        let file = file_in_memory(3 << 20);
        let _second = file.try_clone().expect("another descriptor");
        let look = || {
            let mut files = MemoryFiles::since(SystemTime::now());
            files.add_open(ours()).expect("readable");
            files
        };
        let found = look();
        let none = MemoryFiles::since(SystemTime::now());
        let held = found.held_beyond(&none);
        assert!(held >= ByteSize::from_mib(3), "{held}");
        assert!(held < ByteSize::from_mib(6), "{held}");
        // What was there before is no more than it was.
        assert_eq!(found.held_beyond(&found), ByteSize::ZERO);
    }

    #[test]
    fn what_is_mapped_is_told_or_is_known_not_to_be() {
        let file = file_in_memory(3 << 20);
        let map = memmap2::MmapOptions::new().map_raw(&file).expect("mapped");
        drop(file);
        let mut files = MemoryFiles::since(SystemTime::now());
        files.add_mapped(ours()).expect("readable");
        let none = MemoryFiles::since(SystemTime::now());
        let told = files.held_beyond(&none) >= ByteSize::from_mib(3);
        let untold = files.untold() >= ByteSize::from_mib(3);
        assert!(told != untold, "{files:?}");
        assert!(map.len() >= 3 << 20);
    }
}
