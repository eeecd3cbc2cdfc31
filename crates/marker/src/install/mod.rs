//! The installed marker: where it is and what it is.
//!
//! [`locate`] finds interpreters by looking at files, [`inspect`] asks one of
//! them, in a process of its own under a small limit, for package versions and
//! for what PDFium says about the document. Marker itself is not started for
//! this: importing it takes more than ten seconds.

mod inspect;
mod locate;
mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use inspect::{INSPECTION_TIME, PageSize, PdfFacts};
use locate::BrokenScript;
pub use locate::FoundBy;

use crate::environment::World;
use crate::password::Password;
use crate::runner::{Ending, Runner, RunnerError};
use crate::text::path_text;
use crate::version::Version;

/// An installed marker that this crate can drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// Its version.
    pub version: Version,
    /// Its interpreter.
    #[serde(serialize_with = "crate::text::serialize_path")]
    pub python: PathBuf,
    /// Its console script, where there is one.
    #[serde(serialize_with = "crate::text::serialize_optional_path")]
    pub marker_single: Option<PathBuf>,
    /// How it was found.
    pub found_by: FoundBy,
    /// Version of the interpreter.
    pub python_version: String,
    /// Version of PyTorch with its build tag, `2.7.1+cpu`, where installed.
    pub torch: Option<String>,
    /// Version of surya-ocr, which holds the models, where installed.
    pub surya: Option<String>,
    /// What its packages' files `local.env` set, by name: hashes of the values,
    /// among which may be keys.
    #[serde(skip)]
    pub local_settings: BTreeMap<String, String>,
}

impl Installation {
    /// PyTorch's version, where it is known.
    pub fn torch_version(&self) -> Option<Version> {
        self.torch.as_deref()?.parse().ok()
    }
}

/// Why there is no marker to drive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// No interpreter has it.
    #[error("marker-pdf is not installed ({})", asked(.looked_at))]
    NotInstalled {
        /// The interpreters that were asked.
        looked_at: Vec<PathBuf>,
    },
    /// The interpreter that was named does not exist or cannot be executed.
    #[error("`{}` {because}", path_text(.python))]
    NoInterpreter {
        /// As named.
        python: PathBuf,
        /// Why not, as the rest of a sentence.
        because: String,
    },
    /// There is a `marker_single` of unknown kind and no other way to it.
    #[error("cannot tell which Python `{}` runs", path_text(.script))]
    UnknownScript {
        /// The script on `PATH`.
        script: PathBuf,
    },
    /// There is a `marker_single` whose interpreter is gone and no other way to
    /// marker.
    #[error("`{}` starts `{}`, which does not exist or cannot be executed", path_text(.script), path_text(.interpreter))]
    DeadInterpreter {
        /// The script on `PATH`.
        script: PathBuf,
        /// The interpreter that it names.
        interpreter: PathBuf,
    },
    /// The version cannot be driven.
    #[error("marker-pdf {version} is too old: it writes a single file, without pictures")]
    Unsupported {
        /// What is installed.
        version: Version,
    },
    /// The interpreter did not answer.
    #[error("`{}` {ending}{}", path_text(.python), behind_colon(.detail))]
    NoAnswer {
        /// The interpreter.
        python: PathBuf,
        /// How it ended.
        ending: Ending,
        /// The last line that it wrote.
        detail: Option<String>,
    },
    /// The answer is not what was asked for.
    #[error("cannot understand what `{}` says about its packages", path_text(.python))]
    Garbled {
        /// The interpreter.
        python: PathBuf,
        /// Where it is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The user asked us to stop.
    #[error("interrupted while looking for marker")]
    Interrupted,
    /// The process could not be supervised.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// The folder for its answer could not be made or read.
    #[error("failed to keep what `{}` says", path_text(.python))]
    Scratch {
        /// The interpreter.
        python: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

fn asked(pythons: &[PathBuf]) -> String {
    if pythons.is_empty() {
        return "no marker_single and no python3 on PATH".to_owned();
    }
    let names: Vec<_> = pythons.iter().map(|python| path_text(python)).collect();
    format!("looked at {}", names.join(", "))
}

fn behind_colon(detail: &Option<String>) -> String {
    detail
        .as_ref()
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default()
}

impl InstallError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        const INSTALL: &str = "uv tool install marker-pdf==1.10.2";
        match self {
            InstallError::NotInstalled { .. } => Some(format!(
                "install it (`{INSTALL}`), or name the Python that has it with --python"
            )),
            InstallError::Unsupported { .. } => Some(format!(
                "install 1.10.2 beside it (`{INSTALL}`) and name its Python with --python"
            )),
            InstallError::DeadInterpreter { .. } => Some(format!(
                "its environment was removed, moved or upgraded: install marker-pdf again \
                 (`{INSTALL} --force`), or name the Python that has it with --python"
            )),
            InstallError::UnknownScript { .. } | InstallError::NoInterpreter { .. } => {
                Some("name the Python that has marker-pdf with --python".to_owned())
            }
            InstallError::NoAnswer { .. } | InstallError::Garbled { .. } => {
                Some("try that Python by hand, or name another one with --python".to_owned())
            }
            InstallError::Interrupted | InstallError::Runner(_) | InstallError::Scratch { .. } => {
                None
            }
        }
    }
}

