//! Making room in a delegated group. A group that holds processes cannot give
//! its children controllers (EBUSY), so the embedding program, alone in its
//! group, moves into a leaf of it together with its keepers, and moves back
//! when the last limit below the group is gone.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use memcap_linux::FileError;
use memcap_linux::cgroup::{GroupName, Limit, V2Group};
use nix::fcntl::{Flock, FlockArg};

use super::enclosure::EnclosureError;
use super::names::{self, Names};
use crate::wire::Spec;

/// How long another keeper at the same base is waited for.
const LOCK_DEADLINE: Duration = Duration::from_millis(500);
/// How often the leaf is emptied: a process may fork while it is moved.
const ROUNDS: usize = 10;

/// The leaf that the embedding program is in.
#[derive(Debug)]
pub(crate) struct Room {
    base: V2Group,
    leaf: V2Group,
}

impl Room {
    /// Moves the embedding program and this process into a new leaf.
    pub(super) fn open(base: &V2Group, spec: &Spec, names: &Names) -> Result<Room, EnclosureError> {
        let name = names.name(names::ROOM)?;
        let leaf = V2Group::create(base.path(), &name)?;
        let room = Room {
            base: base.clone(),
            leaf,
        };
        for pid in participants(spec) {
            if let Err(error) = room.leaf.admit(pid) {
                // The first failure is what counts; an empty leaf is swept later.
                let _ = room.close();
                return Err(error.into());
            }
        }
        Ok(room)
    }

    /// The leaf below this base that an earlier run of the same program has
    /// moved us into, if that is where we are.
    pub(super) fn shared(base: &V2Group) -> Option<Room> {
        let ourselves = i32::try_from(std::process::id()).ok()?;
        let leaf = base.children().into_iter().find(|child| {
            is_room(child)
                && child
                    .processes()
                    .is_ok_and(|pids| pids.contains(&ourselves))
        })?;
        Some(Room {
            base: base.clone(),
            leaf,
        })
    }

    /// As [`Room::shared`], by the path of the base.
    pub(crate) fn of_this_process(base: &Path) -> Option<Room> {
        Room::shared(&V2Group::at(base))
    }

    /// By the leaf's path, for a program whose keeper was killed.
    pub(crate) fn at(leaf: &Path) -> Option<Room> {
        Some(Room {
            base: V2Group::at(leaf.parent()?),
            leaf: V2Group::at(leaf),
        })
    }

    /// The leaf's directory.
    pub(super) fn path(&self) -> &Path {
        self.leaf.path()
    }

    /// The way back: controllers off, processes home, leaf gone. Nothing
    /// happens while a limit below the base would be lost; whoever holds the
    /// last one closes.
    ///
    /// # Errors
    /// When the controller cannot be taken back or the leaf stays populated.
    pub(crate) fn close(&self) -> Result<(), FileError> {
        let _lock = lock(&self.base);
        if self
            .base
            .children()
            .iter()
            .any(|child| self.needs_memory(child))
        {
            return Ok(());
        }
        self.base.disable_for_children("memory")?;
        for _ in 0..ROUNDS {
            let inside = self.leaf.processes().unwrap_or_default();
            if inside.is_empty() {
                break;
            }
            for pid in inside {
                // Dead already: nothing to bring home.
                let _ = self.base.admit(pid);
            }
        }
        self.leaf.remove()
    }

    fn needs_memory(&self, child: &V2Group) -> bool {
        let of_a_run = group_name(child).is_some_and(|name| names::is_a(&name, names::LIMIT));
        child.path() != self.path() && (of_a_run || matches!(child.max(), Ok(Limit::At(_))))
    }
}

/// Whether this is a leaf that programs may be in while its maker is dead.
pub(super) fn is_room(group: &V2Group) -> bool {
    group_name(group).is_some_and(|name| names::is_a(&name, names::ROOM))
}

/// Keeps keepers at the same base from taking the controller away between
/// another's first and second step. Somebody who holds the directory for no
/// good reason does not keep us from going on.
pub(super) fn lock(base: &V2Group) -> Option<Flock<File>> {
    let mut directory = File::open(base.path()).ok()?;
    let deadline = Instant::now() + LOCK_DEADLINE;
    loop {
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((file, _)) if Instant::now() < deadline => directory = file,
            Err(_) => return None,
        }
        // No descriptors: a plain timeout.
        let _ = nix::poll::poll(&mut [], 1u8);
    }
}

fn group_name(group: &V2Group) -> Option<GroupName> {
    GroupName::parse(group.path().file_name()?.to_str()?)
}

fn participants(spec: &Spec) -> impl Iterator<Item = i32> {
    let ourselves = i32::try_from(std::process::id()).ok();
    spec.host.map(|host| host.pid).into_iter().chain(ourselves)
}
