//! The beginning of a conversion: what an earlier run left is taken up.

use std::time::Duration;

use super::attempt::Queue;
use super::{Conversion, ConversionError};
use crate::events::Event;
use crate::input::Input;
use crate::journal::{Journal, Record};
use crate::pages::PageSet;
use crate::plan::Plan;
use crate::progress::{DoneChunk, Progress};
use crate::recovery::Recovery;
use crate::tuning::Heap;
use crate::version::PageChoice;
use crate::work_folder::WorkFolder;

impl<'a> Conversion<'a> {
    /// Locks the work folder and takes up what an earlier run left.
    pub(super) fn open(
        plan: &'a Plan,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, ConversionError> {
        let folder = WorkFolder::open(&plan.output, &plan.key)?;
        let (journal, records) = Journal::open(&folder.journal())?;
        folder.check_belongs_to(&plan.key, &records)?;
        let capabilities = plan.marker.version.capabilities();
        let input = Input::of(&plan.source, &folder, capabilities)?;
        let choice = capabilities.pages;
        let mut conversion = Conversion {
            plan,
            folder,
            journal,
            input,
            progress: Progress::of(&records),
            queue: Queue::of([], choice),
            recovery: Recovery::new(choice),
            model: plan.memory_model.clone(),
            lessons: plan.lessons.clone(),
            recognition: None,
            chunks_kept: 0,
            placeholders: Vec::new(),
            marker_time: Duration::ZERO,
            stopped_peak: None,
        };
        if conversion.is_published() {
            conversion.chunks_kept = conversion.progress.done.len();
            return Ok(conversion);
        }
        conversion.folder.make_room()?;
        let discarded = conversion.discard_damaged()?;
        conversion.chunks_kept = conversion.progress.done.len();
        conversion.journal.append(&Record::Opened {
            memcap: env!("CARGO_PKG_VERSION").to_owned(),
            marker: plan.marker.version.to_string(),
            pages: plan.pages.clone(),
            key: Some(plan.key.clone()),
            document: Some(plan.document_hash.clone()),
        })?;
        for failed in &conversion.progress.too_large {
            if failed.limit >= plan.run_limit() {
                conversion
                    .recovery
                    .note_out_of_memory(&failed.pages, failed.effort);
                conversion.model.heap = Heap::GivenBack;
            }
        }
        conversion.take_up(choice);
        if conversion.chunks_kept > 0 || !discarded.is_empty() {
            let kept = conversion.converted();
            tell(Event::Resumed {
                kept: &kept,
                discarded: &discarded,
            });
        }
        Ok(conversion)
    }

    /// What was to follow the failures of an earlier run comes before and
    /// behind the chunks that were not tried; what was given up stays so.
    fn take_up(&mut self, choice: PageChoice) {
        let progress = &self.progress;
        let chunks = self.plan.remaining(progress);
        self.queue = Queue::of(chunks.into_iter().map(|chunk| chunk.pages), choice);
        self.queue.resume(&progress.pending(self.plan.run_limit()));
        self.placeholders = progress.given_up(self.plan.run_limit());
        for chunk in &progress.done {
            self.recovery.note_fit(&chunk.pages, chunk.effort);
        }
    }

    /// Whether the whole result is in its place, unchanged.
    pub(super) fn is_published(&self) -> bool {
        self.progress.is_published(&self.plan.result)
    }

    /// Forgets chunks whose files are not as they were; their pages are
    /// returned.
    fn discard_damaged(&mut self) -> Result<PageSet, ConversionError> {
        let (whole, damaged): (Vec<DoneChunk>, Vec<DoneChunk>) =
            std::mem::take(&mut self.progress.done)
                .into_iter()
                .partition(|chunk| {
                    let folder = self.folder.chunk(&chunk.pages);
                    !chunk.files.is_empty() && chunk.files.iter().all(|file| file.matches(&folder))
                });
        self.progress.done = whole;
        for chunk in &damaged {
            self.folder.discard(&chunk.pages)?;
            self.journal.append(&Record::Discarded {
                pages: chunk.pages.clone(),
            })?;
        }
        Ok(PageSet::from_pages(
            damaged.iter().flat_map(|chunk| chunk.pages.iter()),
        ))
    }
}
