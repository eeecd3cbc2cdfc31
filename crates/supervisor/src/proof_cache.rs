//! What harmless trials have shown since boot, in memory and, where that is asked
//! for, in a file. Positive results alone, each with everything it depends on:
//! another boot, kernel, group or layout of the hierarchies makes it void.
//!
//! A file that is not wholly ours says nothing: it decides whether a limit is
//! believed. A cache that cannot be read or written costs a trial, never a run.

mod file;
mod way;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use memcap_linux::mounts::{self, Mount};
use memcap_linux::read_text;
use serde::{Deserialize, Serialize};

use crate::Mechanism;
use crate::plan::Placement;

/// Everything a result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    boot_id: String,
    kernel: String,
    mechanism: Mechanism,
    place: PathBuf,
    /// Another group may have the path of one that is gone.
    inode: u64,
    /// Every mount of a cgroup file system, and the controllers of the place.
    layout: String,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: Key,
    /// In words.
    seen: String,
}

/// More places than anybody runs jobs in within a boot.
const ENTRIES: usize = 32;

impl Key {
    /// Of the place of a run, as it is now; `None` where no group holds the limit
    /// or the place cannot be told apart from others.
    pub(crate) fn of(placement: &Placement) -> Option<Key> {
        Key::among(placement, &mounts::read(Path::new("/proc")).ok()?)
    }

    /// The same where it was read just now what is mounted.
    pub(crate) fn among(placement: &Placement, mounts: &[Mount]) -> Option<Key> {
        let place = match placement {
            Placement::CgroupV2(base) => &base.dir,
            Placement::Systemd(place) => &place.parent,
            Placement::CgroupV1(base) => base,
            Placement::Watchdog | Placement::Rlimit => return None,
        };
        let mechanism = placement.mechanism();
        let line = |path: &str| {
            let text = read_text(Path::new(path)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        Some(Key {
            boot_id: line("/proc/sys/kernel/random/boot_id")?,
            kernel: line("/proc/sys/kernel/osrelease")?,
            mechanism,
            inode: fs::symlink_metadata(place).ok()?.ino(),
            layout: layout(place, mounts),
            place: place.clone(),
        })
    }
}

fn layout(place: &Path, mounts: &[Mount]) -> String {
    let mut lines: Vec<String> = mounts
        .iter()
        .filter(|mount| mount.file_system.starts_with("cgroup"))
        .map(|mount| {
            format!(
                "{} {} {} {} {}",
                mount.file_system,
                mount.root,
                mount.mount_point.display(),
                mount.options.join(","),
                mount.super_options.join(",")
            )
        })
        .collect();
    // v1 names its controllers in the mounts.
    let controllers = read_text(&place.join("cgroup.controllers")).unwrap_or_default();
    lines.push(controllers.trim().to_owned());
    lines.join("\n")
}

/// What is known. A clone shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProofCache {
    folder: Option<PathBuf>,
    renews: bool,
    seen: Arc<Mutex<Vec<Entry>>>,
}

impl ProofCache {
    /// The same with a file in this folder.
    pub(crate) fn in_folder(self, folder: PathBuf) -> ProofCache {
        ProofCache {
            folder: Some(folder),
            ..self
        }
    }

    /// The same, but what is known is not believed, only replaced.
    pub(crate) fn renewing(self) -> ProofCache {
        ProofCache {
            renews: true,
            ..self
        }
    }

    /// What a trial has shown that depended on the same.
    pub(crate) fn known(&self, key: &Key) -> Option<String> {
        if self.renews {
            return None;
        }
        let find = |entries: &[Entry]| {
            let entry = entries.iter().find(|entry| entry.key == *key);
            entry.map(|entry| entry.seen.clone())
        };
        let in_memory = find(&self.in_memory());
        in_memory.or_else(|| find(&file::read(self.folder.as_deref()?)))
    }

    /// Keeps what a trial has shown.
    pub(crate) fn keep(&self, key: Key, seen: &str) {
        let entry = Entry {
            key,
            seen: seen.to_owned(),
        };
        self.change(|entries| {
            without(entries, &entry.key);
            entries.push(entry.clone());
            let surplus = entries.len().saturating_sub(ENTRIES);
            entries.drain(..surplus);
            true
        });
    }

    /// Forgets what a trial did not show again.
    pub(crate) fn forget(&self, key: &Key) {
        self.change(|entries| without(entries, key));
    }

    /// `change` says whether it has changed anything.
    fn change(&self, change: impl Fn(&mut Vec<Entry>) -> bool) {
        change(&mut self.in_memory());
        if let Some(folder) = &self.folder {
            let mut entries = file::read(folder);
            if change(&mut entries) {
                // A trial more for the next run is all that this costs.
                let _ = file::write(folder, &entries);
            }
        }
    }

    fn in_memory(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops an entry, and what another boot has left. Whether there was any.
fn without(entries: &mut Vec<Entry>, key: &Key) -> bool {
    let before = entries.len();
    entries.retain(|entry| entry.key != *key && entry.key.boot_id == key.boot_id);
    entries.len() < before
}

#[cfg(test)]
mod tests;
