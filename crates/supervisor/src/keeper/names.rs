//! What the groups of a run are called.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU32, Ordering};

use memcap_linux::cgroup::GroupName;

use super::enclosure::EnclosureError;

/// The kind of the group that holds the limit.
pub(super) const LIMIT: u32 = 0;
/// The kind of the leaf that the embedding program moves into.
pub(super) const ROOM: u32 = 1;
/// The kind of a group that only follows the tree.
pub(super) const DIRECTORY: u32 = 2;
/// The kind of a scope that systemd makes for us.
pub(super) const SCOPE: u32 = 3;
/// The kind of the keeper's own leaf in such a scope.
pub(super) const KEEPER: u32 = 4;
/// The kind of the group around all members of a budget, named by the embedding
/// program.
pub(super) const BUDGET: u32 = 5;
/// How many kinds there may be.
const KINDS: u32 = 8;

/// Names for the groups of this process. What they say of it is looked up once.
#[derive(Debug, Default)]
pub(super) struct Names(OnceCell<GroupName>);

impl Names {
    /// A new name for a group of one kind. A keeper makes one of each; a program
    /// that keeps its jobs itself makes many.
    pub(super) fn name(&self, kind: u32) -> Result<String, EnclosureError> {
        static MADE: [AtomicU32; KINDS as usize] = [const { AtomicU32::new(0) }; KINDS as usize];
        let count = MADE[kind as usize].fetch_add(1, Ordering::Relaxed);
        let ours = match self.0.get() {
            Some(ours) => ours,
            None => {
                let ours = GroupName::for_this_process(0).map_err(EnclosureError::Name)?;
                self.0.get_or_init(|| ours)
            }
        };
        Ok(ours.with_serial(count * KINDS + kind).to_string())
    }
}

/// As [`Names::name`], for one group alone.
pub(super) fn name(kind: u32) -> Result<String, EnclosureError> {
    Names::default().name(kind)
}

/// Whether a group of this name is of that kind.
pub(super) fn is_a(name: &GroupName, kind: u32) -> bool {
    name.serial() % KINDS == kind
}
