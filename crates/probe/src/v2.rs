//! The unified hierarchy: where we are in it, and where a group of ours could
//! be made without leaving anybody's limit.

use std::path::{Path, PathBuf};

use memcap_linux::cgroup::{Limit, Membership, V2Group};
use memcap_linux::mounts::Mount;
use memcap_linux::{one_line, read_text};
use serde::{Deserialize, Serialize};

use crate::host::{directory, upwards};
use crate::{Fact, Roots};

/// Our place in cgroup v2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct V2Place {
    /// Where the hierarchy is mounted.
    pub mount_point: PathBuf,
    /// The directory of our own group.
    pub own: PathBuf,
    /// Where a group with a memory limit can be made.
    pub memory_base: Fact<MemoryBase>,
    /// Where a group that only follows and ends a tree can be made.
    pub containment_base: Fact<PathBuf>,
}

/// A directory below which a leaf with `memory.max` can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryBase {
    /// The directory.
    pub dir: PathBuf,
    /// Whether `+memory` must first be written to its `subtree_control`.
    pub enable_memory: bool,
    /// Whether our own process must first move into a leaf, since a populated
    /// group gets no controllers.
    pub make_room: bool,
}

impl V2Place {
    /// Our own group and every group around it, nearest first.
    pub fn lineage(&self) -> Vec<PathBuf> {
        upwards(&self.own, &self.mount_point)
    }

    /// The same with the host's own paths.
    pub(crate) fn shown(self, roots: &Roots) -> V2Place {
        V2Place {
            mount_point: roots.shown(&self.mount_point),
            own: roots.shown(&self.own),
            memory_base: self.memory_base.map(|base| MemoryBase {
                dir: roots.shown(&base.dir),
                ..base
            }),
            containment_base: self.containment_base.map(|base| roots.shown(&base)),
        }
    }
}

pub(crate) fn place(roots: &Roots, mounts: &[Mount], memberships: &[Membership]) -> Fact<V2Place> {
    let Some(mount) = mounts
        .iter()
        .rev()
        .find(|mount| mount.file_system == "cgroup2")
    else {
        return Fact::absent("no cgroup2 file system is mounted");
    };
    let Some(membership) = memberships.iter().find(|membership| membership.is_v2()) else {
        return Fact::absent("/proc/self/cgroup has no v2 line");
    };
    let own = match directory(roots, mount, &membership.path) {
        Ok(own) => own,
        Err(because) => return Fact::absent(because),
    };
    let mount_point = roots.at(&mount.mount_point);
    let around = upwards(&own, &mount_point);
    found(roots, mount, own, &around)
}

/// The place of jobs that are to be below this very group.
pub(crate) fn place_below(roots: &Roots, mount: &Mount, own: PathBuf) -> Fact<V2Place> {
    let only = [own.clone()];
    found(roots, mount, own, &only)
}

/// `around` are the groups in which others may be made, nearest first.
fn found(roots: &Roots, mount: &Mount, own: PathBuf, around: &[PathBuf]) -> Fact<V2Place> {
    let mount_point = roots.at(&mount.mount_point);
    let (memory_base, containment_base) = if mount.is_read_only() {
        let because = format!("{} is mounted read-only", mount.mount_point.display());
        (Fact::absent(because.clone()), Fact::absent(because))
    } else {
        (
            memory_base(roots, around, &mount_point),
            containment_base(roots, around),
        )
    };
    Fact::present(V2Place {
        mount_point,
        own,
        memory_base,
        containment_base,
    })
}

/// The nearest directory, from our own group upwards, that can take a leaf
/// with a memory limit; the walk ends at the first limit it would leave.
fn memory_base(roots: &Roots, around: &[PathBuf], mount_point: &Path) -> Fact<MemoryBase> {
    let mut reasons = Vec::new();
    for dir in around {
        match memory_at(roots, dir, mount_point) {
            Ok(base) => return Fact::present(base),
            Err(reason) => reasons.push(format!("{}: {reason}", roots.shown(dir).display())),
        }
        if let Some(limit) = own_limit(dir) {
            reasons.push(format!(
                "{} has {limit}, which must not be left",
                roots.shown(dir).display()
            ));
            break;
        }
    }
    Fact::absent(reasons.join("; "))
}

