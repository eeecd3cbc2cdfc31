//! What the embedding program does when the keeper itself was killed: the
//! direct child has died with it (parent-death signal), the groups are still
//! there, and the rest of the tree is ended from here.

use std::time::{Duration, Instant};

use memcap_linux::cgroup::{V1Memory, V2Group};
use memcap_linux::{ProcessId, next_child_change, proc};

use crate::evidence::COMMAND_PATIENCE;
use crate::keeper::{Room, sweep};
use crate::plan::Placement;
use crate::wire::Prepared;
use crate::{LeftRunning, Plan};

/// As the keeper's own deadline.
const DEADLINE: Duration = Duration::from_secs(5);

/// Ends what the keeper left behind. `adopted`: this process is a subreaper
/// and owns every child that is not `keeper`, so the orphans have come here.
pub(crate) fn rescue(prepared: &Prepared, adopted: bool) -> (Vec<LeftRunning>, Vec<String>) {
    let directories: Vec<V2Group> = prepared.v2.iter().map(V2Group::at).collect();
    let groups: Vec<V1Memory> = prepared.v1.iter().map(V1Memory::at).collect();
    let deadline = Instant::now() + DEADLINE;
    let left = loop {
        for directory in &directories {
            // Before Linux 5.14: one by one, below.
            let _ = directory.kill();
            let _ = directory.set_frozen(false);
        }
        let mut left: Vec<i32> = directories
            .iter()
            .flat_map(|group| group.processes().unwrap_or_default())
            .chain(
                groups
                    .iter()
                    .flat_map(|group| group.processes().unwrap_or_default()),
            )
            .collect();
        let childless = !adopted || is_childless();
        if !childless {
            left.extend(orphans());
        }
        left.retain(|pid| proc::Stat::read(*pid).is_ok_and(|stat| !stat.is_dead()));
        left.sort_unstable();
        left.dedup();
        if (childless && left.is_empty()) || Instant::now() >= deadline {
            break left;
        }
        for pid in &left {
            if let Some(process) = ProcessId::of(*pid) {
                // Gone is what we want; what stays is listed.
                let _ = process.kill();
            }
        }
        wait_a_moment();
    };
    let mut notes = remove(&directories, &groups, deadline);
    if let Some(room) = prepared.room.as_deref().and_then(Room::at)
        && let Err(error) = room.close()
    {
        notes.push(format!("{error}; it is swept at the next start"));
    }
    let left = left
        .into_iter()
        .filter_map(ProcessId::of)
        .map(|process| LeftRunning {
            process,
            command: proc::command_line_within(process.pid, COMMAND_PATIENCE),
        })
        .collect();
    (left, notes)
}

/// Removes groups that the keeper had made, but was killed before it could
/// name them. Its own name on them says whose they were. What systemd made for
/// it goes at the next start.
pub(crate) fn sweep_after(plan: &Plan) -> Vec<String> {
    let base = match &plan.placement {
        Placement::CgroupV2(base) => Some(&base.dir),
        Placement::CgroupV1(base) => Some(base),
        Placement::Systemd(_) | Placement::Watchdog | Placement::Rlimit => None,
    };
    let bases = base.into_iter().chain(&plan.containment_base);
    bases.flat_map(|base| sweep(base)).collect()
}

fn remove(directories: &[V2Group], groups: &[V1Memory], deadline: Instant) -> Vec<String> {
    let removed = || {
        directories
            .iter()
            .map(V2Group::remove)
            .chain(groups.iter().map(V1Memory::remove))
            .filter_map(Result::err)
            .map(|error| format!("{error}; it is swept at the next start"))
            .collect::<Vec<String>>()
    };
    loop {
        let stayed = removed();
        if stayed.is_empty() || Instant::now() >= deadline {
            return stayed;
        }
        wait_a_moment();
    }
}

/// Reaps dead children; true when no child is left. A subreaper without
/// children has no descendants either, which no listing of /proc can tell: it
/// misses what is born while it is read.
fn is_childless() -> bool {
    loop {
        match next_child_change() {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            // ECHILD is the only error there is.
            Err(_) => return true,
        }
    }
}

/// Descendants of this process.
fn orphans() -> Vec<i32> {
    let Ok(all) = proc::all() else {
        return Vec::new();
    };
    let ourselves = i32::try_from(std::process::id()).unwrap_or(0);
    proc::descendants(&all, ourselves)
        .iter()
        .map(|stat| stat.pid)
        .collect()
}

/// Nothing tells when a stranger's group is empty: a bounded look again.
fn wait_a_moment() {
    // No descriptors: a plain timeout.
    let _ = nix::poll::poll(&mut [], 2u8);
}
