//! What a request asks for, in bytes that fit on this host. Reads no files.

use memcap_linux::meminfo::MachineMemory;
use memcap_linux::{ByteSize, SizeSpec};
use memcap_probe::Ceilings;

use crate::{Clamp, Limits};

/// Kept free below an enclosing limit, so that our verdict comes first: this or
/// 2 % of that limit, whichever is more.
const MARGIN: ByteSize = ByteSize::from_mib(64);
/// Of a small enclosing limit the margin takes no more than one part in so many.
const MARGIN_PARTS: u64 = 8;
/// What memcap and its keeper may need in there themselves, however small the
/// enclosing limit: both together measured below 5 MiB.
const OWN_NEED: ByteSize = ByteSize::from_mib(8);
/// What is left to the job of an enclosing limit in any case, in percent.
const LEAST_SHARE: u32 = 50;

/// The sizes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Amounts {
    /// The memory limit as asked for.
    pub(crate) requested: ByteSize,
    /// The one that fits.
    pub(crate) limit: ByteSize,
    pub(crate) clamped: Option<Clamp>,
    /// What may be in swap beside it.
    pub(crate) swap: ByteSize,
    pub(crate) soft: Option<ByteSize>,
}

impl Amounts {
    /// Shares are of the lowest ceiling; `max` for swap is all the swap that the
    /// machine has.
    pub(crate) fn of(
        limits: &Limits,
        ceilings: &Ceilings,
        memory: Option<&MachineMemory>,
    ) -> Amounts {
        let lowest = ceilings.lowest();
        let there_is = lowest.map_or(ByteSize::MAX, |ceiling| ceiling.bytes);
        let requested = limits.memory.resolve(there_is);
        let fits = lowest.map_or(ByteSize::MAX, |ceiling| below(ceiling.bytes));
        Amounts {
            requested,
            limit: requested.min(fits),
            clamped: lowest.filter(|_| requested > fits).map(|ceiling| Clamp {
                ceiling: ceiling.bytes,
                file: ceiling.file.clone(),
                budget: false,
            }),
            swap: match limits.swap {
                SizeSpec::Max => memory.map_or(there_is, |memory| memory.swap_total),
                SizeSpec::Bytes(_) | SizeSpec::Percent(_) => limits.swap.resolve(there_is),
            },
            soft: limits.soft.map(|soft| soft.resolve(there_is)),
        }
    }
}

/// The largest limit that stays clear of an enclosing one.
fn below(ceiling: ByteSize) -> ByteSize {
    let part = ByteSize::from_bytes(ceiling.bytes() / MARGIN_PARTS);
    let margin = MARGIN.min(part.max(OWN_NEED)).max(ceiling.percent(2));
    ceiling
        .saturating_sub(margin)
        .max(ceiling.percent(LEAST_SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use memcap_probe::Ceiling;
    use std::path::PathBuf;

    fn under(mib: u64) -> Ceilings {
        Ceilings::new(vec![Ceiling {
            bytes: ByteSize::from_mib(mib),
            file: Some(PathBuf::from("/sys/fs/cgroup/a/memory.max")),
        }])
    }

    fn spec(text: &str) -> SizeSpec {
        text.parse().expect("a size")
    }

    fn limits(memory: &str) -> Limits {
        Limits::memory(spec(memory)).expect("a limit")
    }

    #[test]
    fn requests_above_a_ceiling_are_clamped_below_it() {
        let limit = |ceiling, asked: &str| {
            let amounts = Amounts::of(&limits(asked), &under(ceiling), None);
            assert_eq!(amounts.clamped.is_some(), amounts.limit < amounts.requested);
            amounts.limit.mib()
        };
        assert_eq!(limit(1024, "960M"), 960);
        assert_eq!(limit(1024, "961M"), 960);
        assert_eq!(limit(1024, "max"), 960);
        // 2 % of a large ceiling are more than 64 MiB.
        assert_eq!(limit(10_000, "20000M"), 9_800);
        // A small one is not eaten by the margin.
        assert_eq!(limit(128, "100M"), 100);
        assert_eq!(limit(128, "max"), 112);
        assert_eq!(limit(300, "max"), 262);
        assert_eq!(limit(50, "max"), 42);
        assert_eq!(limit(10, "max"), 5);
    }

    #[test]
    fn nothing_known_around_clamps_nothing() {
        let amounts = Amounts::of(&limits("100T"), &Ceilings::default(), None);
        assert_eq!((amounts.limit.bytes(), amounts.clamped), (100 << 40, None));
    }

    #[test]
    fn shares_are_of_what_is_effectively_there() {
        let memory = MachineMemory {
            total: ByteSize::from_gib(16),
            available: None,
            swap_total: ByteSize::from_gib(3),
        };
        let asked = |swap: &str, soft: &str| {
            let limits = limits("90%").swap(spec(swap)).soft(spec(soft));
            let amounts = Amounts::of(&limits.expect("limits"), &under(1000), Some(&memory));
            (amounts.swap.mib(), amounts.soft.map(ByteSize::mib))
        };
        assert_eq!(asked("50%", "80%"), (500, Some(800)));
        assert_eq!(asked("7M", "max"), (7, Some(1000)));
        assert_eq!(asked("max", "5M"), (3072, Some(5)));
    }
}
