//! Why a conversion stops before its end.

use std::io;
use std::path::PathBuf;

use memcap_linux::ByteSize;

use crate::disk;
use crate::journal::JournalError;
use crate::merge::MergeError;
use crate::pages::PageSet;
use crate::publish::PublishError;
use crate::runner::{Ending, RunnerError};
use crate::text::path_text;
use crate::work_folder::WorkFolderError;

/// Why a conversion could not be carried out. What has been done by then is
/// kept for the next run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversionError {
    /// The work folder.
    #[error(transparent)]
    WorkFolder(#[from] WorkFolderError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The place of the result.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Supervision.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// Joining the parts.
    #[error("failed to join the chunks")]
    Merge(#[from] MergeError),
    /// Joining the parts lost or invented pages.
    #[error("the joined result has pages {found} where {wanted} were converted")]
    WrongPages {
        /// By the joined metadata.
        found: PageSet,
        /// By the journal.
        wanted: PageSet,
    },
    /// The document is not the one that was planned for.
    #[error("`{}` was changed during the conversion", path_text(.document))]
    DocumentChanged {
        /// The document.
        document: PathBuf,
    },
    /// No copy without its password could be made of the document.
    #[error(
        "the password of `{}` cannot be removed: PDFium {ending}{}",
        path_text(.document),
        behind_colon(.last_words)
    )]
    Locked {
        /// The document.
        document: PathBuf,
        /// How that ended.
        ending: Ending,
        /// The last line that it wrote.
        last_words: Option<String>,
    },
    /// A file of ours could not be read or written.
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
    /// Marker does not take its arguments, or cannot be started.
    #[error("marker {ending}{}", behind_colon(.last_words))]
    Refused {
        /// How it ended.
        ending: Ending,
        /// Its last line.
        last_words: Option<String>,
        /// All of them.
        log: PathBuf,
    },
    /// Whatever pages it is given, marker fails in the same way.
    #[error("marker fails on all pages alike: it {ending}{}", behind_colon(.last_words))]
    FailsAlways {
        /// How it ended the last time.
        ending: Ending,
        /// Its last line.
        last_words: Option<String>,
        /// All of them.
        log: PathBuf,
    },
    /// Not even single pages fit.
    #[error("the limit of {limit} is too small: marker does not fit with a single page")]
    LimitTooSmall {
        /// The limit.
        limit: ByteSize,
        /// What a single page is estimated to need.
        estimate: ByteSize,
    },
}

fn behind_colon(words: &Option<String>) -> String {
    words
        .as_ref()
        .map(|words| format!(": {words}"))
        .unwrap_or_default()
}

impl ConversionError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ConversionError::WorkFolder(error) => error.hint(),
            ConversionError::Publish(error) => error.hint(),
            ConversionError::DocumentChanged { .. } => Some("start again".to_owned()),
            ConversionError::Refused {
                log, last_words, ..
            }
            | ConversionError::FailsAlways {
                log, last_words, ..
            } => {
                let known = last_words.as_deref().and_then(crate::servers::hint);
                let log = || format!("all that marker wrote is in `{}`", path_text(log));
                Some(known.map_or_else(log, str::to_owned))
            }
            ConversionError::LimitTooSmall { estimate, .. } => Some(format!(
                "a single page is estimated to need {estimate}; raise --memory"
            )),
            ConversionError::Merge(error) => error.hint(),
            ConversionError::Locked { .. } => Some(
                "decrypt it yourself: qpdf --decrypt --password-file=FILE in.pdf out.pdf"
                    .to_owned(),
            ),
            ConversionError::Journal(error) => error.hint(),
            ConversionError::Io { source, .. } => disk::hint(source),
            ConversionError::WrongPages { .. } | ConversionError::Runner(_) => None,
        }
    }
}
