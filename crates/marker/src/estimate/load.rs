//! What decides how much memory a run of marker takes. Pure.

use serde::{Deserialize, Serialize};

use super::layout::{Batches, LayoutStage};
use crate::install::PageSize;
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::tuning::{Heap, LeverKind, Tuning};
use crate::version::Family;

/// What a run has to hold, as far as it is known before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The area of all pages as they are rendered, in US letter pages at
    /// marker's own resolutions.
    pub area: f64,
    /// How many pages there are.
    pub pages: u32,
    /// What the layout stage takes beside its models, in MiB, where it runs in
    /// marker itself.
    pub layout: f64,
    /// Pictures that the layout stage takes at once: in letter pages and padded
    /// to the largest in marker itself, and as many as there are in a server,
    /// which makes all of one size.
    pub images: f64,
    /// Whether text was recognised on any page, which only the end of a run
    /// tells: pages without a text layer, or with one that is no good.
    #[serde(default)]
    pub recognition: bool,
    /// Whether memory that is freed is kept by the C library ([`Heap::Kept`]).
    #[serde(default)]
    pub kept_heap: bool,
}

/// How pages are made pictures, and how many the layout stage takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rendering {
    /// How finely pages are rendered.
    pub pixels: PixelShare,
    /// Pictures that the layout stage takes at once.
    pub layout_batch: u32,
    /// Where that is.
    #[serde(skip)]
    pub layout_in: LayoutIn,
}

/// Where the layout stage runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutIn {
    /// In marker's own process.
    Marker,
    /// In a server of marker 2.
    Server,
}

impl LayoutIn {
    /// Of releases of this kind.
    pub fn of(family: Family) -> LayoutIn {
        match family {
            Family::BeforePageRanges | Family::ConfigFile | Family::Flags => LayoutIn::Marker,
            Family::Servers => LayoutIn::Server,
        }
    }
}

/// How finely pages are rendered, as the number of pixels that a page has for
/// each one that it has at marker's own resolutions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PixelShare {
    /// Of the rendering at 96 dots per inch.
    coarse: f64,
    /// Of the rendering at 192.
    fine: f64,
}

impl PixelShare {
    /// Marker's own resolutions.
    pub const USUAL: PixelShare = PixelShare {
        coarse: 1.0,
        fine: 1.0,
    };

    /// What these settings make of it.
    pub fn of(settings: &Tuning) -> PixelShare {
        let share = |usual: f64| {
            let shares: Vec<f64> = settings
                .levers
                .iter()
                .filter(|lever| lever.kind == LeverKind::Resolution)
                .filter(|lever| usual_dpi(&lever.name) == usual)
                .filter_map(|lever| {
                    let dpi: f64 = lever.value.parse().ok()?;
                    Some((dpi.clamp(1.0, 10_000.0) / usual).powi(2))
                })
                .collect();
            match shares.len() {
                0 => 1.0,
                count => shares.iter().sum::<f64>() / count as f64,
            }
        };
        PixelShare {
            coarse: share(COARSE_DPI),
            fine: share(FINE_DPI),
        }
    }

    /// Of what a page takes in all: the coarse rendering and the layout stage's
    /// copy of it are 16 bytes a pixel of it, and the fine one is 16 bytes too.
    fn mean(self) -> f64 {
        f64::midpoint(self.coarse, self.fine)
    }

    fn with(self, effort: Effort) -> PixelShare {
        match effort {
            Effort::Usual | Effort::SmallBatches => self,
            // Half the resolution in both directions.
            Effort::LowResolution => PixelShare {
                coarse: self.coarse * 0.25,
                fine: self.fine * 0.25,
            },
        }
    }
}

/// Marker's own resolutions, in dots per inch.
const COARSE_DPI: f64 = 96.0;
const FINE_DPI: f64 = 192.0;

/// Marker's own resolution for what this lever sets.
fn usual_dpi(lever: &str) -> f64 {
    let fine = ["high", "recognition", "tables"];
    match fine.iter().any(|name| lever.ends_with(name)) {
        true => FINE_DPI,
        false => COARSE_DPI,
    }
}

impl Load {
    /// The load of a run over `pages` with this effort, by which freed memory is
    /// given back.
    pub fn of(
        pages: &PageSet,
        effort: Effort,
        rendering: Rendering,
        recognition: bool,
        size: impl Fn(u32) -> PageSize,
    ) -> Load {
        let stage = rendering.layout_stage(pages, effort, Batches::FromTheFirst, &size);
        let area = pages
            .iter()
            .map(|page| page_area(size(page), effort, rendering.pixels))
            .sum();
        Load {
            area,
            pages: u32::try_from(pages.len()).unwrap_or(u32::MAX),
            layout: stage.mib,
            images: stage.images,
            recognition,
            kept_heap: false,
        }
    }

