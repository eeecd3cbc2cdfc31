//! What a finished or failed attempt teaches, and the cut of what is left after
//! it.

use super::Conversion;
use super::carry_out::Underway;
use crate::chunks::Chunking;
use crate::estimate::Load;
use crate::events::Event;
use crate::learned::{Sample, Seen};
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::runner::{Ending, StepReport};

impl Conversion<'_> {
    /// Corrects the estimate by what a chunk took.
    pub(super) fn learn_from_success(
        &mut self,
        underway: &Underway,
        report: &StepReport,
        recognition: bool,
        tell: &mut dyn FnMut(Event<'_>),
    ) {
        self.recognition = self.recognition.max(Some(recognition));
        if let Some(peak) = report.peak {
            let seen = Seen::in_success(peak, self.plan.run_limit(), report.accounting);
            self.learn(underway, seen, recognition, tell);
        }
    }

    /// Corrects the estimate by a limit that was too small. Other failures can
    /// come long before the peak.
    pub(super) fn learn_from_failure(
        &mut self,
        underway: &Underway,
        report: &StepReport,
        tell: &mut dyn FnMut(Event<'_>),
    ) {
        match report.ending {
            Ending::MemoryLimit | Ending::PartialKill => {
                let seen = Seen::MoreThan(self.plan.run_limit());
                self.learn(underway, seen, self.model.recognition, tell);
            }
            _ => {}
        }
    }

    /// Cuts what is left anew where that makes another number of chunks, or
    /// keeps one from running out of memory.
    fn learn(
        &mut self,
        underway: &Underway,
        seen: Seen,
        recognition: bool,
        tell: &mut dyn FnMut(Event<'_>),
    ) {
        let Underway { attempt, heap, .. } = underway;
        let size = |page| self.plan.sizes.size(page);
        let load = Load {
            recognition,
            ..self.model.load(&attempt.pages, attempt.effort, size)
        }
        .with_heap(*heap);
        self.lessons.add(Sample { load, seen });
        let planned = self.plan.memory_model.recognition;
        let recognition = self.recognition.unwrap_or(planned);
        self.model = self.model.relearned(self.lessons.samples(), recognition);
        self.recut(tell);
    }

    fn recut(&mut self, tell: &mut dyn FnMut(Event<'_>)) {
        let planned = self.queue.planned();
        if self.plan.chunking != Chunking::Fit || planned.is_empty() {
            return;
        }
        let open = PageSet::from_pages(planned.iter().flat_map(PageSet::iter));
        let others = self.plan.pages.without(&open);
        // What is cut for all workers stays so.
        let at_least = self.plan.workers.get().min(planned.len());
        let chunks = self.plan.cut(&self.model, &[others], at_least);
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
