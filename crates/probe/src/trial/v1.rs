//! Trial of a cgroup v1 memory group.

use std::path::Path;

use memcap_linux::cgroup::{Limit, V1Memory};

use super::child::{Child, Heard, Setup};
use super::classify::{Observation, judge_group};
use super::deadline::Deadline;
use super::error::{LimitText, TrialError};
use super::group::Owned;
use super::{LIMIT, TARGET, TIME, Trial, swapped};

/// Starts a child in a group with a small limit below `base`, and removes it.
pub(super) fn run(program: &Path, base: &Path) -> Result<Trial, TrialError> {
    let owned = Owned::<V1Memory>::create(base)?;
    let group = owned.group();
    group.set_limit(LIMIT, memcap_linux::ByteSize::ZERO)?;
    match group.limit()? {
        Limit::At(LIMIT) => {}
        other => {
            return Err(TrialError::LimitNotKept {
                wrote: LIMIT,
                read: LimitText(other),
            });
        }
    }
    let entrances = [group.entrance()?];
    let mut child = Child::start(
        program,
        &Setup {
            entrances: &entrances,
            touch: Some(TARGET),
            ..Setup::default()
        },
    )?;
    let deadline = Deadline::after(TIME);
    let heard = child.listen(deadline);
    let in_swap = match heard {
        Heard::AllDone => {
            if !owned.holds(child.pid())? {
                return Err(TrialError::NotPlaced);
            }
            swapped(child.pid())
        }
        Heard::Gone | Heard::Nothing => None,
    };
    child.let_go();
    let end = child.end(deadline);
    let seen = Observation {
        limit: LIMIT,
        target: TARGET,
        progress: child.progress(),
        end,
        oom_kills: group.oom_kills()?,
        // `memory.failcnt` counts only one of two equal limits: no evidence.
        limit_hits: None,
        swapped: in_swap,
        peak: group.peak().ok(),
    };
    owned.dispose()?;
    Ok(Trial::of_group(judge_group(&seen), &seen))
}
