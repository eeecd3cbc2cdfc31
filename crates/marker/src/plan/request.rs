//! What is asked for: one document, a limit, and settings.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use memcap_linux::ByteSize;

use crate::chunks::Chunking;
use crate::drive::Drive;
use crate::format::OutputFormat;
use crate::many::Jobs;
use crate::pages::PageSelection;
use crate::password::Password;
use crate::tuning::TuningRequest;

/// One document to convert.
#[derive(Debug, Clone)]
pub struct Request {
    /// The PDF.
    pub document: PathBuf,
    /// The folder for the result, which becomes `OUT/<name of the document>/`.
    pub output: PathBuf,
    /// The limit for each run of marker, its whole process tree together, and
    /// what chunks are cut for.
    pub memory: ByteSize,
    /// A larger total that it shares with other conversions at the same time,
    /// where whoever runs the steps holds it: each run may then take that much
    /// while the others leave it, and chunks are still cut for `memory`.
    pub total: Option<ByteSize>,
    /// How many workers may convert chunks of it at the same time, each with a
    /// share of `memory`.
    pub workers: Jobs,
    /// Marker's interpreter, where it is not to be searched for.
    pub python: Option<PathBuf>,
    /// The password of the document, where it may need one.
    pub password: Option<Password>,
    /// The pages to convert; `None` for all.
    pub pages: Option<PageSelection>,
    /// What to convert it to.
    pub format: OutputFormat,
    /// How to cut.
    pub chunking: Chunking,
    /// Settings for marker.
    pub tuning: TuningRequest,
    /// What marker takes without weights and pages; `None` for what is known
    /// of the version, or was learned on this machine.
    pub baseline: Option<ByteSize>,
    /// Processors of the machine, which decide how much is done at once;
    /// `None` where that is not known.
    pub processors: Option<NonZeroUsize>,
    /// How long a chunk may take; `None` is without end.
    pub chunk_time: Option<Duration>,
    /// How marker is run for the chunks.
    pub drive: Drive,
    /// Whether files that memcap did not write may be overwritten.
    pub force: bool,
    /// Further options for marker, such as `--force_ocr`.
    pub marker_args: Vec<OsString>,
}

impl Request {
    /// A request with nothing but the necessary; chunks as the limit allows.
    pub fn new(document: impl Into<PathBuf>, output: impl Into<PathBuf>, memory: ByteSize) -> Self {
        Request {
            document: document.into(),
            output: output.into(),
            memory,
            total: None,
            workers: Jobs::One,
            python: None,
            password: None,
            pages: None,
            format: OutputFormat::default(),
            chunking: Chunking::Fit,
            tuning: TuningRequest::default(),
            baseline: None,
            processors: None,
            chunk_time: None,
            drive: Drive::default(),
            force: false,
            marker_args: Vec::new(),
        }
    }
}