    /// The same with this done to freed memory.
    #[must_use]
    pub fn with_heap(self, heap: Heap) -> Load {
        let kept_heap = match heap {
            Heap::Kept => true,
            Heap::GivenBack => false,
        };
        Load { kept_heap, ..self }
    }

    /// What runs over parts of `pages` have to hold beside their pages, at most.
    pub(super) fn beside_the_pages(
        pages: &PageSet,
        effort: Effort,
        rendering: Rendering,
        recognition: bool,
        size: impl Fn(u32) -> PageSize,
    ) -> Load {
        let stage = rendering.layout_stage(pages, effort, Batches::FromAny, size);
        Load {
            area: 0.0,
            pages: 0,
            layout: stage.mib,
            images: stage.images,
            recognition,
            kept_heap: false,
        }
    }
}

impl Rendering {
    fn layout_stage(
        self,
        pages: &PageSet,
        effort: Effort,
        batches: Batches,
        size: impl Fn(u32) -> PageSize,
    ) -> LayoutStage {
        let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let batch = match effort {
            Effort::Usual => self.layout_batch,
            Effort::SmallBatches | Effort::LowResolution => 1,
        };
        match self.layout_in {
            LayoutIn::Marker => {
                let dots_per_inch = COARSE_DPI * self.pixels.with(effort).coarse.sqrt();
                LayoutStage::of(pages.iter().map(size), dots_per_inch, batch, batches)
            }
            LayoutIn::Server => LayoutStage {
                mib: 0.0,
                images: f64::from(count.min(batch)),
            },
        }
    }
}

/// The area of one page as [`Load::area`] counts it. PDFium's sizes are those
/// that it renders: crop box and rotation are in them, and a `/UserUnit` is not
/// looked at (pypdfium2 4.30, which marker 1.10 uses: a page of 100 points with
/// a unit of 3 is rendered with 134 pixels at 96 dpi).
pub fn page_area(size: PageSize, effort: Effort, share: PixelShare) -> f64 {
    share.with(effort).mean() * size.area() as f64 / PageSize::LETTER.area() as f64
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::device::Device;
    use crate::environment::World;
    use crate::tuning::{Target, TuningRequest, tune};
    use crate::version::Version;

    fn share(args: &[&str]) -> f64 {
        let world = World::new([], "/");
        let version = Version::new(1, 10, 2);
        let target = Target {
            version,
            device: Device::Cpu,
            nvidia: false,
            torch: None,
            python: Path::new("/python"),
            is_pdf: true,
            world: &world,
        };
        let mut settings = tune(&TuningRequest::default(), &target);
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        settings.take_by_hand(&args, version).unwrap();
        PixelShare::of(&settings).mean()
    }

    #[test]
    fn resolutions_that_a_user_asks_for_count() {
        let cases: [(&[&str], f64); 3] = [
            (&[], 1.0),
            (&["--highres_image_dpi", "96"], 0.625),
            (&["--highres_image_dpi=384", "--lowres_image_dpi=192"], 4.0),
        ];
        for (args, expected) in cases {
            assert_eq!(share(args), expected, "{args:?}");
        }
    }

    #[test]
    fn a_load_is_the_area_and_what_the_layout_stage_holds() {
        let a0 = |page| match page {
            2 => PageSize(2384, 3370),
            _ => PageSize::LETTER,
        };
        let rendering = |layout_in| Rendering {
            pixels: PixelShare::USUAL,
            layout_batch: 6,
            layout_in,
        };
        let of = |effort, place| Load::of(&PageSet::all(4), effort, rendering(place), false, a0);
        let load = |effort| of(effort, LayoutIn::Marker);
        let usual = load(Effort::Usual);
        assert_eq!((usual.area * 10.0).round(), 196.0);
        assert_eq!(usual.pages, 4);
        let small = load(Effort::SmallBatches);
        assert!(small.images < 0.3 * usual.images && small.layout < usual.layout);
        let served = of(Effort::Usual, LayoutIn::Server);
        assert_eq!((served.layout, served.images), (0.0, 4.0));
        let low = load(Effort::LowResolution);
        assert_eq!((low.area * 10.0).round(), 49.0);
        // A poster is scaled down for the layout stage at both resolutions.
        assert_eq!(low.layout, small.layout);
        let letter = |effort| {
            let rendering = rendering(LayoutIn::Marker);
            Load::of(&PageSet::all(1), effort, rendering, false, |_| {
                PageSize::LETTER
            })
        };
        let (low, small) = (letter(Effort::LowResolution), letter(Effort::SmallBatches));
        assert!(low.layout < 0.2 * small.layout, "{low:?} {small:?}");
    }
}
