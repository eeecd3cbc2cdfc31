//! What decides how much memory a run of marker takes. Pure.

use serde::{Deserialize, Serialize};

use crate::install::PageSize;
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::tuning::{LeverKind, Tuning};

/// What a run has to hold, as far as it is known before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The area of all pages as they are rendered, in US letter pages at
    /// marker's own resolutions.
    pub area: f64,
    /// How many pages there are.
    pub pages: u32,
    /// Pictures that the layout stage takes at once.
    pub images: u32,
    /// Whether text was recognised on any page, which only the end of a run
    /// tells: pages without a text layer, or with one that is no good.
    #[serde(default)]
    pub recognition: bool,
}

/// How finely pages are rendered, as the number of pixels that a page has for
/// each one that it has at marker's own 96 and 192 dots per inch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub struct PixelShare(f64);

impl PixelShare {
    /// Marker's own resolutions.
    pub const USUAL: PixelShare = PixelShare(1.0);

    /// What these settings make of it. The rendering at the lower resolution
    /// and the layout stage's input, which is made of it, take 13.2 MiB of a
    /// letter page; the finer rendering takes 13.1.
    pub fn of(settings: &Tuning) -> PixelShare {
        let shares: Vec<f64> = settings
            .levers
            .iter()
            .filter(|lever| lever.kind == LeverKind::Resolution)
            .filter_map(|lever| {
                let dpi: f64 = lever.value.parse().ok()?;
                Some((dpi.clamp(1.0, 10_000.0) / usual_dpi(&lever.name)).powi(2))
            })
            .collect();
        match shares.len() {
            0 => PixelShare::USUAL,
            count => PixelShare(shares.iter().sum::<f64>() / count as f64),
        }
    }

    /// At half the resolution, in both directions.
    fn lowered(self) -> PixelShare {
        PixelShare(self.0 * 0.25)
    }
}

/// Marker's own resolution for what this lever sets.
fn usual_dpi(lever: &str) -> f64 {
    let fine = ["high", "recognition", "tables"];
    match fine.iter().any(|name| lever.ends_with(name)) {
        true => 192.0,
        false => 96.0,
    }
}

impl Load {
    /// The load of a run over `pages` with this effort.
    pub fn of(
        pages: &PageSet,
        effort: Effort,
        share: PixelShare,
        layout_batch: u32,
        recognition: bool,
        size: impl Fn(u32) -> PageSize,
    ) -> Load {
        let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let batch = match effort {
            Effort::Usual => layout_batch,
            Effort::SmallBatches | Effort::LowResolution => 1,
        };
        Load {
            area: pages
                .iter()
                .map(|page| page_area(size(page), effort, share))
                .sum(),
            pages: count,
            images: count.min(batch),
            recognition,
        }
    }
}

/// The area of one page as [`Load::area`] counts it. PDFium's sizes are those
/// that it renders: crop box and rotation are in them, and a `/UserUnit` is not
/// looked at (pypdfium2 4.30, which marker 1.10 uses: a page of 100 points with
/// a unit of 3 is rendered with 134 pixels at 96 dpi).
pub fn page_area(size: PageSize, effort: Effort, share: PixelShare) -> f64 {
    let PixelShare(share) = match effort {
        Effort::Usual | Effort::SmallBatches => share,
        Effort::LowResolution => share.lowered(),
    };
    share * size.area() as f64 / PageSize::LETTER.area() as f64
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
        PixelShare::of(&settings).0
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
        let load = |effort| Load::of(&PageSet::all(4), effort, PixelShare::USUAL, 6, false, a0);
        let usual = load(Effort::Usual);
        assert_eq!((usual.area * 10.0).round(), 196.0);
        assert_eq!((usual.pages, usual.images), (4, 4));
        assert_eq!(load(Effort::SmallBatches).images, 1);
        let low = load(Effort::LowResolution);
        assert_eq!((low.area * 10.0).round(), 49.0);
    }
}
