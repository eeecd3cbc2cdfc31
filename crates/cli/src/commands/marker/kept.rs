//! What a report must not be written over: the documents, and what is made of
//! them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{CliError, USAGE};

/// The files of a conversion, as it is asked for.
pub(super) struct Kept<'a> {
    pub(super) documents: &'a [PathBuf],
    /// The folder for the results, absolute.
    pub(super) output: &'a Path,
}

impl Kept<'_> {
    /// Refuses a report that would replace one of them.
    ///
    /// # Errors
    /// Where `report` is a document, or lies in the folder of a result or of
    /// the work on one.
    pub(super) fn refuse(&self, report: &Path) -> Result<(), CliError> {
        let is_document = self.documents.iter().any(|one| is_same(one, report));
        let what = match is_document {
            true => "it is a document that is to be converted",
            false if self.holds(report) => "results and the work on them are kept there",
            false => return Ok(()),
        };
        Err(CliError::new(
            format!(
                "the report cannot be written to `{}`: {what}",
                report.display()
            ),
            Some("name another file, such as --report report.json".to_owned()),
            USAGE,
        ))
    }

    /// Whether it lies below a folder of the output that is a result's or ours.
    fn holds(&self, report: &Path) -> bool {
        let folder = report
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let folder = fs::canonicalize(folder.unwrap_or(Path::new("."))).unwrap_or_default();
        let output = fs::canonicalize(self.output).unwrap_or_else(|_| self.output.to_owned());
        let Ok(below) = folder.strip_prefix(&output) else {
            return false;
        };
        below.components().next().is_some_and(|first| {
            let name = first.as_os_str();
            let is_work = name.as_encoded_bytes().starts_with(b".memcap-");
            is_work
                || self
                    .documents
                    .iter()
                    .any(|one| one.file_stem() == Some(name))
        })
    }
}

/// Whether both names lead to one file, also by a link.
fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path| {
        fs::metadata(path)
            .ok()
            .map(|found| (found.dev(), found.ino()))
    };
    id(one).is_some_and(|found| Some(found) == id(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_results_are_no_place_for_a_report() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("out/book")).unwrap();
        fs::create_dir_all(at("out/.memcap-1/chunks")).unwrap();
        fs::create_dir_all(at("out/reports")).unwrap();
        fs::write(at("book.pdf"), "").unwrap();
        std::os::unix::fs::symlink(at("book.pdf"), at("link")).unwrap();
        fs::hard_link(at("book.pdf"), at("hard")).unwrap();
        let documents = [at("book.pdf")];
        let output = at("out");
        let kept = Kept {
            documents: &documents,
            output: &output,
        };
        for name in [
            "book.pdf",
            "link",
            "hard",
            "out/book/book.md",
            "out/book/new.json",
            "out/.memcap-1/journal",
            "out/.memcap-1/chunks/report.json",
        ] {
            assert!(kept.refuse(&at(name)).is_err(), "{name}");
        }
        for name in ["report.json", "out/report.json", "out/reports/report.json"] {
            assert!(kept.refuse(&at(name)).is_ok(), "{name}");
        }
        assert!(kept.refuse(Path::new("/dev/stdout")).is_ok());
        assert!(kept.refuse(Path::new("-")).is_ok());
    }
}
