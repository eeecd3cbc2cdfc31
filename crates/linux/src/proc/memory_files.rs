//! Files in memory (memfd_create(2), tmpfs, shared mappings that no file is behind): what
//! they hold shows in a process only as far as that has touched it through a mapping.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sys::stat::{major, minor};

use super::PROC;
use super::pid_file::pid_file;
use crate::ByteSize;
use crate::file;
use crate::mappings::{FileKey, Mapping, shared_mappings};
use crate::mounts;

/// More descriptors of one process are not looked at.
const MOST: usize = 1024;

/// The unit of `st_blocks`, whatever the file system (inode(7)).
const BLOCK: u64 = 512;

/// Of a descriptor's link: it is open for writing (proc_pid_fd(5)).
const WRITE: u32 = 0o200;

/// Where this process sees tmpfs(5): which open files are in memory, their names tell
/// only together with that.
#[derive(Debug, Default)]
pub struct MemoryPlaces {
    /// Mount points, the longest first, and the device of those where files are in
    /// memory.
    mounts: Vec<(Vec<u8>, Option<u64>)>,
    /// Our mount namespace, as `/proc/self/ns/mnt` names it.
    namespace: Option<PathBuf>,
}

impl MemoryPlaces {
    /// Reads the mounts there are; none where they cannot be read.
    pub fn read() -> MemoryPlaces {
        let mounts = mounts::read(Path::new(PROC)).unwrap_or_default();
        let mut mounts: Vec<_> = mounts
            .into_iter()
            .map(|mount| {
                let is_in_memory = mount.file_system == "tmpfs";
                let device = is_in_memory.then(|| fs::metadata(&mount.mount_point));
                let device = device.and_then(Result::ok).map(|data| data.dev());
                (mount.mount_point.into_os_string().into_vec(), device)
            })
            .collect();
        mounts.sort_by_key(|(point, _)| std::cmp::Reverse(point.len()));
        let namespace = fs::read_link(Path::new(PROC).join("self/ns/mnt")).ok();
        MemoryPlaces { mounts, namespace }
    }

    /// These, or none where a process has other mounts than we.
    fn of(&self, pid: i32) -> &[(Vec<u8>, Option<u64>)] {
        let theirs = fs::read_link(of_process(pid, "ns/mnt")).ok();
        match theirs.is_some() && theirs == self.namespace {
            true => &self.mounts,
            false => &[],
        }
    }
}

/// The device of the tmpfs that a file of this name is on.
fn device_of(name: &[u8], mounts: &[(Vec<u8>, Option<u64>)]) -> Option<u64> {
    let is_below = |point: &[u8]| match name.strip_prefix(point) {
        Some(rest) => point == b"/" || rest.first() == Some(&b'/'),
        None => false,
    };
    let (_, device) = mounts.iter().find(|(point, _)| is_below(point))?;
    *device
}

/// What the files in memory hold that some processes have open or mapped, each file
/// once, by device and inode.
#[derive(Debug)]
pub struct MemoryFiles {
    /// Files with a name that were there earlier are somebody else's.
    since: SystemTime,
    held: BTreeMap<FileKey, u64>,
    /// There earlier, and written to since.
    rewritten: BTreeMap<FileKey, u64>,
    /// Mapped, and nobody says what they hold: how far they are mapped.
    untold: BTreeMap<FileKey, u64>,
    text: Vec<u8>,
}

impl MemoryFiles {
    /// None yet. Files that still have a name and were made before `since` will count as
    /// [`MemoryFiles::rewritten`] if at all, as on kernels that do not tell when they were
    /// made.
    pub fn since(since: SystemTime) -> MemoryFiles {
        MemoryFiles {
            since,
            held: BTreeMap::new(),
            rewritten: BTreeMap::new(),
            untold: BTreeMap::new(),
            text: Vec::new(),
        }
    }

