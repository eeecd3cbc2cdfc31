//! Making a v2 directory able to hold a leaf with a limit, and undoing that.
//!
//! A group that holds processes cannot give its children controllers (EBUSY).
//! Where this process is the only member, it moves itself into a leaf of its
//! own first. Afterwards, if no group of anybody else has appeared below, the
//! controller is taken back and the process returns. If one has, both stay:
//! taking the controller away would silently remove that group's limits. The
//! leaf then stays until a later start sweeps it.
//!
//! A directory that needed no room (the root of the hierarchy, or a group
//! without members) keeps the memory controller enabled for its children: a
//! concurrent run may rely on it by now.

use std::path::{Path, PathBuf};

use memcap_linux::FileError;
use memcap_linux::cgroup::V2Group;

use super::error::TrialError;
use super::group::Owned;
use crate::MemoryBase;

/// A directory that is ready for leaves with limits.
pub(super) struct Room {
    base: V2Group,
    leaf: Option<Owned<V2Group>>,
    enabled: bool,
}

impl Room {
    /// Moves ourselves out of the way and enables the controller, as far as
    /// `base` needs it.
    pub(super) fn make(base: &MemoryBase) -> Result<Room, TrialError> {
        let mut room = Room {
            base: V2Group::at(&base.dir),
            leaf: None,
            enabled: false,
        };
        if base.make_room {
            let leaf = Owned::<V2Group>::create(&base.dir)?;
            leaf.group().admit(own_pid())?;
            room.leaf = Some(leaf);
        }
        if base.enable_memory {
            if let Err(error) = room.base.enable_for_children("memory") {
                room.leave()?;
                return Err(error.into());
            }
            room.enabled = true;
        }
        Ok(room)
    }

    /// Undoes what can be undone. What stays, in one line.
    pub(super) fn leave(mut self) -> Result<Option<String>, TrialError> {
        let Some(leaf) = self.leaf.take() else {
            let stays = || {
                format!(
                    "memory stays enabled for the children of {}",
                    self.base.path().display()
                )
            };
            return Ok(self.enabled.then(stays));
        };
        if self.enabled && !others_below(self.base.path(), leaf.group().path()).is_empty() {
            let stays = format!("this process stays in {}", leaf.group().path().display());
            leaf.keep();
            return Ok(Some(stays));
        }
        if let Err(error) = self.return_to_base() {
            // We are still in there: it cannot be removed now.
            leaf.keep();
            return Err(error.into());
        }
        leaf.dispose()?;
        Ok(None)
    }

    fn return_to_base(&self) -> Result<(), FileError> {
        if self.enabled {
            self.base.disable_for_children("memory")?;
        }
        self.base.admit(own_pid())
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Groups below `base` apart from our own leaf.
fn others_below(base: &Path, ours: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(base) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && path != ours)
        .collect()
}
