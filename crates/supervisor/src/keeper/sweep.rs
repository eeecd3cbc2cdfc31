//! Leftovers of a memcap that died together with its keeper: groups named by
//! an owner that no longer exists are emptied and removed. Nobody else's are
//! touched.

use std::path::Path;
use std::time::{Duration, Instant};

use memcap_linux::cgroup::{GroupName, V1Memory, V2Group};
use memcap_linux::{FileError, one_line};

use super::members::kill_listed;
use super::room::is_room;

/// How long all leftovers below one base may take to die; a job waits for it,
/// but only where there are some.
pub(super) const DEADLINE: Duration = Duration::from_secs(1);

/// Sweeps below one directory; returns a note for each group that stayed.
pub(crate) fn sweep(base: &Path) -> Vec<String> {
    let deadline = Instant::now() + DEADLINE;
    let Ok(entries) = std::fs::read_dir(base) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .and_then(GroupName::parse)
                .is_some_and(|name| name.owner_is_dead())
        })
        .filter_map(|entry| {
            let path = entry.path();
            let group = V2Group::at(&path);
            if is_room(&group) {
                // Programs may live on in it, and are nobody's leftovers.
                let _ = group.remove();
                return None;
            }
            empty(&path);
            let error = remove(&group, deadline).err()?;
            Some(format!("a leftover group stays: {}", one_line(&error)))
        })
        .collect()
}

/// A killed process holds its group until it is gone; one in uninterruptible
/// sleep outlasts the deadline, and its group goes at a later start.
fn remove(group: &V2Group, deadline: Instant) -> Result<(), FileError> {
    loop {
        match group.remove() {
            Err(_) if Instant::now() < deadline => {
                // No descriptors: a plain timeout.
                let _ = nix::poll::poll(&mut [], 1u8);
            }
            outcome => return outcome,
        }
    }
}

/// Kills everything in a group, if need be one by one.
pub(super) fn empty(path: &Path) {
    // Absent in v1, and before Linux 5.14.
    let _ = V2Group::at(path).kill();
    // Both versions list processes alike. This is also for one whose first
    // thread has ended: cgroup.kill sends its signal to that thread alone.
    kill_listed(|| V1Memory::at(path).processes().unwrap_or_default());
    // Before Linux 5.14 a frozen process dies once it runs. v1 has no such file.
    let _ = V2Group::at(path).set_frozen(false);
}
