//! Builds a captured host in a folder of its own.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;
use memcap_probe::{Host, Observed, Roots};

pub const UNLIMITED_V1: &str = "9223372036854771712\n";

/// A folder with `proc` and `sys`, removed at the end.
pub struct Captured {
    folder: tempfile::TempDir,
    locked: Vec<PathBuf>,
    observed: Observed,
}

impl Captured {
    /// A machine with 16 GiB, 4 GiB of swap, and no cgroups yet.
    pub fn new() -> Captured {
        let captured = Captured {
            folder: tempfile::tempdir().expect("a folder"),
            locked: Vec::new(),
            observed: Observed {
                uid: Some(1000),
                ..Observed::default()
            },
        };
        captured
            .put("proc/sys/kernel/osrelease", "6.12.0-test\n")
            .put(
                "proc/meminfo",
                "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\nBuffers: 0 kB\n\
                 Cached: 0 kB\nSwapCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\n\
                 SwapTotal: 4194304 kB\nSwapFree: 4194304 kB\nDirty: 0 kB\nWriteback: 0 kB\n\
                 Mapped: 0 kB\nSlab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\n\
                 VmallocUsed: 0 kB\nVmallocChunk: 0 kB\n",
            )
            .mounts("")
            .groups("")
    }

    /// Writes a file, with the folders it needs.
    pub fn put(self, path: &str, text: &str) -> Captured {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, text).expect("a file");
        self
    }

    /// What is on record beside the files.
    pub fn observed(mut self, change: impl FnOnce(&mut Observed)) -> Captured {
        change(&mut self.observed);
        self
    }

    /// The kernel's release.
    pub fn kernel(self, release: &str) -> Captured {
        self.put("proc/sys/kernel/osrelease", &format!("{release}\n"))
    }

    /// `/proc/self/mountinfo`.
    pub fn mounts(self, text: &str) -> Captured {
        self.put("proc/self/mountinfo", text)
    }

    /// `/proc/self/cgroup`.
    pub fn groups(self, text: &str) -> Captured {
        self.put("proc/self/cgroup", text)
    }

    /// A v2 group: what it was granted, what it gives its children, and the
    /// pids in it. `extra` are further files with their text.
    pub fn v2(
        self,
        dir: &str,
        granted: &str,
        given: &str,
        pids: &str,
        extra: &[(&str, &str)],
    ) -> Captured {
        let mut captured = self
            .put(&format!("{dir}/cgroup.controllers"), granted)
            .put(&format!("{dir}/cgroup.subtree_control"), given)
            .put(&format!("{dir}/cgroup.procs"), pids);
        for (name, text) in extra {
            captured = captured.put(&format!("{dir}/{name}"), text);
        }
        captured
    }

    /// A v1 memory group with this limit.
    pub fn v1(self, dir: &str, limit: &str) -> Captured {
        self.put(&format!("{dir}/memory.limit_in_bytes"), limit)
            .put(&format!("{dir}/memory.memsw.limit_in_bytes"), limit)
            .put(&format!("{dir}/memory.use_hierarchy"), "1\n")
            .put(&format!("{dir}/cgroup.procs"), "1\n")
    }

    /// Takes the write bit from a group's directory and its control files.
    pub fn lock(mut self, dir: &str) -> Captured {
        let dir = self.folder.path().join(dir);
        for name in ["cgroup.procs", "cgroup.subtree_control"] {
            let file = dir.join(name);
            if file.exists() {
                set_permissions(&file, Permissions::from_mode(0o444)).expect("locks a file");
            }
        }
        set_permissions(&dir, Permissions::from_mode(0o555)).expect("locks a folder");
        self.locked.push(dir);
        self
    }

    /// Where to read.
    pub fn roots(&self) -> Roots {
        Roots::captured(self.folder.path(), self.observed.clone())
    }

    /// The facts.
    pub fn host(&self) -> Host {
        Host::observe(&self.roots())
    }

    /// A path of the host, as it is seen from outside.
    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        for dir in &self.locked {
            // Else the folder could not be removed by an ordinary user.
            let _ = set_permissions(dir, Permissions::from_mode(0o755));
        }
    }
}

/// A group below the usual v2 mount point.
pub fn group(path: &str) -> String {
    let top = Path::new("sys/fs/cgroup");
    top.join(path.trim_start_matches('/')).display().to_string()
}

/// The mount line of a pure v2 host.
pub const V2_MOUNT: &str =
    "29 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate\n";

/// The machine's own memory, which is always a ceiling.
pub const MACHINE: ByteSize = ByteSize::from_gib(16);
