//! What is chosen so that a conversion stays under its limit, and whether it
//! can at all. Pure.
//!
//! What the user has settled is not touched. Batches come first, because they
//! cost nothing but time; then chunks are cut as large as they may be; then come
//! processes for the text, where they fit beside a chunk.

use std::num::{NonZeroU32, NonZeroUsize};

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::chunks::{Chunk, Chunking, Cutting, FEW_PAGES};
use crate::estimate::MemoryModel;
use crate::page_count::Pages;
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::tuning::{Multiplier, TuningRequest, choose_heap};
use crate::workers::PROCESSORS_A_WORKER;

/// Something that memcap has chosen, for the plan that a user reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// What was chosen: `batches`, `text extraction`, `freed memory`, `at once`.
    pub what: &'static str,
    /// The choice.
    pub value: String,
    /// Why, as one sentence without its full stop.
    pub because: String,
}

/// What a choice depends on beside the memory.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub pages: &'a PageSet,
    pub sizes: &'a Pages,
    pub limit: ByteSize,
    pub chunking: Chunking,
    /// Processors of the machine, where known.
    pub processors: Option<NonZeroUsize>,
}

/// What was chosen.
pub(crate) struct Fit {
    pub tuning: TuningRequest,
    /// What the settings need.
    pub model: MemoryModel,
    /// Chunks, or documents like this one, that could run at once.
    pub jobs: NonZeroUsize,
    /// Why not more.
    pub at_once: Choice,
    pub choices: Vec<Choice>,
}

/// Smaller batches, in the order in which they are tried.
const SMALLER: [Multiplier; 3] = [Multiplier::HALF, Multiplier::QUARTER, Multiplier::TENTH];

/// Fewer pages than this are read faster by one process than several are
/// started.
const PAGES_FOR_PROCESSES: usize = 100;

/// Marker's own number.
const TEXT_WORKERS: NonZeroU32 = NonZeroU32::new(4).expect("4 is not 0");

/// Chooses. `model` tells what settings need.
///
/// # Errors
/// Those of `model`.
pub(crate) fn fit<E>(
    asked: &TuningRequest,
    wanted: &Wanted<'_>,
    model: impl Fn(&TuningRequest) -> Result<MemoryModel, E>,
) -> Result<Fit, E> {
    let mut choices = Vec::new();
    let mut tuning = batches(asked, wanted, &model, &mut choices)?;
    let mut chosen = model(&tuning)?;
    let chunks = wanted.cut(&chosen);
    if asked.text_workers.is_none() {
        let several = TuningRequest {
            text_workers: Some(TEXT_WORKERS),
            ..tuning.clone()
        };
        let reckoned = model(&several)?;
        let (fits, choice) = wanted.extraction(&chunks, &reckoned);
        choices.push(choice);
        if fits {
            (tuning, chosen) = (several, reckoned);
        }
    }
    if asked.heap.is_none() {
        let largest = wanted.largest(&wanted.cut(&chosen));
        let (heap, because) = choose_heap(asked.multiplier, largest, wanted.limit);
        tuning.heap = Some(heap);
        chosen = model(&tuning)?;
        choices.push(Choice {
            what: "freed memory",
            value: heap.to_string(),
            because,
        });
    }
    let (jobs, at_once) = wanted.jobs(&wanted.cut(&chosen), &chosen);
    Ok(Fit {
        tuning,
        model: chosen,
        jobs,
        at_once,
        choices,
    })
}

/// The largest batches that leave room for a good chunk.
fn batches<E>(
    asked: &TuningRequest,
    wanted: &Wanted<'_>,
    model: impl Fn(&TuningRequest) -> Result<MemoryModel, E>,
    choices: &mut Vec<Choice>,
) -> Result<TuningRequest, E> {
    let mut tuning = asked.clone();
    let room = wanted.pages_at_once(&model(asked)?);
    let settled = asked.multiplier.is_some() || wanted.chunking != Chunking::Fit;
    if settled || room >= wanted.enough() {
        return Ok(tuning);
    }
    let mut more = room;
    for multiplier in SMALLER {
        tuning.multiplier = Some(multiplier);
        more = wanted.pages_at_once(&model(&tuning)?);
        if more >= wanted.enough() {
            break;
        }
    }
    let multiplier = tuning.multiplier.unwrap_or(Multiplier::ONE);
    choices.push(Choice {
        what: "batches",
        value: format!("{multiplier} of marker's own"),
        because: format!(
            "with marker's own about {room} pages fit under the limit at once, with these {more}"
        ),
    });
    Ok(tuning)
}

