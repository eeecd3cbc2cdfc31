//! Trial of a cgroup v2 leaf with a memory limit.

use std::path::Path;

use memcap_linux::cgroup::{FlatKeyed, Limit, V2Group};
use memcap_linux::{ByteSize, FileError};

use super::child::{Child, Heard, Setup};
use super::classify::{Observation, judge_group};
use super::deadline::Deadline;
use super::error::{LimitText, TrialError};
use super::group::Owned;
use super::room::Room;
use super::{LIMIT, TARGET, TIME, Trial};
use crate::MemoryBase;

/// Starts a child in a leaf with a small limit below `base`, and removes it.
pub(super) fn run(program: &Path, base: &MemoryBase) -> Result<Trial, TrialError> {
    let room = Room::make(base)?;
    let outcome = in_leaf(program, &base.dir);
    let left = room.leave();
    let mut trial = outcome?;
    trial.note(left?);
    Ok(trial)
}

/// Below a directory that can take leaves with limits.
pub(super) fn in_leaf(program: &Path, base: &Path) -> Result<Trial, TrialError> {
    exceed(program, base, TARGET, Swap::Closed)
}

/// What a leaf may have in swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swap {
    /// Nothing.
    Closed,
    /// As much as there is, which is the kernel's default.
    Open,
}

/// A child touches so much in a leaf.
pub(super) fn exceed(
    program: &Path,
    base: &Path,
    touch: ByteSize,
    swap: Swap,
) -> Result<Trial, TrialError> {
    let owned = Owned::<V2Group>::create(base)?;
    let leaf = owned.group();
    set_limits(leaf, swap)?;
    let entrances = [leaf.entrance()?];
    let mut child = Child::start(
        program,
        &Setup {
            entrances: &entrances,
            touch: Some(touch),
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
            // Sampled while the child lives: afterwards nothing is left of it.
            swap_current(leaf)
        }
        Heard::Gone | Heard::Nothing => None,
    };
    child.let_go();
    let end = child.end(deadline);
    let events = events(leaf)?;
    let seen = Observation {
        limit: LIMIT,
        target: touch,
        progress: child.progress(),
        end,
        oom_kills: events.get("oom_kill"),
        limit_hits: events.get("max"),
        swapped: in_swap,
        peak: leaf.peak().ok(),
    };
    owned.dispose()?;
    Ok(Trial::of_group(judge_group(&seen), &seen))
}

/// Swap first, so that there is no moment in which the leaf may swap.
fn set_limits(leaf: &V2Group, swap: Swap) -> Result<(), TrialError> {
    if swap == Swap::Closed {
        tolerate_absence(leaf.set_swap_max(ByteSize::ZERO))?;
        match leaf.swap_max() {
            Ok(Limit::At(ByteSize::ZERO)) => {}
            Ok(read) => {
                return Err(TrialError::LimitNotKept {
                    wrote: ByteSize::ZERO,
                    read: LimitText(read),
                });
            }
            Err(error) => tolerate_absence(Err(error))?,
        }
    }
    tolerate_absence(leaf.set_oom_group())?;
    leaf.set_max(LIMIT)?;
    match leaf.max()? {
        Limit::At(LIMIT) => Ok(()),
        other => Err(TrialError::LimitNotKept {
            wrote: LIMIT,
            read: LimitText(other),
        }),
    }
}

/// `memory.swap.max` is absent without swap support, `memory.oom.group` before
/// Linux 4.19; the child's end shows whether either was needed.
fn tolerate_absence(outcome: Result<(), FileError>) -> Result<(), FileError> {
    match outcome {
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}

/// The leaf's own events; before Linux 5.2 `memory.events` is just that.
pub(super) fn events(leaf: &V2Group) -> Result<FlatKeyed, FileError> {
    match leaf.local_events() {
        Err(error) if error.is_absent() => leaf.events(),
        other => other,
    }
}

fn swap_current(leaf: &V2Group) -> Option<ByteSize> {
    let text = std::fs::read_to_string(leaf.path().join("memory.swap.current")).ok()?;
    text.trim().parse().ok().map(ByteSize::from_bytes)
}
