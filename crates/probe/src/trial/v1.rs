//! Trial of a cgroup v1 memory group.

use std::path::Path;

use memcap_linux::ByteSize;
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
    group.set_limit(LIMIT, ByteSize::ZERO)?;
    kept(group.limit()?)?;
    if group.counts_swap() {
        kept(group.limit_with_swap()?)?;
    }
    let seen = exceed(program, &owned, TARGET)?;
    owned.dispose()?;
    Ok(Trial::of_group(judge_group(&seen), &seen))
}

/// Starts a child in a group that has its limit, and watches it touch so much.
pub(super) fn exceed(
    program: &Path,
    owned: &Owned<V1Memory>,
    touch: ByteSize,
) -> Result<Observation, TrialError> {
    let group = owned.group();
    let entrances = [group.entrance()?];
    let mut child = Child::start(
        program,
        &Setup {
            entrances: &entrances,
            touch: Some(touch),
            ..Setup::default()
        },
    )?;
    let deadline = Deadline::after(TIME);
    let in_swap = match child.listen(deadline) {
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
    Ok(Observation {
        limit: LIMIT,
        target: touch,
        progress: child.progress(),
        end,
        oom_kills: group.oom_kills()?,
        // `memory.failcnt` counts only one of two equal limits: no evidence.
        limit_hits: None,
        swapped: in_swap,
        peak: group.peak().ok(),
    })
}

fn kept(read: Limit) -> Result<(), TrialError> {
    if read == Limit::At(LIMIT) {
        return Ok(());
    }
    Err(TrialError::LimitNotKept {
        wrote: LIMIT,
        read: LimitText(read),
    })
}
