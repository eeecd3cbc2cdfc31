//! Putting a finished result into the output folder without harming anything
//! that is there.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::journal::{self, Record};
use crate::manifest::FileRecord;
use crate::no_follow;
use crate::text::path_text;
use crate::work_folder::PREFIX;

/// Why a result cannot be put in its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file or a link stands where the result's folder belongs.
    #[error("`{}` is in the way: it is not a folder", path_text(.path))]
    NotAFolder {
        /// What is in the way.
        path: PathBuf,
    },
    /// A file stands there that memcap did not write, or that was changed.
    #[error("`{}` exists, and it is not as memcap wrote it", path_text(.path))]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A step failed.
    #[error("failed to {operation} `{}`", path_text(.path))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl PublishError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PublishError::NotAFolder { .. } => {
                Some("move it away, or choose another output folder".to_owned())
            }
            PublishError::Foreign { .. } => Some(
                "move it away, choose another output folder, or overwrite it with --force"
                    .to_owned(),
            ),
            PublishError::Io { source, .. } => disk::hint(source).or(Some(
                match source.kind() {
                    io::ErrorKind::NotADirectory => "name a folder as the output, not a file",
                    io::ErrorKind::PermissionDenied => {
                        "choose an output folder that you may write to"
                    }
                    _ => "check the output folder and the disk that it is on",
                }
                .to_owned(),
            )),
        }
    }
}

/// What stands where a result belongs, and may go.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    ours: HashSet<FileRecord>,
    force: bool,
}

impl Place {
    /// The place of the result `folder`, which lies in `output`. Which files
    /// are ours is told by the journals of all conversions in `output`.
    pub fn new(output: &Path, folder: PathBuf, force: bool) -> Place {
        let ours = written_by_us(output, &folder_name(&folder));
        Place {
            folder,
            ours,
            force,
        }
    }

    /// Checks, before any work, that the main files can be written later.
    ///
    /// # Errors
    /// When something is in the way.
    pub fn check(&self, main_files: &[PathBuf]) -> Result<(), PublishError> {
        if self.metadata()?.is_none() {
            return Ok(());
        }
        main_files.iter().try_for_each(|file| self.check_file(file))
    }

    /// Moves the files below `merged` here. An absent folder appears whole; in
    /// one that exists, each file is replaced in one step, files of an older
    /// result of ours that no longer belong are removed, and all others stay.
    ///
    /// # Errors
    /// When something is in the way (then nothing was changed), or a move
    /// fails.
    pub fn put(&self, merged: &Path, files: &[FileRecord]) -> Result<(), PublishError> {
        let output = self.folder.parent().unwrap_or(&self.folder);
        // Two results for one place take turns. Where the file system has no
        // locks, the second finds files of the first that are not its own.
        let turn = File::open(output).map_err(wrap("open", output))?;
        let _ = turn.lock();
        if self.metadata()?.is_none() {
            std::fs::rename(merged, &self.folder).map_err(wrap("make", &self.folder))?;
        } else {
            self.put_into(merged, files)?;
        }
        turn.sync_all().map_err(wrap("sync", output))
    }

    /// Into the existing folder, whatever becomes of its name meanwhile.
    fn put_into(&self, merged: &Path, files: &[FileRecord]) -> Result<(), PublishError> {
        let folder = no_follow::folder(&self.folder).map_err(wrap("open", &self.folder))?;
        let here = no_follow::below(&folder, Path::new(""));
        files
            .iter()
            .try_for_each(|file| self.check_file_in(&here, file.path.as_path()))?;
        self.remove_outdated(&here, files)?;
        for file in files {
            let name = file.path.as_path();
            std::fs::rename(merged.join(name), here.join(name))
                .map_err(wrap("write", &self.folder.join(name)))?;
        }
        folder.sync_all().map_err(wrap("sync", &self.folder))
    }

