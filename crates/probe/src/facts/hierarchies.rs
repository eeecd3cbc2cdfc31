//! Which hierarchies of control groups are mounted, which of them has memory,
//! and how far it is handed down to our own group.

use std::path::PathBuf;

use memcap_linux::cgroup::V2Group;
use memcap_linux::mounts::Mount;
use serde::{Deserialize, Serialize};

use super::read;
use crate::{Fact, Host, Roots, V2Place};

/// One mount of control groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupMount {
    /// Where.
    pub mount_point: PathBuf,
    /// 1 or 2.
    pub version: u8,
    /// The v1 controllers on it; empty for v2.
    pub controllers: Vec<String>,
    /// The group that is mounted: `/`, a subtree, or `/..` for one outside our
    /// cgroup namespace.
    pub root: String,
    /// Options of this mount, such as `ro`.
    pub options: Vec<String>,
    /// Options of the hierarchy, such as `nsdelegate`; controllers left out.
    pub hierarchy_options: Vec<String>,
}

impl CgroupMount {
    fn of(mount: &Mount) -> Option<CgroupMount> {
        let version = match mount.file_system.as_str() {
            "cgroup2" => 2,
            "cgroup" => 1,
            _ => return None,
        };
        // v1 names its controllers among the options of the hierarchy.
        const OPTIONS: [&str; 6] = [
            "rw",
            "ro",
            "xattr",
            "noprefix",
            "clone_children",
            "cpuset_v2_mode",
        ];
        let is_option = |word: &&String| {
            version == 2
                || OPTIONS.contains(&word.as_str())
                || word.starts_with("name=")
                || word.starts_with("release_agent=")
        };
        let (options, controllers): (Vec<_>, Vec<_>) =
            mount.super_options.iter().partition(is_option);
        Some(CgroupMount {
            mount_point: mount.mount_point.clone(),
            version,
            controllers: controllers.into_iter().cloned().collect(),
            root: mount.root.clone(),
            options: mount.options.clone(),
            hierarchy_options: options.into_iter().cloned().collect(),
        })
    }

    /// Whether nothing can be changed through it.
    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }

    /// Whether it shows a place outside our cgroup namespace.
    pub fn is_outside(&self) -> bool {
        self.root.starts_with("/..")
    }
}

/// Which versions are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// cgroup2 alone.
    V2,
    /// v1 hierarchies, and cgroup2 beside them.
    Hybrid,
    /// v1 hierarchies alone.
    V1,
    /// Nothing.
    None,
}

impl Layout {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Layout::V2 => "cgroup v2 alone",
            Layout::Hybrid => "cgroup v1 with v2 beside it",
            Layout::V1 => "cgroup v1 alone",
            Layout::None => "no control groups",
        }
    }

    fn of(mounts: &[CgroupMount]) -> Layout {
        let has = |version| mounts.iter().any(|mount| mount.version == version);
        match (has(1), has(2)) {
            (false, true) => Layout::V2,
            (true, true) => Layout::Hybrid,
            (true, false) => Layout::V1,
            (false, false) => Layout::None,
        }
    }
}

/// Which hierarchy has the memory controller: it is in one at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "on")]
pub enum MemoryController {
    /// The unified one, which has this as the topmost group in sight.
    V2 {
        /// Its directory.
        top: PathBuf,
    },
    /// A v1 hierarchy.
    V1 {
        /// Where it is mounted.
        mount_point: PathBuf,
    },
    /// A v1 hierarchy that is not mounted where we can see it: another
    /// distribution of the same virtual machine has it, say.
    V1OutOfSight {
        /// Its number in `/proc/cgroups`.
        hierarchy: u32,
    },
}

/// One group on the way from the top of v2 to our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its directory.
    pub dir: PathBuf,
    /// Whether it gives memory to its children; absent where that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gives_memory: Option<bool>,
    /// Whether its directory is ours to write.
    pub is_ours: bool,
    /// Whether it is that of a unit which systemd has not delegated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_undelegated_unit: bool,
    /// Processes directly in it; absent where that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<usize>,
}

/// The hierarchies, as far as a diagnosis needs them.
pub(super) struct Hierarchies {
    pub(super) mounts: Fact<Vec<CgroupMount>>,
    pub(super) layout: Fact<Layout>,
    pub(super) memory: Fact<MemoryController>,
    pub(super) delegation: Fact<Vec<Step>>,
}

impl Hierarchies {
    pub(super) fn observe(roots: &Roots, host: &Host, mounts: &Fact<Vec<Mount>>) -> Hierarchies {
        let mounts = mounts
            .clone()
            .map(|all| all.iter().filter_map(CgroupMount::of).collect::<Vec<_>>());
        Hierarchies {
            layout: mounts.clone().map(|mounts| Layout::of(&mounts)),
            memory: memory(roots, &mounts),
            delegation: host.cgroup_v2.clone().map(|place| steps(roots, &place)),
            mounts,
        }
    }
}

