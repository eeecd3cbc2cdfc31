//! The folder `OUT/.memcap-KEY/`, in which a conversion keeps what it has.
//!
//! ```text
//! version      what wrote it; an unknown one is refused and left alone
//! lock         held while a conversion runs
//! journal      what has happened, one JSON object a line
//! chunks/      results of finished chunks
//! running/     the result of the chunk that is running
//! logs/        what marker wrote on its streams
//! merged/      the whole result before it is put in its place
//! input/       the document under a plain name, where its own is not text
//! ```

mod error;

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use error::WorkFolderError;

use crate::journal;
use crate::manifest::sync_folder;
use crate::pages::PageSet;
use crate::progress::Progress;

/// What every folder's name begins with.
pub const PREFIX: &str = ".memcap-";

/// Content of the file `version`.
const VERSION: &str = "memcap work folder 1\n";

/// A work folder that is ours until this is dropped.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    _lock: File,
}

impl WorkFolder {
    /// Where the folder of a conversion lies.
    pub fn place(output: &Path, key: &str) -> PathBuf {
        output.join(format!("{PREFIX}{key}"))
    }

    /// Makes or finds the folder, checks that it is ours, and locks it.
    ///
    /// # Errors
    /// When it cannot be made, is not ours, or is in use.
    pub fn open(output: &Path, key: &str) -> Result<WorkFolder, WorkFolderError> {
        let user = user_by_file(output).map_err(|source| WorkFolderError::Output {
            path: output.to_owned(),
            source,
        })?;
        let path = WorkFolder::place(output, key);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                check_ownership(&path, user)?;
            }
            Err(source) => {
                return Err(WorkFolderError::Output {
                    path: output.to_owned(),
                    source,
                });
            }
        }
        check_version(&path)?;
        let lock = lock(&path)?;
        write_version(&path)?;
        let folder = WorkFolder { path, _lock: lock };
        folder.clear_leftovers()?;
        sync_folder(output).map_err(wrap("sync", output))?;
        Ok(folder)
    }

    /// What an earlier run has left, without locking anything or looking into
    /// files; no progress where there is none.
    pub fn peek(output: &Path, key: &str, result: &Path) -> Progress {
        let path = WorkFolder::place(output, key);
        let records = journal::read(&path.join("journal")).unwrap_or_default();
        let mut progress = Progress::of(&records);
        if !progress.is_published(result) {
            progress
                .done
                .retain(|chunk| chunk_place(&path, &chunk.pages).is_dir());
        }
        progress
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the result of a finished chunk lies.
    pub fn chunk(&self, pages: &PageSet) -> PathBuf {
        chunk_place(&self.path, pages)
    }

    /// A new, empty folder for the chunk that is to run.
    ///
    /// # Errors
    /// When the old one cannot be removed or the new one not be made.
    pub fn fresh_running(&self) -> Result<PathBuf, WorkFolderError> {
        self.fresh("running")
    }

    /// A new, empty folder for the whole result.
    ///
    /// # Errors
    /// As [`WorkFolder::fresh_running`].
    pub fn fresh_merged(&self) -> Result<PathBuf, WorkFolderError> {
        self.fresh("merged")
    }

    /// A new, empty folder for the document under another name.
    ///
    /// # Errors
    /// As [`WorkFolder::fresh_running`].
    pub fn fresh_input(&self) -> Result<PathBuf, WorkFolderError> {
        self.fresh("input")
    }

    /// Where marker's output streams go: a chunk's name and `out` or `err`.
    pub fn log(&self, pages: &PageSet, stream: &str) -> PathBuf {
        self.path
            .join("logs")
            .join(format!("{}.{stream}", chunk_name(pages)))
    }

    /// The home of marker's servers.
    pub fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// Where a worker writes before its first chunk.
    pub fn worker_log(&self) -> PathBuf {
        self.path.join("logs").join("worker.err")
    }

    /// Moves the running chunk's result to its place and waits until that is
    /// on the disk.
    ///
    /// # Errors
    /// When something stands in its place and cannot be removed.
    pub fn keep_running_as(&self, pages: &PageSet) -> Result<(), WorkFolderError> {
        let place = self.chunk(pages);
        remove(&place)?;
        std::fs::rename(self.path.join("running"), &place).map_err(wrap("move", &place))?;
        let chunks = self.path.join("chunks");
        sync_folder(&chunks).map_err(wrap("sync", &chunks))
    }

    /// Removes the result of a chunk.
    ///
    /// # Errors
    /// When that fails.
    pub fn discard(&self, pages: &PageSet) -> Result<(), WorkFolderError> {
        remove(&self.chunk(pages))
    }

    /// Removes all but the version, the lock and the journal: what is left
    /// after the whole result is in its place.
    ///
    /// # Errors
    /// When that fails.
    pub fn clear(&self) -> Result<(), WorkFolderError> {
        for name in ["chunks", "running", "logs", "merged", "input", "home"] {
            remove(&self.path.join(name))?;
        }
        Ok(())
    }

    fn clear_leftovers(&self) -> Result<(), WorkFolderError> {
        // A copy without its password, too, that a killed run has left.
        for name in ["running", "merged", "input"] {
            remove(&self.path.join(name))?;
        }
        for name in ["chunks", "logs"] {
            let path = self.path.join(name);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(wrap("make", &path))?;
        }
        Ok(())
    }

    fn fresh(&self, name: &str) -> Result<PathBuf, WorkFolderError> {
        let path = self.path.join(name);
        remove(&path)?;
        // With the usual mode: the result keeps it, and here it lies in a folder
        // that nobody else can enter.
        std::fs::create_dir(&path).map_err(wrap("make", &path))?;
        Ok(path)
    }
}

