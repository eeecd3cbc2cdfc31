//! One question to marker's interpreter: which packages, and which pages.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use super::InstallError;
use crate::password::Password;
use crate::runner::{Ending, Runner, Step};
use crate::text::last_line;
use crate::version::{ParseVersionError, Version};

/// Limit of the inspecting process. PDFium opens an 875 MB scan in 19 MB, and
/// the interpreter itself takes about as much.
pub const INSPECTION_LIMIT: ByteSize = ByteSize::from_mib(512);

/// Time given to the inspecting process. It usually takes a fraction of a
/// second; a cold disk or a broken 500 MB file takes several.
pub const INSPECTION_TIME: Duration = Duration::from_secs(120);

/// The program for `python -c`.
const PROGRAM: &str = include_str!("inspect.py");

/// Width and height of a page in points (1/72 inch), rounded up; both 0 where
/// PDFium cannot open the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageSize(pub u32, pub u32);

impl PageSize {
    /// US letter.
    pub const LETTER: PageSize = PageSize(612, 792);

    /// The area in square points.
    pub fn area(self) -> u64 {
        u64::from(self.0) * u64::from(self.1)
    }
}

/// What PDFium, through which marker reads PDFs, says about a document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PdfFacts {
    /// It opens.
    Pages {
        /// The number of pages that the file claims to have.
        count: u32,
        /// Their sizes from the first on; may stop early in huge documents.
        sizes: Vec<PageSize>,
    },
    /// It wants a user password, which marker cannot give.
    Password,
    /// It does not open.
    Malformed {
        /// PDFium's words.
        reason: String,
    },
    /// PDFium is missing in marker's environment.
    NoPdfium {
        /// Python's words.
        reason: String,
    },
}

/// The whole answer.
#[derive(Debug, Deserialize)]
pub(super) struct Facts {
    pub(super) python: String,
    packages: BTreeMap<String, Option<String>>,
    /// Hashes of what files of settings set, by name.
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
    pub(super) document: Option<PdfFacts>,
}

impl Facts {
    pub(super) fn package(&self, name: &str) -> Option<String> {
        self.packages.get(name).cloned().flatten()
    }

    /// The version of marker-pdf; `None` where it is not installed.
    pub(super) fn marker_version(&self) -> Option<Result<Version, ParseVersionError>> {
        self.package("marker-pdf").map(|version| version.parse())
    }
}

/// Asks `python`.
pub(super) fn inspect(
    python: &Path,
    document: Option<&Path>,
    password: Option<&Password>,
    runner: &mut dyn Runner,
) -> Result<Facts, InstallError> {
    let wrap_io = |source| InstallError::Scratch {
        python: python.to_owned(),
        source,
    };
    let scratch = tempfile::Builder::new()
        .prefix("memcap-")
        .tempdir()
        .map_err(wrap_io)?;
    let mut step = step(python, document, scratch.path());
    if let Some(password) = password {
        let secret = scratch.path().join("password");
        password.write(&secret).map_err(wrap_io)?;
        step.args.push(secret.into());
    }
    let report = runner.run(&step, &mut |_| ControlFlow::Continue(()))?;
    match report.ending {
        Ending::Finished { exit_code: 0 } => {}
        Ending::Interrupted => return Err(InstallError::Interrupted),
        ending => {
            let errors = std::fs::read(&step.stderr).unwrap_or_default();
            return Err(InstallError::NoAnswer {
                python: python.to_owned(),
                ending,
                detail: last_line(&errors),
            });
        }
    }
    let answer = std::fs::read(&step.stdout).map_err(wrap_io)?;
    serde_json::from_slice(&answer).map_err(|source| InstallError::Garbled {
        python: python.to_owned(),
        source: Box::new(source),
    })
}

fn step(python: &Path, document: Option<&Path>, scratch: &Path) -> Step {
    let mut args = vec!["-c".into(), PROGRAM.into()];
    args.extend(document.map(|path| path.as_os_str().to_owned()));
    Step {
        label: "looking at marker and the document".to_owned(),
        program: python.to_owned(),
        args,
        env: Vec::new(),
        stdout: scratch.join("facts.json"),
        stderr: scratch.join("errors"),
        memory: INSPECTION_LIMIT,
        estimate: None,
        time_limit: Some(INSPECTION_TIME),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let facts: Facts = serde_json::from_str(
            r#"{"python": "3.11.2", "packages": {"marker-pdf": "1.10.2", "torch": null},
                "document": {"kind": "pages", "count": 2, "sizes": [[612, 792], [0, 0]]}}"#,
        )
        .unwrap();
        assert_eq!(facts.marker_version(), Some(Ok(Version::new(1, 10, 2))));
        assert_eq!(facts.package("torch"), None);
        let sizes = vec![PageSize::LETTER, PageSize(0, 0)];
        assert_eq!(facts.document, Some(PdfFacts::Pages { count: 2, sizes }));
    }

    #[test]
    fn every_kind_of_document_is_read() {
        for (json, expected) in [
            (r#"{"kind": "password"}"#, PdfFacts::Password),
            (
                r#"{"kind": "malformed", "reason": "x"}"#,
                PdfFacts::Malformed { reason: "x".into() },
            ),
            (
                r#"{"kind": "no-pdfium", "reason": "x"}"#,
                PdfFacts::NoPdfium { reason: "x".into() },
            ),
        ] {
            assert_eq!(serde_json::from_str::<PdfFacts>(json).unwrap(), expected);
        }
    }
}
