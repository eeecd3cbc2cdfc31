//! Which pages are converted together. Pure.
//!
//! A chunk is as large as the limit allows, because marker's heuristics for
//! headings and repeated headers need many pages, and chunks are alike in
//! cost, because a small rest at the end would have them judge by little.

use std::num::NonZeroU32;

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::estimate::MemoryModel;
use crate::install::PageSize;
use crate::page_count::Pages;
use crate::pages::PageSet;
use crate::recovery::Effort;

/// Pages that one run of marker converts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chunk {
    /// At least one.
    pub pages: PageSet,
    /// What the run is estimated to take at its peak.
    pub estimate: ByteSize,
}

/// How a document is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chunking {
    /// As the limit allows.
    Fit,
    /// This many pages each, the last one fewer.
    Fixed(NonZeroU32),
    /// [`Chunking::Fixed`] for files larger than this, otherwise
    /// [`Chunking::Fit`].
    FixedAbove {
        /// Size of the file in bytes.
        bytes: u64,
        /// Pages in a chunk.
        pages: NonZeroU32,
    },
    /// Not at all, unless memory runs out.
    Whole,
}

impl Chunking {
    /// The choice for a file of this many bytes.
    pub fn for_file(self, file_bytes: u64) -> Chunking {
        match self {
            Chunking::FixedAbove { bytes, pages } if file_bytes > bytes => Chunking::Fixed(pages),
            Chunking::FixedAbove { .. } => Chunking::Fit,
            Chunking::Fit | Chunking::Fixed(_) | Chunking::Whole => self,
        }
    }
}

/// Everything that cutting depends on.
pub struct Cutting<'a> {
    /// How to cut.
    pub chunking: Chunking,
    /// What a run takes.
    pub model: &'a MemoryModel,
    /// What it may take.
    pub limit: ByteSize,
    /// How large the pages are.
    pub sizes: &'a Pages,
    /// Into how many chunks at least, so that all workers have one; none gets
    /// fewer than [`FEW_PAGES`] for that.
    pub at_least: usize,
}

