//! A fresh process for every chunk: `marker_single`, as a user would start it.

use super::{Assignment, Driver, Ran};
use crate::conversion::{ConversionError, log};
use crate::runner::{Runner, Step, Usage};

/// Starts `marker_single` for every attempt.
pub(super) struct Fresh;

impl Driver for Fresh {
    fn drive(
        &mut self,
        assignment: Assignment<'_>,
        runner: &mut dyn Runner,
        watch: &mut dyn FnMut(Usage),
    ) -> Result<Ran, ConversionError> {
        run(assignment.step()?, runner, watch)
    }
}

/// Runs `marker_single` once.
pub(super) fn run(
    step: Step,
    runner: &mut dyn Runner,
    watch: &mut dyn FnMut(Usage),
) -> Result<Ran, ConversionError> {
    let report = runner.run(&step, watch)?;
    Ok(Ran {
        report,
        errors: log::tail(&step.stderr),
        log: step.stderr,
    })
}
