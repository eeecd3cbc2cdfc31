//! Leftovers of a memcap that died together with its keeper: groups named by
//! an owner that no longer exists are emptied and removed. Nobody else's are
//! touched.

use std::path::Path;
use std::time::{Duration, Instant};

use memcap_linux::cgroup::{GroupName, V1Memory, V2Group};
use memcap_linux::{FileError, PidFd};
use nix::poll::poll;
use nix::sys::signal::Signal;

use super::enclosure::one_line;

/// How long the dying may take to leave a swept group.
const DEADLINE: Duration = Duration::from_secs(2);

/// Sweeps below one directory; returns a note for each group that stayed.
pub(super) fn sweep(base: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(base) else {
        return Vec::new();
    };
    let deadline = Instant::now() + DEADLINE;
    entries
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .and_then(GroupName::parse)
                .is_some_and(|name| name.owner_is_dead())
        })
        .filter_map(|entry| {
            let error = clear(&entry.path(), deadline)?;
            Some(format!("a leftover group stays: {}", one_line(&error)))
        })
        .collect()
}

/// Empties and removes one group; the reason when it stays.
fn clear(path: &Path, deadline: Instant) -> Option<FileError> {
    loop {
        empty(path);
        let error = V2Group::at(path).remove().err()?;
        if Instant::now() >= deadline {
            return Some(error);
        }
        // No descriptors: nothing tells of both hierarchies when a stranger's
        // group is empty, so look again soon.
        let _ = poll(&mut [], 2u8);
    }
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
