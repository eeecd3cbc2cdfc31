//! The files of chunks and of the result. Knows no page and no format.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::MergeError;
use super::survey::Frame;

/// The names marker gives to a document's files.
#[derive(Debug)]
pub(super) struct Names {
    /// `<stem>.<extension>`.
    pub(super) text: OsString,
    /// `<stem>_meta.json`.
    pub(super) metadata: OsString,
}

impl Names {
    pub(super) fn new(stem: &OsStr, extension: &str) -> Names {
        let with = |ending: &str| {
            let mut name = stem.to_owned();
            name.push(ending);
            name
        };
        Names {
            text: with(&format!(".{extension}")),
            metadata: with("_meta.json"),
        }
    }
}

/// Refuses a folder that is absent or holds anything.
pub(super) fn check_empty(folder: &Path) -> Result<(), MergeError> {
    match fs::read_dir(folder).map_err(read_error(folder))?.next() {
        None => Ok(()),
        Some(_) => Err(MergeError::NotEmpty {
            path: folder.to_owned(),
        }),
    }
}

/// Reads a text. marker writes UTF-8; a byte that is not is an error.
pub(super) fn read_text(path: &Path) -> Result<String, MergeError> {
    fs::read_to_string(path).map_err(read_error(path))
}

/// Writes a new file and makes its content durable.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), MergeError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(write_error(path))
}

/// Writes the joined text, body by body.
#[derive(Debug)]
pub(super) struct TextWriter<'a, W> {
    to: W,
    path: PathBuf,
    frame: &'a Frame,
    is_first: bool,
}

impl<'a> TextWriter<'a, File> {
    /// Into a new file.
    pub(super) fn create(path: &Path, frame: &'a Frame) -> Result<Self, MergeError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(write_error(path))?;
        TextWriter::new(file, path, frame)
    }

    /// Writes the rest and makes the file durable.
    pub(super) fn finish(self) -> Result<(), MergeError> {
        let path = self.path.clone();
        self.close()?.sync_all().map_err(write_error(&path))
    }
}

impl<'a, W: Write> TextWriter<'a, W> {
    pub(super) fn new(to: W, path: &Path, frame: &'a Frame) -> Result<Self, MergeError> {
        let mut writer = TextWriter {
            to,
            path: path.to_owned(),
            frame,
            is_first: true,
        };
        writer.write(&frame.head)?;
        Ok(writer)
    }

    /// Adds a body; an empty one adds nothing.
    pub(super) fn put(&mut self, body: &str) -> Result<(), MergeError> {
        if body.is_empty() {
            return Ok(());
        }
        let before = match std::mem::replace(&mut self.is_first, false) {
            true => self.frame.first,
            false => self.frame.between,
        };
        self.write(before)?;
        self.write(body)
    }

    /// Writes what stands behind the bodies.
    pub(super) fn close(mut self) -> Result<W, MergeError> {
        if !self.is_first {
            self.write(self.frame.last)?;
        }
        self.write(&self.frame.tail)?;
        Ok(self.to)
    }

    fn write(&mut self, text: &str) -> Result<(), MergeError> {
        self.to
            .write_all(text.as_bytes())
            .map_err(write_error(&self.path))
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), MergeError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(write_error(folder))
}

/// The names of all files in a chunk's folder but text and metadata, sorted.
pub(super) fn other_files(folder: &Path, names: &Names) -> Result<Vec<OsString>, MergeError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(read_error(folder))? {
        let entry = entry.map_err(read_error(folder))?;
        let name = entry.file_name();
        if name == names.text || name == names.metadata {
            continue;
        }
        // The entry's own type: a symbolic link is not followed.
        if !entry
            .file_type()
            .map_err(read_error(&entry.path()))?
            .is_file()
        {
            return Err(MergeError::NotAFile { path: entry.path() });
        }
        found.push(name);
    }
    found.sort();
    Ok(found)
}

/// Puts a file into its place, by a hard link where the file system allows
/// that: a long document has gigabytes of images.
pub(super) fn link(from: &Path, to: &Path) -> Result<(), MergeError> {
    match fs::hard_link(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(MergeError::Collision {
                path: from.to_owned(),
            });
        }
        // Another file system, or one without links: the reason does not
        // matter, since a copy meets the same one if it is serious.
        Err(_) => copy(from, to)?,
    }
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(write_error(to))
}

fn copy(from: &Path, to: &Path) -> Result<(), MergeError> {
    let mut source = File::open(from).map_err(read_error(from))?;
    let target = OpenOptions::new().write(true).create_new(true).open(to);
    let mut target = match target {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(MergeError::Collision {
                path: from.to_owned(),
            });
        }
        other => other.map_err(write_error(to))?,
    };
    io::copy(&mut source, &mut target)
        .map_err(write_error(to))
        .map(drop)
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> MergeError {
    let path: PathBuf = path.to_owned();
    move |source| MergeError::Read { path, source }
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> MergeError {
    let path: PathBuf = path.to_owned();
    move |source| MergeError::Write { path, source }
}
