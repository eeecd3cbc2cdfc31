//! How marker is run for a chunk. The conversion decides what is tried next and
//! what an end means; a driver gets one attempt carried out.

mod fresh;

use std::path::PathBuf;

pub(crate) use fresh::Fresh;

use crate::command::Paths;
use crate::conversion::ConversionError;
use crate::pages::PageSet;
use crate::plan::Plan;
use crate::recovery::Effort;
use crate::runner::{Runner, StepReport, Usage};

/// What marker is to do in one attempt.
pub(crate) struct Assignment<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) pages: &'a PageSet,
    /// What the attempt may cost.
    pub(crate) effort: Effort,
    pub(crate) paths: Paths,
}

/// How an attempt went, before it is judged.
pub(crate) struct Ran {
    pub(crate) report: StepReport,
    /// The end of what marker wrote to standard error.
    pub(crate) errors: Vec<u8>,
    /// Where all of it is.
    pub(crate) log: PathBuf,
}

/// Gets attempts carried out, one after the other.
pub(crate) trait Driver {
    /// Carries out one attempt, telling `watch` what its tree holds.
    ///
    /// # Errors
    /// When it could not be carried out at all; a failing marker is no error.
    fn drive(
        &mut self,
        assignment: Assignment<'_>,
        runner: &mut dyn Runner,
        watch: &mut dyn FnMut(Usage),
    ) -> Result<Ran, ConversionError>;
}
