//! The host's facts in one value, gathered once at the start of a run.

use std::path::{Path, PathBuf};

use memcap_linux::cgroup::{Membership, own_memberships};
use memcap_linux::meminfo::{self, MachineMemory};
use memcap_linux::mounts::{self, Mount};
use memcap_linux::read_text;
use serde::Serialize;

use crate::{
    Ceiling, Ceilings, Fact, Roots, SystemdPlace, V1Place, V2Place, ceiling, systemd, v1, v2,
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
        let (cgroup_v2, cgroup_v1) = match layout(&proc_root) {
            Ok((mounts, memberships)) => (
                v2::place(roots, &mounts, &memberships),
                v1::place(roots, &mounts, &memberships),
            ),
            Err(error) => (Fact::unknown(&error), Fact::unknown(&error)),
        };
        let ceilings = ceiling::gather(&memory, &cgroup_v2, &cgroup_v1);
        Host {
            kernel,
            memory,
            cgroup_v2,
            cgroup_v1,
            systemd: None,
            ceilings,
        }
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
    if path.starts_with("/..") {
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
