//! What the C library does with memory that marker has freed, and when that is
//! left to it. Pure.
//!
//! glibc keeps freed memory for later. Three of its variables have it give back
//! more. That costs time, since arrays are mapped anew again and again, and is for
//! nothing where there is room by far.

use std::fmt;

use memcap_linux::ByteSize;

use super::lever::{Lever, LeverKind, PassedAs, SetBy};
use super::{Multiplier, Target, Tuning, TuningRequest};

/// What becomes of memory that marker has freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Heap {
    /// More of it is given back to the system at once: a lower peak, and 6 to 9 %
    /// more time.
    #[default]
    GivenBack,
    /// The C library keeps it for later, as it does by itself.
    Kept,
}

/// Up to this share of a limit, in percent, an estimate is far below it: kept
/// memory added 101 to 123 MiB to peaks of 1.3 to 3.6 GiB (marker 1.10.2, toy
/// models), and constants that are off by a third leave room all the same.
const FAR_BELOW: u32 = 50;

/// Name for people, variable, and the value that gives memory back: see
/// mallopt(3).
const VARIABLES: [(&str, &str, &str); 3] = [
    ("heap: arenas", "MALLOC_ARENA_MAX", "2"),
    ("heap: free bytes kept", "MALLOC_TRIM_THRESHOLD_", "131072"),
    (
        "heap: bytes mapped apart",
        "MALLOC_MMAP_THRESHOLD_",
        "131072",
    ),
];

/// For people, in place of a value.
const OWN: &str = "the C library's own";

/// Chooses, and says why. `largest` is the estimate of the largest run with all
/// memory given back; `None` where what is to be converted is not known beforehand.
pub(crate) fn choose(
    asked: Option<Multiplier>,
    largest: Option<ByteSize>,
    limit: ByteSize,
) -> (Heap, String) {
    let saves = asked.is_some_and(|multiplier| multiplier < Multiplier::ONE);
    match largest {
        _ if saves => (
            Heap::GivenBack,
            "smaller batches than marker's own were asked for, which is to save memory".to_owned(),
        ),
        None => (
            Heap::GivenBack,
            "it is not known beforehand what the document takes".to_owned(),
        ),
        Some(largest) if largest <= limit.percent(FAR_BELOW) => (
            Heap::Kept,
            format!(
                "with it given back the largest chunk would take about {largest} of {limit}, at most \
                 half, and giving it back takes time"
            ),
        ),
        Some(largest) => (
            Heap::GivenBack,
            format!("the largest chunk takes about {largest} of {limit}, more than half"),
        ),
    }
}

/// The variables. A user's own values stay.
pub(super) fn levers(request: &TuningRequest, target: &Target<'_>) -> Vec<Lever> {
    let lever = |(name, variable, value)| {
        let kind = LeverKind::Heap;
        let theirs = target.world.raw_variable(variable);
        let theirs = theirs.map(|theirs| theirs.to_string_lossy().into_owned());
        match (theirs, request.heap.unwrap_or_default()) {
            (Some(theirs), _) => Lever::variable(kind, name, variable, &theirs, SetBy::Environment),
            (None, Heap::GivenBack) => Lever::variable(kind, name, variable, value, SetBy::Memcap),
            (None, Heap::Kept) => Lever::variable(kind, name, variable, OWN, SetBy::Marker),
        }
    };
    VARIABLES.into_iter().map(lever).collect()
}

/// For people.
impl fmt::Display for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Heap::GivenBack => "given back at once",
            Heap::Kept => "kept for later, until memory has run out",
        })
    }
}

impl Tuning {
    /// What becomes of freed memory, as far as memcap has settled it.
    pub fn heap(&self) -> Heap {
        match self.levers.iter().any(is_left) {
            true => Heap::Kept,
            false => Heap::GivenBack,
        }
    }

    /// The same settings, with this for freed memory where it had been left to the
    /// C library.
    #[must_use]
    pub fn with_heap(mut self, heap: Heap) -> Tuning {
        match heap {
            Heap::Kept => {}
            Heap::GivenBack => {
                for lever in self.levers.iter_mut().filter(|lever| is_left(lever)) {
                    give_back(lever);
                }
            }
        }
        self
    }
}

fn is_left(lever: &Lever) -> bool {
    lever.kind == LeverKind::Heap && lever.set_by == SetBy::Marker
}

fn give_back(lever: &mut Lever) {
    let of_lever = |(_, variable, _): &&(&str, &str, &str)| {
        lever.passed_as == PassedAs::Environment((*variable).to_owned())
    };
    if let Some((_, _, value)) = VARIABLES.iter().find(of_lever) {
        *lever = lever.clone().set(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_where_the_largest_chunk_is_far_below_the_limit() {
        use Heap::{GivenBack, Kept};
        let cases = [
            // (factor of batches asked for, largest in MiB, limit in MiB)
            (
                None,
                Some(1000),
                8192,
                Kept,
                "1000 MiB of 8 GiB, at most half",
            ),
            (None, Some(1000), 2000, Kept, "at most half"),
            (None, Some(1001), 2000, GivenBack, "more than half"),
            (None, Some(3000), 2000, GivenBack, "more than half"),
            (None, None, 8192, GivenBack, "not known beforehand"),
            // Whoever asks for marker's own batches, or for larger ones, saves nothing.
            (Some("1"), Some(1000), 8192, Kept, "at most half"),
            (Some("2"), Some(1000), 8192, Kept, "at most half"),
            // Whoever asks for smaller ones does, as the presets have them.
            (Some("0.5"), Some(1000), 8192, GivenBack, "were asked for"),
            (Some("0.25"), Some(1000), 8192, GivenBack, "were asked for"),
            (Some("0.1"), Some(1000), 8192, GivenBack, "were asked for"),
            (Some("0.1"), None, 8192, GivenBack, "were asked for"),
        ];
        for (asked, largest, limit, expected, because) in cases {
            let label = format!("{asked:?} {largest:?} {limit}");
            let asked = asked.map(|factor| factor.parse().unwrap());
            let largest = largest.map(ByteSize::from_mib);
            let (heap, reason) = choose(asked, largest, ByteSize::from_mib(limit));
            assert_eq!(heap, expected, "{label}");
            assert!(reason.contains(because), "{label}: {reason}");
        }
    }
}
