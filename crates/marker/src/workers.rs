//! How many workers convert chunks of one document at the same time. Pure.
//!
//! All of them share one total, so with more of them each has smaller chunks; and
//! they share the processors. One marker keeps [`PROCESSORS_A_WORKER`] of them
//! busy in its models: below that, a further worker makes the others slower by as
//! much as it does itself. So the most pages in a time are converted by as many
//! workers as each have that many processors, as long as memory leaves each a
//! chunk that marker can judge by. Every worker loads the models once more, so
//! there are never more than that.

use std::num::{NonZeroU32, NonZeroUsize};

use memcap_linux::ByteSize;

use crate::chunks::{Chunking, FEW_PAGES};
use crate::estimate::MemoryModel;
use crate::fitting::{Choice, Wanted};
use crate::many::Jobs;
use crate::version::Version;

/// Processors that one marker keeps busy in its models. What it computes in one
/// thread (reading, rendering, joining) is a small part of its time.
pub(crate) const PROCESSORS_A_WORKER: usize = 4;

/// Something that bounds the number of workers, and why.
struct Bound {
    most: usize,
    because: String,
}

impl Bound {
    fn or_less(self, other: Bound) -> Bound {
        match other.most < self.most {
            true => other,
            false => self,
        }
    }
}

/// As many as are wanted and have room, and why not more; `None` where nobody
/// asked for several.
pub(crate) fn workers(
    wish: Jobs,
    wanted: &Wanted<'_>,
    model: &MemoryModel,
    version: Version,
) -> (NonZeroUsize, Option<Choice>) {
    let asked = match wish {
        Jobs::One => return (NonZeroUsize::MIN, None),
        Jobs::Exactly(workers) => Bound {
            most: workers.get(),
            because: "that many were asked for".to_owned(),
        },
        Jobs::Auto => by_processors(wanted.processors),
    };
    let others = [by_version(version), by_pages(wanted)];
    // Of equal ones the first tells why.
    let least = others.into_iter().fold(asked, Bound::or_less);
    let memory = by_memory(wish, least.most, wanted, model);
    let least = least.or_less(memory);
    let workers = NonZeroUsize::new(least.most).unwrap_or(NonZeroUsize::MIN);
    let choice = Choice {
        what: "at once",
        value: told(workers, wanted),
        because: least.because,
    };
    (workers, Some(choice))
}

fn told(workers: NonZeroUsize, wanted: &Wanted<'_>) -> String {
    match workers.get() {
        1 => "one worker".to_owned(),
        count => {
            let share = share(wanted.limit, workers);
            format!("{count} workers, chunks cut for {share} each")
        }
    }
}

/// What each of them has of a limit.
pub(crate) fn share(limit: ByteSize, workers: NonZeroUsize) -> ByteSize {
    let count = u64::try_from(workers.get()).unwrap_or(u64::MAX);
    ByteSize::from_bytes(limit.bytes() / count)
}

fn by_processors(processors: Option<NonZeroUsize>) -> Bound {
    let because = match processors {
        Some(has) => format!(
            "one marker keeps {PROCESSORS_A_WORKER} processors busy, and there are {has} for it"
        ),
        None => "it is not known how many processors there are".to_owned(),
    };
    let most = processors.map_or(1, |has| has.get() / PROCESSORS_A_WORKER);
    Bound {
        most: most.max(1),
        because,
    }
}

fn by_version(version: Version) -> Bound {
    let most = match version.capabilities().servers {
        true => 1,
        false => usize::MAX,
    };
    Bound {
        most,
        because: format!(
            "marker {version} has servers for its models, which take one after the other"
        ),
    }
}

/// Enough chunks for all of them, none too small.
fn by_pages(wanted: &Wanted<'_>) -> Bound {
    let pages = wanted.pages.len();
    let few = usize::try_from(FEW_PAGES).unwrap_or(usize::MAX);
    let (most, because) = match wanted.chunking {
        Chunking::Whole => (1, "the document is converted in one piece".to_owned()),
        Chunking::Fixed(size) | Chunking::FixedAbove { pages: size, .. } => {
            let size = usize::try_from(size.get()).unwrap_or(usize::MAX);
            let chunks = pages.div_ceil(size);
            (chunks, format!("there are {chunks} chunks of {size} pages"))
        }
        Chunking::Fit => (
            pages / few,
            format!("chunks of at least {few} pages are to be made of {pages}"),
        ),
    };
    Bound {
        most: most.max(1),
        because,
    }
}