    fn metadata(&self) -> Result<Option<Metadata>, PublishError> {
        match std::fs::symlink_metadata(&self.folder) {
            Ok(metadata) if metadata.is_dir() => Ok(Some(metadata)),
            Ok(_) => Err(PublishError::NotAFolder {
                path: self.folder.clone(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(wrap("look at", &self.folder)(source)),
        }
    }

    fn check_file(&self, file: &Path) -> Result<(), PublishError> {
        self.check_file_in(&self.folder, file)
    }

    /// `here` is the folder by whichever name.
    fn check_file_in(&self, here: &Path, file: &Path) -> Result<(), PublishError> {
        let foreign = || PublishError::Foreign {
            path: self.folder.join(file),
        };
        match std::fs::symlink_metadata(here.join(file)) {
            Err(_) => Ok(()),
            Ok(metadata) if metadata.is_dir() => Err(foreign()),
            Ok(_) if self.force || self.is_ours(here, file) => Ok(()),
            Ok(_) => Err(foreign()),
        }
    }

    fn is_ours(&self, here: &Path, file: &Path) -> bool {
        self.ours
            .iter()
            .any(|record| record.path.as_path() == file && record.matches(here))
    }

    fn remove_outdated(&self, here: &Path, files: &[FileRecord]) -> Result<(), PublishError> {
        let stays = |old: &FileRecord| files.iter().any(|file| file.path == old.path);
        for old in self
            .ours
            .iter()
            .filter(|old| !stays(old) && old.matches(here))
        {
            let name = old.path.as_path();
            std::fs::remove_file(here.join(name))
                .map_err(wrap("remove", &self.folder.join(name)))?;
        }
        Ok(())
    }
}

/// How journals name the folder of a result.
pub fn folder_name(folder: &Path) -> String {
    crate::text::os_text(folder.file_name().unwrap_or_default())
}

fn written_by_us(output: &Path, name: &str) -> HashSet<FileRecord> {
    let Ok(entries) = std::fs::read_dir(output) else {
        return HashSet::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .flat_map(|entry| journal::read(&entry.path().join("journal")).unwrap_or_default())
        .filter_map(|record| match record {
            Record::Publishing { folder, files } if folder == name => Some(files),
            _ => None,
        })
        .flatten()
        .collect()
}

fn wrap<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> PublishError + 'a {
    move |source| PublishError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::manifest::record;
    use std::fs;

    /// Publishes `files` into OUT/book as one conversion, with its journal.
    fn publish(output: &Path, key: &str, files: &[&str], force: bool) -> Result<(), PublishError> {
        let work = output.join(format!("{PREFIX}{key}"));
        let merged = work.join("merged");
        fs::create_dir_all(&merged).unwrap();
        for file in files {
            fs::write(merged.join(file), format!("{key} {file}")).unwrap();
        }
        let files = record(&merged).unwrap();
        let place = Place::new(output, output.join("book"), force);
        let (mut journal, _) = Journal::open(&work.join("journal")).unwrap();
        journal
            .append(&Record::Publishing {
                folder: "book".into(),
                files: files.clone(),
            })
            .unwrap();
        let put = place.put(&merged, &files);
        fs::remove_dir_all(&merged).ok();
        put
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_older_result_of_ours_is_replaced_and_foreign_files_stay() {
        let output = tempfile::tempdir().unwrap();
        let book = output.path().join("book");
        publish(output.path(), "one", &["book.md", "1.jpeg"], false).unwrap();
        fs::write(book.join("notes"), "mine").unwrap();
        publish(output.path(), "two", &["book.md", "2.jpeg"], false).unwrap();
        assert_eq!(names(&book), ["2.jpeg", "book.md", "notes"]);
        assert_eq!(
            fs::read_to_string(book.join("book.md")).unwrap(),
            "two book.md"
        );
    }

    #[test]
    fn changed_and_foreign_files_are_not_overwritten_without_force() {
        let output = tempfile::tempdir().unwrap();
        let book = output.path().join("book");
        publish(output.path(), "one", &["book.md"], false).unwrap();
        fs::write(book.join("book.md"), "edited").unwrap();
        let error = publish(output.path(), "two", &["book.md", "2.jpeg"], false).unwrap_err();
        assert!(matches!(error, PublishError::Foreign { .. }));
        assert_eq!(fs::read_to_string(book.join("book.md")).unwrap(), "edited");
        assert_eq!(names(&book), ["book.md"]);
        let place = Place::new(output.path(), book.clone(), false);
        assert!(place.check(&["book.md".into()]).is_err());
        assert!(place.check(&["other.md".into()]).is_ok());
        publish(output.path(), "two", &["book.md", "2.jpeg"], true).unwrap();
        assert_eq!(
            fs::read_to_string(book.join("book.md")).unwrap(),
            "two book.md"
        );
    }

    #[test]
    fn of_two_results_for_one_place_the_second_is_refused() {
        let output = tempfile::tempdir().unwrap();
        let book = output.path().join("book");
        // Looked at before the first was there.
        let second = Place::new(output.path(), book.clone(), false);
        publish(output.path(), "one", &["book.md"], false).unwrap();
        let merged = output.path().join("merged");
        fs::create_dir(&merged).unwrap();
        fs::write(merged.join("book.md"), "two").unwrap();
        let error = second.put(&merged, &record(&merged).unwrap()).unwrap_err();
        assert!(matches!(error, PublishError::Foreign { .. }), "{error}");
        let text = fs::read_to_string(book.join("book.md")).unwrap();
        assert_eq!(text, "one book.md");
    }

    #[test]
    fn a_link_in_place_of_a_file_is_replaced_and_not_followed() {
        let output = tempfile::tempdir().unwrap();
        let precious = output.path().join("precious");
        fs::write(&precious, "mine").unwrap();
        let book = output.path().join("book");
        fs::create_dir(&book).unwrap();
        std::os::unix::fs::symlink(&precious, book.join("book.md")).unwrap();
        let error = publish(output.path(), "one", &["book.md"], false).unwrap_err();
        assert!(matches!(error, PublishError::Foreign { .. }), "{error}");
        publish(output.path(), "one", &["book.md"], true).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
        assert!(
            fs::symlink_metadata(book.join("book.md"))
                .unwrap()
                .is_file()
        );
    }

    #[test]
    fn a_file_or_a_link_in_the_way_is_never_replaced() {
        let output = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let book = output.path().join("book");
        std::os::unix::fs::symlink(elsewhere.path(), &book).unwrap();
        let error = publish(output.path(), "one", &["book.md"], true).unwrap_err();
        assert!(matches!(error, PublishError::NotAFolder { .. }));
        assert!(names(elsewhere.path()).is_empty());
    }
}
