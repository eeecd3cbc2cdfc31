//! What the layout stage of marker 1.x takes beside its models, which is where
//! a run peaks: at the first pictures of it, when all pages are rendered and
//! copied for it. Pure.
//!
//! The sizes are those of surya 0.17: a picture of more than a megapixel is
//! scaled down, cut into patches of 14 pixels, and four patches are a token. The
//! pictures of a batch are held as patches, of those that are scaled down both
//! forms; the encoder takes them a few at a time and makes a mask of each group
//! that is as large as its largest picture's, for each picture; and the decoder
//! takes the whole batch, padded to its largest picture. In runs of ranges of
//! many kinds these sums were within 1 MiB of the peaks (`learned::recorded`).

use crate::install::PageSize;

/// Pixels above which a picture is scaled down, and below which it is scaled up.
const MOST_PIXELS: f64 = 1024.0 * 1024.0;
const FEWEST_PIXELS: f64 = 168.0 * 168.0;

/// Pixels along the side of a token, and patches in it.
const TOKEN_SIDE: f64 = 28.0;
const PATCHES: f64 = 4.0;

/// Bytes of a patch: 14 by 14 pixels of three colours in 32 bits.
const PATCH_BYTES: f64 = 14.0 * 14.0 * 3.0 * 4.0;

/// Patches after which the encoder begins another group, on a processor.
const GROUP: f64 = 4096.0;

/// Bytes of the encoder's mask for two patches: one as it is made, four as it
/// is added; and what the attention itself takes (measured: 5.2 in all).
const MASK_BYTES: f64 = 5.2;

/// Tokens of a letter page at 96 dots per inch.
const LETTER_TOKENS: f64 = 30.0 * 38.0;

/// What the layout stage has to hold at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LayoutStage {
    /// Patches and masks, in MiB.
    pub mib: f64,
    /// Pictures in a batch, in letter pages, padded to the largest of them.
    pub images: f64,
}

/// A page as the layout stage sees it.
#[derive(Clone, Copy)]
struct Picture {
    patches: f64,
    scaled_down: bool,
}

/// Which pages come into one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batches {
    /// Counted from the first page, as in a run over all of them.
    FromTheFirst,
    /// Counted from any page: whatever runs over parts of them can have.
    FromAny,
}

impl LayoutStage {
    /// Of pages of these sizes, rendered with so many dots per inch, when so
    /// many are taken at once.
    pub fn of(
        sizes: impl Iterator<Item = PageSize>,
        dots_per_inch: f64,
        batch: u32,
        batches: Batches,
    ) -> LayoutStage {
        let pictures: Vec<Picture> = sizes.map(|size| Picture::of(size, dots_per_inch)).collect();
        let batch = usize::try_from(batch.max(1)).unwrap_or(usize::MAX);
        let step = match batches {
            Batches::FromTheFirst => batch,
            Batches::FromAny => 1,
        };
        let most = |of: fn(&[Picture]) -> f64| {
            (0..pictures.len())
                .step_by(step)
                .map(|first| of(&pictures[first..pictures.len().min(first.saturating_add(batch))]))
                .fold(0.0, f64::max)
        };
        LayoutStage {
            mib: most(mib),
            images: most(padded),
        }
    }
}

impl Picture {
    fn of(PageSize(width, height): PageSize, dots_per_inch: f64) -> Picture {
        let pixels = |points: u32| (f64::from(points) * dots_per_inch / 72.0).max(1.0);
        let (width, height) = (pixels(width), pixels(height));
        let wanted = (width * height).clamp(FEWEST_PIXELS, MOST_PIXELS);
        let scale = (wanted / (width * height)).sqrt();
        let tokens = |side: f64| (side * scale / TOKEN_SIDE).ceil();
        Picture {
            patches: PATCHES * tokens(width) * tokens(height),
            scaled_down: scale < 1.0,
        }
    }