fn memory(roots: &Roots, mounts: &Fact<Vec<CgroupMount>>) -> Fact<MemoryController> {
    let all = match mounts {
        Fact::Present { value } => value,
        Fact::Absent { because } | Fact::Unknown { because } => {
            return Fact::unknown_since(because);
        }
    };
    // Later mounts cover earlier ones.
    let top = all.iter().rev().find(|mount| mount.version == 2);
    let v2 = match top.map(|mount| given_at_top(roots, mount)) {
        Some(Ok(true)) => {
            let top = top.map(|mount| mount.mount_point.clone());
            return Fact::present(MemoryController::V2 {
                top: top.unwrap_or_default(),
            });
        }
        other => other,
    };
    let names_memory = |mount: &&CgroupMount| mount.controllers.iter().any(|name| name == "memory");
    if let Some(mount) = all.iter().find(names_memory) {
        return Fact::present(MemoryController::V1 {
            mount_point: mount.mount_point.clone(),
        });
    }
    let listed = read::optional(roots, "/proc/cgroups");
    if let Some(hierarchy) = listed.value().and_then(|text| v1_hierarchy(text)) {
        return Fact::present(MemoryController::V1OutOfSight { hierarchy });
    }
    match v2 {
        Some(Err(error)) => Fact::unknown(&error),
        Some(Ok(_)) => {
            Fact::absent("the topmost cgroup v2 group in sight has no memory controller")
        }
        None => Fact::absent("no hierarchy that could have it is mounted"),
    }
}

fn given_at_top(roots: &Roots, mount: &CgroupMount) -> Result<bool, memcap_linux::FileError> {
    let names = V2Group::at(roots.at(&mount.mount_point)).controllers()?;
    Ok(names.iter().any(|name| name == "memory"))
}

/// The v1 hierarchy that memory is bound to, from `/proc/cgroups`. 0 is v2 or
/// none; a kernel without v1 memory has no line (Linux 6.11).
fn v1_hierarchy(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.starts_with("memory\t"))?;
    let number: u32 = line.split_whitespace().nth(1)?.parse().ok()?;
    (number != 0).then_some(number)
}

/// From the top down to our own group.
fn steps(roots: &Roots, place: &V2Place) -> Vec<Step> {
    let mut lineage = place.lineage();
    lineage.reverse();
    let step = |dir: PathBuf| {
        let given = V2Group::at(&dir).enabled_for_children().ok();
        let processes = read::text(&dir.join("cgroup.procs")).ok();
        Step {
            dir: roots.shown(&dir),
            gives_memory: given.map(|names| names.iter().any(|name| name == "memory")),
            is_ours: roots.is_writable(&dir),
            is_undelegated_unit: roots.is_undelegated_unit(&dir),
            processes: processes.map(|pids| pids.lines().count()),
        }
    };
    lineage.into_iter().map(step).collect()
}

/// The first group from the top that does not give memory to its children, our
/// own left out: what that gives is its own business.
pub(crate) fn stop(steps: &[Step]) -> Option<&Step> {
    let (_own, around) = steps.split_last()?;
    around.iter().find(|step| step.gives_memory == Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_controller_has_a_hierarchy() {
        let head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
        let cases = [
            ("cpu\t1\t2\t1\nmemory\t4\t57\t1\n", Some(4)),
            ("memory\t0\t57\t1\n", None),
            ("cpu\t1\t2\t1\n", None),
            ("memory\tmany\t57\t1\n", None),
            ("memory_x\t4\t57\t1\n", None),
            ("memory\n", None),
        ];
        for (lines, hierarchy) in cases {
            assert_eq!(
                v1_hierarchy(&format!("{head}{lines}")),
                hierarchy,
                "{lines}"
            );
        }
    }

    #[test]
    fn controllers_are_told_from_options() {
        let mounts = memcap_linux::mounts::parse(
            "30 25 0:26 / /c/m rw - cgroup cgroup rw,xattr,memory,cpu,name=x\n\
             31 25 0:27 /.. /c/u ro - cgroup2 cgroup2 rw,nsdelegate\n\
             32 25 0:28 / /tmp rw - tmpfs tmpfs rw\n",
        );
        let mounts: Vec<_> = mounts.iter().filter_map(CgroupMount::of).collect();
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].controllers, ["memory", "cpu"]);
        assert_eq!(mounts[1].hierarchy_options, ["rw", "nsdelegate"]);
        assert!(mounts[1].is_read_only() && mounts[1].is_outside());
        assert_eq!(Layout::of(&mounts), Layout::Hybrid);
    }
}
