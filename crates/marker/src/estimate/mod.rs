//! What a run of marker will take at its peak, as a sum of parts.
//!
//! In marker 1.x memory grows with the pages in flight: every page of the run
//! is rendered at 96 and at 192 dpi before anything else, both pictures are
//! kept, and the first batch of the layout stage makes the peak. In 2.0 most of it is in servers, and grows with the pages that the
//! layout server takes at once.
//!
//! ```text
//! version, weights --prior--> constants --+
//!                                         +--> MemoryModel --> peak of any pages
//! peaks of earlier runs ----- learned ----+
//! ```

mod layout;
mod load;
mod prior;

use memcap_linux::ByteSize;
use serde::Serialize;

use load::page_area;
pub use load::{LayoutIn, Load, PixelShare, Rendering};
pub use prior::is_measured;
pub use prior::prior;
use prior::{WORKER, models};

use crate::install::PageSize;
use crate::learned::{Coefficients, Prior, Sample, fit};
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::runner::Accounting;
use crate::tuning::{Heap, Tuning};
use crate::version::Version;
use crate::weights::Weights;

/// Below this no page at all can be converted by marker 1.x, whose share of a
/// total must not be less: one page with toy models took 675 MiB (marker
/// 1.10.2).
pub const FLOOR: ByteSize = ByteSize::from_mib(640);

/// Runs after which what they taught is relied on.
const TAUGHT: usize = 3;

/// Pages that a process of the text extraction is started for: marker starts
/// one for each ten pages, from twenty on.
const PAGES_A_WORKER: usize = 10;

/// What an estimate depends on, beside the pages.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// Version of marker.
    pub version: Version,
    /// The models.
    pub weights: Weights,
    /// What peaks count, where that is known.
    pub accounting: Option<Accounting>,
    /// Pictures that the layout stage takes at once.
    pub layout_batch: u32,
    /// How finely pages are rendered.
    pub pixels: PixelShare,
    /// Processes that extract text beside marker, at most.
    pub text_workers: u32,
    /// What becomes of freed memory.
    pub heap: Heap,
    /// What marker takes without weights and pages, where the user says so.
    pub baseline: Option<ByteSize>,
}

/// The sum that is estimated, with its parts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryModel {
    /// The parts, in MiB.
    #[serde(rename = "parts_mib")]
    coefficients: Coefficients,
    /// How far peaks are from the sum, as a share of it (standard deviation).
    spread: f64,
    /// How many runs on this machine are in the parts.
    samples: usize,
    /// The models.
    pub weights: Weights,
    /// How pages are made pictures, and how many the layout stage takes at once.
    #[serde(flatten)]
    pub rendering: Rendering,
    /// Processes that extract text beside marker, at most.
    pub text_workers: u32,
    /// Whether runs are expected to recognise text.
    pub recognition: bool,
    /// What becomes of memory that the runs free.
    #[serde(skip)]
    pub heap: Heap,
    /// The models' part of the constants, in MiB.
    #[serde(skip)]
    models: f64,
    #[serde(skip)]
    prior: Prior,
}

impl Conditions {
    /// The conditions that these settings make.
    pub fn of(
        settings: &Tuning,
        version: Version,
        weights: Weights,
        accounting: Option<Accounting>,
    ) -> Conditions {
        Conditions {
            version,
            weights,
            accounting,
            layout_batch: settings.layout_batch(),
            pixels: PixelShare::of(settings),
            text_workers: settings.text_workers(),
            heap: settings.heap(),
            baseline: None,
        }
    }

    /// Marker's own settings in batches of one, on a machine of which nothing
    /// is known.
    pub fn least(version: Version, weights: Weights) -> Conditions {
        Conditions {
            version,
            weights,
            accounting: None,
            layout_batch: 1,
            pixels: PixelShare::USUAL,
            text_workers: 1,
            heap: Heap::GivenBack,
            baseline: None,
        }
    }
}

impl MemoryModel {
    /// The model under these conditions, corrected by what was seen of runs
    /// under the same.
    pub fn new(conditions: Conditions, samples: &[Sample]) -> MemoryModel {
        let Conditions {
            version,
            weights,
            accounting,
            layout_batch,
            pixels,
            text_workers,
            heap,
            baseline,
        } = conditions;
        let models = models(version, &weights, accounting);
        let mut prior = prior(version, &weights, accounting);
        if let Some(baseline) = baseline {
            prior.expected.base = mib(baseline) + models;
        }
        let fitted = fit(&prior, samples);
        MemoryModel {
            coefficients: fitted.coefficients,
            spread: fitted.spread,
            samples: samples.len(),
            weights,
            rendering: Rendering {
                pixels,
                layout_batch,
                layout_in: LayoutIn::of(version.family()),
            },
            text_workers,
            recognition: mostly(samples, |sample| sample.load.recognition),
            heap,
            models,
            prior,
        }
    }

