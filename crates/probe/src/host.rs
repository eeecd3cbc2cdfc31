//! The host's facts in one value, gathered once at the start of a run.

use std::path::{Component, Path, PathBuf};

use memcap_linux::cgroup::{Membership, own_memberships};
use memcap_linux::meminfo::{self, MachineMemory};
use memcap_linux::mounts::{self, Mount};
use memcap_linux::{one_line, read_text};
use serde::Serialize;

use crate::{
    Ceiling, Ceilings, Fact, Mechanism, Roots, SystemdPlace, V1Place, V2Place, ceiling, systemd,
    v1, v2,
};

/// What a plan needs to know about the host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Host {
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: Fact<String>,
    /// Memory and swap of the machine.
    pub memory: Fact<MachineMemory>,
    /// The unified hierarchy, with or without the memory controller.
    pub cgroup_v2: Fact<V2Place>,
    /// The v1 memory hierarchy.
    pub cgroup_v1: Fact<V1Place>,
    /// A scope that systemd would give us; `None` before [`Host::ask_systemd`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systemd: Option<Fact<SystemdPlace>>,
    /// Every limit this process already lives under.
    pub ceilings: Ceilings,
    /// What is mounted; nothing where that cannot be read.
    #[serde(skip)]
    pub mounts: Vec<Mount>,
}

/// Where jobs were to be is no group that could take them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no control group for jobs: {reason}", path.display())]
pub struct NotAGroup {
    /// What was named.
    pub path: PathBuf,
    /// Why not.
    pub reason: String,
}

impl Host {
    /// Reads the facts. Makes nothing, moves nothing; takes about a
    /// millisecond.
    pub fn observe(roots: &Roots) -> Host {
        let proc_root = roots.proc();
        let kernel = match read_text(&proc_root.join("sys/kernel/osrelease")) {
            Ok(text) if text.trim().is_empty() => Fact::Unknown {
                because: "osrelease is empty".to_owned(),
            },
            Ok(text) => Fact::present(text.trim().to_owned()),
            Err(error) => Fact::unknown(&error),
        };
        let memory = match meminfo::read(&proc_root) {
            Ok(memory) => Fact::present(memory),
            Err(error) => Fact::unknown(&error),
        };
        let (cgroup_v2, cgroup_v1, mounts) = match layout(&proc_root) {
            Ok((mounts, memberships)) => (
                v2::place(roots, &mounts, &memberships),
                v1::place(roots, &mounts, &memberships),
                mounts,
            ),
            Err(error) => (Fact::unknown(&error), Fact::unknown(&error), Vec::new()),
        };
        let ceilings = ceiling::gather(&memory, &cgroup_v2, &cgroup_v1);
        Host {
            kernel,
            memory,
            cgroup_v2,
            cgroup_v1,
            systemd: None,
            ceilings,
            mounts,
        }
    }

    /// As [`Host::observe`], for jobs that are to be below the group with the
    /// directory `dir`, and not in our own; with the mechanism that can hold a limit
    /// there. Limits around us that are not around that group are no ceilings then.
    ///
    /// # Errors
    /// When `dir` is no group of a mounted v2 or v1 memory hierarchy.
    pub fn observe_below(roots: &Roots, dir: &Path) -> Result<(Host, Mechanism), NotAGroup> {
        let wrong = |reason: &str| NotAGroup {
            path: dir.to_owned(),
            reason: reason.to_owned(),
        };
        let own = std::fs::canonicalize(dir).map_err(|error| wrong(&error.to_string()))?;
        let mounts = mounts::read(&roots.proc()).map_err(|error| wrong(&one_line(&error)))?;
        // The last of those that are mounted in one place is the one that is seen.
        let mount = mounts
            .iter()
            .filter(|mount| own.starts_with(roots.at(&mount.mount_point)))
            .max_by_key(|mount| mount.mount_point.components().count())
            .filter(|_| own.is_dir())
            .ok_or_else(|| wrong("no directory"))?;
        let mut host = Host::observe(roots);
        host.systemd = Some(Fact::absent("the job's group was named"));
        let mechanism = if mount.file_system == "cgroup2" {
            host.cgroup_v2 = v2::place_below(roots, mount, own);
            host.cgroup_v1 = Fact::absent("the group that was named is one of v2");
            Mechanism::CgroupV2
        } else if mount.has_controller("memory") {
            host.cgroup_v1 = v1::place_below(roots, mount, own);
            Mechanism::CgroupV1
        } else {
            return Err(wrong("in no cgroup v2 or v1 memory hierarchy"));
        };
        host.ceilings = ceiling::gather(&host.memory, &host.cgroup_v2, &host.cgroup_v1);
        Ok((host, mechanism))
    }

    /// Asks systemd for what it would give us, once. A living manager answers in
    /// milliseconds, a dead one not within seconds: only for who needs it.
    pub fn ask_systemd(&mut self, roots: &Roots) {
        if self.systemd.is_none() {
            self.systemd = Some(systemd::observe(roots, &self.cgroup_v2));
        }
    }
}

impl Host {
    /// The same with the host's own paths instead of those of a captured copy.
    pub(crate) fn shown(self, roots: &Roots) -> Host {
        let ceilings = self.ceilings.all().iter().map(|ceiling| Ceiling {
            bytes: ceiling.bytes,
            file: ceiling.file.as_deref().map(|file| roots.shown(file)),
        });
        Host {
            ceilings: Ceilings::new(ceilings.collect()),
            cgroup_v2: self.cgroup_v2.map(|place| place.shown(roots)),
            cgroup_v1: self.cgroup_v1.map(|place| place.shown(roots)),
            ..self
        }
    }
}

fn layout(proc_root: &Path) -> Result<(Vec<Mount>, Vec<Membership>), memcap_linux::FileError> {
    Ok((mounts::read(proc_root)?, own_memberships(proc_root)?))
}

/// The directory of a group as this process can reach it, given the mount it
/// is in; a container sees a subtree mounted (`root` is that subtree's path),
/// a stale namespace sees `/..`.
pub(crate) fn directory(roots: &Roots, mount: &Mount, path: &str) -> Result<PathBuf, String> {
    if mount.root.starts_with("/..") {
        return Err(format!(
            "{} shows a place outside this cgroup namespace",
            mount.mount_point.display()
        ));
    }
    let mut parts = Path::new(path).components();
    if parts.any(|part| part == Component::ParentDir) {
        return Err(format!(
            "our own group `{path}` is outside this cgroup namespace"
        ));
    }
    // By whole components: `/docker/abc` is no part of `/docker/abcdef`. A path
    // that is not below the mounted subtree may still be relative to it, as in
    // a cgroup namespace.
    let below_mount = Path::new(path).strip_prefix(&mount.root);
    let inside = below_mount.unwrap_or(Path::new(path));
    let inside = inside.strip_prefix("/").unwrap_or(inside);
    let directory: PathBuf = roots
        .at(&mount.mount_point)
        .join(inside)
        .components()
        .collect();
    if directory.is_dir() {
        Ok(directory)
    } else {
        Err(format!(
            "our own group `{path}` is not visible below {}",
            mount.mount_point.display()
        ))
    }
}

/// A directory and every ancestor up to the mount point, nearest first.
pub(crate) fn upwards(from: &Path, mount_point: &Path) -> Vec<PathBuf> {
    from.ancestors()
        .take_while(|dir| dir.starts_with(mount_point))
        .map(Path::to_owned)
        .collect()
}
