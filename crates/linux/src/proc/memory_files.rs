//! Files in memory (memfd_create(2), tmpfs, shared mappings that no file is behind): what
//! they hold shows in a process only as far as that has touched it through a mapping.
//!
//! Nothing is asked that is not known to be in memory: a file of a network, or one that a
//! stopped process serves, would not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{major, minor};

use super::PROC;
use super::pid_file::other_threads;
use crate::ByteSize;
use crate::file;
use crate::mappings::{FileKey, Mapping, shared_mappings};
use crate::mounts;

/// More descriptors of one process are not looked at.
const MOST: usize = 16 << 10;

/// The unit of `st_blocks`, whatever the file system (inode(7)).
const BLOCK: u64 = 512;

/// Of a descriptor's link: it is open for writing (proc_pid_fd(5)).
const WRITE: u32 = 0o200;

/// What the files in memory hold that some processes have open or mapped, each file
/// once, by device and inode.
#[derive(Debug)]
pub struct MemoryFiles {
    /// Files that were there earlier are somebody else's.
    since: SystemTime,
    /// By the mount namespace of who has them, as /proc/PID/ns/mnt names it.
    places: BTreeMap<Option<PathBuf>, Places>,
    /// Made since.
    made: BTreeMap<FileKey, u64>,
    /// There earlier, and written to since.
    rewritten: BTreeMap<FileKey, u64>,
    /// Mapped, and nobody says what they hold: how far they are mapped.
    untold: BTreeMap<FileKey, u64>,
    text: Vec<u8>,
}

impl MemoryFiles {
    /// None yet. Of files that were made before `since`, what they hold now tells nothing:
    /// they count by what they grow, see [`MemoryFiles::held_beyond`].
    pub fn since(since: SystemTime) -> MemoryFiles {
        MemoryFiles {
            since,
            places: BTreeMap::new(),
            made: BTreeMap::new(),
            rewritten: BTreeMap::new(),
            untold: BTreeMap::new(),
            text: Vec::new(),
        }
    }

    /// Adds those that a process has open or mapped shared. What a mapped one holds, the
    /// kernel tells root alone (proc_pid_map_files(5)).
    ///
    /// # Errors
    /// When the process is gone or may not be looked into.
    pub fn add(&mut self, pid: i32) -> io::Result<()> {
        let process = folder_with_memory(pid);
        let open = self.add_open_of(&process);
        open.and(self.add_mapped_of(&process))
    }

    /// Adds those that a process has open.
    ///
    /// # Errors
    /// As [`MemoryFiles::add`].
    pub fn add_open(&mut self, pid: i32) -> io::Result<()> {
        self.add_open_of(&folder_with_memory(pid))
    }

    fn add_open_of(&mut self, process: &Path) -> io::Result<()> {
        let entries = fs::read_dir(process.join("fd"))?;
        for entry in entries.take(MOST).filter_map(Result::ok) {
            let path = entry.path();
            // Most are sockets, pipes and devices, which their names tell.
            let name = fs::read_link(&path).unwrap_or_default();
            let is_device = name.starts_with("/dev") && !name.starts_with("/dev/shm");
            if !name.is_absolute() || is_device {
                continue;
            }
            let Some(mount) = mount_of(&process.join("fdinfo").join(entry.file_name())) else {
                continue;
            };
            if !self.places(process).mounts.contains(&mount) {
                continue;
            }
            let is_written = fs::symlink_metadata(&path).is_ok_and(|it| it.mode() & WRITE != 0);
            if let Ok(data) = fs::metadata(&path) {
                self.note(&data, is_written);
            }
        }
        Ok(())
    }

