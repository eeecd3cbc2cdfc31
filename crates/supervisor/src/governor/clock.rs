//! When to look again. Looking costs CPU, not looking costs overshoot: the next
//! look comes when the tree could at the earliest reach the limit, at
//! [`FILL_RATE`].

use std::time::Duration;

use memcap_linux::ByteSize;

use super::sum::{Leases, Share};

/// How fast a tree may be taken to grow, per second. One thread touches fresh
/// pages at 0.3-2.7 GiB/s, 4.6 GiB/s with huge pages (measured); several
/// threads share the memory bus.
pub(super) const FILL_RATE: ByteSize = ByteSize::from_gib(8);
/// Looks are never closer: below this the look itself is what costs.
pub(super) const SHORTEST: Duration = Duration::from_micros(500);
/// However many share a budget, near its total each looks as often as this: a
/// machine's memory is filled by 20 MiB meanwhile (measured: 2.7 GiB/s).
const SHARED: Duration = Duration::from_millis(8);
/// While leases bound what can be mapped and slack fits, looks come no closer
/// than this: what no lease bounds grows by 5 MiB meanwhile (2.7 GiB/s, one
/// thread at full speed).
pub(super) const BOUNDED: Duration = Duration::from_millis(2);
/// After somebody has joined, looks come this close and then draw apart: a
/// newcomer should be seen while it is small, and rarely comes alone.
pub(super) const RESTLESS: Duration = Duration::from_millis(2);
/// Looks are never rarer.
pub(crate) const LONGEST: Duration = Duration::from_millis(250);

/// How long the next look can wait: until the tree could have filled the
/// headroom, or a member its lease, which is then raised in time. Leases that
/// fit hold the rest.
pub(super) fn time_to_next(headroom: ByteSize, leases: Option<Leases>) -> Duration {
    match leases {
        Some(leases) if leases.fit => time_to_fill(headroom.min(leases.room)).max(BOUNDED),
        Some(leases) => time_to_fill(headroom.min(leases.room)),
        None => time_to_fill(headroom),
    }
}

/// How long a member of a budget can wait before it asks about the others again.
/// They look at other times than this one: halfway to the total is near enough.
pub(super) fn time_to_ask(share: Share) -> Duration {
    time_to_fill(share.headroom.percent(50)).max(shortest_of(SHORTEST, share.members))
}

/// How close the looks of each member of a budget are at the closest: all of
/// them together look no more often than one tree's keeper would, or looking
/// would take the processors from those who are to make room.
pub(crate) fn shortest_of(alone: Duration, members: u32) -> Duration {
    (alone * members.max(1)).min(SHARED)
}

/// How long a tree needs for `headroom` at the fastest.
pub(crate) fn time_to_fill(headroom: ByteSize) -> Duration {
    let micros = u128::from(headroom.bytes()) * 1_000_000 / u128::from(FILL_RATE.bytes());
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}
