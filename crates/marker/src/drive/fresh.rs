//! A fresh process for every chunk: `marker_single`, as a user would start it.

use super::{Assignment, Driver, Ran};
use crate::command;
use crate::conversion::{ConversionError, log, wrap};
use crate::runner::{Runner, Usage};

/// Starts `marker_single` for every attempt.
pub(crate) struct Fresh;

impl Driver for Fresh {
    fn drive(
        &mut self,
        assignment: Assignment<'_>,
        runner: &mut dyn Runner,
        watch: &mut dyn FnMut(Usage),
    ) -> Result<Ran, ConversionError> {
        let Assignment {
            plan,
            pages,
            effort,
            paths,
        } = assignment;
        let config = paths.config.clone();
        let step = command::step(plan, pages, effort, paths).map_err(wrap("write", &config))?;
        let report = runner.run(&step, watch)?;
        Ok(Ran {
            report,
            errors: log::tail(&step.stderr),
            log: step.stderr,
        })
    }
}
