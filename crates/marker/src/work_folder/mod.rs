//! The folder `OUT/.memcap-KEY/`, in which a conversion keeps what it has.
//!
//! ```text
//! version      what wrote it; an unknown one is refused and left alone
//! lock         held while a conversion runs
//! journal      what has happened, one JSON object a line
//! chunks/      results of finished chunks
//! running/     the result of the chunk that is running; of further workers running-2/ …
//! logs/        what marker wrote on its streams
//! merged/      the whole result before it is put in its place
//! input/       the document under a plain name, where its own is not text
//! ```

mod error;
mod output;

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use error::WorkFolderError;
pub use output::check_output;

use crate::journal::{self, Record};
use crate::manifest::sync_folder;
use crate::no_follow;
use crate::pages::PageSet;
use crate::progress::Progress;

/// What every folder's name begins with.
pub const PREFIX: &str = ".memcap-";

/// Content of the file `version`.
const VERSION: &str = "memcap work folder 1\n";

/// What the names of the folders begin with into which chunks are converted.
const RUNNING: &str = "running";

/// A work folder that is ours until this is dropped.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    /// The folder itself, whatever becomes of its name.
    handle: File,
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
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(WorkFolderError::Output {
                    path: output.to_owned(),
                    source,
                });
            }
        }
        let handle = open_own(&path, user)?;
        check_version(&path)?;
        let lock = lock(&path)?;
        write_version(&path)?;
        let folder = WorkFolder {
            path,
            handle,
            _lock: lock,
        };
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

    /// A new, empty folder for the chunk that this worker, counted from 0, is to
    /// run.
    ///
    /// # Errors
    /// When the old one cannot be removed or the new one not be made.
    pub fn fresh_running(&self, worker: usize) -> Result<PathBuf, WorkFolderError> {
        self.fresh(&of_worker(RUNNING, worker))
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

    /// Where a worker, counted from 0, writes before its first chunk.
    pub fn worker_log(&self, worker: usize) -> PathBuf {
        let name = format!("{}.err", of_worker("worker", worker));
        self.path.join("logs").join(name)
    }

    /// Moves the result of the chunk that this worker ran to its place and waits until that is
    /// on the disk.
    ///
    /// # Errors
    /// When something stands in its place and cannot be removed.
    pub fn keep_running_as(&self, worker: usize, pages: &PageSet) -> Result<(), WorkFolderError> {
        self.check_in_place()?;
        let place = self.chunk(pages);
        remove(&place)?;
        let running = self.path.join(of_worker(RUNNING, worker));
        std::fs::rename(running, &place).map_err(wrap("move", &place))?;
        let chunks = self.path.join("chunks");
        sync_folder(&chunks).map_err(wrap("sync", &chunks))
    }

    /// Removes the result of a chunk.
    ///
    /// # Errors
    /// When that fails.
    pub fn discard(&self, pages: &PageSet) -> Result<(), WorkFolderError> {
        self.check_in_place()?;
        remove(&self.chunk(pages))
    }

    /// Removes all but the version, the lock and the journal: what is left
    /// after the whole result is in its place.
    ///
    /// # Errors
    /// When that fails.
    pub fn clear(&self) -> Result<(), WorkFolderError> {
        self.check_in_place()?;
        for name in ["chunks", "logs", "merged", "input", "home"] {
            remove(&self.path.join(name))?;
        }
        self.clear_running()
    }

    /// Removes what the workers of this run, or of an earlier one, were making.
    fn clear_running(&self) -> Result<(), WorkFolderError> {
        let entries = std::fs::read_dir(&self.path).map_err(wrap("read", &self.path))?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(RUNNING) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Refuses the journal of another conversion, as in a folder that was copied
    /// or renamed.
    ///
    /// # Errors
    /// [`WorkFolderError::OtherConversion`].
    pub fn check_belongs_to(&self, key: &str, records: &[Record]) -> Result<(), WorkFolderError> {
        let is_other = |record: &Record| match record {
            Record::Opened { key: Some(own), .. } => own != key,
            _ => false,
        };
        if records.iter().any(is_other) {
            return Err(WorkFolderError::OtherConversion {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    /// Refuses to go on where the folder's name leads to something else by now,
    /// as its owner's neighbours in the output folder may have arranged.
    ///
    /// # Errors
    /// [`WorkFolderError::Replaced`].
    pub fn check_in_place(&self) -> Result<(), WorkFolderError> {
        let here = std::fs::symlink_metadata(&self.path).ok();
        let own = self.handle.metadata().ok();
        match (here, own) {
            (Some(here), Some(own)) if no_follow::is_same(&here, &own) => Ok(()),
            _ => Err(WorkFolderError::Replaced {
                path: self.path.clone(),
            }),
        }
    }

    fn clear_leftovers(&self) -> Result<(), WorkFolderError> {
        // A copy without its password, too, that a killed run has left.
        for name in ["merged", "input"] {
            remove(&self.path.join(name))?;
        }
        self.clear_running()
    }

    /// Makes the folders for results and for what marker says, where they are not
    /// there: not before anything is to be converted.
    ///
    /// # Errors
    /// When one cannot be made, or is something else.
    pub fn make_room(&self) -> Result<(), WorkFolderError> {
        self.check_in_place()?;
        for name in ["chunks", "logs"] {
            let path = self.path.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(wrap("make", &path)(error));
                }
                _ => no_follow::folder(&path).map_err(wrap("open", &path))?,
            };
        }
        Ok(())
    }

    fn fresh(&self, name: &str) -> Result<PathBuf, WorkFolderError> {
        self.check_in_place()?;
        let path = self.path.join(name);
        remove(&path)?;
        // With the usual mode: the result keeps it, and here it lies in a folder
        // that nobody else can enter.
        std::fs::create_dir(&path).map_err(wrap("make", &path))?;
        Ok(path)
    }
}

/// The first worker's names are those of the only one.
fn of_worker(name: &str, worker: usize) -> String {
    match worker {
        0 => name.to_owned(),
        other => format!("{name}-{}", other + 1),
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

/// Opens the folder, which must be one and belong to us.
fn open_own(path: &Path, user: u32) -> Result<File, WorkFolderError> {
    let named = std::fs::symlink_metadata(path).map_err(wrap("look at", path))?;
    let not_a_folder = || WorkFolderError::NotAFolder {
        path: path.to_owned(),
    };
    if !named.is_dir() {
        return Err(not_a_folder());
    }
    if named.uid() != user {
        return Err(WorkFolderError::ForeignOwner {
            path: path.to_owned(),
            owner: named.uid(),
        });
    }
    let handle = no_follow::folder(path).map_err(wrap("open", path))?;
    let metadata = handle.metadata().map_err(wrap("look at", path))?;
    if !no_follow::is_same(&named, &metadata) {
        return Err(not_a_folder());
    }
    if metadata.mode() & 0o077 != 0 {
        // File systems without modes refuse this; there the mode says nothing.
        let _ = handle.set_permissions(Permissions::from_mode(0o700));
    }
    Ok(handle)
}

/// A folder without a version is new only while it is empty, but for a lock
/// and a half-written version of ours.
fn check_version(path: &Path) -> Result<(), WorkFolderError> {
    let unknown = || WorkFolderError::UnknownVersion {
        path: path.to_owned(),
    };
    let file = path.join("version");
    let mut content = Vec::new();
    let read = no_follow::file(&file, OpenOptions::new().read(true))
        .and_then(|file| file.take(1024).read_to_end(&mut content));
    match read {
        Ok(_) if content == VERSION.as_bytes() => Ok(()),
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
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = no_follow::file(&path, &mut options).map_err(wrap("open", &path))?;
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
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let write = |mut file: File| {
        file.write_all(VERSION.as_bytes())?;
        file.sync_all()
    };
    no_follow::file(&new, &mut options)
        .and_then(write)
        .map_err(wrap("write", &new))?;
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
mod tests;
