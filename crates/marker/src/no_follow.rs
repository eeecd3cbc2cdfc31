//! Opening what is ours without being led elsewhere by a symbolic link.
//!
//! An output folder may belong to somebody else, who can put a link where a
//! file of ours is expected, and root follows links to everywhere.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Opens a folder; a link in its place is an error.
pub(crate) fn folder(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
}

/// Opens a regular file with these options; a link in its place is an error,
/// and so is a file that has another name too, which may be anybody's.
pub(crate) fn file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options
        // A pipe would wait for its other end.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.nlink() == 1 {
        return Ok(file);
    }
    let kind = io::ErrorKind::InvalidInput;
    Err(io::Error::new(kind, "it is not a file of its own"))
}

/// The name by which a file in an open folder is reached whatever has become of
/// the folder's own name.
pub(crate) fn below(folder: &File, name: &Path) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name)
}

/// Whether both are the same file or folder.
pub(crate) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        std::fs::create_dir(path("folder")).unwrap();
        std::fs::write(path("folder/file"), "mine").unwrap();
        symlink(path("folder"), path("link")).unwrap();
        symlink(path("folder/file"), path("file-link")).unwrap();
        assert!(folder(&path("link")).is_err());
        assert!(folder(&path("folder/file")).is_err());
        let opened = folder(&path("folder")).unwrap();
        let read = |name: &str| file(&path(name), OpenOptions::new().read(true));
        assert!(read("folder/file").is_ok());
        assert!(read("file-link").is_err());
        assert!(read("folder").is_err());
        std::fs::hard_link(path("folder/file"), path("other")).unwrap();
        assert!(read("folder/file").is_err(), "it has two names");

        // Moved away, and something else in its place.
        std::fs::rename(path("folder"), path("moved")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        let text = std::fs::read_to_string(below(&opened, Path::new("file")));
        assert_eq!(text.unwrap(), "mine");
        let here = std::fs::symlink_metadata(path("folder")).unwrap();
        assert!(!is_same(&here, &opened.metadata().unwrap()));
    }
}
