//! Trial of a fixed RLIMIT_DATA.

use std::path::Path;

use super::child::{Child, Setup};
use super::classify::{Observation, judge_rlimit};
use super::deadline::Deadline;
use super::error::TrialError;
use super::{LIMIT, TARGET, TIME, Trial};

/// Starts a child that may not map more than the limit.
pub(super) fn run(program: &Path) -> Result<Trial, TrialError> {
    let mut child = Child::start(
        program,
        &Setup {
            data_limit: Some(LIMIT),
            touch: Some(TARGET),
            ..Setup::default()
        },
    )?;
    let deadline = Deadline::after(TIME);
    child.listen(deadline);
    child.let_go();
    let end = child.end(deadline);
    let seen = Observation {
        limit: LIMIT,
        target: TARGET,
        progress: child.progress(),
        end,
        oom_kills: None,
        limit_hits: None,
        swapped: None,
        peak: None,
    };
    Ok(Trial::of_rlimit(judge_rlimit(&seen), &seen))
}