/// Finds marker and, in the same process, what PDFium says about `document`.
///
/// # Errors
/// When no interpreter has marker, or the one that has it cannot be driven.
pub fn find(
    explicit: Option<&Path>,
    document: Option<&Path>,
    world: &World,
    runner: &mut dyn Runner,
) -> Result<(Installation, Option<PdfFacts>), InstallError> {
    let located = locate::locate(explicit, world);
    if let (Some(python), []) = (explicit, located.candidates.as_slice()) {
        return Err(InstallError::NoInterpreter {
            python: python.to_owned(),
            because: why_not(python),
        });
    }
    let mut looked_at = Vec::new();
    for candidate in located.candidates {
        let facts = inspect::inspect(&candidate.python, document, None, runner)?;
        if let Some(version) = facts.marker_version() {
            let version = version.map_err(|source| InstallError::Garbled {
                python: candidate.python.clone(),
                source: Box::new(source),
            })?;
            return accept(version, candidate, facts);
        }
        looked_at.push(candidate.python);
    }
    Err(match located.broken {
        Some(BrokenScript {
            script,
            interpreter: Some(interpreter),
        }) => InstallError::DeadInterpreter {
            script,
            interpreter,
        },
        Some(BrokenScript {
            script,
            interpreter: None,
        }) => InstallError::UnknownScript { script },
        None => InstallError::NotInstalled { looked_at },
    })
}

fn accept(
    version: Version,
    candidate: locate::Candidate,
    facts: inspect::Facts,
) -> Result<(Installation, Option<PdfFacts>), InstallError> {
    if version < Version::new(0, 2, 0) {
        return Err(InstallError::Unsupported { version });
    }
    let installation = Installation {
        version,
        python: candidate.python,
        marker_single: candidate.marker_single,
        found_by: candidate.found_by,
        torch: facts.package("torch"),
        surya: facts.package("surya-ocr"),
        python_version: facts.python,
        local_settings: facts.settings,
    };
    Ok((installation, facts.document))
}

/// What PDFium in `python`'s environment says about a document, given its
/// password.
///
/// # Errors
/// As for [`find`].
pub fn inspect_with_password(
    python: &Path,
    document: &Path,
    password: &Password,
    runner: &mut dyn Runner,
) -> Result<Option<PdfFacts>, InstallError> {
    let facts = inspect::inspect(python, Some(document), Some(password), runner)?;
    Ok(facts.document)
}

/// Why a file is no interpreter, as the rest of a sentence.
fn why_not(python: &Path) -> String {
    match std::fs::metadata(python) {
        Ok(_) => "is not an executable file".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("cannot be looked at: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeMarker, Machine};

    fn find_in(machine: &Machine, runner: &mut FakeMarker) -> Result<Installation, InstallError> {
        find(None, None, &machine.world(), runner).map(|(installation, _)| installation)
    }

    #[test]
    fn an_installed_marker_is_described_by_its_interpreter() {
        let machine = Machine::new();
        let found = find_in(&machine, &mut FakeMarker::new()).unwrap();
        assert_eq!(found.version, Version::new(1, 10, 2));
        assert_eq!(found.torch.as_deref(), Some("2.7.1+cpu"));
        assert_eq!(found.found_by, FoundBy::MarkerSingle);
        assert_eq!(found.python, machine.python());
    }

    #[test]
    fn only_the_oldest_versions_are_refused() {
        let machine = Machine::new();
        let error = find_in(&machine, &mut FakeMarker::of_version("0.1.3")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "marker-pdf 0.1.3 is too old: it writes a single file, without pictures"
        );
        assert!(error.hint().is_some());
        for version in ["0.2.1", "1.0.0", "1.10.2", "2.0.0", "3.0.0"] {
            let found = find_in(&machine, &mut FakeMarker::of_version(version));
            assert_eq!(found.unwrap().version.to_string(), version);
        }
    }

    #[test]
    fn a_missing_marker_names_every_python_that_was_asked() {
        let machine = Machine::new();
        let error = find_in(&machine, &mut FakeMarker::not_installed()).unwrap_err();
        let message = error.to_string();
        let python = path_text(&machine.python());
        assert_eq!(
            message,
            format!("marker-pdf is not installed (looked at {python})")
        );

        let nowhere = World::new([], "/");
        let error = find(None, None, &nowhere, &mut FakeMarker::new()).unwrap_err();
        assert!(error.to_string().contains("no python3 on PATH"), "{error}");
    }

    #[test]
    fn a_script_whose_python_is_gone_is_told_with_it() {
        let machine = Machine::new();
        std::fs::remove_file(machine.python()).unwrap();
        let error = find_in(&machine, &mut FakeMarker::not_installed()).unwrap_err();
        let script = path_text(&machine.path().join("bin/marker_single"));
        let python = path_text(&machine.python());
        assert_eq!(
            error.to_string(),
            format!("`{script}` starts `{python}`, which does not exist or cannot be executed")
        );
        assert!(error.hint().unwrap().contains("was removed"));
    }

    #[test]
    fn a_wrong_python_is_refused_before_anything_runs() {
        let machine = Machine::new();
        let mut runner = FakeMarker::new();
        let wrong = Some(Path::new("/no/such/python"));
        let error = find(wrong, None, &machine.world(), &mut runner).unwrap_err();
        assert_eq!(error.to_string(), "`/no/such/python` does not exist");
        assert_eq!(runner.steps().len(), 0);
        assert_eq!(why_not(Path::new("/")), "is not an executable file");
        let closed = why_not(Path::new("/dev/null/python"));
        assert!(closed.starts_with("cannot be looked at: "), "{closed}");
    }
}
