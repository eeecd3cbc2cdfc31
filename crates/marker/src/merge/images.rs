//! The images of the chunks, and whatever else marker put beside the text.
//!
//! marker since 1.0 numbers images by pages of the document, so that names of
//! different chunks differ. marker 0.x numbers those of pages that it read by
//! OCR by pages of the run (`ocr/recognition.py`): there two chunks have
//! images of one name, and the later one gets another.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::survey::Edit;
use super::{ChunkOutput, MergeError, Part, files};
use crate::format::OutputFormat;

/// The files of one part.
#[derive(Debug, Default)]
pub(super) struct Images {
    folder: PathBuf,
    files: Vec<Image>,
}

#[derive(Debug)]
struct Image {
    name: OsString,
    /// In the result.
    name_there: OsString,
}

/// Finds the files of each part and gives them their names in the result.
pub(super) fn choose(parts: &[Part], names: &files::Names) -> Result<Vec<Images>, MergeError> {
    let mut taken = HashSet::new();
    let images = |part: &Part| match part {
        Part::Placeholder(_) => Ok(Images::default()),
        Part::Chunk(chunk) => {
            let found = files::other_files(&chunk.folder, names)?;
            let files = found.into_iter().map(|name| Image {
                name_there: free_name(&name, chunk, &mut taken),
                name,
            });
            Ok(Images {
                files: files.collect(),
                folder: chunk.folder.clone(),
            })
        }
    };
    parts.iter().map(images).collect()
}

/// The name itself, or one with the chunk's pages, which no other chunk has.
fn free_name(name: &OsStr, chunk: &ChunkOutput, taken: &mut HashSet<OsString>) -> OsString {
    if taken.insert(name.to_owned()) {
        return name.to_owned();
    }
    let mut other = OsString::from(format!(
        "pages_{}_{}_",
        u64::from(chunk.first_page) + 1,
        u64::from(chunk.last_page) + 1
    ));
    other.push(name);
    taken.insert(other.clone());
    other
}

impl Images {
    /// The changes in the part's text for files that got another name.
    ///
    /// # Errors
    /// When the text does not mention such a file: then it is no image of a
    /// page, and which of two is right cannot be told.
    pub(super) fn edits(
        &self,
        text: &str,
        body: &Range<usize>,
        format: OutputFormat,
    ) -> Result<Vec<Edit>, MergeError> {
        let mut edits = Vec::new();
        for image in self
            .files
            .iter()
            .filter(|image| image.name != image.name_there)
        {
            let collision = || MergeError::Collision {
                path: self.folder.join(&image.name),
            };
            let name = image.name.to_str().ok_or_else(collision)?;
            let found = mentions(text, body, name, format);
            if found.is_empty() {
                return Err(collision());
            }
            let name_there = image.name_there.to_string_lossy();
            edits.extend(found.into_iter().map(|range| Edit {
                range,
                text: name_there.clone().into_owned(),
            }));
        }
        Ok(edits)
    }

    /// Links or copies the files.
    fn put(&self, destination: &Path) -> Result<(), MergeError> {
        self.files.iter().try_for_each(|image| {
            let from = self.folder.join(&image.name);
            files::link(&from, &destination.join(&image.name_there))
        })
    }
}

/// Puts the files of all parts into `destination`; their names there.
pub(super) fn put(images: &[Images], destination: &Path) -> Result<Vec<OsString>, MergeError> {
    images.iter().try_for_each(|part| part.put(destination))?;
    let files = images.iter().flat_map(|part| &part.files);
    Ok(files.map(|image| image.name_there.clone()).collect())
}

/// Where `text` shows the image `name`.
fn mentions(
    text: &str,
    body: &Range<usize>,
    name: &str,
    format: OutputFormat,
) -> Vec<Range<usize>> {
    let (before, behind) = match format {
        OutputFormat::Markdown => ("](", ')'),
        OutputFormat::Html => ("src=\"", '"'),
        // Images are within the text.
        OutputFormat::Json | OutputFormat::Chunks => return Vec::new(),
    };
    let found = text[body.clone()].match_indices(name);
    let ranges = found.map(|(at, _)| body.start + at..body.start + at + name.len());
    ranges
        .filter(|range| {
            text[..range.start].ends_with(before) && text[range.end..].starts_with(behind)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_where_it_is_shown() {
        let markdown = "![0_image_0.png](0_image_0.png) 0_image_0.png ![](10_image_0.png)";
        let body = 0..markdown.len();
        let found = mentions(markdown, &body, "0_image_0.png", OutputFormat::Markdown);
        assert_eq!(found, std::slice::from_ref(&(17..30)));
        let html = "<img src=\"a.png\"/> a.png";
        let found = mentions(html, &(0..html.len()), "a.png", OutputFormat::Html);
        assert_eq!(found, std::slice::from_ref(&(10..15)));
    }
}
