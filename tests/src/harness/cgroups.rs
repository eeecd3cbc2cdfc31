//! Finding the cgroups that memcap made.

use std::fs;
use std::path::{Path, PathBuf};

/// Deeper than any layout nests the place of a run.
const MAX_DEPTH: usize = 12;

/// A cgroup directory made by some memcap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemcapGroup {
    /// Where it is.
    pub path: PathBuf,
    /// The pid of the keeper or memcap that made it.
    pub owner: i32,
}

/// Every cgroup directory named `memcap-<pid namespace>-<owner's pid>-…`, in
/// every hierarchy.
pub fn memcap_groups() -> Vec<MemcapGroup> {
    let mut found = Vec::new();
    collect(Path::new("/sys/fs/cgroup"), MAX_DEPTH, &mut |path| {
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(owner) = name.and_then(owner) {
            found.push(MemcapGroup {
                path: path.to_owned(),
                owner,
            });
        }
    });
    found
}

fn owner(name: &str) -> Option<i32> {
    name.strip_prefix("memcap-")?
        .split('-')
        .nth(1)?
        .parse()
        .ok()
}

/// Visits the directories below `directory`, inner ones first.
fn collect(directory: &Path, depth: usize, visit: &mut impl FnMut(&Path)) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        // `file_type` does not follow the links that some hosts have here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth > 0 {
                collect(&entry.path(), depth - 1, visit);
            }
            visit(&entry.path());
        }
    }
}

/// Removes `groups` and what is below them, as far as they are empty of
/// processes; whether all are gone.
pub(super) fn remove(groups: &[MemcapGroup]) -> bool {
    for group in groups {
        // A group that is still populated stays, and the next try finds it.
        collect(&group.path, MAX_DEPTH, &mut |inner| {
            drop(fs::remove_dir(inner));
        });
        drop(fs::remove_dir(&group.path));
    }
    !groups.iter().any(|group| group.path.exists())
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn a_group_is_named_by_its_owner() {
        assert_eq!(owner("memcap-4026531836-384-265885-809f3f2a-2"), Some(384));
        assert_eq!(owner("memcap-384"), None);
        assert_eq!(owner("other-4026531836-384-265885-809f3f2a-2"), None);
    }
}