    fn add_mapped_of(&mut self, process: &Path) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.text);
        let read = file::read_into(&process.join("maps"), &mut text);
        if let Ok(maps) = &read {
            for mapping in shared_mappings(maps) {
                if self.places(process).devices.contains(&mapping.file.0) {
                    self.add_mapping(process, &mapping);
                }
            }
        }
        let outcome = read.map(drop);
        self.text = text;
        outcome.map_err(|error| io::Error::other(error.to_string()))
    }

    fn places(&mut self, process: &Path) -> &Places {
        let namespace = fs::read_link(process.join("ns/mnt")).ok();
        self.places
            .entry(namespace)
            .or_insert_with(|| Places::read(process))
    }

    fn add_mapping(&mut self, process: &Path, mapping: &Mapping<'_>) {
        let key = mapping.file;
        if self.is_told(&key) {
            return;
        }
        if !self.untold.contains_key(&key) {
            let name = format!("map_files/{:x}-{:x}", mapping.start, mapping.end);
            if let Ok(data) = fs::metadata(process.join(name)) {
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
        self.made.contains_key(key) || self.rewritten.contains_key(key)
    }

    /// Who only reads a file that has a name need not have made it, whenever that was.
    fn note(&mut self, data: &Metadata, is_written: bool) {
        let is_nameless = data.nlink() == 0;
        if !is_nameless && !is_written {
            return;
        }
        let is_new = match data.created() {
            Ok(made) => made >= self.since,
            // Before Linux 5.19 nobody tells of tmpfs.
            Err(_) => is_nameless,
        };
        let files = match is_new {
            true => &mut self.made,
            false => &mut self.rewritten,
        };
        let key = (file_device(data.dev()), data.ino());
        files.insert(key, data.blocks() * BLOCK);
    }

    /// What all of them hold together, less what each of them is known to have held
    /// before, in `before`; files that were there earlier are added to it when they are
    /// met for the first time, and when they hold less.
    pub fn held_beyond(&self, before: &mut Baseline) -> ByteSize {
        let mut all = 0u64;
        for (key, held) in &self.rewritten {
            let least = before.held.entry(*key).or_insert(*held);
            *least = (*least).min(*held);
            all = all.saturating_add(held - *least);
        }
        for (key, held) in &self.made {
            let earlier = before.held.get(key).copied().unwrap_or(0);
            all = all.saturating_add(held.saturating_sub(earlier));
        }
        ByteSize::from_bytes(all)
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

    /// All that they hold now, as what they held before.
    pub fn as_baseline(&self) -> Baseline {
        let all = self.made.iter().chain(&self.rewritten);
        Baseline {
            held: all.map(|(key, held)| (*key, *held)).collect(),
        }
    }
}

/// What files held at some time, by device and inode.
#[derive(Debug, Default)]
pub struct Baseline {
    held: BTreeMap<FileKey, u64>,
}

/// Where files are in memory, as a process sees it.
#[derive(Debug, Default)]
struct Places {
    mounts: BTreeSet<u64>,
    devices: BTreeSet<u64>,
}

impl Places {
    /// What is mounted as tmpfs, and the kernel's own mount of files without a name; only
    /// what can be found out.
    fn read(process: &Path) -> Places {
        let mounts = mounts::read_of(process).unwrap_or_default();
        let tmpfs = mounts.iter().filter(|mount| mount.file_system == "tmpfs");
        let (mut ids, mut devices) = (BTreeSet::new(), BTreeSet::new());
        for mount in tmpfs {
            ids.insert(mount.id);
            let (major, minor) = mount.device;
            devices.insert(u64::from(major) << 32 | u64::from(minor));
        }
        if let Some((id, device)) = nameless() {
            ids.insert(id);
            devices.insert(device);
        }
        Places {
            mounts: ids,
            devices,
        }
    }
}

/// The mount and the device of files in memory that no directory has.
fn nameless() -> Option<(u64, u64)> {
    let file = File::from(memfd_create(c"memcap", MFdFlags::MFD_CLOEXEC).ok()?);
    let info = Path::new(PROC)
        .join("self/fdinfo")
        .join(file.as_raw_fd().to_string());
    Some((mount_of(&info)?, file_device(file.metadata().ok()?.dev())))
}

/// The mount that an open file is on (proc_pid_fdinfo(5)).
fn mount_of(info: &Path) -> Option<u64> {
    let text = fs::read(info).ok()?;
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"mnt_id:"))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

/// A process's folder in /proc; where its first thread has ended, and shows nothing any
/// more, that of another.
fn folder_with_memory(pid: i32) -> PathBuf {
    let has_memory = |folder: &Path| {
        let maps = File::open(folder.join("maps"));
        maps.is_ok_and(|mut maps| maps.read(&mut [0]).is_ok_and(|length| length > 0))
    };
    let folder = Path::new(PROC).join(pid.to_string());
    match has_memory(&folder) {
        true => folder,
        false => other_threads(pid, "")
            .find(|it| has_memory(it))
            .unwrap_or(folder),
    }
}

/// A device as the key of a mapped file has it.
fn file_device(device: u64) -> u64 {
    major(device) << 32 | minor(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::Duration;

    const LONG_AGO: SystemTime = SystemTime::UNIX_EPOCH;

    fn file_in_memory(bytes: usize) -> File {
        let name = c"test-of-memcap";
        let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC).expect("a file"));
        file.write_all(&vec![1; bytes]).expect("written");
        file
    }

    fn key_of(file: &File) -> FileKey {
        let data = file.metadata().expect("told");
        (file_device(data.dev()), data.ino())
    }

    fn ours() -> i32 {
        i32::try_from(std::process::id()).expect("a pid")
    }

    #[test]
    fn what_is_written_is_found_once_though_it_is_open_twice() {
        let file = file_in_memory(3 << 20);
        let _second = file.try_clone().expect("another descriptor");
        let mut files = MemoryFiles::since(LONG_AGO);
        files.add_open(ours()).expect("readable");
        let held = files.made.get(&key_of(&file)).copied();
        assert!(
            held.is_some_and(|held| (3 << 20..6 << 20).contains(&held)),
            "{held:?}"
        );
        // What was there before is no more than it was.
        let mut before = files.as_baseline();
        assert_eq!(files.held_beyond(&mut before), ByteSize::ZERO);
    }

    #[test]
    fn what_is_mapped_is_told_or_is_known_not_to_be() {
        let file = file_in_memory(3 << 20);
        let key = key_of(&file);
        let map = memmap2::MmapOptions::new().map_raw(&file).expect("mapped");
        drop(file);
        let mut files = MemoryFiles::since(LONG_AGO);
        files.add(ours()).expect("readable");
        let found = [files.made.get(&key), files.untold.get(&key)];
        let found = found.map(|held| held.is_some_and(|held| *held >= 3 << 20));
        assert!(found[0] != found[1], "{files:?}");
        assert!(map.len() >= 3 << 20);
    }

    #[test]
    fn files_on_a_disk_are_not_asked() {
        let file = File::open("/proc/self/exe").expect("readable");
        let mut files = MemoryFiles::since(LONG_AGO);
        files.add(ours()).expect("readable");
        assert!(!files.is_told(&key_of(&file)), "{files:?}");
    }

    #[test]
    fn what_was_there_earlier_counts_by_its_growth() {
        let mut file = file_in_memory(3 << 20);
        let later = SystemTime::now() + Duration::from_secs(3600);
        let mut before = Baseline::default();
        let mut look = |file: &File| {
            let mut files = MemoryFiles::since(later);
            // Without the time of its making it would be ours.
            files.rewritten.insert(
                key_of(file),
                file.metadata().expect("told").blocks() * BLOCK,
            );
            files.held_beyond(&mut before)
        };
        assert_eq!(look(&file), ByteSize::ZERO);
        file.write_all(&vec![1; 2 << 20]).expect("written");
        assert_eq!(look(&file), ByteSize::from_mib(2));
        file.set_len(1 << 20).expect("shortened");
        assert_eq!(look(&file), ByteSize::ZERO);
        file.set_len(0).expect("shortened");
        assert_eq!(look(&file), ByteSize::ZERO);
    }

    #[test]
    fn who_only_reads_a_file_with_a_name_has_not_made_it() {
        // On whatever file system: where it is was asked before.
        let file = tempfile::NamedTempFile::new().expect("a file");
        let key = key_of(file.as_file());
        let data = file.as_file().metadata().expect("told");
        for (is_written, is_known) in [(true, true), (false, false)] {
            let mut files = MemoryFiles::since(LONG_AGO);
            files.note(&data, is_written);
            assert_eq!(files.is_told(&key), is_known);
        }
        let mut nameless = MemoryFiles::since(LONG_AGO);
        nameless.note(&file_in_memory(1).metadata().expect("told"), false);
        assert_eq!(nameless.made.len(), 1);
    }

    #[test]
    fn the_mount_of_an_open_file_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let cases = [
            ("pos:\t0\nflags:\t0100002\nmnt_id:\t28\nino:\t5\n", Some(28)),
            ("pos:\t0\n", None),
            ("mnt_id:\tx\n", None),
        ];
        for (text, expected) in cases {
            let path = folder.path().join("info");
            fs::write(&path, text).expect("written");
            assert_eq!(mount_of(&path), expected, "{text}");
        }
        assert!(nameless().is_some());
    }
}
