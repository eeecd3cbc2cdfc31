//! A fresh process for every chunk: `marker_single`, as a user would start it.

use super::{Assignment, Driver, Places, Ran};
use crate::conversion::{ConversionError, log};
use crate::runner::{Runner, Step, Watch};

/// Starts `marker_single` for every attempt.
pub(super) struct Fresh(pub(super) Places);

impl Driver for Fresh {
    fn drive(
        &mut self,
        assignment: Assignment<'_>,
        runner: &mut dyn Runner,
        watch: &mut Watch<'_>,
    ) -> Result<Ran, ConversionError> {
        run(assignment.step(&self.0)?, &self.0, runner, watch)
    }
}

/// Runs `marker_single` once.
pub(super) fn run(
    step: Step,
    places: &Places,
    runner: &mut dyn Runner,
    watch: &mut Watch<'_>,
) -> Result<Ran, ConversionError> {
    places.prepare()?;
    let report = runner.run(&step, watch)?;
    Ok(Ran {
        report,
        errors: log::tail(&step.stderr),
        log: step.stderr,
    })
}
