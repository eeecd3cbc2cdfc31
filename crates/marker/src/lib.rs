//! All knowledge of marker-pdf: the installed version, its settings, page
//! chunks, driving, recovery, the journal, merging.
//!
//! ```text
//! Request --plan()--> Plan --run()--> Outcome
//!             |                |
//!      install, document,   command -> Runner -> recovery
//!      tuning, estimate,    journal, work_folder, manifest
//!      chunks, key          merge, publish
//! ```
//!
//! A program makes a [`Request`], asks for its [`Plan`] with [`plan()`], shows
//! it or carries it out with [`Plan::run`], and follows the [`Event`]s.
//! Processes are started only through [`runner::Runner`]; cgroups, the
//! terminal and the process's own environment are unknown here.
#![forbid(unsafe_code)]

mod chunks;
mod command;
mod conversion;
mod device;
mod document;
pub mod dropin;
mod environment;
mod estimate;
mod events;
mod input;
mod install;
mod journal;
mod key;
mod manifest;
mod pages;
mod plan;
mod publish;
mod recovery;
pub mod runner;
#[cfg(test)]
mod testing;
mod text;
mod tuning;
mod version;
mod weights;
mod work_folder;

/// Joins chunks by writing them one after the other.
mod merge {
    use std::ffi::OsStr;
    use std::path::{Path, PathBuf};

    /// The result of one chunk.
    pub struct ChunkOutput {
        /// From 0.
        pub first_page: u32,
        /// Inclusive.
        pub last_page: u32,
        /// Marker's folder.
        pub folder: PathBuf,
    }
    /// Joining failed.
    pub type MergeError = std::io::Error;

    /// Joins.
    pub fn merge(stem: &OsStr, chunks: &[ChunkOutput], to: &Path) -> Result<(), MergeError> {
        for end in [".md", "_meta.json"] {
            let mut name = stem.to_owned();
            name.push(end);
            let mut parts = Vec::new();
            for chunk in chunks {
                parts.push(std::fs::read_to_string(chunk.folder.join(&name))?);
            }
            std::fs::write(to.join(&name), parts.join("\n\n"))?;
        }
        for chunk in chunks {
            for entry in std::fs::read_dir(&chunk.folder)? {
                let path = entry?.path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == "jpeg")
                {
                    std::fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
                }
            }
        }
        Ok(())
    }
}

pub use chunks::{Chunk, Chunking};
pub use command::MarkerArgError;
pub use conversion::{ConversionError, Outcome, Status};
pub use device::{Device, DeviceFinding};
pub use document::DocumentError;
pub use environment::World;
pub use estimate::MemoryModel;
pub use events::Event;
pub use install::{FoundBy, InstallError, Installation, find as find_marker};
pub use journal::JournalError;
pub use pages::{PageSelection, PageSet, PagesError};
pub use plan::{Plan, PlanError, Request, plan};
pub use publish::PublishError;
pub use recovery::Action;
pub use tuning::{Effect, Lever, Multiplier, MultiplierError, PassedAs, Tuning, TuningRequest};
pub use version::{Family, Version};
pub use weights::Weights;
pub use work_folder::WorkFolderError;
