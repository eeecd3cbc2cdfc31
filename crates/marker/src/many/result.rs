//! What became of one document.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::conversion::{ConversionError, Outcome, Status};
use crate::many::Attempts;
use crate::plan::{Plan, PlanError};
use crate::work_folder::WorkFolderError;

/// What became of one document.
#[derive(Debug)]
pub struct DocumentResult {
    /// As it was named.
    pub document: PathBuf,
    /// What was planned, where it came so far.
    pub plan: Option<Plan>,
    /// What was tried.
    pub attempts: Attempts,
    /// From the beginning of its planning to its end.
    pub wall: Duration,
    /// How it ended.
    pub end: End,
}

/// How the work on one document ended.
#[derive(Debug)]
pub enum End {
    /// As the outcome says.
    Ran(Outcome),
    /// It could not be planned or carried out.
    Failed(Failure),
    /// The user wanted to stop before it was begun.
    NotBegun,
    /// Another document's failure concerned this one too.
    Pointless,
}

impl End {
    /// In one word, as reports spell it.
    pub fn word(&self) -> &'static str {
        match self {
            End::Ran(outcome) => match outcome.status {
                Status::Complete => "complete",
                Status::AlreadyDone => "already-done",
                Status::Partial => "partial",
                Status::Nothing => "nothing",
                Status::Interrupted => "interrupted",
            },
            End::Failed(_) => "failed",
            End::NotBegun => "not-begun",
            End::Pointless => "not-tried",
        }
    }
}

/// Why a document has no result.
#[derive(Debug)]
pub enum Failure {
    /// It could not be planned.
    Plan(PlanError),
    /// It could not be carried out.
    Conversion(ConversionError),
}

impl Failure {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Failure::Plan(error) => error.hint(),
            Failure::Conversion(error) => error.hint(),
        }
    }

    /// Whether every other document would fail by it too.
    pub fn concerns_all(&self) -> bool {
        match self {
            Failure::Plan(
                PlanError::Install(_)
                | PlanError::MarkerArg(_)
                | PlanError::Output(_)
                | PlanError::LimitTooSmall { .. },
            ) => true,
            Failure::Plan(_) => false,
            Failure::Conversion(
                ConversionError::Refused { .. }
                | ConversionError::Runner(_)
                | ConversionError::WorkFolder(WorkFolderError::Output { .. })
                | ConversionError::LimitTooSmall { .. },
            ) => true,
            Failure::Conversion(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Plan(error) => error.fmt(f),
            Failure::Conversion(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Plan(error) => error.source(),
            Failure::Conversion(error) => error.source(),
        }
    }
}
