//! What a look at the tree gives, and what may be believed of it.

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use crate::evidence::Reached;

/// A look at every member. Pages that several members share count once for
/// each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Sum {
    /// Anonymous and swapped memory.
    pub(crate) private: ByteSize,
    /// Shared memory, files in memory that nobody has mapped among it.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) shared: ByteSize,
    /// What of it is there for certain, whoever has touched it: files in memory were
    /// asked.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) held: ByteSize,
    /// Processes that hold memory; one cannot count a page twice.
    pub(crate) members: usize,
    /// The resident anonymous memory of the one that has the most of it, which is
    /// certain whatever others share with it.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) largest: ByteSize,
    /// What members that joined since the last measurement held when
    /// they were first seen. Private pages come to be counted twice only by
    /// inheritance, which ends with the first write: a newcomer shares at most
    /// this.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) inherited: ByteSize,
    /// Two members are one address space (CLONE_VM), whose pages are all counted twice,
    /// or hold exactly the same and may be.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) twins: bool,
    /// Somebody has joined since the last look.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) newcomers: bool,
    /// What members have given back since the last measurement, by ending or
    /// otherwise. It may have been what others were counted twice with.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) given_back: ByteSize,
    /// The same of shared memory alone. What there is of that may be other memory since.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) shared_back: ByteSize,
    /// What members may have written since the last measurement, by their
    /// page faults, where that was asked for ([`Governor::wants_faults`]). A
    /// shared page that is written is a page of its own from then on, and the
    /// sum does not change.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) written: ByteSize,
    /// Mapped privately, writably and not touched yet.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) slack: ByteSize,
    /// The leases that are in force until the next look.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) leases: Option<Leases>,
    /// What the other members of a budget leave, for a member of one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) share: Option<Share>,
}

/// A tree's share of a budget, as it is at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// What this tree may hold until somebody has to go, with the others as large
    /// as they are.
    pub(crate) leaves: ByteSize,
    /// How much all of them may grow until it has to be asked again.
    pub(crate) headroom: ByteSize,
    /// How many look, this tree's keeper among them.
    pub(crate) members: u32,
    /// It is this tree's turn to go.
    pub(crate) goes: Option<Reached>,
}

/// Left out of a trace.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Leases as they were given at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leases {
    /// What the member with the tightest lease may still map.
    pub(crate) room: ByteSize,
    /// All of them together allow no more than fits.
    pub(crate) fit: bool,
}

impl Sum {
    pub(crate) fn total(self) -> ByteSize {
        self.private.saturating_add(self.shared)
    }

    /// The same as if nothing had been written since the last measurement.
    pub(super) fn unwritten(self) -> Sum {
        Sum {
            written: ByteSize::ZERO,
            ..self
        }
    }
}

/// What measurements taught: how much of the sum is counted too much.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Learned {
    /// At the least.
    twice: ByteSize,
    /// At the most.
    perhaps: ByteSize,
    /// Shared memory in the sum, then.
    shared: ByteSize,
}

impl Learned {
    /// From a tree that was found to hold `least` to `most` while its members
    /// summed up to `sum`.
    pub(super) fn new(least: ByteSize, most: ByteSize, sum: Sum) -> Learned {
        Learned {
            twice: sum.total().saturating_sub(most),
            perhaps: sum.total().saturating_sub(least),
            shared: sum.shared,
        }
    }

    /// Whether anything is known to be counted twice.
    pub(super) fn knows_of_any(&self) -> bool {
        self.twice > ByteSize::ZERO
    }

    /// What the tree holds at the most: counted twice is what was, except for
    /// what has been given back or written since.
    pub(super) fn at_most(&self, sum: Sum) -> ByteSize {
        let still_twice = self
            .twice
            .saturating_sub(sum.given_back)
            .saturating_sub(sum.written);
        let at_most = sum.total().saturating_sub(still_twice);
        at_most.max(self.at_least(sum))
    }

    /// What the tree holds at the least: counted twice are also what newcomers
    /// have inherited and shared memory that may have been mapped once more
    /// since. A single process counts no private page twice, so its own are
    /// certain, but it may map shared memory in two places.
    pub(super) fn at_least(&self, sum: Sum) -> ByteSize {
        let shared_then = self.shared.saturating_sub(sum.shared_back);
        let shared_since = sum.shared.saturating_sub(shared_then);
        let certain = sum.largest.saturating_add(sum.held);
        match sum.members {
            0 | 1 => sum.private.saturating_add(
                sum.shared
                    .saturating_sub(self.perhaps)
                    .saturating_sub(shared_since)
                    .max(sum.held),
            ),
            _ if sum.twins => certain,
            _ => sum
                .total()
                .saturating_sub(self.perhaps)
                .saturating_sub(sum.inherited)
                .saturating_sub(shared_since)
                .max(certain),
        }
    }

    /// How much of the sum may be counted twice without our knowing.
    pub(super) fn doubt(&self, sum: Sum) -> ByteSize {
        self.at_most(sum).saturating_sub(self.at_least(sum))
    }
}
