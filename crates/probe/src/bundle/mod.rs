//! A captured host in a folder: what [`crate::examine`] read there, the answers
//! that were not read but asked for, and the outcome of the trials.
//!
//! Only files of a list are copied, most of them in part, with names of people
//! and of the host replaced. A bundle is examined on any machine and tries
//! nothing there.

mod files;
mod open;
mod redact;
mod save;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Observed;
use crate::trial::Trials;

pub use open::Bundle;
pub use redact::Redactor;
pub use save::{BundleWriter, SavedFile};

/// The version of a bundle's shape.
pub const BUNDLE_VERSION: u32 = 1;

/// What tells that a folder is a bundle.
const MANIFEST: &str = "bundle.json";

/// The contents of `bundle.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    bundle_version: u32,
    /// The version of memcap that saved it.
    memcap: String,
    observed: Observed,
    /// Absent where none were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trials: Option<Trials>,
}

/// A bundle could not be saved or opened.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Nothing is ever overwritten.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The folder that was to be made.
        path: PathBuf,
    },
    /// A file or folder of it could not be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder of it could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no folder, or there is no manifest in it.
    #[error("`{}` is no bundle: {why}", path.display())]
    NoBundle {
        /// What was to be opened.
        path: PathBuf,
        /// What it lacks.
        why: &'static str,
    },
    /// The manifest is not one.
    #[error("failed to understand `{}`", path.display())]
    Garbled {
        /// The manifest.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A newer memcap saved it.
    #[error("`{}` is a bundle of version {found}; this memcap reads version {BUNDLE_VERSION}", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// No bundle has such a thing: a link, a pipe, a file of many MiB.
    #[error("`{}` does not belong into a bundle: {why}", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
}

impl BundleError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            BundleError::Exists { .. } => Some("name a folder that is not there yet".to_owned()),
            BundleError::NoBundle { .. } | BundleError::Garbled { .. } => {
                Some("a bundle is a folder made by `memcap doctor --save FOLDER`".to_owned())
            }
            BundleError::Version { .. } => Some("use the memcap that saved it".to_owned()),
            BundleError::Foreign { .. } => {
                Some("bundles hold small files and folders, no links: unpack it again".to_owned())
            }
            BundleError::Write { .. } => {
                Some("name a new folder where files can be written".to_owned())
            }
            BundleError::Read { source, .. } => Some(match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "only who saved a bundle may read it, unless its modes are changed".to_owned()
                }
                _ => "name a folder made by `memcap doctor --save FOLDER`".to_owned(),
            }),
        }
    }
}
