//! What this kernel offers to whoever ends a tree or places a child, each
//! found out by calling or by looking into a group, never by a version.

use std::io;
use std::path::{Path, PathBuf};

use memcap_linux::features;
use serde::{Deserialize, Serialize};

use crate::{Fact, Host, Roots};

/// The kernel's features, with the version that brought each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Handles on processes (5.3).
    pub pidfd: Fact<()>,
    /// A child born into a v2 group (5.7).
    pub clone_into_cgroup: Fact<()>,
    /// Freeing the memory of a dying process (5.15).
    pub process_mrelease: Fact<()>,
    /// `cgroup.freeze` (5.2).
    pub cgroup_freeze: Fact<()>,
    /// `cgroup.kill` (5.14).
    pub cgroup_kill: Fact<()>,
    /// `memory.peak` (5.19).
    pub memory_peak: Fact<()>,
    /// `memory.reclaim` (5.19).
    pub memory_reclaim: Fact<()>,
}

impl Features {
    pub(super) fn observe(roots: &Roots, host: &Host) -> Features {
        match roots.observed() {
            None => Features::ask(host),
            Some(observed) => observed
                .features
                .clone()
                .unwrap_or_else(|| Features::all(&Fact::unknown_since("not on record"))),
        }
    }

    fn ask(host: &Host) -> Features {
        let group = group_to_look_at(host);
        let file = |name: &str| match &group {
            Fact::Present { value } if value.join(name).exists() => Fact::present(()),
            Fact::Present { .. } => Fact::absent(format!("this kernel's groups have no {name}")),
            Fact::Absent { because } => Fact::absent(because),
            Fact::Unknown { because } => Fact::unknown_since(because),
        };
        let memory_file = |name: &str| match &group {
            Fact::Present { value } if !value.join("memory.max").exists() => {
                Fact::unknown_since("the group looked at has no memory controller")
            }
            Fact::Present { .. } | Fact::Absent { .. } | Fact::Unknown { .. } => file(name),
        };
        Features {
            pidfd: called(features::has_pidfd()),
            clone_into_cgroup: called(features::has_clone_into_cgroup()),
            process_mrelease: called(features::has_process_mrelease()),
            cgroup_freeze: file("cgroup.freeze"),
            cgroup_kill: file("cgroup.kill"),
            memory_peak: memory_file("memory.peak"),
            memory_reclaim: memory_file("memory.reclaim"),
        }
    }

    /// The same answer for all.
    pub fn all(answer: &Fact<()>) -> Features {
        Features {
            pidfd: answer.clone(),
            clone_into_cgroup: answer.clone(),
            process_mrelease: answer.clone(),
            cgroup_freeze: answer.clone(),
            cgroup_kill: answer.clone(),
            memory_peak: answer.clone(),
            memory_reclaim: answer.clone(),
        }
    }

    /// All of them by name.
    pub fn named(&self) -> [(&'static str, &Fact<()>); 7] {
        [
            ("pidfd", &self.pidfd),
            ("clone into a cgroup", &self.clone_into_cgroup),
            ("process_mrelease", &self.process_mrelease),
            ("cgroup.freeze", &self.cgroup_freeze),
            ("cgroup.kill", &self.cgroup_kill),
            ("memory.peak", &self.memory_peak),
            ("memory.reclaim", &self.memory_reclaim),
        ]
    }
}

/// Any error but "no such call" and "not allowed" would be a surprise.
fn called(outcome: io::Result<()>) -> Fact<()> {
    use nix::errno::Errno;
    const ABSENCE: [Errno; 5] = [
        Errno::ENOSYS,
        Errno::EINVAL,
        Errno::E2BIG,
        Errno::EPERM,
        Errno::EACCES,
    ];
    match outcome {
        Ok(()) => Fact::present(()),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(errno) if ABSENCE.contains(&errno) => Fact::absent(error.to_string()),
            _ => Fact::unknown(&error),
        },
    }
}

/// A v2 group other than the machine's root, which lacks most files: our own,
/// else one below it, with memory if there is one.
fn group_to_look_at(host: &Host) -> Fact<PathBuf> {
    let place = match &host.cgroup_v2 {
        Fact::Present { value } => value,
        Fact::Absent { because } => return Fact::absent(because),
        Fact::Unknown { because } => return Fact::unknown_since(because),
    };
    if place.own.join("cgroup.type").exists() {
        return Fact::present(place.own.clone());
    }
    let below = groups_below(&place.own);
    let with_memory = below.iter().find(|dir| dir.join("memory.max").exists());
    match with_memory.or(below.first()) {
        Some(dir) => Fact::present(dir.clone()),
        None => Fact::unknown_since("there is no group below the root to look at"),
    }
}

fn groups_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths
        .filter(|path| path.join("cgroup.type").exists())
        .collect()
}
