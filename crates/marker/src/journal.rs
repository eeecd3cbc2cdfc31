//! What has happened in a conversion, one JSON object a line, each line
//! written through to the disk before the next step is taken.
//!
//! A crash can leave the last line unfinished. Reading stops at the first line
//! that is not whole, and writing goes on there: what is lost is at most the
//! knowledge that something was done, so it is done again. Command lines and
//! environments, which may hold secrets, are never written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::manifest::FileRecord;
use crate::no_follow;
use crate::pages::PageSet;
use crate::recovery::{Action, Effort};
use crate::text::path_text;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Record {
    /// A program began or continued the conversion.
    Opened {
        /// Version of memcap.
        memcap: String,
        /// Version of marker.
        marker: String,
        /// All pages that are wanted.
        pages: PageSet,
        /// The conversion's key, of which the work folder is named.
        #[serde(default)]
        key: Option<String>,
        /// The hash of the document, 64 hexadecimal digits.
        #[serde(default)]
        document: Option<String>,
    },
    /// A chunk was started.
    Started {
        /// Its pages.
        pages: PageSet,
        /// The limit for its tree.
        limit_bytes: ByteSize,
        /// What the attempt may cost.
        #[serde(default)]
        effort: Effort,
    },
    /// Marker ended with exit code 0 and these files are on the disk.
    Done {
        /// Its pages.
        pages: PageSet,
        /// The files below the chunk's folder.
        files: Vec<FileRecord>,
        /// What the attempt was allowed to cost.
        #[serde(default)]
        effort: Effort,
        /// The tree's peak, where measured.
        peak_bytes: Option<ByteSize>,
        /// From start to end, in milliseconds.
        wall_ms: u64,
    },
    /// A chunk ended without a result.
    Failed {
        /// Its pages.
        pages: PageSet,
        /// The verdict's kind.
        ending: String,
        /// Whether the reason was memory.
        memory: bool,
        /// The limit that it ran under.
        limit_bytes: ByteSize,
        /// What the attempt was allowed to cost.
        #[serde(default)]
        effort: Effort,
        /// Whether it was a second attempt after a crash, or part of one.
        #[serde(default)]
        retried: bool,
        /// What was to follow.
        #[serde(default)]
        then: Option<Action>,
    },
    /// Nothing more will be tried for these pages in this run.
    GaveUp {
        /// The pages.
        pages: PageSet,
        /// Why, on one line of printable text.
        because: String,
    },
    /// The files of a chunk were missing or changed; it must be done again.
    Discarded {
        /// Its pages.
        pages: PageSet,
    },
    /// These files are about to be put in their place.
    Publishing {
        /// Name of the result's folder, as printable text.
        folder: String,
        /// The files below it.
        files: Vec<FileRecord>,
    },
    /// They are there.
    Published {
        /// Pages that are missing in them.
        missing: PageSet,
    },
}

/// The journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} the journal `{}`", path_text(.path))]
pub struct JournalError {
    /// `open`, `read` or `write`.
    pub operation: &'static str,
    /// The journal.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

impl JournalError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        disk::hint(&self.source)
    }
}

/// A journal that is open for writing.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal, making it where it is missing, and reads what it
    /// holds. An unfinished rest is cut off.
    ///
    /// # Errors
    /// When the file cannot be opened, read or cut.
    pub fn open(path: &Path) -> Result<(Journal, Vec<Record>), JournalError> {
        let failed = |operation| {
            move |source| JournalError {
                operation,
                path: path.to_owned(),
                source,
            }
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = no_follow::file(path, options.mode(0o600)).map_err(failed("open"))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed("read"))?;
        let (records, whole) = parse(&content);
        file.set_len(whole).map_err(failed("write"))?;
        file.seek(SeekFrom::End(0)).map_err(failed("write"))?;
        Ok((
            Journal {
                path: path.to_owned(),
                file,
            },
            records,
        ))
    }

    /// Adds a line and waits until it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.write(record).map_err(|source| JournalError {
            operation: "write",
            path: self.path.clone(),
            source,
        })
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        #[cfg(test)]
        crate::testing::stop::before_a_record()?;
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        #[cfg(test)]
        crate::testing::stop::behind_a_record()?;
        Ok(())
    }
}

/// The records of a journal that somebody else may be writing.
pub fn read(path: &Path) -> io::Result<Vec<Record>> {
    let mut content = Vec::new();
    no_follow::file(path, OpenOptions::new().read(true))?.read_to_end(&mut content)?;
    Ok(parse(&content).0)
}

/// The whole lines, and the length of the text that they fill.
fn parse(content: &[u8]) -> (Vec<Record>, u64) {
    let mut records = Vec::new();
    let mut whole = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(record) if line.ends_with(b"\n") => records.push(record),
            _ => break,
        }
        whole += line.len() as u64;
    }
    (records, whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::records::done;

    #[test]
    fn a_torn_line_is_cut_off_and_writing_goes_on_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, records) = Journal::open(&path).unwrap();
        assert_eq!(records, []);
        journal.append(&done(1)).unwrap();
        journal.append(&done(2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for torn in [
            &b"{\"event\":\"done\""[..],
            b"\0\0\0\n",
            &whole[..whole.len() - 1],
        ] {
            std::fs::write(&path, [&whole, torn].concat()).unwrap();
            let (mut journal, records) = Journal::open(&path).unwrap();
            let before = records.len();
            assert!(records.starts_with(&[done(1), done(2)]), "{records:?}");
            journal.append(&done(3)).unwrap();
            assert_eq!(read(&path).unwrap().len(), before + 1);
            assert_eq!(read(&path).unwrap().last(), Some(&done(3)));
        }
    }
}
