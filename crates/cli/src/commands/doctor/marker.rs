//! What a conversion would meet on this host.

use memcap_linux::{ByteSize, one_line};
use memcap_marker::{InstallError, Readiness, World, readiness};
use memcap_probe::Host;
use memcap_supervisor::MechanismChoice;
use serde::Serialize;

use crate::supervised::SupervisedRunner;

/// What was found of marker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub(super) enum MarkerReport {
    /// It can be driven.
    Present {
        /// Which one, and what it needs.
        #[serde(flatten)]
        readiness: Box<Readiness>,
        /// What could be used now without swapping, on the machine and below
        /// every limit; absent where that is unknown.
        #[serde(skip_serializing_if = "Option::is_none")]
        available: Option<ByteSize>,
        /// Whether the smallest run fits; absent where that is unknown.
        #[serde(skip_serializing_if = "Option::is_none")]
        fits: Option<bool>,
    },
    /// There is none, or none that can be driven.
    Absent { because: String },
    /// It could not be found out.
    Unknown { because: String },
}

impl MarkerReport {
    /// Looks for it with the variables and the folder of this process.
    pub(super) fn look(host: &Host) -> MarkerReport {
        match find() {
            Ok(Ok(readiness)) => {
                let available = available(host);
                MarkerReport::Present {
                    fits: available.map(|bytes| bytes >= readiness.smallest_run),
                    available,
                    readiness: Box::new(readiness),
                }
            }
            Ok(Err(error)) => {
                let because = one_line(&error);
                match error {
                    InstallError::NotInstalled { .. }
                    | InstallError::Unsupported { .. }
                    | InstallError::NoInterpreter { .. } => MarkerReport::Absent { because },
                    _ => MarkerReport::Unknown { because },
                }
            }
            Err(error) => MarkerReport::Unknown {
                because: one_line(&error),
            },
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        match self {
            MarkerReport::Present {
                readiness,
                available,
                fits,
            } => present(readiness, *available, *fits),
            MarkerReport::Absent { because } => because.clone(),
            MarkerReport::Unknown { because } => format!("unknown, {because}"),
        }
    }
}

fn find() -> std::io::Result<Result<Readiness, InstallError>> {
    let world = World::new(std::env::vars_os(), std::env::current_dir()?);
    let mut runner = SupervisedRunner::new(MechanismChoice::Auto)?;
    Ok(readiness(&world, &mut runner))
}

fn available(host: &Host) -> Option<ByteSize> {
    let free = host.memory.value()?.available?;
    let lowest = host.ceilings.lowest().map(|ceiling| ceiling.bytes);
    Some(lowest.map_or(free, |lowest| lowest.min(free)))
}

fn present(found: &Readiness, available: Option<ByteSize>, fits: Option<bool>) -> String {
    let marker = &found.marker;
    let torch = match &marker.torch {
        Some(version) => format!("torch {version}"),
        None => "no torch".to_owned(),
    };
    let device = match found.device.device {
        memcap_marker::Device::Cpu => "cpu",
        memcap_marker::Device::Mps => "mps",
        memcap_marker::Device::Cuda => "cuda",
    };
    let room = match (available, fits) {
        (Some(available), Some(true)) => format!(", {available} are available"),
        (Some(available), _) => format!(", but only {available} are available"),
        (None, _) => String::new(),
    };
    format!(
        "{} in {} (Python {}), {torch} on {device} ({}); the smallest run takes about {}{room}",
        marker.version,
        marker.python.display(),
        marker.python_version,
        found.device.because,
        found.smallest_run,
    )
}
