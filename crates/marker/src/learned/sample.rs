//! One run of marker, as what it had to hold and what it took.

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use crate::estimate::Load;
use crate::runner::Accounting;

/// A run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What it had to hold.
    pub load: Load,
    /// What was seen of its peak.
    pub seen: Seen,
}

/// What was seen of a peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// It was this.
    Peak(ByteSize),
    /// It filled its group up to the limit, page cache included, and came to
    /// its end: it needs no more than this.
    AtMost(ByteSize),
    /// It was ended at this limit: it needs more.
    MoreThan(ByteSize),
}

/// From this share of its limit on, in percent, a group may be full of page
/// cache.
const FULL: u32 = 97;

/// Peaks outside of this are no peaks of marker: an interpreter alone takes
/// more, and no machine has as much.
const PLAUSIBLE: std::ops::RangeInclusive<ByteSize> =
    ByteSize::from_mib(64)..=ByteSize::from_gib(16 << 10);

impl Seen {
    /// What a run that came to its end shows.
    pub fn in_success(peak: ByteSize, limit: ByteSize, accounting: Option<Accounting>) -> Seen {
        match accounting {
            Some(Accounting::Group) | None if peak >= limit.percent(FULL) => Seen::AtMost(peak),
            Some(Accounting::Group | Accounting::Processes) | None => Seen::Peak(peak),
        }
    }

    fn bytes(self) -> ByteSize {
        match self {
            Seen::Peak(bytes) | Seen::AtMost(bytes) | Seen::MoreThan(bytes) => bytes,
        }
    }

    /// The number, in MiB.
    pub fn mib(self) -> f64 {
        self.bytes().bytes() as f64 / f64::from(1 << 20)
    }
}

impl Sample {
    /// Whether this can be what it says; what was stored may have been changed.
    pub fn is_plausible(&self) -> bool {
        let Sample { load, seen } = self;
        load.area.is_finite()
            && (0.0..=1e7).contains(&load.area)
            && (1..=1_000_000).contains(&load.pages)
            && (0.0..=1e6).contains(&load.layout)
            && (0.0..=1e6).contains(&load.images)
            && PLAUSIBLE.contains(&seen.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_group_says_less_than_a_peak() {
        let mib = ByteSize::from_mib;
        let seen = |peak, accounting| Seen::in_success(mib(peak), mib(1000), accounting);
        let cases = [
            (969, Some(Accounting::Group), Seen::Peak(mib(969))),
            (970, Some(Accounting::Group), Seen::AtMost(mib(970))),
            (1000, None, Seen::AtMost(mib(1000))),
            (999, Some(Accounting::Processes), Seen::Peak(mib(999))),
        ];
        for (peak, accounting, expected) in cases {
            assert_eq!(seen(peak, accounting), expected, "{peak} {accounting:?}");
        }
    }

    #[test]
    fn nonsense_is_not_plausible() {
        let sample = |area, pages, images, mib| Sample {
            load: Load {
                area,
                pages,
                layout: 0.0,
                images,
                recognition: false,
                kept_heap: false,
            },
            seen: Seen::Peak(ByteSize::from_mib(mib)),
        };
        assert!(sample(1.0, 1, 1.0, 900).is_plausible());
        for nonsense in [
            sample(f64::NAN, 1, 1.0, 900),
            sample(-1.0, 1, 1.0, 900),
            sample(1e9, 1, 1.0, 900),
            sample(1.0, 0, 0.0, 900),
            sample(1.0, 1, f64::NAN, 900),
            sample(1.0, 1, 1.0, 3),
            sample(1.0, 1, 1.0, 1 << 40),
        ] {
            assert!(!nonsense.is_plausible(), "{nonsense:?}");
        }
    }
}
