//! The environment and the machine as values: nothing in this crate reads the
//! process's own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Everything around a conversion that is not its request.
#[derive(Debug, Clone)]
pub struct World {
    /// Environment variables, as the started marker will inherit them.
    pub variables: BTreeMap<OsString, OsString>,
    /// The folder that relative paths refer to; absolute.
    pub current_dir: PathBuf,
    /// Where the machine's files are found, `/` outside tests.
    pub root: PathBuf,
}

impl World {
    /// The world of a program with these variables in this folder.
    pub fn new(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        current_dir: impl Into<PathBuf>,
    ) -> Self {
        World {
            variables: variables.into_iter().collect(),
            current_dir: current_dir.into(),
            root: PathBuf::from("/"),
        }
    }

    /// The variable's value; an empty one counts as absent.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.raw_variable(name).filter(|value| !value.is_empty())
    }

    /// The variable's value, also when it is empty.
    pub fn raw_variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }

    /// `path` seen from the current folder. Links and `..` stay as they are.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.current_dir.join(path)
    }

    /// A file of the machine, given by its usual absolute path.
    pub fn machine_path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The first executable file called `name` on `PATH`.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        let path = self.variable("PATH")?;
        std::env::split_paths(path)
            .map(|folder| self.absolute(&folder).join(name))
            .find(|candidate| is_executable(candidate))
    }
}

/// A regular file, links followed, with an execute bit.
pub fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_the_order_of_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, mode| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            file
        };
        place("first/tool", 0o644);
        let found = place("second/tool", 0o755);
        place("third/tool", 0o755);
        let path = std::env::join_paths(
            ["first", "missing", "second", "third"].map(|name| folder.path().join(name)),
        );
        let world = World::new([("PATH".into(), path.unwrap())], "/");
        assert_eq!(world.find_program("tool"), Some(found));
        assert_eq!(world.find_program("other"), None);
    }

    #[test]
    fn empty_variables_count_as_absent() {
        let world = World::new([("A".into(), "".into())], "/");
        assert_eq!(world.variable("A"), None);
        assert_eq!(world.raw_variable("A"), Some(OsStr::new("")));
    }
}
