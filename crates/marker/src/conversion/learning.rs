//! What a finished or failed attempt teaches, and the cut of what is left after
//! it.

use super::Conversion;
use super::attempt::Attempt;
use crate::chunks::Chunking;
use crate::events::Event;
use crate::learned::{Sample, Seen};
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::runner::{Ending, StepReport};

impl Conversion<'_> {
    /// Corrects the estimate by how this attempt went, and cuts what is left
    /// anew where that makes another number of chunks, or keeps one from
    /// running out of memory.
    pub(super) fn learn(
        &mut self,
        attempt: &Attempt,
        report: &StepReport,
        tell: &mut dyn FnMut(Event<'_>),
    ) {
        let limit = self.plan.run_limit();
        let seen = match (&report.ending, report.peak) {
            (Ending::Finished { .. }, Some(peak)) => {
                Seen::in_success(peak, limit, report.accounting)
            }
            (Ending::MemoryLimit | Ending::PartialKill, _) => Seen::MoreThan(limit),
            _ => return,
        };
        let size = |page| self.plan.sizes.size(page);
        let load = self.model.load(&attempt.pages, attempt.effort, size);
        self.lessons.add(Sample { load, seen });
        self.model = self.plan.memory_model.relearned(self.lessons.samples());
        self.recut(tell);
    }

    fn recut(&mut self, tell: &mut dyn FnMut(Event<'_>)) {
        let planned = self.queue.planned();
        if self.plan.chunking != Chunking::Fit || planned.is_empty() {
            return;
        }
        let open = PageSet::from_pages(planned.iter().flat_map(PageSet::iter));
        let others = self.plan.pages.without(&open);
        let chunks = self.plan.cut(&self.model, &[others]);
        let room = self.plan.limit.percent(self.model.planned_share());
        let overflows = planned
            .iter()
            .any(|pages| self.estimate(pages, Effort::Usual) > room);
        if chunks.len() != planned.len() || overflows {
            tell(Event::Recut { chunks: &chunks });
            self.queue
                .replan(chunks.into_iter().map(|chunk| chunk.pages));
        }
    }
}
