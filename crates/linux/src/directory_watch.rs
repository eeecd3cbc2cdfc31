//! Being told of changes in a directory (fcntl(2), F_NOTIFY), in control groups
//! too: what a program writes or makes there counts as in any file system.
//!
//! inotify(7) would tell more, but whoever has used it waits for the kernel when it
//! ends (8 ms on Linux 6.18, for one directory), which is longer than a short run.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::file::{FileError, Operation};

/// `DN_MODIFY`, `DN_CREATE`, and `DN_MULTISHOT` (more than once), as in
/// `include/uapi/linux/fcntl.h`; the C library's bindings lack them.
const CHANGES: libc::c_uint = 0x2 | 0x4 | 0x8000_0000;

/// While it lives, SIGIO comes to this process when a file of one directory is
/// written to or something is made there.
#[derive(Debug)]
pub struct DirectoryWatch {
    directory: File,
}

impl AsFd for DirectoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl DirectoryWatch {
    /// Watches `directory`, whatever is below its own folders left out. SIGIO must be
    /// blocked, or be handled: by default it ends the process.
    ///
    /// # Errors
    /// When it cannot be opened; EINVAL where the kernel tells nobody of such changes
    /// (`fs.dir-notify-enable`).
    pub fn new(directory: &Path) -> Result<DirectoryWatch, FileError> {
        let failed = |error| FileError::new(Operation::Read, directory, error);
        let opened = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(directory)
            .map_err(failed)?;
        // SAFETY: a live descriptor and plain numbers.
        match unsafe { libc::fcntl(opened.as_raw_fd(), libc::F_NOTIFY, CHANGES) } {
            0 => Ok(DirectoryWatch { directory: opened }),
            _ => Err(failed(std::io::Error::last_os_error())),
        }
    }
}