/// As many as have room for a good chunk each; where the user wants more, for a
/// page each.
fn by_memory(wish: Jobs, most: usize, wanted: &Wanted<'_>, model: &MemoryModel) -> Bound {
    let enough = match wish {
        Jobs::Auto | Jobs::One => wanted.enough(),
        Jobs::Exactly(_) => 1,
    };
    let fits = |count: &usize| {
        let limit = share(
            wanted.limit,
            NonZeroUsize::new(*count).unwrap_or(NonZeroUsize::MIN),
        );
        let each = Wanted { limit, ..*wanted };
        limit >= model.floor() && each.pages_at_once(model) >= enough
    };
    let most = (1..=most).rev().find(fits).unwrap_or(1);
    let pages = match enough {
        1 => "a page".to_owned(),
        enough => format!("{enough} pages"),
    };
    Bound {
        most,
        because: format!(
            "{} has room for the models and {pages} in so many at a time",
            wanted.limit
        ),
    }
}

/// Threads of each, where they share the processors and nobody has settled it.
pub(crate) fn threads(
    workers: NonZeroUsize,
    processors: Option<NonZeroUsize>,
) -> Option<NonZeroU32> {
    let each = processors?.get() / workers;
    (workers.get() > 1)
        .then(|| u32::try_from(each).ok())
        .flatten()
        .map(|each| NonZeroU32::new(each).unwrap_or(NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Conditions;
    use crate::install::PageSize;
    use crate::page_count::Pages;
    use crate::pages::PageSet;
    use crate::weights::Weights;

    /// With models of 40 MiB on so many processors.
    fn decide(wish: &str, pages: u32, mib: u64, processors: usize, chunking: Chunking) -> String {
        decide_for("1.10.2", wish, pages, mib, processors, chunking)
    }

    fn decide_for(
        version: &str,
        wish: &str,
        pages: u32,
        mib: u64,
        processors: usize,
        chunking: Chunking,
    ) -> String {
        let weights = Weights::Measured {
            bytes: ByteSize::from_mib(40),
            copied: ByteSize::default(),
        };
        let version = version.parse().unwrap();
        let model = MemoryModel::new(Conditions::least(version, weights), &[]);
        let sizes = Pages {
            count: pages,
            sizes: vec![PageSize::LETTER; pages as usize],
            warning: None,
        };
        let wanted = Wanted {
            pages: &PageSet::all(pages),
            sizes: &sizes,
            limit: ByteSize::from_mib(mib),
            chunking,
            processors: NonZeroUsize::new(processors),
        };
        let (workers, choice) = workers(wish.parse().unwrap(), &wanted, &model, version);
        let because = choice.map(|choice| choice.because).unwrap_or_default();
        format!("{workers} {because}")
    }

    #[test]
    fn workers_are_bounded_by_what_there_is_least_of() {
        let fit = Chunking::Fit;
        let tens = Chunking::Fixed(10.try_into().unwrap());
        let cases = [
            (
                decide("auto", 300, 16_384, 16, fit),
                "4",
                "keeps 4 processors",
            ),
            (
                decide("auto", 300, 16_384, 7, fit),
                "1",
                "keeps 4 processors",
            ),
            (decide("auto", 300, 16_384, 0, fit), "1", "not known"),
            (decide("auto", 25, 16_384, 16, fit), "2", "made of 25"),
            (decide("auto", 300, 2600, 16, fit), "2", "2.53 GiB has room"),
            (decide("auto", 300, 1200, 16, fit), "1", "has room"),
            // Whoever asks knows, as long as there is room.
            (decide("3", 300, 16_384, 2, fit), "3", "asked for"),
            (decide("8", 300, 1800, 2, fit), "2", "a page"),
            (decide("8", 25, 16_384, 2, tens), "3", "3 chunks"),
            (
                decide("8", 25, 16_384, 2, Chunking::Whole),
                "1",
                "one piece",
            ),
            (
                decide_for("2.0.0", "8", 300, 16_384, 2, fit),
                "1",
                "servers",
            ),
        ];
        for (decided, expected, because) in cases {
            let (workers, reason) = decided.split_once(' ').unwrap();
            assert_eq!(workers, expected, "{decided}");
            assert!(reason.contains(because), "{decided}");
        }
    }

    #[test]
    fn processors_are_shared() {
        let of = |workers: usize, processors: usize| {
            let threads = threads(
                NonZeroUsize::new(workers).unwrap(),
                NonZeroUsize::new(processors),
            );
            threads.map(NonZeroU32::get)
        };
        assert_eq!(of(1, 16), None);
        assert_eq!((of(4, 16), of(3, 8), of(3, 2)), (Some(4), Some(2), Some(1)));
        assert_eq!(of(2, 0), None);
    }
}
