//! Limits are set, and believed when they read back.

use std::fs::File;
use std::path::Path;

use memcap_linux::cgroup::{Limit, V1Memory, V2Group};
use memcap_linux::{ByteSize, FileError};
use memcap_probe::MemoryBase;
use memcap_probe::trial::{HarmlessTrial, Standing};

use super::EnclosureError;
use crate::keeper::names::{self, Names};
use crate::keeper::room::Room;
use crate::proof::attempt;
use crate::throttle::{Rules, ThrottleBy};
use crate::wire::{Prepared, Spec};

/// The trial beside the job's place, where one is wanted. Only a limit that was
/// seen to be ignored is refused; one that was not met holds as far as it can be
/// read back.
pub(super) fn try_first(
    spec: &Spec,
    place: &Path,
    prepared: &mut Prepared,
) -> Result<(), EnclosureError> {
    if !spec.trial {
        return Ok(());
    }
    prepared.trial = attempt(spec.placement.mechanism(), place);
    match &prepared.trial {
        Some(HarmlessTrial {
            standing: Standing::Fails,
            seen,
        }) => Err(EnclosureError::Ignored {
            place: place.to_owned(),
            seen: seen.clone(),
        }),
        _ => Ok(()),
    }
}

/// Makes a base able to take leaves with limits.
pub(super) fn open_base(
    base: &MemoryBase,
    spec: &Spec,
    names: &Names,
) -> Result<Option<Room>, EnclosureError> {
    let group = V2Group::at(&base.dir);
    let room = if base.make_room {
        Some(Room::open(&group, spec, names)?)
    } else {
        Room::shared(&group)
    };
    if base.enable_memory
        && let Err(error) = group.enable_for_children("memory")
    {
        if let Some(room) = room {
            // As in `Enclosure::prepare`.
            let _ = room.close();
        }
        return Err(error.into());
    }
    Ok(room)
}

/// Lets `pids.max` hold the number of processes where the directory has it;
/// elsewhere the keeper counts.
pub(super) fn limit_tasks(
    directory: &V2Group,
    limit: u64,
    prepared: &mut Prepared,
) -> Result<Option<File>, EnclosureError> {
    match directory.set_max_tasks(limit) {
        Err(error) if error.is_absent() => return Ok(None),
        outcome => outcome?,
    }
    let found = directory.max_tasks()?;
    if found != Some(limit) {
        return Err(EnclosureError::TasksReadBack {
            file: "pids.max".to_owned(),
            found,
            wanted: limit,
        });
    }
    let events = match directory.task_events_file() {
        // Before Linux 4.6 nobody tells of a refusal: it stands, and is the job's.
        Err(error) if error.is_absent() => return Ok(None),
        outcome => outcome?,
    };
    prove(prepared, directory, "pids.max", limit);
    Ok(Some(events))
}

/// Sets `memory.high`, or makes sure that the directory can be frozen.
pub(super) fn limit_softly(
    directory: &V2Group,
    rules: &Rules,
    prepared: &mut Prepared,
) -> Result<(), EnclosureError> {
    match rules.by {
        ThrottleBy::MemoryHigh => {
            directory.set_high(Limit::At(rules.soft))?;
            check_read_back("memory.high", directory.high()?, rules.soft)?;
            prove(prepared, directory, "memory.high", rules.soft.bytes());
        }
        // Before Linux 5.2 there is no such file.
        ThrottleBy::Freezes => directory.set_frozen(false)?,
    }
    Ok(())
}

/// Adds what was read back to the proof.
fn prove(prepared: &mut Prepared, group: &V2Group, file: &str, value: u64) {
    prepared.prove(format!(
        "{} = {value}, read back",
        group.path().join(file).display()
    ));
}

/// Whom the kernel kills in the group, it kills with all of it.
pub(super) fn kill_as_a_whole(group: &V2Group) -> Result<(), FileError> {
    match group.set_oom_group() {
        // Before Linux 4.19; the keeper ends the tree after the first kill.
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}

/// Sets and reads back; returns the proof in words.
pub(in crate::keeper) fn limit_v2(
    group: &V2Group,
    limit: ByteSize,
    swap: ByteSize,
) -> Result<String, EnclosureError> {
    group.set_max(limit)?;
    match group.set_swap_max(swap) {
        Err(error) if !error.is_absent() => return Err(error.into()),
        _ => {}
    }
    check_read_back("memory.max", group.max()?, limit)?;
    match group.swap_max() {
        // As above.
        Err(error) if error.is_absent() => {}
        found => check_read_back("memory.swap.max", found?, swap)?,
    }
    Ok(format!(
        "{} = {}, read back",
        group.path().join("memory.max").display(),
        limit.bytes()
    ))
}

pub(in crate::keeper) fn limit_v1(
    group: &V1Memory,
    limit: ByteSize,
    swap: ByteSize,
) -> Result<String, EnclosureError> {
    group.set_limit(limit, swap)?;
    check_read_back("memory.limit_in_bytes", group.limit()?, limit)?;
    match group.limit_with_swap() {
        // Swap is not counted.
        Err(error) if error.is_absent() => {}
        found => check_read_back(
            "memory.memsw.limit_in_bytes",
            found?,
            limit.saturating_add(swap),
        )?,
    }
    Ok(format!(
        "{} = {}, read back",
        group.path().join("memory.limit_in_bytes").display(),
        limit.bytes()
    ))
}

/// The kernel rounds down to whole pages, of at most 64 KiB.
fn check_read_back(file: &str, found: Limit, wanted: ByteSize) -> Result<(), EnclosureError> {
    const LARGEST_PAGE: ByteSize = ByteSize::from_kib(64);
    match found {
        Limit::At(bytes) if bytes <= wanted && wanted.saturating_sub(bytes) < LARGEST_PAGE => {
            Ok(())
        }
        Limit::At(_) | Limit::Unlimited => Err(EnclosureError::ReadBack {
            file: file.to_owned(),
            found,
            wanted,
        }),
    }
}

pub(super) fn make_directory(base: &Path, names: &Names) -> Result<V2Group, EnclosureError> {
    Ok(V2Group::create(base, &names.name(names::DIRECTORY)?)?)
}