    fn bytes(self) -> f64 {
        let forms = if self.scaled_down { 2.0 } else { 1.0 };
        forms * self.patches * PATCH_BYTES
    }
}

fn mib(batch: &[Picture]) -> f64 {
    let pictures: f64 = batch.iter().map(|picture| picture.bytes()).sum();
    (pictures + MASK_BYTES * largest_mask(batch)) / f64::from(1 << 20)
}

/// The largest mask that the encoder makes, in pairs of patches.
fn largest_mask(batch: &[Picture]) -> f64 {
    let (mut largest, mut group) = (0.0_f64, Vec::new());
    for picture in batch {
        group.push(*picture);
        largest = largest.max(mask(&group));
        if patches(&group) > GROUP {
            group.clear();
        }
    }
    largest
}

fn mask(group: &[Picture]) -> f64 {
    group.len() as f64 * widest(group).powi(2)
}

/// A batch as the decoder takes it, in letter pages.
fn padded(batch: &[Picture]) -> f64 {
    batch.len() as f64 * widest(batch) / (PATCHES * LETTER_TOKENS)
}

fn patches(pictures: &[Picture]) -> f64 {
    pictures.iter().map(|picture| picture.patches).sum()
}

fn widest(pictures: &[Picture]) -> f64 {
    pictures
        .iter()
        .map(|picture| picture.patches)
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A5: PageSize = PageSize(420, 595);
    const A3: PageSize = PageSize(842, 1191);
    const SLIDE: PageSize = PageSize(720, 540);

    fn stage(sizes: &[PageSize], batch: u32) -> (f64, f64) {
        let sizes = sizes.iter().copied();
        let stage = LayoutStage::of(sizes, 96.0, batch, Batches::FromTheFirst);
        (stage.mib.round(), (stage.images * 100.0).round() / 100.0)
    }

    #[test]
    fn the_stage_takes_what_was_seen_of_it() {
        // Measured inside marker 1.10.2 with toy models, as the peak of the
        // first call of the layout model over what was held before: letter 166,
        // A5 89, A3 294, A3 with slides 395 MiB: there the slides' masks are as
        // large as those of the A3 pages beside them.
        let unlike = [A3, SLIDE].repeat(3);
        assert_eq!(stage(&[PageSize::LETTER; 6], 6), (164.0, 6.0));
        assert_eq!(stage(&[A5; 6], 6), (85.0, 3.05));
        assert_eq!(stage(&[A3; 6], 6), (294.0, 7.18));
        assert_eq!(stage(&unlike, 6), (393.0, 7.18));
        assert_eq!(stage(&[A3; 6], 1), (172.0, 1.2));
    }

    #[test]
    fn only_the_largest_batch_counts() {
        let mut many = vec![A5; 60];
        many[30] = A3;
        assert_eq!(stage(&many, 6), stage(&many[30..36], 6));
        assert_eq!(stage(&[], 6), (0.0, 0.0));
    }

    #[test]
    fn parts_of_a_document_take_no_more_than_any_batch_of_it() {
        let sizes = [SLIDE, A3, A5, A5, SLIDE, A3, PageSize::LETTER, A5, A3].repeat(2);
        let any = LayoutStage::of(sizes.iter().copied(), 96.0, 4, Batches::FromAny);
        for first in 0..sizes.len() {
            for last in first..sizes.len() {
                let part = sizes[first..=last].iter().copied();
                let part = LayoutStage::of(part, 96.0, 4, Batches::FromTheFirst);
                assert!(part.mib <= any.mib && part.images <= any.images);
            }
        }
    }

    #[test]
    fn no_page_is_too_small_or_too_large() {
        let (small, _) = stage(&[PageSize(0, 0)], 1);
        let (large, _) = stage(&[PageSize(u32::MAX, u32::MAX)], 1);
        assert!(
            small < 5.0 && large > 150.0 && large < 200.0,
            "{small} {large}"
        );
    }
}
