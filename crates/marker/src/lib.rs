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
pub mod compare;
mod conversion;
mod deciding_variables;
mod device;
mod disk;
mod document;
mod drive;
pub mod dropin;
mod environment;
mod estimate;
mod events;
mod fitting;
mod format;
mod input;
mod install;
mod journal;
mod key;
mod kind;
mod learned;
mod manifest;
pub mod many;
mod marker_args;
pub mod merge;
mod no_follow;
mod page_count;
mod pages;
mod password;
mod plan;
mod progress;
mod publish;
mod readiness;
mod recovery;
mod relatives;
pub mod runner;
mod secrets;
mod servers;
#[cfg(test)]
mod testing;
mod text;
mod tuning;
mod unlock;
mod version;
mod weights;
mod work_folder;
mod worker;
mod workers;

pub use chunks::{Chunk, Chunking};
pub use command::{Orders, Paths, arguments};
pub use conversion::{ConversionError, Outcome, Placeholder, Status};
pub use device::{Device, DeviceFinding};
pub use document::DocumentError;
pub use drive::{Drive, ParseDriveError};
pub use environment::World;
pub use estimate::MemoryModel;
pub use events::Event;
pub use fitting::Choice;
pub use format::{FormatError, OutputFormat};
pub use install::{FoundBy, InstallError, Installation, find as find_marker};
pub use journal::JournalError;
pub use kind::DocumentKind;
pub use marker_args::{MarkerArgError, check_marker_args};
pub use pages::{PageSelection, PageSet, PagesError};
pub use password::Password;
pub use plan::{Plan, PlanError, Request, plan};
pub use publish::PublishError;
pub use readiness::{Readiness, readiness};
pub use recovery::{Action, Effort};
pub use secrets::redacted;
pub use text::path_text;
pub use tuning::{
    ByHandError, Effect, Heap, Lever, LeverKind, Multiplier, MultiplierError, OcrBackend,
    OcrBackendError, PassedAs, Preset, PresetError, SetBy, Target, Tuning, TuningRequest, tune,
};
pub use version::{Capabilities, Family, PageChoice, Version};
pub use weights::{ASSUMED_WEIGHTS, Weights};
pub use work_folder::{WorkFolderError, check_output};
