//! The peak of one chunk in a tree that lives through many. Pure.

use memcap_linux::ByteSize;

use crate::runner::Usage;

/// Follows a tree while it converts one chunk.
///
/// The largest value since the tree's start is exact but may be an earlier
/// chunk's; the looks of this chunk are its own but may miss a peak between
/// them. So the former counts where it has grown, and the latter otherwise.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// The tree's largest value before this chunk.
    before: ByteSize,
    /// The same, as of the last look.
    since_start: ByteSize,
    /// The largest look of this chunk.
    seen: Option<ByteSize>,
}

impl Meter {
    /// A new chunk begins.
    pub(super) fn begin(&mut self) {
        self.before = self.since_start;
        self.seen = None;
    }

    /// A look at the tree.
    pub(super) fn look(&mut self, usage: Usage) {
        self.since_start = self.since_start.max(usage.peak);
        self.seen = self.seen.max(Some(usage.current));
    }

    /// The chunk's peak; `own` is what the worker says of itself, where that
    /// counts the same. `None` where nothing is known.
    pub(super) fn peak(&self, own: Option<ByteSize>) -> Option<ByteSize> {
        if self.since_start > self.before {
            Some(self.since_start)
        } else {
            self.seen.max(own)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mib(count: u64) -> ByteSize {
        ByteSize::from_mib(count)
    }

    #[test]
    fn a_chunk_is_charged_with_its_own_peak() {
        let mut meter = Meter::default();
        let mut chunk = |looks: &[(u64, u64)], own: Option<u64>| {
            meter.begin();
            for (current, peak) in looks {
                meter.look(Usage {
                    current: mib(*current),
                    peak: mib(*peak),
                });
            }
            meter.peak(own.map(mib)).map(ByteSize::mib)
        };
        assert_eq!(chunk(&[(900, 900), (1000, 1500)], Some(800)), Some(1500));
        assert_eq!(chunk(&[(1100, 1500), (950, 1500)], Some(1000)), Some(1100));
        assert_eq!(chunk(&[(1100, 1500)], Some(1200)), Some(1200));
        assert_eq!(chunk(&[(1000, 1600)], None), Some(1600));
        assert_eq!(chunk(&[], None), None);
    }
}
