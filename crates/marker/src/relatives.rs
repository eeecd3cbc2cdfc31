//! What earlier runs have left of the same document under other settings.
//!
//! Such work cannot be taken up: another version of marker, or other options,
//! would have written something else, and a result is never mixed. But whoever
//! has updated marker in the middle of a long conversion should know why it
//! begins anew, and where the rest lies.

use std::path::{Path, PathBuf};

use crate::journal::{self, Record};
use crate::pages::PageSet;
use crate::progress::Progress;
use crate::text::path_text;
use crate::work_folder::PREFIX;

/// Work on the same document by another version of marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relative {
    /// Its work folder.
    pub folder: PathBuf,
    /// The version of marker.
    pub marker: String,
    /// The pages that it has converted.
    pub done: PageSet,
}

impl Relative {
    /// What the user should know.
    pub fn warning(&self) -> String {
        format!(
            "marker {} has converted pages {} of this document in an earlier run; `{}` is kept, but \
             not used with another version",
            self.marker,
            self.done,
            path_text(&self.folder)
        )
    }
}

/// Those in `output` that were made by another marker than version `marker`
/// from the document with this hash, sorted by their folders.
pub fn find(output: &Path, document: &str, marker: &str) -> Vec<Relative> {
    let Ok(entries) = std::fs::read_dir(output) else {
        return Vec::new();
    };
    let mut found: Vec<Relative> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter_map(|entry| relative(entry.path(), document, marker))
        .collect();
    found.sort_by(|one, other| one.folder.cmp(&other.folder));
    found
}

fn relative(folder: PathBuf, wanted: &str, own: &str) -> Option<Relative> {
    let records = journal::read(&folder.join("journal")).ok()?;
    let version = records.iter().rev().find_map(|record| match record {
        Record::Opened {
            marker,
            document: Some(document),
            ..
        } if document == wanted && marker != own => Some(marker.clone()),
        _ => None,
    })?;
    let progress = Progress::of(&records);
    let done = PageSet::from_pages(progress.done.iter().flat_map(|chunk| chunk.pages.iter()));
    // Nothing is lost where it was finished, or had only begun.
    (progress.published.is_none() && !done.is_empty()).then_some(Relative {
        folder,
        marker: version,
        done,
    })
}
