//! Which files a result consists of, with their hashes: what makes "this
//! chunk is done" and "this file is ours" checkable.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One file of a result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its path below the result's folder.
    pub path: RelativePath,
    /// Its size in bytes.
    pub bytes: u64,
    /// The blake3 hash of its content, as 64 hexadecimal digits.
    pub blake3: String,
}

/// A path below a folder. In JSON a string, or a list of bytes where it is
/// not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "StoredPath", into = "StoredPath")]
pub struct RelativePath(PathBuf);

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredPath {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<StoredPath> for RelativePath {
    fn from(stored: StoredPath) -> Self {
        RelativePath(match stored {
            StoredPath::Text(text) => text.into(),
            StoredPath::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}

impl From<RelativePath> for StoredPath {
    fn from(path: RelativePath) -> Self {
        match path.0.into_os_string().into_string() {
            Ok(text) => StoredPath::Text(text),
            Err(bytes) => StoredPath::Bytes(OsStr::as_bytes(&bytes).to_vec()),
        }
    }
}

impl RelativePath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl From<&Path> for RelativePath {
    fn from(path: &Path) -> Self {
        RelativePath(path.to_owned())
    }
}

impl FileRecord {
    /// Whether the file below `folder` has exactly this content. A link, or a
    /// file that cannot be read, has not.
    pub fn matches(&self, folder: &Path) -> bool {
        let path = folder.join(self.path.as_path());
        let same_size = std::fs::symlink_metadata(&path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == self.bytes);
        same_size && hash(&path).is_ok_and(|hash| hash == self.blake3)
    }
}

/// Records every file below `folder`, in the order of their names, after
/// writing each of them through to the disk.
///
/// # Errors
/// When a file cannot be read or synced, or is neither file nor folder.
pub fn record(folder: &Path) -> io::Result<Vec<FileRecord>> {
    let mut records = Vec::new();
    collect(folder, Path::new(""), &mut records)?;
    records.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(records)
}

fn collect(folder: &Path, below: &Path, records: &mut Vec<FileRecord>) -> io::Result<()> {
    let here = folder.join(below);
    for entry in std::fs::read_dir(&here)? {
        let entry = entry?;
        let relative = below.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(folder, &relative, records)?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
            records.push(FileRecord {
                path: RelativePath(relative),
                bytes: entry.metadata()?.len(),
                blake3: hash(&entry.path())?,
            });
        } else {
            let message = format!("{} is neither a file nor a folder", entry.path().display());
            return Err(io::Error::other(message));
        }
    }
    sync_folder(&here)
}

/// Writes the names in a folder through to the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn hash(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_missing_or_replaced_file_no_longer_matches() {
        let folder = tempfile::tempdir().unwrap();
        let odd = OsStr::from_bytes(b"caf\xe9.md");
        std::fs::create_dir(folder.path().join("book")).unwrap();
        std::fs::write(folder.path().join("book").join(odd), "text").unwrap();
        std::fs::write(folder.path().join("a.jpeg"), "picture").unwrap();
        let records = record(folder.path()).unwrap();
        assert_eq!(records.len(), 2);
        let json = serde_json::to_string(&records).unwrap();
        assert_eq!(
            serde_json::from_str::<Vec<FileRecord>>(&json).unwrap(),
            records
        );
        assert!(records.iter().all(|record| record.matches(folder.path())));

        std::fs::write(folder.path().join("a.jpeg"), "pictuRe").unwrap();
        assert!(!records[0].matches(folder.path()));
        std::fs::remove_file(folder.path().join("a.jpeg")).unwrap();
        assert!(!records[0].matches(folder.path()));
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("a.jpeg")).unwrap();
        assert!(!records[0].matches(folder.path()));
        assert!(record(folder.path()).is_err());
    }
}
