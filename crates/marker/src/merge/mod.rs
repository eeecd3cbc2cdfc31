//! Joins what marker wrote for ranges of pages into what it would have written
//! for all of them.
//!
//! ```text
//!  parts -> survey of each text ----> edits (pure) --------> write text by text,
//!  (files.rs) (markdown.rs, html.rs,   (links.rs,            link images, sync
//!  placeholder.rs)  json.rs)            sections.rs)         (files.rs)
//!        -> metadata ----------------> joined (metadata.rs)
//! ```
//!
//! Page numbers in marker since 1.0 are absolute, also with `--page_range`, so
//! the names of images and the anchors of different chunks cannot collide, and
//! most of joining is putting one after the other. What needs care is links
//! from one chunk into another ([`LinkRepairs`]). What joining cannot restore
//! is listed in `docs/chunking.md`.
//!
//! No text is rendered anew: all that joining changes is changed in place, so
//! what it does not change stays byte for byte as marker wrote it. One text is
//! in memory at a time.

mod anchors;
mod entries;
mod error;
mod files;
mod html;
mod images;
mod json;
mod landmarks;
mod links;
mod markdown;
mod metadata;
mod placeholder;
mod sections;
mod strings;
mod survey;
mod tags;

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

pub use error::MergeError;
pub use json::ShapeError;
use json::{Rest, Shape};
pub use links::LinkRepairs;
pub use metadata::MetadataError;
use metadata::{Heading, Metadata, Unconverted};
pub use placeholder::UnconvertedPage;
use survey::{Frame, Survey, edited};

use crate::format::OutputFormat;

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

/// A part of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// What marker wrote.
    Chunk(ChunkOutput),
    /// A page for which it wrote nothing.
    Placeholder(UnconvertedPage),
}

impl Part {
    /// Its first page, counted from 0.
    pub fn first_page(&self) -> u32 {
        match self {
            Part::Chunk(chunk) => chunk.first_page,
            Part::Placeholder(page) => page.page,
        }
    }

    /// Its last page, included.
    pub fn last_page(&self) -> u32 {
        match self {
            Part::Chunk(chunk) => chunk.last_page,
            Part::Placeholder(page) => page.page,
        }
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
    /// The pages that marker converted, counted from 0, as the chunks' metadata
    /// lists them: ascending, each once. Pages missing between a chunk's first
    /// and last are no error here; the caller knows which it asked for.
    pub pages: Vec<u32>,
    /// What became of the links inside the document.
    pub links: LinkRepairs,
    /// Keys of the chunks' metadata that are not in the joined metadata,
    /// because their values differ and this version does not know what they
    /// mean.
    pub dropped_metadata: Vec<String>,
}

/// Joins `parts`, given in page order, into the existing empty folder
/// `destination`, and makes the files there durable. On an error the folder
/// may hold a part of the result; the caller makes it aside and renames it.
///
/// # Errors
/// When parts are out of order or overlap, or none is a chunk; a file is
/// missing, unreadable or no output of marker; a chunk's text or metadata lists
/// pages of another; two chunks have a file of the same name that their texts
/// do not mention; `destination` is not empty; or writing fails.
pub fn merge(
    stem: &OsStr,
    format: OutputFormat,
    parts: &[Part],
    destination: &Path,
) -> Result<Merged, MergeError> {
    check_order(parts)?;
    files::check_empty(destination)?;
    let names = files::Names::new(stem, format.extension());
    let sources = sources(parts, format, &names)?;
    let images = images::choose(parts, &names)?;

    let mut surveys = Vec::new();
    let mut rests = Vec::new();
    for (source, images) in sources.iter().zip(&images) {
        let text = source.text()?;
        let seen = || source.survey(format, &text);
        let (mut survey, rest) = seen().map_err(|error| source.unexpected(error))?;
        let edits = images.edits(&text, &survey.body, format)?;
        survey.edits.extend(edits);
        surveys.push(survey);
        rests.extend(rest);
    }
    let links = links::mend(&mut surveys);
    sections::carry(&mut surveys);

    let frame = frame(format, &surveys, &rests);
    let mut writer = files::TextWriter::create(&destination.join(&names.text), &frame)?;
    for (source, survey) in sources.iter().zip(&surveys) {
        writer.put(&edited(&source.text()?, survey))?;
    }
    writer.finish()?;
    let joined = joined_metadata(&sources);
    files::write(&destination.join(&names.metadata), joined.text.as_bytes())?;
    let images = images::put(&images, destination)?;
    files::sync_folder(destination)?;
    Ok(Merged {
        text: names.text,
        metadata: names.metadata,
        images,
        pages: sources.iter().flat_map(Source::converted).collect(),
        links,
        dropped_metadata: joined.dropped,
    })
}

fn check_order(parts: &[Part]) -> Result<(), MergeError> {
    if !parts.iter().any(|part| matches!(part, Part::Chunk(_))) {
        return Err(MergeError::Nothing);
    }
    let backwards = parts
        .iter()
        .any(|part| part.last_page() < part.first_page());
    let overlap = parts
        .windows(2)
        .any(|two| two[1].first_page() <= two[0].last_page());
    if backwards || overlap {
        return Err(MergeError::Order);
    }
    Ok(())
}

/// Where a part's text comes from, and what is known of it besides.
enum Source<'a> {
    Chunk {
        path: PathBuf,
        metadata: Metadata,
        pages: Vec<u32>,
    },
    Placeholder {
        page: &'a UnconvertedPage,
        text: String,
    },
}

