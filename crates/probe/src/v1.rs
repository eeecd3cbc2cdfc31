//! The v1 memory hierarchy: our group in it, and whether one of ours can be
//! made below.

use std::path::{Path, PathBuf};

use memcap_linux::cgroup::{Limit, Membership, V1Memory};
use memcap_linux::mounts::Mount;
use serde::Serialize;

use crate::host::{directory, upwards};
use crate::{Fact, Roots};

/// Our place in the v1 memory hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct V1Place {
    /// Where the hierarchy is mounted.
    pub mount_point: PathBuf,
    /// The directory of our own group.
    pub own: PathBuf,
    /// Where a group with a limit can be made: our own directory or nothing.
    pub base: Fact<PathBuf>,
    /// Whether swap is counted, so that a limit includes it.
    pub counts_swap: bool,
}

impl V1Place {
    /// Our own group and every group around it, nearest first.
    pub fn lineage(&self) -> Vec<PathBuf> {
        upwards(&self.own, &self.mount_point)
    }

    /// The same with the host's own paths.
    pub(crate) fn shown(self, roots: &Roots) -> V1Place {
        V1Place {
            mount_point: roots.shown(&self.mount_point),
            own: roots.shown(&self.own),
            base: self.base.map(|base| roots.shown(&base)),
            counts_swap: self.counts_swap,
        }
    }
}

pub(crate) fn place(roots: &Roots, mounts: &[Mount], memberships: &[Membership]) -> Fact<V1Place> {
    let Some(mount) = mounts
        .iter()
        .rev()
        .find(|mount| mount.has_controller("memory"))
    else {
        return Fact::absent("no v1 memory hierarchy is mounted");
    };
    let Some(membership) = memberships
        .iter()
        .find(|membership| membership.controllers.iter().any(|name| name == "memory"))
    else {
        return Fact::absent("/proc/self/cgroup has no v1 memory line");
    };
    let own = match directory(roots, mount, &membership.path) {
        Ok(own) => own,
        Err(because) => return Fact::absent(because),
    };
    place_below(roots, mount, own)
}

/// The place of jobs that are to be below this group.
pub(crate) fn place_below(roots: &Roots, mount: &Mount, own: PathBuf) -> Fact<V1Place> {
    let base = if mount.is_read_only() {
        Fact::absent(format!(
            "{} is mounted read-only",
            mount.mount_point.display()
        ))
    } else {
        base(roots, &own)
    };
    let mount_point = roots.at(&mount.mount_point);
    let counts_swap = V1Memory::at(&own).counts_swap();
    Fact::present(V1Place {
        mount_point,
        own,
        base,
        counts_swap,
    })
}

fn base(roots: &Roots, own: &Path) -> Fact<PathBuf> {
    if !roots.is_writable(own) || !roots.is_writable(&own.join("cgroup.procs")) {
        return Fact::absent(format!(
            "{} is not ours to write",
            roots.shown(own).display()
        ));
    }
    let group = V1Memory::at(own);
    match (group.is_hierarchical(), group.limit()) {
        // What cannot be read here could not be kept to either.
        (Err(error), _) | (_, Err(error)) => Fact::unknown(&error),
        (Ok(true), _) | (Ok(false), Ok(Limit::Unlimited)) => Fact::present(own.to_owned()),
        (Ok(false), Ok(Limit::At(limit))) => Fact::absent(format!(
            "{} limits itself to {limit} but not the groups below it (use_hierarchy is 0)",
            roots.shown(own).display()
        )),
    }
}

/// Finite limits of our own group and every ancestor.
pub(crate) fn limits(place: &V1Place) -> Vec<(PathBuf, memcap_linux::ByteSize)> {
    place
        .lineage()
        .into_iter()
        .filter_map(|dir| match V1Memory::at(&dir).limit() {
            Ok(Limit::At(bytes)) => Some((dir.join("memory.limit_in_bytes"), bytes)),
            Ok(Limit::Unlimited) | Err(_) => None,
        })
        .collect()
}