impl Cutting<'_> {
    /// A chunk of these pages.
    pub fn chunk(&self, pages: PageSet) -> Chunk {
        let estimate = self
            .model
            .run(&pages, Effort::Usual, |page| self.sizes.size(page));
        Chunk { pages, estimate }
    }

    /// Cuts all of `selected` but the pages of the `done` chunks. No chunk
    /// reaches across a done one.
    pub fn cut(&self, selected: &PageSet, done: &[PageSet]) -> Vec<Chunk> {
        let stretches = open_stretches(selected, done);
        let all: usize = stretches.iter().map(PageSet::len).sum();
        stretches
            .iter()
            .flat_map(|stretch| self.cut_stretch(stretch, self.at_least * stretch.len() / all))
            .collect()
    }

    fn cut_stretch(&self, pages: &PageSet, at_least: usize) -> Vec<Chunk> {
        let sets = match self.chunking {
            Chunking::Whole => vec![pages.clone()],
            Chunking::Fixed(count) | Chunking::FixedAbove { pages: count, .. } => {
                fixed(pages, count)
            }
            Chunking::Fit => self.fit(pages, at_least),
        };
        sets.into_iter().map(|pages| self.chunk(pages)).collect()
    }

    /// As few chunks as the limit and `at_least` allow, then as even as that number
    /// allows.
    fn fit(&self, pages: &PageSet, at_least: usize) -> Vec<PageSet> {
        let costs: Vec<(u32, u64)> = pages
            .iter()
            .map(|page| {
                let cost = self.model.page_cost(self.sizes.size(page), Effort::Usual);
                (page, cost.bytes())
            })
            .collect();
        let room = self.limit.percent(self.model.planned_share());
        let size = |page| self.sizes.size(page);
        let room = room.saturating_sub(self.model.fixed(pages, Effort::Usual, size));
        // Where the estimate leaves no room for a single page it is no guide;
        // a usual chunk shows how far it is off.
        let letter = self.model.page_cost(PageSize::LETTER, Effort::Usual);
        let room = match room < letter {
            true => letter.bytes().saturating_mul(FEW_PAGES),
            false => room.bytes(),
        };
        let few_pages = usize::try_from(FEW_PAGES).unwrap_or(usize::MAX);
        let at_least = at_least.min(pages.len() / few_pages);
        let fewest = fill(&costs, room).len().max(at_least);
        let (mut low, mut high) = (0, room);
        while low < high {
            let middle = low + (high - low) / 2;
            if fill(&costs, middle).len() <= fewest {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        fill(&costs, low)
    }
}

/// Fewer pages than this leave marker little to tell headings and repeated
/// headers by.
pub const FEW_PAGES: u64 = 10;

/// Fills chunks one after the other up to `room`; a page that needs more
/// stands alone.
fn fill(costs: &[(u32, u64)], room: u64) -> Vec<PageSet> {
    let mut sets: Vec<Vec<u32>> = Vec::new();
    let mut used = 0_u64;
    for (page, cost) in costs {
        match sets.last_mut() {
            Some(set) if used.saturating_add(*cost) <= room => {
                set.push(*page);
                used += cost;
            }
            _ => {
                sets.push(vec![*page]);
                used = *cost;
            }
        }
    }
    sets.into_iter().map(PageSet::from_pages).collect()
}

fn fixed(pages: &PageSet, count: NonZeroU32) -> Vec<PageSet> {
    let pages: Vec<u32> = pages.iter().collect();
    let count = usize::try_from(count.get()).unwrap_or(usize::MAX);
    pages
        .chunks(count)
        .map(|chunk| PageSet::from_pages(chunk.iter().copied()))
        .collect()
}

/// The selected pages that are not done, parted where done pages lie between
/// them, so that the results can be joined in order. Pages that nobody wants
/// part nothing.
fn open_stretches(selected: &PageSet, done: &[PageSet]) -> Vec<PageSet> {
    let mut stretches = Vec::new();
    let mut open = Vec::new();
    for page in selected.iter() {
        if done.iter().any(|set| set.contains(page)) {
            stretches.push(std::mem::take(&mut open));
        } else {
            open.push(page);
        }
    }
    stretches.push(open);
    stretches
        .into_iter()
        .filter(|pages| !pages.is_empty())
        .map(PageSet::from_pages)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Conditions;
    use crate::version::Version;
    use crate::weights::Weights;
    use proptest::prelude::*;

    fn model() -> MemoryModel {
        let weights = Weights::Measured {
            bytes: ByteSize::from_mib(40),
            copied: ByteSize::default(),
        };
        let conditions = Conditions {
            layout_batch: 6,
            ..Conditions::least(Version::new(1, 10, 2), weights)
        };
        MemoryModel::new(conditions, &[])
    }

    /// A document of 80 pages of these sizes.
    fn pages_of(size: impl Fn(u32) -> PageSize) -> Pages {
        Pages {
            count: 80,
            sizes: (0..80).map(size).collect(),
            warning: None,
        }
    }

    fn cut_with(
        chunking: Chunking,
        limit_mib: u64,
        page_size: impl Fn(u32) -> PageSize,
        selected: &PageSet,
        done: &[PageSet],
    ) -> Vec<String> {
        let model = model();
        let limit = ByteSize::from_mib(limit_mib);
        let pages = pages_of(page_size);
        let cutting = Cutting {
            chunking,
            model: &model,
            limit,
            sizes: &pages,
            at_least: 1,
        };
        cutting
            .cut(selected, done)
            .into_iter()
            .map(|chunk| chunk.pages.to_string())
            .collect()
    }

    fn cut(chunking: Chunking, limit_mib: u64, pages: u32) -> Vec<String> {
        cut_with(
            chunking,
            limit_mib,
            |_| PageSize::LETTER,
            &PageSet::all(pages),
            &[],
        )
    }

    #[test]
    fn every_worker_gets_a_chunk_of_enough_pages() {
        let model = model();
        let pages = pages_of(|_| PageSize::LETTER);
        let cut = |at_least, done: &[PageSet]| -> Vec<String> {
            let cutting = Cutting {
                chunking: Chunking::Fit,
                model: &model,
                limit: ByteSize::from_gib(8),
                sizes: &pages,
                at_least,
            };
            let chunks = cutting.cut(&PageSet::all(80), done).into_iter();
            chunks.map(|chunk| chunk.pages.to_string()).collect()
        };
        assert_eq!(cut(1, &[]), ["1-80"]);
        assert_eq!(cut(3, &[]), ["1-27", "28-54", "55-80"]);
        assert_eq!(cut(99, &[]).len(), 8);
        // Stretches have their shares.
        let done = [PageSet::from_pages(20..24)];
        assert_eq!(cut(4, &done), ["1-20", "25-52", "53-80"]);
    }

    #[test]
    fn documents_are_cut_as_the_limit_allows_and_evenly() {
        assert_eq!(cut(Chunking::Fit, 8192, 100), ["1-100"]);
        assert_eq!(cut(Chunking::Fit, 1600, 26), ["1-13", "14-26"]);
        assert_eq!(cut(Chunking::Fit, 1600, 50), ["1-17", "18-34", "35-50"]);
        assert_eq!(cut(Chunking::Fit, 860, 3), ["1-2", "3"]);
        // Where the estimate leaves no room at all, it is not believed.
        assert_eq!(cut(Chunking::Fit, 700, 20), ["1-10", "11-20"]);
    }

    #[test]
    fn a_fixed_size_and_no_cutting_are_taken_literally() {
        let ten = NonZeroU32::new(10).unwrap();
        assert_eq!(
            cut(Chunking::Fixed(ten), 1024, 26),
            ["1-10", "11-20", "21-26"]
        );
        assert_eq!(cut(Chunking::Whole, 1024, 26), ["1-26"]);
        let above = Chunking::FixedAbove {
            bytes: 10_000_000,
            pages: ten,
        };
        assert_eq!(above.for_file(10_000_001), Chunking::Fixed(ten));
        assert_eq!(above.for_file(10_000_000), Chunking::Fit);
    }

    #[test]
    fn a_poster_stands_alone() {
        let sizes = |page| {
            if page == 2 {
                PageSize(2384, 3370)
            } else {
                PageSize::LETTER
            }
        };
        let pages = PageSet::all(6);
        let cut = cut_with(Chunking::Fit, 1430, sizes, &pages, &[]);
        assert_eq!(cut, ["1-2", "3", "4-6"]);
    }

    #[test]
    fn chunks_that_are_done_are_left_out_and_not_reached_across() {
        let pages = |text: &str| serde_json::from_str::<PageSet>(&format!("{text:?}")).unwrap();
        let letter = |_| PageSize::LETTER;
        let cut = |selected: &str, done: &[&str]| {
            let done: Vec<_> = done.iter().map(|text| pages(text)).collect();
            cut_with(Chunking::Whole, 8192, letter, &pages(selected), &done)
        };
        assert_eq!(cut("1-30", &["11-20"]), ["1-10", "21-30"]);
        assert_eq!(cut("1-30", &["1-10", "11-20"]), ["21-30"]);
        assert_eq!(cut("1-5,20-30", &["22"]), ["1-5,20-21", "23-30"]);
        assert_eq!(cut("1-3", &["1-3"]), [""; 0]);
    }

    proptest! {
        #[test]
        fn every_page_is_cut_once_and_in_order(
            pages in proptest::collection::btree_set(0u32..80, 0..60),
            limit in 900u64..4000,
            side in 100u32..3000,
        ) {
            let selected = PageSet::from_pages(pages.iter().copied());
            let sizes = move |page: u32| PageSize(side, 100 + 40 * (page % 60));
            let model = model();
            let limit = ByteSize::from_mib(limit);
            let cutting = Cutting { chunking: Chunking::Fit, model: &model, limit, sizes: &pages_of(sizes), at_least: 1 };
            let chunks = cutting.cut(&selected, &[]);
            let all: Vec<u32> = chunks.iter().flat_map(|chunk| chunk.pages.iter()).collect();
            prop_assert_eq!(all, pages.into_iter().collect::<Vec<_>>());
            for chunk in chunks {
                let room = limit.percent(model.planned_share());
                // Parts are rounded to bytes before they are added.
                let fits = chunk.estimate.bytes() <= room.bytes() + 100;
                let room = room.saturating_sub(model.fixed(&selected, Effort::Usual, sizes));
                let hopeless = room < model.page_cost(PageSize::LETTER, Effort::Usual);
                prop_assert!(fits || chunk.pages.len() == 1 || hopeless);
            }
        }
    }
}