fn sources<'a>(
    parts: &'a [Part],
    format: OutputFormat,
    names: &files::Names,
) -> Result<Vec<Source<'a>>, MergeError> {
    // A chunk shows whether pages are marked, for placeholders to be like it.
    let first_chunk = parts.iter().find_map(|part| match part {
        Part::Chunk(chunk) => Some(chunk.folder.join(&names.text)),
        Part::Placeholder(_) => None,
    });
    let has_placeholders = parts
        .iter()
        .any(|part| matches!(part, Part::Placeholder(_)));
    let like = match first_chunk {
        Some(path) if has_placeholders => Some(files::read_text(&path)?),
        _ => None,
    };
    let source = |part: &'a Part| match part {
        Part::Chunk(chunk) => {
            let (metadata, pages) = read_metadata(chunk, names)?;
            let path = chunk.folder.join(&names.text);
            Ok(Source::Chunk {
                path,
                metadata,
                pages,
            })
        }
        Part::Placeholder(page) => Ok(Source::Placeholder {
            page,
            text: page.text(format, like.as_deref()),
        }),
    };
    parts.iter().map(source).collect()
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

impl Source<'_> {
    fn text(&self) -> Result<Cow<'_, str>, MergeError> {
        match self {
            Source::Chunk { path, .. } => files::read_text(path).map(Cow::Owned),
            Source::Placeholder { text, .. } => Ok(Cow::Borrowed(text)),
        }
    }

    fn survey(
        &self,
        format: OutputFormat,
        text: &str,
    ) -> Result<(Survey, Option<Rest>), ShapeError> {
        match self {
            Source::Chunk {
                metadata, pages, ..
            } => survey(format, text, pages, metadata.headings()),
            Source::Placeholder { page, .. } => survey(format, text, &[page.page], &[]),
        }
    }

    fn unexpected(&self, source: ShapeError) -> MergeError {
        let path = match self {
            Source::Chunk { path, .. } => path.clone(),
            Source::Placeholder { page, .. } => format!("page {}", page.page + 1).into(),
        };
        MergeError::Text { path, source }
    }

    /// The pages that marker converted.
    fn converted(&self) -> Vec<u32> {
        match self {
            Source::Chunk { pages, .. } => pages.clone(),
            Source::Placeholder { .. } => Vec::new(),
        }
    }
}

fn survey(
    format: OutputFormat,
    text: &str,
    pages: &[u32],
    headings: &[Heading],
) -> Result<(Survey, Option<Rest>), ShapeError> {
    match format {
        OutputFormat::Markdown => Ok((markdown::survey(text, pages, headings), None)),
        OutputFormat::Html => {
            let survey = html::survey(text, pages, headings).ok_or(ShapeError::NoBody)?;
            Ok((survey, None))
        }
        OutputFormat::Json => json_survey(Shape::Tree, text, pages),
        OutputFormat::Chunks => json_survey(Shape::List, text, pages),
    }
}

fn json_survey(
    shape: Shape,
    text: &str,
    pages: &[u32],
) -> Result<(Survey, Option<Rest>), ShapeError> {
    let survey = json::survey(shape, text, pages)?;
    Ok((survey, Some(Rest::of(shape, text)?)))
}

/// What stands around the bodies: as around the first and the last that are
/// not empty.
fn frame(format: OutputFormat, surveys: &[Survey], rests: &[Rest]) -> Frame {
    match format {
        OutputFormat::Json => json::frame(Shape::Tree, rests),
        OutputFormat::Chunks => json::frame(Shape::List, rests),
        OutputFormat::Markdown | OutputFormat::Html => {
            let filled = || surveys.iter().filter(|survey| !survey.body.is_empty());
            let first = filled().next().or(surveys.first());
            let last = filled().next_back().or(surveys.last());
            let frame = first.map(|survey| survey.frame.clone());
            Frame {
                tail: last
                    .map(|survey| survey.frame.tail.clone())
                    .unwrap_or_default(),
                ..frame.unwrap_or_default()
            }
        }
    }
}

fn joined_metadata(sources: &[Source]) -> metadata::Joined {
    let mut parts = Vec::new();
    let mut unconverted = Vec::new();
    for source in sources {
        match source {
            Source::Chunk { metadata, .. } => parts.push(metadata),
            Source::Placeholder { page, .. } => unconverted.push(Unconverted {
                page_id: page.page,
                because: &page.because,
            }),
        }
    }
    metadata::join(&parts, &unconverted)
}

/// Joins texts in memory: what [`merge`] does, without files.
#[cfg(test)]
fn joined(format: OutputFormat, parts: &[(Vec<u32>, &str)]) -> (String, LinkRepairs) {
    let (mut surveys, mut rests) = (Vec::new(), Vec::new());
    for (pages, text) in parts {
        let (survey, rest) = survey(format, text, pages, &[]).unwrap();
        surveys.push(survey);
        rests.extend(rest);
    }
    let links = links::mend(&mut surveys);
    sections::carry(&mut surveys);
    let frame = frame(format, &surveys, &rests);
    let mut writer = files::TextWriter::new(Vec::new(), Path::new("memory"), &frame).unwrap();
    for ((_, text), survey) in parts.iter().zip(&surveys) {
        writer.put(&edited(text, survey)).unwrap();
    }
    let written = writer.close().unwrap();
    (String::from_utf8(written).unwrap(), links)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
