//! A scope of systemd's around keeper and job. The keeper asks to be moved into
//! it, and divides it: a leaf for itself, so that the scope may pass the memory
//! controller on, and beside it the leaf with the limit, where the job is born.
//!
//! systemd removes the scope when its last process is gone, whoever ended it:
//! nothing here undoes anything. What a job leaves behind, whose keeper and
//! embedding program were killed, is swept at the next start.

use std::path::{Path, PathBuf};
use std::time::Instant;

use memcap_linux::cgroup::{GroupName, V2Group};
use memcap_probe::SystemdPlace;
use memcap_probe::systemd::start_scope;

use super::enclosure::EnclosureError;
use super::names::{self, Names};
use super::sweep;
use crate::wire::Spec;

/// Suffix of the units.
const SUFFIX: &str = ".scope";

/// The scope that this process is in.
#[derive(Debug)]
pub(super) struct Scope {
    group: V2Group,
}

impl Scope {
    /// Moves this process into a scope that can take a leaf with a limit.
    pub(super) fn enter(
        place: &SystemdPlace,
        spec: &Spec,
        names: &Names,
    ) -> Result<Scope, EnclosureError> {
        let unit = format!("{}{SUFFIX}", names.name(names::SCOPE)?);
        let group = V2Group::at(start_scope(place, &unit)?);
        let leaf = V2Group::create(group.path(), &names.name(names::KEEPER)?)?;
        leaf.admit(i32::try_from(std::process::id()).unwrap_or(0))?;
        group.enable_for_children("memory")?;
        if spec.processes.is_some() {
            // Not granted: the keeper counts.
            let _ = group.enable_for_children("pids");
        }
        Ok(Scope { group })
    }

    /// Its directory.
    pub(super) fn path(&self) -> &Path {
        self.group.path()
    }

    /// The scope and every group around it, nearest first.
    pub(super) fn lineage(&self) -> Vec<PathBuf> {
        self.path()
            .ancestors()
            .take_while(|dir| dir.join("cgroup.procs").exists())
            .map(Path::to_owned)
            .collect()
    }
}

/// Ends what is left in scopes of dead keepers in one slice; systemd removes
/// them then. Returns a note for each that stayed.
pub(super) fn sweep_scopes(slice: &Path) -> Vec<String> {
    let deadline = Instant::now() + sweep::DEADLINE;
    let dead: Vec<V2Group> = V2Group::at(slice)
        .children()
        .into_iter()
        .filter(|group| {
            let name = group.path().file_name().and_then(|name| name.to_str());
            name.and_then(owner)
                .is_some_and(|name| name.owner_is_dead())
        })
        .collect();
    for group in &dead {
        sweep::empty(group.path());
    }
    dead.iter()
        .filter(|group| !is_left_in_time(group, deadline))
        .map(|group| format!("a leftover scope stays: {}", group.path().display()))
        .collect()
}

/// Whose scope this is; `None` for any that is not ours.
fn owner(unit: &str) -> Option<GroupName> {
    let name = GroupName::parse(unit.strip_suffix(SUFFIX)?)?;
    names::is_a(&name, names::SCOPE).then_some(name)
}

fn is_left_in_time(group: &V2Group, deadline: Instant) -> bool {
    // Removed is as good as empty.
    while group.is_populated().unwrap_or(false) {
        if Instant::now() >= deadline {
            return false;
        }
        // No descriptors: a plain timeout.
        let _ = nix::poll::poll(&mut [], 1u8);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_others_are_not_taken_for_ours() {
        let name = |serial| names::name(serial).expect("a name");
        assert!(owner(&format!("{}.scope", name(names::SCOPE))).is_some());
        for strange in [
            format!("{}.scope", name(names::LIMIT)),
            format!("{}.service", name(names::SCOPE)),
            name(names::SCOPE),
            "run-r1.scope".into(),
        ] {
            assert!(owner(&strange).is_none(), "{strange}");
        }
    }

    #[test]
    fn a_slice_that_is_not_there_holds_no_leftovers() {
        assert!(sweep_scopes(Path::new("/nonexistent/app.slice")).is_empty());
    }
}
