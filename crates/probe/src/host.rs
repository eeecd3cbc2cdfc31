//! The host's facts in one value, gathered once at the start of a run.

use std::path::{Path, PathBuf};

use memcap_linux::cgroup::{Membership, own_memberships};
use memcap_linux::meminfo::{self, MachineMemory};
use memcap_linux::mounts::{self, Mount};
use serde::Serialize;

use crate::{Ceilings, Fact, SystemdPlace, V1Place, V2Place, ceiling, systemd, v1, v2};

/// Where to read: the real root, or a folder with a captured host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    root: PathBuf,
    captured: bool,
}

impl Default for Roots {
    fn default() -> Self {
        Roots {
            root: PathBuf::from("/"),
            captured: false,
        }
    }
}

impl Roots {
    /// A captured host: a folder with `proc/…` and `sys/fs/cgroup/…` in it.
    /// What the captured process could write is told by the owner's write bit,
    /// so that the answer does not depend on who looks at the folder.
    pub fn below(root: impl Into<PathBuf>) -> Roots {
        Roots {
            root: root.into(),
            captured: true,
        }
    }

    /// The proc file system.
    pub fn proc(&self) -> PathBuf {
        self.root.join("proc")
    }

    /// An absolute path of the host, seen from here.
    pub fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether this is a captured host, where nobody can be asked.
    pub(crate) fn is_captured(&self) -> bool {
        self.captured
    }

    /// Whether this process may write there, by the kernel's own answer.
    pub(crate) fn is_writable(&self, path: &Path) -> bool {
        use nix::unistd::{AccessFlags, eaccess};
        use std::os::unix::fs::PermissionsExt;
        if self.captured {
            return std::fs::metadata(path)
                .is_ok_and(|data| data.permissions().mode() & 0o200 != 0);
        }
        eaccess(path, AccessFlags::W_OK).is_ok()
    }
}

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
        let kernel = match std::fs::read_to_string(proc_root.join("sys/kernel/osrelease")) {
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
