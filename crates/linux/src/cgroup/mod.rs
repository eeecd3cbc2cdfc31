//! Control groups: where a process is, and handles on groups of ours.
//!
//! A handle is a path; every read that fails is an error, never a zero.

mod delegation;
mod entrance;
mod flat_keyed;
mod membership;
mod name;
mod v1;
mod v2;

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ByteSize;
use crate::file::{FileError, Operation};

pub use delegation::is_marked_delegated;
pub use entrance::Entrance;
pub use flat_keyed::FlatKeyed;
pub use membership::{Membership, own_memberships, parse_memberships};
pub use name::GroupName;
pub use v1::V1Memory;
pub use v2::V2Group;

/// A limit as a control file states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// `max` in v2; v1 writes the largest page multiple, about 9.2e18.
    Unlimited,
    /// So many bytes.
    At(ByteSize),
}

impl Limit {
    /// The bytes, where there is a limit.
    pub fn bytes(self) -> Option<ByteSize> {
        match self {
            Limit::Unlimited => None,
            Limit::At(bytes) => Some(bytes),
        }
    }
}

fn create_dir(path: &Path) -> Result<(), FileError> {
    std::fs::create_dir(path).map_err(|e| FileError::new(Operation::CreateDir, path, e))
}

/// Removes a group and the groups below it, deepest first. Groups that hold
/// processes stay and give EBUSY.
fn remove_tree(path: &Path) -> Result<(), FileError> {
    for child in child_dirs(path) {
        remove_tree(&child)?;
    }
    remove_dir(path)
}

/// Removes a group that has no groups below it; gone already is well.
fn remove_dir(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_dir(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(FileError::new(Operation::RemoveDir, path, e)),
    }
}

/// The groups directly below; none where the directory cannot be listed.
fn child_dirs(path: &Path) -> Vec<PathBuf> {
    if std::fs::metadata(path).is_ok_and(|data| has_none_below(&data)) {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// A directory of kernfs has a link for each one below it, and two. (One of btrfs
/// has always one, and is listed.)
fn has_none_below(directory: &Metadata) -> bool {
    directory.nlink() == 2
}

/// Lines of `cgroup.threads` of a group and of all groups below it.
fn tasks_below(path: &Path) -> Result<u64, FileError> {
    let text = crate::file::read(&path.join("cgroup.threads"))?;
    let mut count = u64::try_from(text.lines().count()).unwrap_or(u64::MAX);
    for child in child_dirs(path) {
        match tasks_below(&child) {
            Ok(below) => count = count.saturating_add(below),
            // Removed while we looked: it held nobody.
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Who is in a group and below, read again and again: with its list held open
/// and no groups below it, without the heap.
#[derive(Debug)]
pub struct MemberList {
    path: PathBuf,
    directory: File,
    list: File,
    text: Vec<u8>,
}

impl MemberList {
    fn open(path: &Path) -> Result<MemberList, FileError> {
        let open = |path: &Path| {
            File::open(path).map_err(|error| FileError::new(Operation::Read, path, error))
        };
        Ok(MemberList {
            path: path.to_owned(),
            directory: open(path)?,
            list: open(&path.join("cgroup.procs"))?,
            text: vec![0; 4096],
        })
    }

    /// Puts the pids in `found`, in place of what is there.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub fn read(&mut self, found: &mut Vec<i32>) -> Result<(), FileError> {
        found.clear();
        if !self
            .directory
            .metadata()
            .is_ok_and(|data| has_none_below(&data))
        {
            return processes_below(&self.path, found);
        }
        let failed = |error| FileError::new(Operation::Read, &self.path, error);
        let mut filled = 0;
        loop {
            if filled == self.text.len() {
                self.text.resize(filled * 2, 0);
            }
            let room = &mut self.text[filled..];
            match self.list.read_at(room, filled as u64).map_err(failed)? {
                0 => break,
                read => filled += read,
            }
        }
        let lines = self.text[..filled].split(|byte| *byte == b'\n');
        found.extend(lines.filter_map(|line| std::str::from_utf8(line).ok()?.parse::<i32>().ok()));
        Ok(())
    }
}

/// Pids in `cgroup.procs` of a group and of all groups below it.
fn processes_below(path: &Path, found: &mut Vec<i32>) -> Result<(), FileError> {
    let text = crate::file::read(&path.join("cgroup.procs"))?;
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in child_dirs(path) {
        match processes_below(&child, found) {
            Err(error) if !error.is_absent() => return Err(error),
            // Removed while we looked: it held nobody.
            _ => {}
        }
    }
    Ok(())
}
