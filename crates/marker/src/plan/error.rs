//! Why there is nothing to plan.

use std::path::PathBuf;

use memcap_linux::ByteSize;

use crate::document::DocumentError;
use crate::format::OutputFormat;
use crate::install::InstallError;
use crate::kind::DocumentKind;
use crate::marker_args::MarkerArgError;
use crate::pages::PagesError;
use crate::publish::PublishError;
use crate::text::path_text;
use crate::version::Version;
use crate::work_folder::WorkFolderError;

/// Why there is nothing to plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Marker.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The choice of pages.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The installed marker cannot begin behind the first page.
    #[error("marker {version} converts pages from the first on alone")]
    PageChoice {
        /// What is installed.
        version: Version,
    },
    /// An option for marker.
    #[error(transparent)]
    MarkerArg(#[from] MarkerArgError),
    /// What stands where the result belongs.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The folder for the result.
    #[error(transparent)]
    Output(#[from] WorkFolderError),
    /// The installed marker does not take such documents.
    #[error("marker {version} cannot convert {kind}")]
    Kind {
        /// What the document is.
        kind: DocumentKind,
        /// What is installed.
        version: Version,
    },
    /// Pages were chosen of something that has none before it is converted.
    #[error("`{}` is {kind}: pages can be chosen of a PDF only", path_text(.path))]
    NoPagesToChoose {
        /// The document.
        path: PathBuf,
        /// What the document is.
        kind: DocumentKind,
    },
    /// The installed marker does not write that.
    #[error("marker {version} does not write {format}")]
    Format {
        /// As asked for.
        format: OutputFormat,
        /// What is installed.
        version: Version,
    },
    /// The limit.
    #[error("a limit of {limit} is too small for marker {version}, which needs about {needed}")]
    LimitTooSmall {
        /// As asked for.
        limit: ByteSize,
        /// What is installed.
        version: Version,
        /// For one page, by the estimate.
        needed: ByteSize,
    },
}

impl PlanError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::Document(error) => error.hint(),
            PlanError::Install(error) => error.hint(),
            PlanError::Pages(error) => Some(error.hint()),
            PlanError::Publish(error) => error.hint(),
            PlanError::Output(error) => error.hint(),
            PlanError::LimitTooSmall { needed, .. } => Some(format!(
                "by the estimate --memory {}M is the smallest limit that works",
                needed.mib()
            )),
            PlanError::Kind { kind, .. } => Some(format!(
                "install marker {} or later, or convert it to a PDF first",
                kind.since()
            )),
            PlanError::NoPagesToChoose { .. } => {
                Some("convert it without --pages, or make it a PDF first".to_owned())
            }
            PlanError::Format { format, .. } => Some(format!(
                "install marker {} or later, or ask for another format",
                format.since()
            )),
            PlanError::PageChoice { .. } => {
                Some("choose pages such as 1-20, or install marker 0.2.12 or later".to_owned())
            }
            PlanError::MarkerArg(error) => Some(error.hint().to_owned()),
        }
    }
}
