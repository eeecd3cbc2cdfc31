//! What a run of marker will take at its peak, as a sum of parts.
//!
//! In marker 1.x memory grows with the pages in flight: every page of the run
//! is rendered at 96 and at 192 dpi before anything else, and both pictures
//! are kept. The constants are peaks of marker 1.10.2 on letter pages, as the
//! proportional set size of its whole tree; each names its runs.

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::install::PageSize;
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::weights::Weights;

/// Interpreter, libraries and one-time buffers of marker 1.10.2 without any
/// weights or pages. Toy models, one page: 1072 MiB in all.
pub const BASELINE: ByteSize = ByteSize::from_mib(1040);

/// What a letter page adds. Toy models, 100 pages: 4048 MiB in all; by the
/// code 3.3 + 13.1 MiB for the two renderings and 9.9 MiB for the layout
/// stage's input. Grows with the page's area.
pub const PER_LETTER_PAGE: ByteSize = ByteSize::from_mib(30);

/// What a picture more in the layout batch adds, whatever the models: toy
/// models, 100 pages, batch 24 against 6: 446 MiB more.
pub const PER_LAYOUT_IMAGE: ByteSize = ByteSize::from_mib(25);

/// Activations for each picture in the layout batch, in hundredths of the
/// weights. With two random models of 620 million parameters and 8 pages,
/// batch 8 took 640 MiB more than batch 1: about 90 MiB a picture.
pub const ACTIVATION_PERCENT: u32 = 4;

/// What a page costs at half the resolution, in percent of its usual cost. Toy
/// models, 100 pages at 48 and 96 dpi: 1870 MiB in all instead of 4048.
pub const LOW_RESOLUTION_PERCENT: u32 = 30;

/// Below this no page at all can be converted: importing marker and loading
/// even toy models takes 0.75 to 0.9 GiB.
pub const FLOOR: ByteSize = ByteSize::from_gib(1);

/// The share of the limit, in percent, that a chunk is planned to fill. The
/// parts above were within 7 % of the peaks of real documents (TeX manuals of
/// 26 and 44 pages, toy models).
pub const PLANNED_SHARE: u32 = 90;

/// The sum that is estimated, with its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryModel {
    /// Everything but weights and pages.
    pub baseline: ByteSize,
    /// The models.
    pub weights: Weights,
    /// Pictures that the layout stage takes at once.
    pub layout_batch: u32,
}

impl MemoryModel {
    /// The peak of a run that converts `pages` with this effort.
    pub fn run(&self, pages: &PageSet, effort: Effort, size: impl Fn(u32) -> PageSize) -> ByteSize {
        let content = pages.iter().fold(ByteSize::ZERO, |sum, page| {
            sum.saturating_add(page_cost(size(page)))
        });
        let content = match effort {
            Effort::Usual | Effort::SmallBatches => content,
            Effort::LowResolution => content.percent(LOW_RESOLUTION_PERCENT),
        };
        self.fixed(pages.len(), effort).saturating_add(content)
    }

    /// The part that does not grow with the pages, once there are `count`.
    pub fn fixed(&self, count: usize, effort: Effort) -> ByteSize {
        let batch = match effort {
            Effort::Usual => self.layout_batch,
            Effort::SmallBatches | Effort::LowResolution => 1,
        };
        let images = u64::try_from(count)
            .unwrap_or(u64::MAX)
            .min(u64::from(batch));
        let per_image =
            PER_LAYOUT_IMAGE.saturating_add(self.weights.bytes().percent(ACTIVATION_PERCENT));
        self.baseline
            .saturating_add(self.weights.bytes())
            .saturating_add(ByteSize::from_bytes(
                per_image.bytes().saturating_mul(images),
            ))
    }
}

/// What one page adds to a run.
pub fn page_cost(size: PageSize) -> ByteSize {
    let letter = u128::from(PageSize::LETTER.area());
    let bytes = u128::from(PER_LETTER_PAGE.bytes()) * u128::from(size.area()) / letter;
    ByteSize::from_bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(weights_mib: u64, layout_batch: u32, pages: u32) -> u64 {
        let model = MemoryModel {
            baseline: BASELINE,
            weights: Weights::Measured {
                bytes: ByteSize::from_mib(weights_mib),
            },
            layout_batch,
        };
        model
            .run(&PageSet::all(pages), Effort::Usual, |_| PageSize::LETTER)
            .mib()
    }

    #[test]
    fn estimates_are_near_the_peaks_that_were_measured() {
        // (weights, layout batch, pages, peak), marker 1.10.2, MiB.
        let toy = 40;
        let measured = [
            (toy, 6, 1, 1072),
            (toy, 6, 5, 1294),
            (toy, 6, 20, 1802),
            (toy, 6, 100, 4048),
            (toy, 1, 100, 3911),
            (toy, 24, 100, 4494),
            (2493, 1, 8, 4024),
            (2493, 6, 8, 4370),
            (2493, 8, 8, 4664),
        ];
        for (weights, batch, pages, peak) in measured {
            let estimate = estimate(weights, batch, pages);
            let off = estimate.abs_diff(peak) * 100 / peak;
            assert!(
                off <= 8,
                "{pages} pages: {estimate} MiB estimated, {peak} MiB measured"
            );
        }
    }

    #[test]
    fn a_poster_weighs_as_much_as_its_area() {
        let a0 = PageSize(2384, 3370);
        assert_eq!(page_cost(a0).mib(), 497);
        assert_eq!(page_cost(PageSize(u32::MAX, u32::MAX)), ByteSize::MAX);
    }
}
