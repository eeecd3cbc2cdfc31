//! Why a work folder cannot be used.

use std::io;
use std::path::PathBuf;

use crate::disk;
use crate::text::path_text;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkFolderError {
    /// The output folder cannot be made or written.
    #[error("cannot write to the output folder `{}`", path_text(.path))]
    Output {
        /// The output folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The output folder is not there and cannot be made.
    #[error("cannot make the output folder `{}` because of `{}`", path_text(.path), path_text(.place))]
    NoOutput {
        /// The output folder.
        path: PathBuf,
        /// The lowest folder, or what else stands in its way, that is there.
        place: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A document whose own name cannot be given to marker would be found by a name
    /// in there, which cannot either.
    #[error("marker cannot be told of `{}`: the output folder's name is not UTF-8", path_text(.path))]
    NotUtf8 {
        /// The document's place in the work folder.
        path: PathBuf,
    },
    /// Something in it failed.
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
    /// A link or a file stands in its place.
    #[error("`{}` is not a folder", path_text(.path))]
    NotAFolder {
        /// The work folder.
        path: PathBuf,
    },
    /// Its journal is that of another document or other settings.
    #[error("`{}` holds the work of another conversion", path_text(.path))]
    OtherConversion {
        /// The work folder.
        path: PathBuf,
    },
    /// Its name leads to something else than when the conversion began.
    #[error("`{}` was replaced during the conversion", path_text(.path))]
    Replaced {
        /// The work folder.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("`{}` belongs to user {owner}, not to you", path_text(.path))]
    ForeignOwner {
        /// The work folder.
        path: PathBuf,
        /// Numerical user id.
        owner: u32,
    },
    /// Another version of memcap made it, or something else did.
    #[error("`{}` was not made by this version of memcap", path_text(.path))]
    UnknownVersion {
        /// The work folder.
        path: PathBuf,
    },
    /// Another conversion of the same document is running.
    #[error("another memcap is converting this document (it holds `{}`)", path_text(.lock))]
    Busy {
        /// The lock.
        lock: PathBuf,
    },
}

impl WorkFolderError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            WorkFolderError::Output { source, .. } | WorkFolderError::NoOutput { source, .. } => {
                disk::hint(source).or(Some("choose another folder with -o".to_owned()))
            }
            WorkFolderError::NotUtf8 { .. } => {
                Some("choose an output folder whose name is UTF-8 with -o".to_owned())
            }
            WorkFolderError::NotAFolder { path }
            | WorkFolderError::OtherConversion { path }
            | WorkFolderError::UnknownVersion { path } => Some(format!(
                "move `{}` away, or choose another output folder",
                path_text(path)
            )),
            WorkFolderError::ForeignOwner { .. } | WorkFolderError::Replaced { .. } => {
                Some("choose an output folder of your own".to_owned())
            }
            WorkFolderError::Busy { .. } => {
                Some("wait for it, or choose another output folder".to_owned())
            }
            WorkFolderError::Io { source, .. } => disk::hint(source),
        }
    }
}