    /// Adds those that a process has open.
    ///
    /// # Errors
    /// When the process is gone or may not be looked into.
    pub fn add_open(&mut self, pid: i32, places: &MemoryPlaces) -> io::Result<()> {
        let mounts = places.of(pid);
        let entries = fs::read_dir(of_process(pid, "fd"))?;
        for entry in entries.take(MOST).filter_map(Result::ok) {
            let path = entry.path();
            // By the name alone first: to ask a file of a network that does not answer
            // would take for ever.
            let name = fs::read_link(&path).unwrap_or_default();
            let name = name.as_os_str().as_bytes();
            let device = device_of(name, mounts);
            if !is_in_memory(name) && device.is_none() {
                continue;
            }
            let is_written = fs::symlink_metadata(&path).is_ok_and(|it| it.mode() & WRITE != 0);
            if let Ok(data) = fs::metadata(&path)
                && (is_in_memory(name) || device == Some(data.dev()))
            {
                self.note(&data, is_written);
            }
        }
        Ok(())
    }

    /// Adds those that a process has mapped shared. What they hold, the kernel tells root
    /// alone (proc_pid_map_files(5)).
    ///
    /// # Errors
    /// When the process is gone or may not be looked into.
    pub fn add_mapped(&mut self, pid: i32, places: &MemoryPlaces) -> io::Result<()> {
        let mounts = places.of(pid);
        let mut text = std::mem::take(&mut self.text);
        let read = file::read_into(pid_file(pid, "maps").as_ref(), &mut text);
        if let Ok(maps) = &read {
            for mapping in shared_mappings(maps) {
                let device = device_of(mapping.name, mounts);
                let is_on_it = device.is_some_and(|device| file_device(device) == mapping.file.0);
                if is_in_memory(mapping.name) || is_on_it {
                    self.add_mapping(pid, &mapping);
                }
            }
        }
        let outcome = read.map(drop);
        self.text = text;
        outcome.map_err(|error| io::Error::other(error.to_string()))
    }

    fn add_mapping(&mut self, pid: i32, mapping: &Mapping<'_>) {
        let key = mapping.file;
        if self.is_told(&key) {
            return;
        }
        if !self.untold.contains_key(&key) {
            let name = format!("map_files/{:x}-{:x}", mapping.start, mapping.end);
            if let Ok(data) = fs::metadata(of_process(pid, &name)) {
                return self.note(&data, mapping.writable);
            }
        }
        if !mapping.writable && !mapping.name.ends_with(b" (deleted)") {
            return;
        }
        let length = mapping.end - mapping.start;
        let until = self.untold.entry(key).or_default();
        *until = mapping.offset.saturating_add(length).max(*until);
    }

    fn is_told(&self, key: &FileKey) -> bool {
        self.held.contains_key(key) || self.rewritten.contains_key(key)
    }

    /// Who only reads a file that has a name need not have made it, whenever that was.
    fn note(&mut self, data: &Metadata, is_written: bool) {
        let is_since = |time: io::Result<SystemTime>| time.is_ok_and(|time| time >= self.since);
        let files = if data.nlink() == 0 || is_written && is_since(data.created()) {
            &mut self.held
        } else if is_written && is_since(data.modified()) {
            &mut self.rewritten
        } else {
            return;
        };
        let key = (file_device(data.dev()), data.ino());
        files.insert(key, data.blocks() * BLOCK);
    }

    /// What all of them hold together, beyond what they held `before`.
    pub fn held_beyond(&self, before: &MemoryFiles) -> ByteSize {
        let earlier = |key: &FileKey| before.held.get(key).copied().unwrap_or(0);
        let grown = |(key, held): (&FileKey, &u64)| held.saturating_sub(earlier(key));
        let grown = self.held.iter().map(grown);
        ByteSize::from_bytes(grown.fold(0, u64::saturating_add))
    }

    /// What those hold that were there earlier, but have been written to since: a part of
    /// it may have been there.
    pub fn rewritten(&self) -> ByteSize {
        let held = self.rewritten.values().copied();
        ByteSize::from_bytes(held.fold(0, u64::saturating_add))
    }

