//! Finding the cgroups that memcap made.

use std::fs;
use std::path::{Path, PathBuf};

/// Deeper than any layout nests the place of a run.
const MAX_DEPTH: usize = 12;

/// The cgroup directories whose name begins with `memcap-` and has one of
/// `pids` in it, in every hierarchy: a memcap names its groups by its pid.
pub fn memcap_directories(pids: &[i32]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(Path::new("/sys/fs/cgroup"), MAX_DEPTH, &mut |path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if is_of(name, pids) {
            found.push(path.to_owned());
        }
    });
    found
}

fn is_of(name: &str, pids: &[i32]) -> bool {
    let Some(rest) = name.strip_prefix("memcap-") else {
        return false;
    };
    rest.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse::<i32>().ok())
        .any(|number| pids.contains(&number))
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

/// Removes `directories` and what is below them, as far as they are empty of
/// processes.
pub(super) fn remove(directories: &[PathBuf]) {
    for directory in directories {
        // A group that is still populated stays, and the next look finds it.
        collect(directory, MAX_DEPTH, &mut |inner| {
            drop(fs::remove_dir(inner));
        });
        drop(fs::remove_dir(directory));
    }
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn a_group_belongs_to_the_pid_in_its_name() {
        assert!(is_of("memcap-123-4567-abc", &[123]));
        assert!(is_of("memcap-abc-123", &[7, 123]));
        assert!(!is_of("memcap-1234-5", &[123]));
        assert!(!is_of("other-123", &[123]));
    }
}
