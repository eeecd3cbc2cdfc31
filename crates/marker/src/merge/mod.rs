//! Joins what marker wrote for ranges of pages into what it would have written
//! for all of them.
//!
//! ```text
//!  chunk folders -> read texts and metadata -> join (pure)  -> write, link images, sync
//!  (files.rs)                                  markdown.rs      (files.rs)
//!                                              links.rs
//!                                              metadata.rs
//! ```
//!
//! Page numbers in marker 1.x are absolute, also with `--page_range`, so the
//! names of images and the anchors of different chunks cannot collide, and
//! most of joining is putting one after the other. What needs care is links
//! from one chunk into another ([`LinkRepairs`]). What joining cannot restore
//! is listed in `docs/chunking.md`.
//!
//! Only Markdown is joined so far. Another format is a variant of `Format` and
//! a module beside `markdown`.

mod anchors;
mod error;
mod files;
mod landmarks;
mod links;
mod markdown;
mod metadata;

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

pub use error::MergeError;
pub use links::LinkRepairs;

/// The result of one chunk, as marker left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkOutput {
    /// The chunk's first page, counted from 0.
    pub first_page: u32,
    /// Its last page, included.
    pub last_page: u32,
    /// marker's folder `<output_dir>/<stem>` with the text, `<stem>_meta.json`
    /// and the images.
    pub folder: PathBuf,
}

impl ChunkOutput {
    fn pages(&self) -> RangeInclusive<u32> {
        self.first_page..=self.last_page
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The name of the text below the destination.
    pub text: OsString,
    /// The name of the metadata.
    pub metadata: OsString,
    /// The names of the images and other files of the chunks, in page order of
    /// the chunks and by name within each.
    pub images: Vec<OsString>,
    /// How many pages the chunks cover.
    pub pages: u32,
    /// What became of the links inside the document.
    pub links: LinkRepairs,
    /// Keys of the chunks' metadata that are not in the joined metadata,
    /// because their values differ and this version does not know what they
    /// mean.
    pub dropped_metadata: Vec<String>,
}

/// The text formats of marker that can be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Markdown,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Format::Markdown => "md",
        }
    }
}

/// Joins `chunks`, given in page order, into the existing empty folder
/// `destination`, and makes the files there durable. On an error the folder
/// may hold a part of the result; the caller makes it aside and renames it.
///
/// # Errors
/// When chunks are out of order or overlap; a file is missing, unreadable or
/// no output of marker; the metadata of a chunk does not cover exactly its
/// pages; two chunks have an image of the same name; `destination` is not
/// empty; or writing fails.
pub fn merge(
    stem: &OsStr,
    chunks: &[ChunkOutput],
    destination: &Path,
) -> Result<Merged, MergeError> {
    check_order(chunks)?;
    files::check_empty(destination)?;
    let format = Format::Markdown;
    let names = files::Names::new(stem, format.extension());

    let texts = chunks
        .iter()
        .map(|chunk| files::read_text(&chunk.folder.join(&names.text)));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let metadata = chunks.iter().map(|chunk| read_metadata(chunk, &names));
    let metadata = metadata.collect::<Result<Vec<_>, _>>()?;

    let (text, links) = match format {
        Format::Markdown => markdown::join(&pieces(chunks, &texts, &metadata)),
    };
    let joined = metadata::join(&metadata);

    files::write(&destination.join(&names.text), text.as_bytes())?;
    files::write(&destination.join(&names.metadata), joined.text.as_bytes())?;
    let images = files::link_images(chunks, &names, destination)?;
    files::sync_folder(destination)?;
    Ok(Merged {
        text: names.text,
        metadata: names.metadata,
        images,
        pages: chunks
            .iter()
            .map(|chunk| chunk.last_page - chunk.first_page + 1)
            .sum(),
        links,
        dropped_metadata: joined.dropped,
    })
}

fn check_order(chunks: &[ChunkOutput]) -> Result<(), MergeError> {
    if chunks.is_empty() {
        return Err(MergeError::Nothing);
    }
    let backwards = chunks
        .iter()
        .any(|chunk| chunk.last_page < chunk.first_page);
    let overlap = chunks
        .windows(2)
        .any(|two| two[1].first_page <= two[0].last_page);
    if backwards || overlap {
        return Err(MergeError::Order);
    }
    Ok(())
}

fn read_metadata(
    chunk: &ChunkOutput,
    names: &files::Names,
) -> Result<metadata::Metadata, MergeError> {
    let path = chunk.folder.join(&names.metadata);
    let text = files::read_text(&path)?;
    let wrap = |source| MergeError::Metadata {
        path: path.clone(),
        source,
    };
    let metadata = metadata::Metadata::parse(&text).map_err(wrap)?;
    metadata.check_pages(chunk.pages()).map_err(wrap)?;
    Ok(metadata)
}

fn pieces<'a>(
    chunks: &[ChunkOutput],
    texts: &'a [String],
    metadata: &'a [metadata::Metadata],
) -> Vec<links::Piece<'a>> {
    let all = chunks.iter().zip(texts).zip(metadata);
    all.map(|((chunk, text), metadata)| links::Piece {
        pages: chunk.pages(),
        text,
        headings: metadata.headings(),
    })
    .collect()
}

#[cfg(test)]
mod tests;
