//! Leases: how much the members of a sampled tree may map before the next look.
//! A lease is a member's soft RLIMIT_DATA, so the kernel holds it at any speed.
//! Reads and sets nothing.
//!
//! A lease bounds **new private writable mappings** only. What is mapped and not
//! yet touched (slack), copies of inherited pages, and shared memory come
//! without asking, and set the clock.

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

/// Whether a watchdog bounds what processes map between its looks.
///
/// A lease refuses a mapping that the tree has no room for, at the moment it is
/// asked for: `malloc` returns null, Python raises `MemoryError`. Without leases
/// every mapping succeeds, and a tree that grows over its limit is ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LeasePolicy {
    /// No process is refused a mapping.
    #[default]
    Off,
    /// Every process may map as much as the tree has room for.
    On,
}

/// What leases did in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseUse {
    /// The least that a process was seen to have left of its lease, in bytes;
    /// absent when no lease was seen in force.
    #[serde(rename = "min_headroom_bytes", skip_serializing_if = "Option::is_none")]
    pub min_headroom: Option<ByteSize>,
    /// Whether a mapping may have been refused. The kernel keeps no count of
    /// refusals.
    pub refusal: Refusal,
}

/// A process that has at most this share of the limit left of its lease, in
/// percent, is taken to be at the end of it. The last look before a refusal comes
/// a little early: at full speed 2 % of 256 MiB were left at it (measured).
const EXHAUSTED: u32 = 5;

impl LeaseUse {
    /// Whether a lease was seen all but used up: [`Refusal::Possible`], and the
    /// least that a process was seen to have left is at most 5 % of `limit`,
    /// the limit of the tree. No proof: a job that failed for another reason
    /// while it was so near the limit looks the same, and one that was refused
    /// a single mapping larger than that does not.
    pub fn is_exhausted(&self, limit: ByteSize) -> bool {
        let least = self.min_headroom;
        self.refusal == Refusal::Possible
            && least.is_some_and(|least| least <= limit.percent(EXHAUSTED))
    }
}

/// Whether a lease may have refused a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Leases were in force.
    Possible,
    /// No lease was ever below the job's own limit.
    Excluded,
}

/// What members may map in addition, all that grow together, while `headroom`
/// is left below the limit and `slack` may be touched at any time.
///
/// As long as slack fits, mapped memory cannot exceed the limit. Much of slack
/// is never touched (thread stacks, the heap of a JVM), and to refuse on its
/// account would refuse what fits: half of the headroom is always granted.
pub(crate) fn allowance(headroom: ByteSize, slack: ByteSize) -> ByteSize {
    headroom.saturating_sub(slack).max(headroom.percent(50))
}

/// Whether slack and the allowance together fit.
pub(crate) fn slack_fits(headroom: ByteSize, slack: ByteSize) -> bool {
    slack <= headroom.percent(50)
}

/// What one member may map of the allowance. Members that grow share it.
/// Members at rest may each take it all: most never do, and the next look sees
/// them grow.
pub(crate) fn room(allowance: ByteSize, grows: bool, growing: usize) -> ByteSize {
    if grows {
        let sharers = u64::try_from(growing.max(1)).unwrap_or(u64::MAX);
        ByteSize::from_bytes(allowance.bytes() / sharers)
    } else {
        allowance
    }
}

/// Marks the limits that one keeper writes, in the bits below a page, which the
/// kernel does not look at. A child inherits its parent's limit with the mark;
/// a limit without it was set by the job itself (in whole KiB, as `ulimit`
/// does) and is the job's own from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    const BITS: u64 = 0xfff;

    /// The mark of the keeper with this pid. Odd, so that no whole number of
    /// KiB has it.
    pub(crate) fn of(pid: u32) -> Mark {
        Mark((u64::from(pid) << 1 | 1) & Mark::BITS)
    }

    /// `bytes` to the page, with the mark.
    pub(crate) fn on(self, bytes: ByteSize) -> u64 {
        (bytes.bytes() & !Mark::BITS) | self.0
    }

    fn is_on(self, limit: u64) -> bool {
        limit & Mark::BITS == self.0
    }
}

/// The terms on which leases are given: whose they are, and the job's own soft
/// limit, which they never exceed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) mark: Mark,
    /// The soft limit that the job was started with, in bytes.
    pub(crate) own: u64,
}

impl Terms {
    /// The lease that leaves `room` over what is mapped.
    pub(crate) fn lease(self, mapped: ByteSize, room: ByteSize) -> u64 {
        self.mark.on(mapped.saturating_add(room)).min(self.own)
    }

