//! How a conversion went.

use std::path::PathBuf;
use std::time::Duration;

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::pages::PageSet;
use crate::runner::Ending;

/// How a conversion went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// In one word.
    pub status: Status,
    /// The folder of the result, where there is one.
    #[serde(serialize_with = "crate::text::serialize_optional_path")]
    pub result: Option<PathBuf>,
    /// Pages that have been converted, by this run or an earlier one.
    pub converted: PageSet,
    /// Pages that are missing.
    pub missing: PageSet,
    /// Why pages are missing that were given up: each is a visible placeholder
    /// in the result. In the order in which they were given up.
    pub placeholders: Vec<Placeholder>,
    /// Pages that could only be converted at half the resolution: their images
    /// are smaller, and recognised text may be worse.
    pub low_resolution: PageSet,
    /// Chunks that this run converted.
    pub chunks_run: usize,
    /// Chunks that an earlier run had converted.
    pub chunks_kept: usize,
    /// The largest peak of a run that is part of the result, or that the user
    /// stopped, where measured.
    pub peak: Option<ByteSize>,
    /// How long marker ran, all runs of this conversion together.
    pub marker_time: Duration,
}

/// Pages that could not be converted, however it was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placeholder {
    /// The pages.
    pub pages: PageSet,
    /// How the last attempt ended, as the rest of a sentence on one line:
    /// `marker reached its memory limit`.
    pub because: String,
}

impl Placeholder {
    /// For pages whose last attempt ended so, marker's last line being this.
    pub(crate) fn new(pages: PageSet, ending: &Ending, last_words: Option<String>) -> Self {
        let words = last_words.map(|words| format!(": {words}"));
        Placeholder {
            pages,
            because: format!("marker {ending}{}", words.unwrap_or_default()),
        }
    }
}

/// How a conversion went, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// An earlier run had finished it, and its result is still there.
    AlreadyDone,
    /// Every page is there.
    Complete,
    /// There is a result, but pages are missing.
    Partial,
    /// Not a single page was converted.
    Nothing,
    /// The user stopped it; the next run goes on.
    Interrupted,
}