    /// What those can hold at the most of which nobody tells how much they do.
    pub fn untold(&self) -> ByteSize {
        let untold = |(key, until): (&FileKey, &u64)| match self.is_told(key) {
            true => 0,
            false => *until,
        };
        let untold = self.untold.iter().map(untold);
        ByteSize::from_bytes(untold.fold(0, u64::saturating_add))
    }
}

/// A device as the key of a mapped file has it.
fn file_device(device: u64) -> u64 {
    major(device) << 32 | minor(device)
}

fn of_process(pid: i32, name: &str) -> PathBuf {
    Path::new(PROC).join(pid.to_string()).join(name)
}

/// As the kernel names what is open (proc_pid_fd(5)) or mapped (proc_pid_maps(5)),
/// wherever else tmpfs(5) is.
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

    #[test]
    fn a_name_is_on_what_is_mounted_nearest() {
        let mounts = [
            (b"/run/user/1/doc".to_vec(), None),
            (b"/run".to_vec(), Some(7)),
            (b"/".to_vec(), None),
        ];
        let cases: [(&[u8], Option<u64>); 5] = [
            (b"/run/file (deleted)", Some(7)),
            (b"/run/user/1/doc/far", None),
            (b"/runner", None),
            (b"/home/me", None),
            (b"socket:[1]", None),
        ];
        for (name, expected) in cases {
            let text = String::from_utf8_lossy(name);
            assert_eq!(device_of(name, &mounts), expected, "{text}");
        }
        let root_in_memory = [(b"/".to_vec(), Some(3))];
        assert_eq!(device_of(b"/home/me", &root_in_memory), Some(3));
    }

    #[test]
    fn mounts_of_this_machine_are_ours() {
        let places = MemoryPlaces::read();
        assert!(places.mounts.iter().any(|(point, _)| point == b"/"));
        assert_eq!(places.of(ours()).len(), places.mounts.len());
        assert!(MemoryPlaces::default().of(ours()).is_empty());
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
            let places = MemoryPlaces::default();
            files.add_open(ours(), &places).expect("readable");
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
    fn a_file_that_was_there_counts_once_it_is_written_to() {
        let folder = Path::new("/dev/shm");
        if !folder.is_dir() {
            eprintln!("skipped: there is no /dev/shm");
            return;
        }
        let file = tempfile::NamedTempFile::new_in(folder).expect("a file");
        file.as_file()
            .write_all(&vec![1; 3 << 20])
            .expect("written");
        let made = file.as_file().metadata().expect("told");
        let later = made.modified().expect("told") + std::time::Duration::from_nanos(1);
        let look = |since, is_written| {
            let mut files = MemoryFiles::since(since);
            files.note(&file.as_file().metadata().expect("told"), is_written);
            let none = MemoryFiles::since(since);
            (files.held_beyond(&none), files.rewritten())
        };
        let all = ByteSize::from_mib(3);
        let none = (ByteSize::ZERO, ByteSize::ZERO);
        let begin = made.created().expect("told");
        assert_eq!(look(later, true), none);
        assert_eq!(look(begin, true), (all, ByteSize::ZERO));
        assert_eq!(look(begin, false), none);
        let times = fs::FileTimes::new().set_modified(later);
        file.as_file().set_times(times).expect("set");
        assert_eq!(look(later, true), (ByteSize::ZERO, all));
        assert_eq!(look(later, false), none);
    }

    #[test]
    fn what_is_mapped_is_told_or_is_known_not_to_be() {
        let file = file_in_memory(3 << 20);
        let map = memmap2::MmapOptions::new().map_raw(&file).expect("mapped");
        drop(file);
        let mut files = MemoryFiles::since(SystemTime::now());
        let places = MemoryPlaces::read();
        files.add_mapped(ours(), &places).expect("readable");
        let none = MemoryFiles::since(SystemTime::now());
        let told = files.held_beyond(&none) >= ByteSize::from_mib(3);
        let untold = files.untold() >= ByteSize::from_mib(3);
        assert!(told != untold, "{files:?}");
        assert!(map.len() >= 3 << 20);
    }
}
