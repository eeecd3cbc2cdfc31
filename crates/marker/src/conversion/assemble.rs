//! The end of a conversion: joining the chunks and putting the whole into its
//! place.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::completeness::pages_listed;
use super::{Conversion, ConversionError, Outcome, Status, wrap};
use crate::command::main_files;
use crate::events::Event;
use crate::install::PageSize;
use crate::journal::Record;
use crate::manifest;
use crate::merge::{ChunkOutput, Merged, Part, UnconvertedPage, merge};
use crate::pages::PageSet;
use crate::progress::DoneChunk;
use crate::publish::folder_name;

impl Conversion<'_> {
    /// Joins what there is and puts it into its place.
    pub(super) fn finish(
        mut self,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, ConversionError> {
        if self.progress.done.is_empty() {
            return Ok(self.outcome(Status::Nothing));
        }
        tell(Event::Merging {
            chunks: self.progress.done.len(),
        });
        let merged = self.folder.fresh_merged()?;
        let joined = merge(&self.input.stem, self.plan.format, &self.parts(), &merged)?;
        self.check_pages(&joined)?;
        tell(Event::Merged(&joined));
        self.rename_main_files(&merged)?;
        let files = manifest::record(&merged).map_err(wrap("record", &merged))?;
        self.journal.append(&Record::Publishing {
            folder: folder_name(&self.plan.result),
            files: files.clone(),
        })?;
        self.plan.place().put(&merged, &files)?;
        let missing = self.missing();
        self.journal.append(&Record::Published {
            missing: missing.clone(),
        })?;
        let status = if missing.is_empty() {
            Status::Complete
        } else {
            Status::Partial
        };
        let outcome = self.outcome(status);
        if status == Status::Complete {
            self.folder.clear()?;
        }
        tell(Event::Published {
            folder: &self.plan.result,
        });
        Ok(outcome)
    }

    fn check_pages(&self, joined: &Merged) -> Result<(), ConversionError> {
        let found = PageSet::from_pages(joined.pages.iter().copied());
        let wanted = self.converted();
        if found == wanted || !self.plan.has_pages() {
            return Ok(());
        }
        Err(ConversionError::WrongPages { found, wanted })
    }

    /// The finished chunks, and a placeholder for every page that is missing,
    /// in the order of their pages.
    fn parts(&self) -> Vec<Part> {
        let chunks = self.progress.done.iter().filter_map(|chunk| {
            let folder = self.folder.chunk(&chunk.pages);
            let pages = self.pages_of(chunk, &folder);
            Some(Part::Chunk(ChunkOutput {
                first_page: pages.first()?,
                last_page: pages.last()?,
                folder: folder.join(&self.input.stem),
            }))
        });
        let missing = self.missing();
        let placeholders = missing.iter().map(|page| self.unconverted(page));
        let mut parts: Vec<Part> = chunks.chain(placeholders).collect();
        parts.sort_by_key(Part::first_page);
        parts
    }

    /// The pages of a chunk; those of a document in one piece are known only
    /// now.
    fn pages_of(&self, chunk: &DoneChunk, folder: &Path) -> PageSet {
        let listed = || pages_listed(folder, &self.input.stem, self.plan.format);
        let whole = (!self.plan.has_pages()).then(listed).flatten();
        whole.unwrap_or_else(|| chunk.pages.clone())
    }

    fn unconverted(&self, page: u32) -> Part {
        let placeholder = self
            .placeholders
            .iter()
            .rfind(|placeholder| placeholder.pages.contains(page));
        let PageSize(width, height) = self.plan.sizes.size(page);
        Part::Placeholder(UnconvertedPage {
            page,
            because: placeholder.map_or_else(
                || "it was not tried".to_owned(),
                |placeholder| placeholder.because.clone(),
            ),
            width,
            height,
        })
    }

    /// Where marker saw the document under another name, gives the main files
    /// the real one.
    fn rename_main_files(&self, merged: &Path) -> Result<(), ConversionError> {
        let name = |stem: &OsStr| {
            main_files(stem, self.plan.format).map(|file| file.file_name().map(PathBuf::from))
        };
        for (from, to) in name(&self.input.stem)
            .into_iter()
            .zip(name(&self.plan.source.stem))
        {
            if let (Some(from), Some(to)) = (from, to)
                && from != to
            {
                let to = merged.join(to);
                std::fs::rename(merged.join(from), &to).map_err(wrap("write", &to))?;
            }
        }
        Ok(())
    }
}
