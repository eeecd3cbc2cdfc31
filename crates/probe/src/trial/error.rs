//! Why a trial could not be made.

use std::io;

use memcap_linux::cgroup::Limit;
use memcap_linux::spawn::SpawnError;
use memcap_linux::{ByteSize, FileError};

/// A step of a trial that failed; the mechanism is then neither proved nor
/// disproved.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A control file or directory.
    #[error(transparent)]
    Group(#[from] FileError),
    /// systemd gave no scope.
    #[error(transparent)]
    Scope(#[from] crate::systemd::ScopeError),
    /// The child did not start.
    #[error(transparent)]
    Start(#[from] SpawnError),
    /// A lease could not be given.
    #[error("failed to set the RLIMIT_DATA of a child")]
    Lease(#[source] io::Error),
    /// No child could be made.
    #[error("failed to make a child")]
    Fork(#[source] io::Error),
    /// No name for a group could be made.
    #[error("failed to name a group")]
    Name(#[source] io::Error),
    /// The socket to the child could not be made.
    #[error("failed to make a socket for the child")]
    Link(#[source] io::Error),
    /// A limit that was written is not the one that is read.
    #[error("wrote a limit of {wrote}, but read {read}")]
    LimitNotKept {
        /// What was written.
        wrote: ByteSize,
        /// What the control file says.
        read: LimitText,
    },
    /// The child is not a member of the group it was started in.
    #[error("the child was started in the group, but is not listed there")]
    NotPlaced,
    /// The child answered in a way that no trial expects.
    #[error("the child ended with {0}")]
    Child(String),
    /// Something made by the trial could not be removed.
    #[error("a group of the trial stays behind")]
    NotRemoved(#[source] FileError),
}

/// A limit for people.
#[derive(Debug)]
pub struct LimitText(pub Limit);

impl std::fmt::Display for LimitText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Limit::Unlimited => f.write_str("no limit"),
            Limit::At(bytes) => bytes.fmt(f),
        }
    }
}
