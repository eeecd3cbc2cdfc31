//! What keeps a comparison from being told.

use std::io;
use std::path::PathBuf;

use crate::text::path_text;

/// A file of a comparison could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} `{}`", path_text(.path))]
pub struct CompareError {
    /// `read` or `write`.
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}
