//! Trial of sampling: a child grows, /proc shows it, a kill ends it.
//!
//! This proves the parts (that /proc shows our own children's memory, that a
//! kill through a pidfd ends them), not the overshoot of the real watchdog,
//! whose clock is much finer than this one's.

use std::path::Path;

use memcap_linux::ByteSize;
use memcap_linux::proc::Resident;

use super::child::{Child, Heard, Setup};
use super::classify::{Observation, judge_watchdog};
use super::deadline::Deadline;
use super::error::TrialError;
use super::{LIMIT, TARGET, TIME, Trial};

/// Starts a child, watches it and kills it beyond the limit.
pub(super) fn run(program: &Path) -> Result<Trial, TrialError> {
    let setup = Setup {
        touch: Some(TARGET),
        ..Setup::default()
    };
    let mut child = Child::start(program, &setup)?;
    let deadline = Deadline::after(TIME);
    let noticed = watch(&mut child, deadline)?;
    child.kill();
    let end = child.end(deadline);
    child.hear();
    let seen = Observation {
        limit: LIMIT,
        target: TARGET,
        progress: child.progress(),
        end,
        oom_kills: None,
        limit_hits: None,
        swapped: None,
        peak: noticed,
    };
    let mut judged = judge_watchdog(&seen, noticed);
    if judged.because.is_none() && !child.is_gone() {
        judged = super::classify::remained();
    }
    Ok(Trial::of_watchdog(judged, &seen, noticed))
}

/// The first sample above the limit. A child that is done holds its memory, so
/// that even a very late look finds it.
fn watch(child: &mut Child, deadline: Deadline) -> Result<Option<ByteSize>, TrialError> {
    let mut buffer = Vec::new();
    let mut outcome = Ok(None);
    deadline.until(|| match Resident::read(child.pid(), &mut buffer) {
        Ok(resident) if resident.total() > LIMIT => {
            outcome = Ok(Some(resident.total()));
            true
        }
        // It has ended without our doing: there is nothing more to see.
        Ok(_) => child.hear() == Heard::Gone,
        Err(error) => {
            outcome = Err(error);
            true
        }
    });
    Ok(outcome?)
}
