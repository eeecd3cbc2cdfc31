//! The start of the job: into its groups, with its limits, and what is said where
//! that fails.

use std::os::fd::AsFd;
use std::path::Path;

use memcap_linux::spawn::{DataLimit, SpawnError, SpawnRequest, Spawned, spawn};
use memcap_linux::{ByteSize, one_line};

use super::Role;
use super::leasing::Leasing;
use crate::keeper::enclosure::Enclosure;
use crate::keeper::not_executed;
use crate::plan::Placement;
use crate::wire::{FromKeeper, Spec};

/// What the job's `oom_score_adj` is raised to, so that the machine's OOM
/// killer takes the job and neither us nor the terminal.
pub(crate) const JOB_OOM_SCORE: i32 = 500;

pub(super) fn start(
    spec: &Spec,
    enclosure: &Enclosure,
    role: &Role,
    oom_score: i32,
) -> Result<Spawned, StartError> {
    let entrances = enclosure.entrances().map_err(StartError::Entrance)?;
    let args: Vec<_> = spec.args.iter().map(|word| word.0.clone()).collect();
    let (env, streams) = match role {
        Role::Process(_) => (std::env::vars_os().collect(), [None; 3]),
        Role::Thread(hands) => (
            hands.env.clone(),
            hands
                .streams
                .each_ref()
                .map(|s| s.as_ref().map(AsFd::as_fd)),
        ),
    };
    spawn(&SpawnRequest {
        program: &spec.program.0,
        args: &args,
        env: &env,
        current_dir: directory_of(spec),
        streams,
        closed_streams: spec.closed_streams,
        // Born into the embedding program's group, which we are still in.
        process_group: None,
        entrances: &entrances,
        data_limit: start_limit(spec),
        oom_score_adj: Some(oom_score),
        owns_its_proc: matches!(role, Role::Process(_)),
        signal_mask: spec.signal_mask,
        ignored_signals: spec.ignored_signals,
    })
    .map_err(StartError::Spawn)
}

/// The job's own working directory.
fn directory_of(spec: &Spec) -> Option<&Path> {
    spec.current_dir.as_ref().map(|dir| Path::new(&dir.0))
}

/// RLIMIT_DATA before the job's first instruction. The first lease is the whole
/// limit.
pub(super) fn start_limit(spec: &Spec) -> Option<DataLimit> {
    match spec.placement {
        Placement::Rlimit => Some(DataLimit::Fixed(spec.limit)),
        Placement::Watchdog if spec.lease => {
            let terms = Leasing::begin()?.terms;
            let first = terms.lease(ByteSize::ZERO, spec.limit);
            (first != terms.own).then(|| DataLimit::Soft(ByteSize::from_bytes(first)))
        }
        _ => None,
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("failed to open the way into the group")]
    Entrance(#[source] memcap_linux::FileError),
    #[error(transparent)]
    Spawn(SpawnError),
}

pub(super) fn not_started(error: &StartError, spec: &Spec) -> FromKeeper {
    use memcap_linux::spawn::SpawnStep;
    let (step, errno) = match error {
        StartError::Entrance(error) => (SpawnStep::EnterCgroup, error.errno()),
        StartError::Spawn(error) => (error.step, error.source.raw_os_error()),
    };
    let known = errno.filter(|_| step == SpawnStep::Exec);
    let why = known.and_then(|errno| not_executed::why(&spec.program.0, directory_of(spec), errno));
    let reason = match why {
        Some(why) => format!("{}: {why}", one_line(error)),
        None => one_line(error),
    };
    FromKeeper::NotStarted {
        step: step.to_string(),
        errno,
        reason,
    }
}
