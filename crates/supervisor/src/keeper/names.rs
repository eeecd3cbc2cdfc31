//! What the groups of a run are called.

use memcap_linux::cgroup::GroupName;

use super::enclosure::EnclosureError;

/// The serial of the group that holds the limit.
pub(super) const LIMIT: u32 = 0;
/// The serial of the leaf that the embedding program moves into.
pub(super) const ROOM: u32 = 1;
/// The serial of a group that only follows the tree.
pub(super) const DIRECTORY: u32 = 2;
/// The serial of a scope that systemd makes for us.
pub(super) const SCOPE: u32 = 3;
/// The serial of the keeper's own leaf in such a scope.
pub(super) const KEEPER: u32 = 4;

/// This keeper's group of one kind.
pub(super) fn name(serial: u32) -> Result<String, EnclosureError> {
    GroupName::for_this_process(serial)
        .map(|name| name.to_string())
        .map_err(EnclosureError::Name)
}
