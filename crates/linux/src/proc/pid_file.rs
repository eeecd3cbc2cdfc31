//! The files of one process below /proc.

use std::ffi::OsStr;
use std::io::Write;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::PROC;

/// The path of a file in /proc/PID, off the heap: a steady loop makes many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PidFile {
    text: [u8; PidFile::LONGEST],
    length: usize,
}

impl PidFile {
    /// `/proc/-2147483648/` and any name that is used here.
    const LONGEST: usize = 40;
}

impl Deref for PidFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.text[..self.length]))
    }
}

impl AsRef<Path> for PidFile {
    fn as_ref(&self) -> &Path {
        self
    }
}

pub(crate) fn pid_file(pid: i32, name: &str) -> PidFile {
    let mut text = [0; PidFile::LONGEST];
    let mut room = &mut text[..];
    let fits = write!(room, "{PROC}/{pid}/{name}");
    debug_assert!(fits.is_ok(), "{name} is too long");
    let length = PidFile::LONGEST - room.len();
    PidFile { text, length }
}

/// One file of every thread but the first.
pub(super) fn other_threads(pid: i32, name: &str) -> impl Iterator<Item = PathBuf> {
    let threads = std::fs::read_dir(pid_file(pid, "task"));
    let first = pid.to_string();
    threads
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(move |thread| thread.file_name() != first.as_str())
        .map(move |thread| thread.path().join(name))
}
