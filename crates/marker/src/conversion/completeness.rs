//! Whether a run of marker that ended well has really written its pages.

use std::ffi::OsStr;
use std::path::Path;

use serde::Deserialize;

use crate::command::main_files;
use crate::format::OutputFormat;
use crate::pages::PageSet;

/// What is read of `_meta.json`.
#[derive(Deserialize)]
struct Metadata {
    /// One entry a page.
    page_stats: Option<Vec<PageStats>>,
    /// How many pages there were: all that releases before 1.0 say.
    pages: Option<usize>,
}

#[derive(Deserialize)]
struct PageStats {
    page_id: u32,
    text_extraction_method: Option<String>,
}

/// Whether text and metadata are there and the metadata lists exactly `pages`,
/// or, where these are not known, any.
pub(super) fn is_complete(
    output: &Path,
    stem: &OsStr,
    format: OutputFormat,
    pages: Option<&PageSet>,
) -> bool {
    let [text, _] = main_files(stem, format).map(|file| output.join(file));
    let is_complete = |metadata| match pages {
        Some(pages) => lists(metadata, pages),
        None => listed(metadata).is_none_or(|listed| !listed.is_empty()),
    };
    text.is_file() && read(output, stem, format).is_some_and(is_complete)
}

/// The pages that a result in `output` lists; `None` where it does not.
pub(super) fn pages_listed(output: &Path, stem: &OsStr, format: OutputFormat) -> Option<PageSet> {
    read(output, stem, format).and_then(listed)
}

/// Whether the text of any page was recognised rather than read from the file.
pub(super) fn recognises(output: &Path, stem: &OsStr, format: OutputFormat) -> bool {
    let stats = read(output, stem, format).and_then(|metadata| metadata.page_stats);
    let recognised = |page: &PageStats| {
        let method = page.text_extraction_method.as_deref();
        method.is_some_and(|method| method != "pdftext")
    };
    stats.is_some_and(|stats| stats.iter().any(recognised))
}

fn read(output: &Path, stem: &OsStr, format: OutputFormat) -> Option<Metadata> {
    let [_, metadata] = main_files(stem, format).map(|file| output.join(file));
    let json = std::fs::read(metadata).ok()?;
    serde_json::from_slice(&json).ok()
}

fn listed(metadata: Metadata) -> Option<PageSet> {
    let stats = metadata.page_stats?;
    Some(PageSet::from_pages(stats.iter().map(|page| page.page_id)))
}

/// A release that says nothing at all is believed.
fn lists(metadata: Metadata, pages: &PageSet) -> bool {
    match (metadata.page_stats, metadata.pages) {
        (Some(stats), _) => PageSet::from_pages(stats.iter().map(|page| page.page_id)) == *pages,
        (None, Some(count)) => count == pages.len(),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_without_some_of_its_pages_is_incomplete() {
        let output = tempfile::tempdir().unwrap();
        let folder = output.path().join("a");
        std::fs::create_dir(&folder).unwrap();
        let is_complete = |metadata: &str| {
            std::fs::write(folder.join("a_meta.json"), metadata).unwrap();
            is_complete(
                output.path(),
                OsStr::new("a"),
                OutputFormat::Markdown,
                Some(&PageSet::all(2)),
            )
        };
        let both = r#"{"page_stats": [{"page_id": 0, "x": 1}, {"page_id": 1}]}"#;
        assert!(!is_complete(both), "no text");
        std::fs::write(folder.join("a.md"), "").unwrap();
        assert!(is_complete(both));
        assert!(is_complete(r#"{"table_of_contents": []}"#));
        assert!(!is_complete(r#"{"page_stats": [{"page_id": 0}]}"#));
        assert!(!is_complete(r#"{"page_stats": [{"page_id": 0}"#));
        assert!(is_complete(r#"{"pages": 2}"#) && !is_complete(r#"{"pages": 1}"#));
    }

    #[test]
    fn text_is_recognised_where_a_page_has_no_other() {
        let output = tempfile::tempdir().unwrap();
        std::fs::create_dir(output.path().join("a")).unwrap();
        let recognises = |methods: [&str; 2]| {
            let [first, second] = methods
                .map(|method| format!(r#"{{"page_id": 0, "text_extraction_method": {method}}}"#));
            let metadata = format!(r#"{{"page_stats": [{first}, {second}]}}"#);
            std::fs::write(output.path().join("a/a_meta.json"), metadata).unwrap();
            recognises(output.path(), OsStr::new("a"), OutputFormat::Markdown)
        };
        assert!(!recognises([r#""pdftext""#, r#""pdftext""#]));
        assert!(recognises([r#""pdftext""#, r#""surya""#]));
        assert!(!recognises(["null", "null"]));
    }
}
