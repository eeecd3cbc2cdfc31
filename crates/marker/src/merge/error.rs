//! Why chunks cannot be joined.

use std::io;
use std::path::PathBuf;

use super::json::ShapeError;
use super::metadata::MetadataError;
use crate::disk;
use crate::text::path_text;

/// Why chunks cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There is no chunk.
    #[error("there are no chunks to join")]
    Nothing,
    /// Chunks overlap or are not in page order.
    #[error("the chunks to join overlap or are not in page order")]
    Order,
    /// The folder for the result holds something.
    #[error("`{}` is not empty", path_text(path))]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A file of marker's could not be read.
    #[error("failed to read `{}`", path_text(path))]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A chunk's metadata is not what marker writes for its pages.
    #[error("unexpected metadata in `{}`", path_text(path))]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: MetadataError,
    },
    /// A chunk's text is not what marker writes for its pages.
    #[error("unexpected text in `{}`", path_text(path))]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ShapeError,
    },
    /// A chunk's folder holds a link, a folder or something else that marker
    /// does not write.
    #[error("`{}` is not a regular file", path_text(path))]
    NotAFile {
        /// What was found.
        path: PathBuf,
    },
    /// Two chunks hold different files of one name.
    #[error(
        "`{}` would overwrite the file of the same name of another chunk",
        path_text(path)
    )]
    Collision {
        /// The second of the two.
        path: PathBuf,
    },
    /// A file of the result could not be written.
    #[error("failed to write `{}`", path_text(path))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl MergeError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            MergeError::Read { .. }
            | MergeError::Metadata { .. }
            | MergeError::Text { .. }
            | MergeError::NotAFile { .. }
            | MergeError::Collision { .. } => Some(
                "the work folder was changed, or this version of marker writes something unknown; \
                 remove the work folder to convert anew"
                    .to_owned(),
            ),
            MergeError::Write { source, .. } => disk::hint(source),
            MergeError::Nothing | MergeError::Order | MergeError::NotEmpty { .. } => None,
        }
    }
}
