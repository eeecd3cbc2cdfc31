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
use std::path::{Path, PathBuf};

pub use error::MergeError;
pub use links::LinkRepairs;
use links::Piece;
use metadata::Metadata;
pub use metadata::MetadataError;

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
    /// The pages in it, counted from 0, as the chunks' metadata lists them:
    /// ascending, each once. Pages missing between a chunk's first and last
    /// are no error here; the caller knows which it asked for.
    pub pages: Vec<u32>,
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
/// no output of marker; the metadata of a chunk lists pages of another; two chunks have an image of the same name; `destination` is not
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
    let read = chunks.iter().map(|chunk| read_metadata(chunk, &names));
    let read = read.collect::<Result<Vec<_>, _>>()?;
    let (metadata, pages): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    let merged_pages = pages.concat();

    let (text, links) = match format {
        Format::Markdown => markdown::join(&pieces(&texts, &metadata, pages)),
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
        pages: merged_pages,
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
) -> Result<(Metadata, Vec<u32>), MergeError> {
    let path = chunk.folder.join(&names.metadata);
    let text = files::read_text(&path)?;
    let parse = || {
        let metadata = Metadata::parse(&text)?;
        let pages = metadata.pages(chunk.first_page..=chunk.last_page)?;
        Ok((metadata, pages))
    };
    parse().map_err(|source| MergeError::Metadata { path, source })
}

fn pieces<'a>(
    texts: &'a [String],
    metadata: &'a [Metadata],
    pages: Vec<Vec<u32>>,
) -> Vec<Piece<'a>> {
    let all = texts.iter().zip(metadata).zip(pages);
    all.map(|((text, metadata), pages)| Piece {
        pages,
        text,
        headings: metadata.headings(),
    })
    .collect()
}

#[cfg(test)]
mod tests;
