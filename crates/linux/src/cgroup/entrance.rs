//! The way into a group for a child that is being born.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::file::{FileError, Operation};

/// Opened before the child exists, so that a group that is not ours to enter
/// is known in time.
///
/// Writing to `cgroup.procs` makes the kernel wait until no process anywhere
/// is in the middle of a fork, an exec or an exit: often 10 to 30 ms on a quiet
/// machine. Neither way below does.
#[derive(Debug)]
pub struct Entrance {
    /// The v2 directory, to be born in (Linux 5.7).
    directory: Option<File>,
    /// The file to write `0` to.
    list: File,
}

impl Entrance {
    /// Into a v2 group: by birth, else through `cgroup.procs`.
    pub(super) fn v2(group: &Path) -> Result<Entrance, FileError> {
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(group)
            .map_err(|e| FileError::new(Operation::Read, group, e))?;
        Ok(Entrance {
            directory: Some(directory),
            list: open_list(&group.join("cgroup.procs"))?,
        })
    }

    /// Into a v1 group: through `tasks`, which takes one thread, and a child
    /// before its `exec` is no more.
    pub(super) fn v1(group: &Path) -> Result<Entrance, FileError> {
        Ok(Entrance {
            directory: None,
            list: open_list(&group.join("tasks"))?,
        })
    }

    /// The directory to be born in.
    pub(crate) fn directory(&self) -> Option<RawFd> {
        self.directory.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The file to write `0` to.
    pub(crate) fn list(&self) -> RawFd {
        self.list.as_raw_fd()
    }
}

fn open_list(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|e| FileError::new(Operation::Write, path, e))
}
