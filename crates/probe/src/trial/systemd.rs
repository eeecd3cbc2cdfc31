//! Trial of a scope of systemd's.
//!
//! Whoever asks for a scope is moved into it, and an ordinary user does not come
//! back. So a child of ours asks, makes the trial of a v2 leaf in its scope, and
//! prints what it found; systemd removes the scope with it.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use memcap_linux::cgroup::{GroupName, V2Group};
use memcap_linux::one_line;

use super::deadline::Deadline;
use super::error::TrialError;
use super::hog::{HOG_ARGUMENT, SCOPE};
use super::{MechanismTrial, Trial, Verdict, v2};
use crate::Mechanism;
use crate::systemd::{SystemdPlace, start_scope};

/// More than systemd may take for a scope, and then the trial in it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The serials that runs give their scopes and their keepers' leaves, so that a
/// later run sweeps what a killed trial leaves.
const SCOPE_SERIAL: u32 = 3;
const OWN_LEAF_SERIAL: u32 = 4;

/// Has a child make the trial.
pub(super) fn run(program: &Path, place: &SystemdPlace) -> MechanismTrial {
    ask_child(program, place).unwrap_or_else(|error| not_tried(&error))
}

fn ask_child(program: &Path, place: &SystemdPlace) -> io::Result<MechanismTrial> {
    let mut child = Command::new(program)
        .arg(HOG_ARGUMENT)
        .arg(SCOPE)
        .arg(serde_json::to_string(place)?)
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Deadline::after(PATIENCE);
    let mut text = String::new();
    let read = match &mut child.stdout {
        Some(answer) if deadline.wait_readable(answer.as_fd(), PATIENCE) => {
            // Written at once, right before its end.
            answer.read_to_string(&mut text)
        }
        _ => Err(io::ErrorKind::TimedOut.into()),
    };
    // It has ended, or is late; a status is of no interest.
    let _ = child.kill();
    let _ = child.wait();
    read?;
    serde_json::from_str(&text).map_err(io::Error::from)
}

/// The child's side: `scope PLACE PROGRAM`. Returns whether it could tell.
pub(super) fn in_scope(place: &str, program: &OsString) -> bool {
    let Ok(place) = serde_json::from_str::<SystemdPlace>(place) else {
        return false;
    };
    let trial = match enter_and_try(&place, Path::new(program)) {
        Ok(trial) => MechanismTrial {
            mechanism: Mechanism::Systemd,
            verdict: trial.verdict,
            seen: Some(trial.seen),
            because: trial.because,
        },
        Err(error) => not_tried(&error),
    };
    serde_json::to_writer(io::stdout().lock(), &trial).is_ok()
}

fn enter_and_try(place: &SystemdPlace, program: &Path) -> Result<Trial, TrialError> {
    let name = |serial| {
        GroupName::for_this_process(serial)
            .map(|name| name.to_string())
            .map_err(TrialError::Name)
    };
    let scope = start_scope(place, &format!("{}.scope", name(SCOPE_SERIAL)?))?;
    let own = V2Group::create(&scope, &name(OWN_LEAF_SERIAL)?)?;
    own.admit(i32::try_from(std::process::id()).unwrap_or(0))?;
    V2Group::at(&scope).enable_for_children("memory")?;
    v2::in_leaf(program, &scope)
}

fn not_tried(error: &dyn std::error::Error) -> MechanismTrial {
    MechanismTrial {
        mechanism: Mechanism::Systemd,
        verdict: Verdict::NotTried,
        seen: None,
        because: Some(one_line(error)),
    }
}