    /// Whether a limit that is in force may be replaced. Without any limit a
    /// process is only when it has lifted ours.
    pub(crate) fn may_replace(self, in_force: u64) -> bool {
        let unlimited = in_force == memcap_linux::data_limit::UNLIMITED;
        self.mark.is_on(in_force) || (in_force == self.own && !unlimited)
    }
}

/// Whether a new lease is worth the system calls: a small step up or down is
/// not.
pub(crate) fn is_worth_setting(in_force: Option<u64>, wanted: u64, room: ByteSize) -> bool {
    in_force.is_none_or(|now| now.abs_diff(wanted) > room.bytes() / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn mib(mib: u64) -> ByteSize {
        ByteSize::from_mib(mib)
    }

    #[test]
    fn the_allowance_is_headroom_less_slack_but_half_of_it_at_least() {
        let cases = [
            // headroom, slack, allowance, all of it fits
            (512, 0, 512, true),
            (512, 100, 412, true),
            (512, 256, 256, true),
            (512, 257, 256, false),
            (100, 8000, 50, false),
            (0, 0, 0, true),
        ];
        for (headroom, slack, expected, fits) in cases {
            let (headroom, slack) = (mib(headroom), mib(slack));
            assert_eq!(allowance(headroom, slack), mib(expected));
            assert_eq!(slack_fits(headroom, slack), fits);
        }
    }

    #[test]
    fn a_lease_is_exhausted_near_its_end_only() {
        let cases = [
            (Refusal::Possible, Some(0), true),
            (Refusal::Possible, Some(5), true),
            (Refusal::Possible, Some(6), false),
            (Refusal::Possible, None, false),
            (Refusal::Excluded, Some(0), false),
        ];
        for (refusal, least, exhausted) in cases {
            let min_headroom = least.map(mib);
            let lease = LeaseUse {
                min_headroom,
                refusal,
            };
            assert_eq!(lease.is_exhausted(mib(100)), exhausted, "{lease:?}");
        }
    }

    #[test]
    fn those_that_grow_share() {
        assert_eq!(room(mib(512), true, 4), mib(128));
        assert_eq!(room(mib(512), false, 4), mib(512));
        assert_eq!(room(mib(512), true, 0), mib(512));
    }

    #[test]
    fn the_jobs_own_limit_is_left_alone_and_never_exceeded() {
        const UNLIMITED: u64 = memcap_linux::data_limit::UNLIMITED;
        let mark = Mark::of(4711);
        let free = Terms {
            mark,
            own: UNLIMITED,
        };
        let lease = free.lease(mib(10), mib(90));
        assert_eq!(lease >> 12, mib(100).bytes() >> 12);
        assert!(free.may_replace(lease));
        assert!(!free.may_replace(UNLIMITED), "it has lifted ours");
        assert!(!free.may_replace(64 << 20), "ulimit -d 65536");
        assert!(
            !free.may_replace(Mark::of(4712).on(mib(100))),
            "another keeper's"
        );

        let limited = Terms {
            mark,
            own: 64 << 20,
        };
        assert_eq!(limited.lease(mib(10), mib(90)), 64 << 20);
        assert!(limited.may_replace(64 << 20));
    }

    #[test]
    fn small_steps_are_not_worth_a_call() {
        let room = mib(80);
        assert!(is_worth_setting(None, mib(100).bytes(), room));
        let step = |by: u64| is_worth_setting(Some(mib(100).bytes()), mib(100 + by).bytes(), room);
        assert!(!step(10));
        assert!(step(11));
    }

    proptest! {
        /// Leases given at a look, taken in full by every growing member, and
        /// all slack touched: over the limit by no more than slack that did not
        /// fit.
        #[test]
        fn growing_members_stay_within_the_headroom(
            headroom in 0u64..1 << 40,
            slack in 0u64..1 << 40,
            growing in 1usize..2000,
        ) {
            let (headroom, slack) = (ByteSize::from_bytes(headroom), ByteSize::from_bytes(slack));
            let each = room(allowance(headroom, slack), true, growing);
            let taken = each.bytes() * growing as u64;
            let over = (taken + slack.bytes()).saturating_sub(headroom.bytes());
            if slack_fits(headroom, slack) {
                prop_assert_eq!(over, 0);
            } else {
                prop_assert!(over <= slack.bytes());
            }
        }

        #[test]
        fn no_whole_number_of_kib_bears_a_mark(pid: u32, kib in 0u64..1 << 40) {
            prop_assert!(!Mark::of(pid).is_on(kib * 1024));
        }
    }
}
