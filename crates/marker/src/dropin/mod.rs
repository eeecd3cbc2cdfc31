//! The spelling of marker-pdf-optimized, a wrapper whose command lines people
//! have in their scripts:
//!
//! ```text
//! marker-pdf-optimized marker_single input.pdf output/ --batch-multiplier 0.5 \
//!     --chunk-size 25 --auto-chunk
//! ```
//!
//! with `MARKER_BATCH_MULTIPLIER`, `MARKER_AUTO_CHUNK` and `MARKER_CHUNK_SIZE`
//! in the environment, which its options override. `marker IN OUT` does the same
//! for a folder. Every setting is given its best meaning on the installed
//! marker. Pure.

mod error;
mod settings;

use std::ffi::OsString;
use std::path::PathBuf;

pub use error::{DropInError, USAGE};

use memcap_linux::{ByteSize, SizeSpec};

use crate::chunks::Chunking;
use crate::environment::World;
use crate::format::OutputFormat;
use crate::many::Jobs;
use crate::pages::PageSelection;
use crate::plan::Request;
use crate::text::os_text;
use crate::tuning::TuningRequest;
use settings::{Settings, option};

/// Documents above this size, in bytes, are cut by default: the original's
/// 10 MB.
pub const AUTO_CHUNK_ABOVE: u64 = 10_000_000;

/// What a command line in this spelling asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct DropIn {
    /// The document, or a folder of documents.
    pub document: PathBuf,
    /// How many documents are converted at the same time.
    pub jobs: Jobs,
    /// The folder for the result.
    pub output: PathBuf,
    /// The limit; `None` where none was named (the original has none).
    pub memory: Option<SizeSpec>,
    /// Marker's interpreter.
    pub python: Option<PathBuf>,
    /// The pages; `None` for all.
    pub pages: Option<PageSelection>,
    /// What to convert to.
    pub format: OutputFormat,
    /// How to cut.
    pub chunking: Chunking,
    /// Settings for marker.
    pub tuning: TuningRequest,
    /// Whether foreign files may be overwritten.
    pub force: bool,
    /// Options behind `--`, for marker itself.
    pub marker_args: Vec<OsString>,
}

impl DropIn {
    /// The request under this limit.
    pub fn request(self, memory: ByteSize) -> Request {
        Request {
            python: self.python,
            pages: self.pages,
            format: self.format,
            chunking: self.chunking,
            tuning: self.tuning,
            force: self.force,
            marker_args: self.marker_args,
            ..Request::new(self.document, self.output, memory)
        }
    }
}

/// Parses the words behind the program's name.
///
/// # Errors
/// For anything that is not understood; nothing is guessed.
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    world: &World,
) -> Result<DropIn, DropInError> {
    let mut words = words.into_iter();
    let command = words
        .next()
        .ok_or(DropInError::Missing("the command `marker_single`"))?;
    if command != "marker_single" && command != "marker" {
        return Err(DropInError::UnknownCommand(os_text(&command)));
    }
    let mut settings = Settings::from_environment(world)?;
    while let Some(word) = words.next() {
        if word == "--" {
            settings.marker_args = words.collect();
            break;
        }
        match option(&word) {
            Some((name, value)) => settings.take(&name, value, &mut words)?,
            None => settings.names.push(word),
        }
    }
    settings.finish()
}

#[cfg(test)]
mod tests;
