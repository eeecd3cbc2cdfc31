//! What is known of marker's memory before this machine has taught anything.
//!
//! The numbers for 1.x are peaks as memcap counts them, of the runs in
//! `tests/data` (`scripts/marker-peaks`, marker 1.10.2, toy models). The
//! proportional set size of the same tree is about 400 MiB more, for the pages
//! of libraries: a watchdog does not count those, and a group can give them
//! back. Releases that were not measured are taken to be like the nearest that
//! was.

use memcap_linux::ByteSize;

use crate::learned::{Coefficients, Prior};
use crate::runner::Accounting;
use crate::version::{Family, Version};
use crate::weights::Weights;

/// Interpreter, libraries and one-time buffers of marker 1.10.2 without any
/// weights or pages, in MiB.
const BASE: f64 = 533.0;

/// What a letter page adds, in MiB: by the code 3.3 + 13.1 MiB for the two
/// renderings, as four bytes a pixel, and 9.9 MiB for the copy that the layout
/// stage makes of all pages at once.
const AREA: f64 = 26.3;

/// What the text of a page adds, in MiB: 6 KiB a word, of which a page has some
/// 450; dense pages of 990 words took 5.9.
const PAGE: f64 = 2.7;

/// What recognising text adds, once a page needs it, in MiB: four scanned pages
/// took 1176 MiB with toy models where 790 would do without; with models of real
/// size one page took 6208 instead of 5800.
const RECOGNITION: f64 = 390.0;

/// What memory adds that is freed and kept ([`Heap::Kept`](crate::tuning::Heap::Kept)), in
/// MiB: 105, 101 and 123 on 20, 50 and 100 letter pages (marker 1.10.2, toy models).
const HEAP: f64 = 110.0;

/// Activations for each letter page in the layout batch, as a share of all
/// weights: with random models of real size, 5466 MiB of them, four A5 pages and
/// two A3 pages took 78 MiB a letter page more than one letter page.
const ACTIVATIONS: f64 = 0.0143;

/// marker 2.0.0 in its fast mode with both servers, in MiB; layout model of
/// real size, toy OCR error model. One letter page took 1511 MiB as memcap counts
/// it, ten took 1818, six A3 pages 1640: the layout server makes all pictures of
/// one size. The proportional set size of such runs is 500 MiB more, and grows
/// by 79 MiB with each picture.
const SERVERS: Coefficients = Coefficients {
    base: 1452.0,
    area: 4.5,
    page: 0.0,
    layout: 1.0,
    image: 34.0,
    recognition: 0.0,
    heap: HEAP,
};

/// The weights that [`SERVERS`] holds already: 34 million parameters.
const LAYOUT_SERVER_WEIGHTS: f64 = 130.0;

/// The OCR error model of real size (DistilBERT, 135 million parameters), where
/// no checkpoint tells.
const ERROR_SERVER_WEIGHTS: f64 = 520.0;

/// A group's peak is that of the processes, the kernel's own memory for them,
/// and page cache: 7 to 55 MiB more in the same runs, once the libraries were
/// in memory.
const KERNEL: f64 = 25.0;

/// What a worker that extracts text takes, in MiB: 200 to 315.
pub const WORKER: f64 = 315.0;

/// The constants for a release, with how far each may be off.
pub fn prior(version: Version, weights: &Weights, accounting: Option<Accounting>) -> Prior {
    let expected = match version.family() {
        Family::Servers => SERVERS,
        Family::BeforePageRanges | Family::ConfigFile | Family::Flags => Coefficients {
            base: BASE,
            area: AREA,
            page: PAGE,
            layout: 1.0,
            image: ACTIVATIONS * mib(weights.bytes()),
            recognition: RECOGNITION,
            heap: HEAP,
        },
    };
    let models = models(version, weights, accounting);
    let own = match accounting {
        Some(Accounting::Processes) => expected.base,
        Some(Accounting::Group) | None => expected.base + KERNEL,
    };
    Prior {
        expected: Coefficients {
            base: own + models,
            ..expected
        },
        deviation: Coefficients {
            base: 0.12 * own + 0.5 * models,
            area: 0.05 * expected.area,
            page: 1.5,
            layout: 0.1,
            image: 0.5 * expected.image,
            // With models of real size it was not measured.
            recognition: 200.0 + 0.2 * models,
            // Nor was this, nor with marker 2.
            heap: 60.0 + 0.05 * models,
        },
    }
}

/// The models' part of the base, in MiB.
pub(super) fn models(version: Version, weights: &Weights, accounting: Option<Accounting>) -> f64 {
    let held = held(weights, accounting);
    match (version.family(), weights) {
        (Family::Servers, Weights::Measured { .. }) => (held - LAYOUT_SERVER_WEIGHTS).max(0.0),
        (Family::Servers, Weights::Assumed { .. }) => ERROR_SERVER_WEIGHTS,
        (Family::BeforePageRanges | Family::ConfigFile | Family::Flags, _) => held,
    }
}

/// Weights that a peak counts, in MiB. A process's own memory is without what is
/// mapped from files; a group's has of that what is used, which is half where no
/// text is recognised.
fn held(weights: &Weights, accounting: Option<Accounting>) -> f64 {
    let copied = mib(weights.copied());
    match accounting {
        Some(Accounting::Processes) => copied,
        Some(Accounting::Group) | None => f64::midpoint(copied, mib(weights.bytes())),
    }
}

fn mib(bytes: ByteSize) -> f64 {
    bytes.bytes() as f64 / f64::from(1 << 20)
}

/// Whether the constants were measured on releases like this one.
pub fn is_measured(version: Version) -> bool {
    let relatives = (version.major, version.minor);
    relatives == (1, 10) || relatives == (2, 0)
}