impl Wanted<'_> {
    /// How many pages of this document's mean size fit into one run.
    pub(crate) fn pages_at_once(&self, model: &MemoryModel) -> u64 {
        let size = |page| self.sizes.size(page);
        let cost: u128 = self
            .pages
            .iter()
            .map(|page| u128::from(model.page_cost(size(page), Effort::Usual).bytes()))
            .sum();
        let mean = cost / u128::try_from(self.pages.len().max(1)).unwrap_or(1);
        let room = self
            .limit
            .percent(model.planned_share())
            .saturating_sub(model.fixed(self.pages, Effort::Usual, size));
        u64::try_from(u128::from(room.bytes()) / mean.max(1)).unwrap_or(u64::MAX)
    }

    /// As many pages as marker's heuristics want, or all that there are.
    pub(crate) fn enough(&self) -> u64 {
        FEW_PAGES.min(u64::try_from(self.pages.len()).unwrap_or(u64::MAX))
    }

    fn cut(&self, model: &MemoryModel) -> Vec<Chunk> {
        let cutting = Cutting {
            chunking: self.chunking,
            model,
            limit: self.limit,
            sizes: self.sizes,
            at_least: 1,
        };
        cutting.cut(self.pages, &[])
    }

    /// What the largest of these chunks takes; `None` where the document has no
    /// pages that are known, so that its one chunk is estimated as if it were a page.
    fn largest(&self, chunks: &[Chunk]) -> Option<ByteSize> {
        let estimates = chunks.iter().map(|chunk| chunk.estimate);
        estimates.max().filter(|_| !self.sizes.sizes.is_empty())
    }

    /// Whether the text of these chunks is to be extracted in processes of its
    /// own, which `model` reckons with.
    fn extraction(&self, chunks: &[Chunk], model: &MemoryModel) -> (bool, Choice) {
        let room = self.limit.percent(model.planned_share());
        let fits = chunks.iter().all(|chunk| {
            model.run(&chunk.pages, Effort::Usual, |page| self.sizes.size(page)) <= room
        });
        let long = chunks
            .iter()
            .any(|chunk| chunk.pages.len() >= PAGES_FOR_PROCESSES);
        let processors = self
            .processors
            .is_some_and(|has| has.get() >= PROCESSORS_A_WORKER);
        let because = match (long, processors, fits) {
            (false, ..) => format!(
                "no chunk has {PAGES_FOR_PROCESSES} pages, and processes take a while to start"
            ),
            (true, false, _) => format!(
                "there are fewer than {PROCESSORS_A_WORKER} processors, or it is not known how many"
            ),
            (true, true, false) => {
                "with their 315 MiB each the estimate would pass the limit".to_owned()
            }
            (true, true, true) => "their 315 MiB each fit beside the models".to_owned(),
        };
        let several = long && processors && fits;
        let value = if several {
            "in several processes"
        } else {
            "in one process"
        };
        let choice = Choice {
            what: "text extraction",
            value: value.to_owned(),
            because,
        };
        (several, choice)
    }

    /// How many such chunks, or documents, could run at once within the limit.
    fn jobs(&self, chunks: &[Chunk], model: &MemoryModel) -> (NonZeroUsize, Choice) {
        let largest = chunks
            .iter()
            .map(|chunk| chunk.estimate)
            .max()
            .unwrap_or_default();
        let need = model.limit_for(largest).bytes().max(1);
        let by_memory = usize::try_from(self.limit.bytes() / need).unwrap_or(usize::MAX);
        let by_processors = self
            .processors
            .map_or(1, |has| has.get() / PROCESSORS_A_WORKER);
        let jobs = NonZeroUsize::new(by_memory.min(by_processors)).unwrap_or(NonZeroUsize::MIN);
        let because = format!(
            "the largest chunk takes about {largest} of {}, and one marker keeps \
             {PROCESSORS_A_WORKER} processors busy",
            self.limit
        );
        let choice = Choice {
            what: "at once",
            value: jobs.to_string(),
            because,
        };
        (jobs, choice)
    }

    /// The smallest limit that leaves room for each page by itself, in batches
    /// of one.
    pub(crate) fn needed_for_one(&self, model: &MemoryModel) -> ByteSize {
        let largest = self
            .pages
            .iter()
            .map(|page| {
                let page = PageSet::from_pages([page]);
                model.run(&page, Effort::SmallBatches, |page| self.sizes.size(page))
            })
            .max()
            .unwrap_or_default();
        let needed = model.limit_for(largest).max(model.floor());
        ByteSize::from_mib(needed.mib() + 1)
    }
}
