//! Where facts are read: the real root, or a folder with a captured host.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::Observed;

/// Where to read: the real root, or a folder with a captured host.
#[derive(Debug, Clone, PartialEq)]
pub struct Roots {
    root: PathBuf,
    captured: Option<Arc<Observed>>,
}

impl Default for Roots {
    fn default() -> Self {
        Roots {
            root: PathBuf::from("/"),
            captured: None,
        }
    }
}

impl Roots {
    /// A captured host: a folder with `proc/…` and `sys/fs/cgroup/…` in it.
    /// What the captured process could write is told by the owner's write bit,
    /// so that the answer does not depend on who looks at the folder.
    pub fn below(root: impl Into<PathBuf>) -> Roots {
        Roots::captured(root, Observed::default())
    }

    /// A captured host, and what was found out there otherwise than by reading
    /// a file.
    pub fn captured(root: impl Into<PathBuf>, observed: Observed) -> Roots {
        Roots {
            root: root.into(),
            captured: Some(Arc::new(observed)),
        }
    }

    /// The proc file system.
    pub fn proc(&self) -> PathBuf {
        self.root.join("proc")
    }

    /// An absolute path of the host, seen from here. No kernel writes `..` into
    /// one; in a captured host it would lead to the files of this machine, so
    /// it is left out.
    pub fn at(&self, path: &Path) -> PathBuf {
        let parts = path.components();
        let inside = parts.filter(|part| matches!(part, Component::Normal(_)));
        self.root.join(inside.collect::<PathBuf>())
    }

    /// A path seen from here, as the host itself calls it.
    pub fn shown(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(inside) => Path::new("/").join(inside),
            Err(_) => path.to_owned(),
        }
    }

    /// What a captured host has on record; `None` for a living one.
    pub(crate) fn observed(&self) -> Option<&Observed> {
        self.captured.as_deref()
    }

    /// The process that looks, or looked.
    pub(crate) fn pid(&self) -> u32 {
        let recorded = self.observed().and_then(|observed| observed.pid);
        recorded.unwrap_or_else(std::process::id)
    }

    /// The user that looks, or looked; unknown where that is not on record.
    pub(crate) fn uid(&self) -> Option<u32> {
        match self.observed() {
            Some(observed) => observed.uid,
            None => Some(nix::unistd::geteuid().as_raw()),
        }
    }

    /// Whether a group is that of a unit which systemd has not delegated.
    pub(crate) fn is_undelegated_unit(&self, group: &Path) -> bool {
        if let Some(observed) = self.observed() {
            return observed.undelegated.contains(&self.shown(group));
        }
        self.at(Path::new("/run/systemd/system")).is_dir()
            && crate::systemd::is_undelegated_unit(group)
    }

    /// Whether this process may write there, by the kernel's own answer.
    pub(crate) fn is_writable(&self, path: &Path) -> bool {
        use nix::unistd::{AccessFlags, eaccess};
        use std::os::unix::fs::PermissionsExt;
        match self.observed() {
            None => eaccess(path, AccessFlags::W_OK).is_ok(),
            Some(Observed {
                writable: Some(paths),
                ..
            }) => paths.contains(&self.shown(path)),
            Some(_) => {
                std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o200 != 0)
            }
        }
    }
}
