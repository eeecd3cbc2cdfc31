//! What a plan leaves to do, cut into chunks.

use memcap_linux::ByteSize;

use super::Plan;
use crate::chunks::{Chunk, Cutting};
use crate::conversion::attempt::{Attempt, Pending};
use crate::estimate::MemoryModel;
use crate::fitting::Wanted;
use crate::pages::PageSet;
use crate::progress::Progress;
use crate::recovery::Effort;

impl Plan {
    /// The chunks that `progress` leaves and that were not tried. Page sets that
    /// are known to run out of memory are halved beforehand.
    pub(crate) fn remaining(&self, progress: &Progress) -> Vec<Chunk> {
        let others = progress.settled(self.run_limit());
        let choice = self.marker.version.capabilities().pages;
        let mut open = self.cut(&self.memory_model, &others, 1);
        if self.workers.get() > 1 {
            // As many for each.
            let even = open.len().next_multiple_of(self.workers.get());
            open = self.cut(&self.memory_model, &others, even);
        }
        open.reverse();
        let mut chunks = Vec::new();
        while let Some(chunk) = open.pop() {
            match choice.halves(&chunk.pages) {
                Some((low, high))
                    if progress.is_too_large(&chunk.pages, Effort::Usual, self.run_limit()) =>
                {
                    let chunk = |pages| self.cutting(&self.memory_model, 1).chunk(pages);
                    open.extend([chunk(high), chunk(low)]);
                }
                _ => chunks.push(chunk),
            }
        }
        chunks
    }

    /// All that is to be tried, in its order: what follows failures of an earlier
    /// run comes before the chunks that were not tried, or behind them.
    pub(super) fn to_come(&self, progress: &Progress) -> Vec<Chunk> {
        let pending = progress.pending(self.run_limit());
        let of = |pending: &Pending| {
            let Attempt { pages, effort, .. } = &pending.attempt;
            Chunk {
                pages: pages.clone(),
                estimate: self.estimate(&self.memory_model, pages, *effort),
            }
        };
        let now = pending.iter().filter(|pending| !pending.last).map(of);
        let last = pending.iter().filter(|pending| pending.last).map(of);
        now.chain(self.remaining(progress)).chain(last).collect()
    }

    /// Chunks of all pages but those of `others`, across which none reaches; so
    /// many at least, as far as there are pages enough.
    pub(crate) fn cut(
        &self,
        model: &MemoryModel,
        others: &[PageSet],
        at_least: usize,
    ) -> Vec<Chunk> {
        let cutting = self.cutting(model, at_least);
        let choice = self.marker.version.capabilities().pages;
        cutting
            .cut(&self.pages, others)
            .iter()
            .flat_map(|chunk| choice.parts(&chunk.pages))
            .map(|pages| cutting.chunk(pages))
            .collect()
    }

    fn cutting<'a>(&'a self, model: &'a MemoryModel, at_least: usize) -> Cutting<'a> {
        Cutting {
            chunking: self.chunking,
            model,
            limit: self.limit,
            sizes: &self.sizes,
            at_least,
        }
    }

    /// The peak of a run over these pages, as `model` has it.
    pub(crate) fn estimate(
        &self,
        model: &MemoryModel,
        pages: &PageSet,
        effort: Effort,
    ) -> ByteSize {
        model.run(pages, effort, |page| self.sizes.size(page))
    }

    /// The smallest limit that leaves room for each page by itself.
    pub(super) fn needed_for_one(&self) -> ByteSize {
        let wanted = Wanted {
            pages: &self.pages,
            sizes: &self.sizes,
            limit: self.limit,
            chunking: self.chunking,
            processors: None,
        };
        wanted.needed_for_one(&self.memory_model)
    }
}
