//! When a worker is replaced by a new one. Pure.
//!
//! What a worker still holds after cleaning up is its floor. The first chunk
//! fills caches that stay; after that marker 1.10.2 keeps its floor within 1 %
//! from chunk to chunk. A floor that grows is memory that the next chunk lacks.

use memcap_linux::ByteSize;

/// A floor that has grown by more than this share of the first one, in percent,
/// ends the worker.
const GROWTH_PERCENT: u32 = 15;

/// Growth below this is no reason, however small the first floor was.
const LEAST_GROWTH: ByteSize = ByteSize::from_mib(64);

/// After so many chunks a worker whose floor is unknown is replaced.
const CHUNKS_UNSEEN: u32 = 10;

/// Follows one worker from its start.
#[derive(Debug, Default)]
pub(crate) struct Recycling {
    first_floor: Option<ByteSize>,
    unseen: u32,
}

impl Recycling {
    /// Whether the worker shall go, after a chunk that left it with this floor.
    pub(crate) fn is_due(&mut self, floor: Option<ByteSize>) -> bool {
        let Some(floor) = floor else {
            self.unseen += 1;
            return self.unseen >= CHUNKS_UNSEEN;
        };
        let first = *self.first_floor.get_or_insert(floor);
        let growth = floor.saturating_sub(first);
        growth > first.percent(GROWTH_PERCENT).max(LEAST_GROWTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_at(floors: &[Option<u64>]) -> Option<usize> {
        let mut recycling = Recycling::default();
        floors
            .iter()
            .position(|floor| recycling.is_due(floor.map(ByteSize::from_mib)))
    }

    #[test]
    fn a_worker_goes_when_its_floor_has_grown() {
        let cases: [(&[u64], Option<usize>); 5] = [
            (&[937, 943, 940, 938], None),
            (&[1000, 1100, 1150, 1151], Some(3)),
            // The first chunk's caches are no growth.
            (&[2000, 1000, 2000, 2300], None),
            // A share of little is little.
            (&[100, 164, 165], Some(2)),
            (&[], None),
        ];
        for (floors, expected) in cases {
            let floors: Vec<_> = floors.iter().copied().map(Some).collect();
            assert_eq!(due_at(&floors), expected, "{floors:?}");
        }
    }

    #[test]
    fn a_worker_that_is_not_seen_goes_after_some_chunks() {
        assert_eq!(due_at(&[None; 20]), Some(9));
        assert_eq!(due_at(&[None; 9]), None);
    }
}
