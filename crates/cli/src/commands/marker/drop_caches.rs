//! Having the kernel forget what it has cached of files (`--drop-caches`).
//!
//! What it is worth: page cache is given up by the kernel itself when memory
//! is needed, so nothing fits that would not have fitted before. It makes
//! `free` tell more, and it can help where somebody else's limit or a virtual
//! machine's balloon counts the cache. It costs reading models and libraries
//! from the disk again.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{CliError, USAGE};

/// Below the root of the machine's files; see proc(5).
const FILE: &str = "proc/sys/vm/drop_caches";

/// The right to drop caches.
#[derive(Debug)]
pub(super) struct DropCaches {
    file: PathBuf,
}

impl DropCaches {
    /// Finds out whether it can be done. Opening the file changes nothing.
    ///
    /// # Errors
    /// When it cannot, with the reason.
    pub(super) fn allowed(root: &Path) -> Result<DropCaches, CliError> {
        let file = root.join(FILE);
        match OpenOptions::new().write(true).open(&file) {
            Ok(_) => Ok(DropCaches { file }),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Writes back what is dirty, since only clean pages are dropped, and drops
    /// them with the kernel's caches of names.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub(super) fn now(&self) -> io::Result<()> {
        nix::unistd::sync();
        let mut file = OpenOptions::new().write(true).open(&self.file)?;
        file.write_all(b"3\n")
    }
}

fn refusal(error: &io::Error) -> CliError {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "only root may do that",
        io::ErrorKind::ReadOnlyFilesystem => {
            "/proc/sys cannot be written here, as in most containers"
        }
        io::ErrorKind::NotFound => "this kernel, or this container, has no such switch",
        _ => "the kernel does not let us",
    };
    CliError::new(
        format!("--drop-caches: {why}: {error}"),
        Some(
            "leave it away: the kernel gives cached files up by itself when memory is needed"
                .to_owned(),
        ),
        USAGE,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_is_written_where_there_is_one() {
        let root = tempfile::tempdir().expect("a folder");
        let error = DropCaches::allowed(root.path()).expect_err("no switch");
        assert!(error.source.to_string().contains("no such switch"));
        let file = root.path().join(FILE);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
        std::fs::write(&file, "0\n").expect("a file");
        let caches = DropCaches::allowed(root.path()).expect("allowed");
        assert_eq!(std::fs::read_to_string(&file).expect("text"), "0\n");
        caches.now().expect("written");
        assert_eq!(std::fs::read_to_string(&file).expect("text"), "3\n");
    }

    #[test]
    fn refusals_say_why() {
        use io::ErrorKind as K;
        for (kind, words) in [
            (K::PermissionDenied, "root"),
            (K::ReadOnlyFilesystem, "containers"),
            (K::InvalidInput, "does not let us"),
        ] {
            let error = refusal(&kind.into());
            assert!(error.source.to_string().contains(words), "{error:?}");
            assert_eq!(error.code, USAGE);
        }
    }
}