    /// The same, corrected by other samples; whether text is to be recognised is
    /// told by the chunks of this document.
    pub fn relearned(&self, samples: &[Sample], recognition: bool) -> MemoryModel {
        let fitted = fit(&self.prior, samples);
        MemoryModel {
            coefficients: fitted.coefficients,
            spread: fitted.spread,
            samples: samples.len(),
            recognition,
            ..self.clone()
        }
    }

    /// What a run over `pages` with this effort has to hold.
    pub fn load(&self, pages: &PageSet, effort: Effort, size: impl Fn(u32) -> PageSize) -> Load {
        Load::of(pages, effort, self.rendering, self.recognition, size).with_heap(self.heap)
    }

    /// The peak of a run that converts `pages` with this effort.
    pub fn run(&self, pages: &PageSet, effort: Effort, size: impl Fn(u32) -> PageSize) -> ByteSize {
        let peak = self
            .coefficients
            .peak(&self.load(pages, effort, size))
            .max(self.extraction(pages.len()));
        from_mib(peak)
    }

    /// What runs over parts of `pages` take beside their pages, at most.
    pub fn fixed(
        &self,
        pages: &PageSet,
        effort: Effort,
        size: impl Fn(u32) -> PageSize,
    ) -> ByteSize {
        let load = Load::beside_the_pages(pages, effort, self.rendering, self.recognition, size);
        from_mib(self.coefficients.peak(&load.with_heap(self.heap)))
    }

    /// What one page adds to a run.
    pub fn page_cost(&self, size: PageSize, effort: Effort) -> ByteSize {
        let Coefficients { area, page, .. } = self.coefficients;
        from_mib(area * page_area(size, effort, self.rendering.pixels) + page)
    }

    /// The share of a limit, in percent, that a run is planned to fill: two
    /// standard deviations stay free.
    pub fn planned_share(&self) -> u32 {
        let share = (100.0 / (1.0 + 2.0 * self.spread))
            .round()
            .clamp(75.0, 96.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to percents"
        )]
        let share = share as u32;
        share
    }

    /// The smallest limit under which a run of this estimate is planned.
    pub fn limit_for(&self, estimate: ByteSize) -> ByteSize {
        from_mib(mib(estimate) * 100.0 / f64::from(self.planned_share()))
    }

    /// The least that any run takes, as far as that is certain; a limit below
    /// it cannot work. Weights that are mapped may count for nothing, and so may
    /// those that no checkpoint tells of.
    pub fn floor(&self) -> ByteSize {
        let constant = self.prior.expected.base - self.models;
        let surely = match &self.weights {
            Weights::Measured { copied, .. } => 0.7 * mib(*copied),
            Weights::Assumed { .. } => 0.0,
        };
        let learned = self.coefficients.base * (1.0 - 3.0 * self.spread);
        from_mib(match self.samples {
            0..TAUGHT => 0.9 * constant + surely,
            _ => learned,
        })
    }

    /// How many runs on this machine have taught it.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Text is extracted before pages are rendered, so its processes weigh only
    /// where they take more than all that comes later: with toy models a hundred
    /// pages peaked alike with four of them and without.
    fn extraction(&self, pages: usize) -> f64 {
        let most = usize::try_from(self.text_workers).unwrap_or(usize::MAX);
        match (pages / PAGES_A_WORKER).min(most) {
            0 | 1 => 0.0,
            workers => self.coefficients.base + WORKER * workers as f64,
        }
    }
}

fn mostly(samples: &[Sample], is: impl Fn(&Sample) -> bool) -> bool {
    2 * samples.iter().filter(|sample| is(sample)).count() > samples.len()
}

fn mib(bytes: ByteSize) -> f64 {
    bytes.bytes() as f64 / f64::from(1 << 20)
}

/// Nothing for less than nothing, and everything for what is no number of bytes.
fn from_mib(mib: f64) -> ByteSize {
    let bytes = (mib * f64::from(1 << 20)).round();
    if bytes >= u64::MAX as f64 {
        return ByteSize::MAX;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range, as just looked at"
    )]
    let bytes = bytes.max(0.0) as u64;
    ByteSize::from_bytes(bytes)
}

#[cfg(test)]
mod tests;