fn chunk_place(folder: &Path, pages: &PageSet) -> PathBuf {
    folder.join("chunks").join(chunk_name(pages))
}

/// `pages-00001-00010`, counted from 1. Within one conversion no two chunks
/// have the same first and last page and other pages between.
fn chunk_name(pages: &PageSet) -> String {
    let number = |page: Option<u32>| page.map_or(0, |page| page + 1);
    format!(
        "pages-{:05}-{:05}",
        number(pages.first()),
        number(pages.last())
    )
}

/// The user that the file system gives to what we create; on file systems
/// without owners (some Windows drives) this need not be the process's.
/// Shows at once that the folder can be written.
fn user_by_file(output: &Path) -> io::Result<u32> {
    std::fs::create_dir_all(output)?;
    let probe = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempfile_in(output)?;
    Ok(probe.as_file().metadata()?.uid())
}

fn check_ownership(path: &Path, user: u32) -> Result<(), WorkFolderError> {
    let metadata = std::fs::symlink_metadata(path).map_err(wrap("look at", path))?;
    if !metadata.is_dir() {
        return Err(WorkFolderError::NotAFolder {
            path: path.to_owned(),
        });
    }
    if metadata.uid() != user {
        return Err(WorkFolderError::ForeignOwner {
            path: path.to_owned(),
            owner: metadata.uid(),
        });
    }
    if metadata.mode() & 0o077 != 0 {
        // File systems without modes refuse this; there the mode says nothing.
        let _ = std::fs::set_permissions(path, Permissions::from_mode(0o700));
    }
    Ok(())
}

/// A folder without a version is new only while it is empty, but for a lock
/// and a half-written version of ours.
fn check_version(path: &Path) -> Result<(), WorkFolderError> {
    let unknown = || WorkFolderError::UnknownVersion {
        path: path.to_owned(),
    };
    let file = path.join("version");
    match std::fs::read(&file) {
        Ok(content) if content == VERSION.as_bytes() => Ok(()),
        Ok(_) => Err(unknown()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let entries = std::fs::read_dir(path).map_err(wrap("read", path))?;
            let ours = |name: &std::ffi::OsStr| name == "lock" || name == "version.new";
            match entries.flatten().all(|entry| ours(&entry.file_name())) {
                true => Ok(()),
                false => Err(unknown()),
            }
        }
        Err(source) => Err(wrap("read", &file)(source)),
    }
}

fn lock(path: &Path) -> Result<File, WorkFolderError> {
    let path = path.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(wrap("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WorkFolderError::Busy { lock: path }),
        Err(TryLockError::Error(source)) => Err(wrap("lock", &path)(source)),
    }
}

fn write_version(folder: &Path) -> Result<(), WorkFolderError> {
    let path = folder.join("version");
    if path.exists() {
        return Ok(());
    }
    let new = folder.join("version.new");
    std::fs::write(&new, VERSION).map_err(wrap("write", &new))?;
    File::open(&new)
        .and_then(|file| file.sync_all())
        .map_err(wrap("sync", &new))?;
    std::fs::rename(&new, &path).map_err(wrap("write", &path))?;
    sync_folder(folder).map_err(wrap("sync", folder))
}

/// Removes a file or a folder with its content, not following links; nothing
/// there is success.
fn remove(path: &Path) -> Result<(), WorkFolderError> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(wrap("remove", path)(error)),
        _ => Ok(()),
    }
}

fn wrap<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> WorkFolderError + 'a {
    move |source| WorkFolderError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_locked_and_found_again() {
        let output = tempfile::tempdir().unwrap();
        let nested = output.path().join("new/out");
        let folder = WorkFolder::open(&nested, "k").unwrap();
        let path = WorkFolder::place(&nested, "k");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert!(matches!(
            WorkFolder::open(&nested, "k"),
            Err(WorkFolderError::Busy { .. })
        ));
        assert!(WorkFolder::open(&nested, "other").is_ok());
        drop(folder);
        assert!(WorkFolder::open(&nested, "k").is_ok());
    }

    #[test]
    fn an_unknown_version_is_refused_and_left_alone() {
        let output = tempfile::tempdir().unwrap();
        let path = WorkFolder::place(output.path(), "k");
        drop(WorkFolder::open(output.path(), "k").unwrap());
        std::fs::write(path.join("version"), "memcap work folder 2\n").unwrap();
        std::fs::write(path.join("running"), "precious").unwrap();
        let error = WorkFolder::open(output.path(), "k").unwrap_err();
        assert!(matches!(error, WorkFolderError::UnknownVersion { .. }));
        assert!(path.join("running").exists());
        std::fs::remove_file(path.join("version")).unwrap();
        let error = WorkFolder::open(output.path(), "k").unwrap_err();
        assert!(matches!(error, WorkFolderError::UnknownVersion { .. }));
    }

    #[test]
    fn links_are_not_followed() {
        let output = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let path = WorkFolder::place(output.path(), "k");
        std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap();
        let error = WorkFolder::open(output.path(), "k").unwrap_err();
        assert!(matches!(error, WorkFolderError::NotAFolder { .. }));
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_output_that_cannot_be_written_is_refused() {
        let output = tempfile::tempdir().unwrap();
        let file = output.path().join("file");
        std::fs::write(&file, "").unwrap();
        for place in [file.clone(), file.join("below")] {
            let error = WorkFolder::open(&place, "k").unwrap_err();
            assert!(matches!(error, WorkFolderError::Output { .. }), "{error}");
        }
    }
}