/// Whether a leaf with a limit can be made right here.
fn memory_at(roots: &Roots, dir: &Path, mount_point: &Path) -> Result<MemoryBase, String> {
    let group = V2Group::at(dir);
    if !roots.is_writable(dir) || !roots.is_writable(&dir.join("cgroup.procs")) {
        return Err("not ours to write".into());
    }
    if roots.is_undelegated_unit(dir) {
        return Err("a unit without Delegate=, which systemd ends after an OOM kill in it".into());
    }
    let has = |list: Result<Vec<String>, _>| {
        list.map(|words| words.iter().any(|word| word == "memory"))
            .map_err(|error: memcap_linux::FileError| error.to_string())
    };
    let base = |enable_memory, make_room| MemoryBase {
        dir: dir.to_owned(),
        enable_memory,
        make_room,
    };
    if has(group.enabled_for_children())? {
        return Ok(base(false, false));
    }
    if !has(group.controllers())? {
        return Err("no memory controller is granted here".into());
    }
    if !roots.is_writable(&dir.join("cgroup.subtree_control")) {
        return Err("memory is not enabled for children, and enabling it is not ours".into());
    }
    // The real root may hold processes and grant controllers; every other
    // group must be empty of processes first. Only the real root lacks
    // cgroup.type.
    if dir == mount_point && !dir.join("cgroup.type").exists() {
        return Ok(base(true, false));
    }
    match members(roots, dir) {
        Ok(0) => Ok(base(true, false)),
        Ok(1) => Ok(base(true, true)),
        Ok(others) => Err(format!(
            "memory is not enabled for children, and {others} processes are in this group"
        )),
        Err(error) => Err(error),
    }
}

/// Processes directly in a group: 1 counts only when it is ourselves.
fn members(roots: &Roots, dir: &Path) -> Result<usize, String> {
    let text = read_text(&dir.join("cgroup.procs")).map_err(|error| one_line(&error))?;
    let pids: Vec<&str> = text.lines().collect();
    let ourselves = roots.pid().to_string();
    Ok(match pids.as_slice() {
        [] => 0,
        [only] if *only == ourselves => 1,
        others => others.len().max(2),
    })
}

/// The nearest directory that can take a group for following a tree.
fn containment_base(roots: &Roots, around: &[PathBuf]) -> Fact<PathBuf> {
    let mut reasons = Vec::new();
    for dir in around {
        if roots.is_writable(dir) && roots.is_writable(&dir.join("cgroup.procs")) {
            return Fact::present(dir.clone());
        }
        reasons.push(format!("{}: not ours to write", roots.shown(dir).display()));
        if let Some(limit) = own_limit(dir) {
            reasons.push(format!(
                "{} has {limit}, which must not be left",
                roots.shown(dir).display()
            ));
            break;
        }
    }
    Fact::absent(reasons.join("; "))
}

/// A finite limit on memory or processor time set on exactly this group, for
/// people; one that is there and cannot be read counts. `pids.max` does not:
/// systemd gives every service a finite one, and minding it would leave root's
/// services without any exact mechanism.
pub(crate) fn own_limit(dir: &Path) -> Option<String> {
    const FILES: [&str; 4] = ["memory.max", "memory.high", "memory.swap.max", "cpu.max"];
    FILES.iter().find_map(|name| {
        let text = match read_text(&dir.join(name)) {
            Err(error) if error.is_absent() => return None,
            Err(_) => return Some(format!("a {name} that cannot be read")),
            Ok(text) => text,
        };
        let text = text.trim();
        // `cpu.max` has the period behind it.
        let is_finite = text.split(' ').next() != Some("max");
        is_finite.then(|| format!("{name} = {text}"))
    })
}

/// Finite `memory.max` of our own group and every ancestor.
pub(crate) fn limits(place: &V2Place) -> Vec<(PathBuf, memcap_linux::ByteSize)> {
    limits_at(&place.lineage())
}

/// Finite `memory.max` of these groups, as far as they are there.
pub(crate) fn limits_at(dirs: &[PathBuf]) -> Vec<(PathBuf, memcap_linux::ByteSize)> {
    dirs.iter()
        .filter_map(|dir| match V2Group::at(dir).max() {
            Ok(Limit::At(bytes)) => Some((dir.join("memory.max"), bytes)),
            Ok(Limit::Unlimited) | Err(_) => None,
        })
        .collect()
}
