//! Leftovers of a memcap that died together with its keeper: groups named by
//! an owner that no longer exists are emptied and removed. Nobody else's are
//! touched.

use std::path::Path;

use memcap_linux::PidFd;
use memcap_linux::cgroup::{GroupName, V1Memory, V2Group};
use nix::sys::signal::Signal;

use super::room::is_room;

/// Sweeps below one directory; returns a note for each group that stayed.
pub(super) fn sweep(base: &Path) -> Vec<String> {
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
            // A group whose last process is still dying goes at the next start.
            let error = group.remove().err()?;
            Some(format!("a leftover group stays: {error}"))
        })
        .collect()
}

fn empty(path: &Path) {
    if V2Group::at(path).kill().is_ok() {
        return;
    }
    // v1, or a kernel without cgroup.kill. Both list processes alike.
    for pid in V1Memory::at(path).processes().unwrap_or_default() {
        if let Ok(process) = PidFd::open(pid) {
            // Still listed after the handle was taken: it is the one meant.
            let listed = V1Memory::at(path).processes().unwrap_or_default();
            if listed.contains(&pid) {
                // Gone meanwhile is what we want.
                let _ = process.send(Signal::SIGKILL as i32);
            }
        }
    }
}
