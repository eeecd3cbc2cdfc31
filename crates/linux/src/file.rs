//! Small reads and writes of kernel files, with errors that keep the path.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What was being done to a file when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening or reading it.
    Read,
    /// Opening it for writing, or writing.
    Write,
    /// Making the directory.
    CreateDir,
    /// Removing the directory.
    RemoveDir,
    /// Its text is not what the kernel documents.
    Parse,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::CreateDir => "create directory",
            Operation::RemoveDir => "remove directory",
            Operation::Parse => "understand",
        })
    }
}

/// A kernel file could not be read, written, made or understood.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} `{}`", path.display())]
pub struct FileError {
    /// What was tried.
    pub operation: Operation,
    /// The file or directory.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new(operation: Operation, path: &Path, source: io::Error) -> Self {
        FileError {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Self {
        let shown: String = text.chars().take(80).collect();
        let cause = io::Error::new(
            io::ErrorKind::InvalidData,
            format!("unexpected text {shown:?}"),
        );
        FileError::new(Operation::Parse, path, cause)
    }

    /// The errno behind it, where the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Whether what was to be made is there already (EEXIST).
    pub fn already_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether the process that the file is about has ended (ESRCH).
    pub fn is_of_a_lost_process(&self) -> bool {
        self.source.raw_os_error() == Some(libc::ESRCH)
    }

    /// Whether the file is not there (ENOENT).
    pub fn is_absent(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Room for most kernel files in one read: without it, reading begins with 32
/// bytes, since such files state no size.
const USUAL_SIZE: usize = 4096;

/// No kernel file that is read here comes near this; a file of a captured host
/// may be anything.
const LARGEST: usize = 16 << 20;

/// The whole text of a small file.
///
/// # Errors
/// Any failure to open or read; EFBIG above 16 MiB; text that is not UTF-8.
pub fn read(path: &Path) -> Result<String, FileError> {
    let mut buffer = Vec::new();
    read_into(path, &mut buffer)?;
    String::from_utf8(buffer).map_err(|error| {
        let cause = io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
        FileError::new(Operation::Read, path, cause)
    })
}

/// Reads into a buffer that is kept between calls, so that a steady loop does
/// not allocate.
///
/// # Errors
/// Any failure to open or read; EFBIG above 16 MiB.
pub(crate) fn read_into<'b>(path: &Path, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], FileError> {
    let failed = |error| FileError::new(Operation::Read, path, error);
    buffer.clear();
    buffer.reserve(USUAL_SIZE);
    // A pipe in a captured host would make us wait for somebody who writes to it.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    // `read_to_end` would ask for the size first and then look twice for more.
    loop {
        let filled = buffer.len();
        if buffer.capacity() - filled < USUAL_SIZE / 4 {
            buffer.reserve(USUAL_SIZE);
        }
        let room = buffer.capacity();
        buffer.resize(room, 0);
        let read = file.read(&mut buffer[filled..]);
        buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Ok(buffer),
            Ok(_) if buffer.len() > LARGEST => {
                return Err(failed(io::Error::from_raw_os_error(libc::EFBIG)));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// The lines that end: the kernel ends every one.
pub(crate) fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
}

/// Writes a value to an existing file in one `write`, as control files need.
///
/// # Errors
/// Any failure to open or write. The file is never created.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), FileError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|e| FileError::new(Operation::Write, path, e))
}
