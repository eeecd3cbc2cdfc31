//! What a look at the tree gives, and what may be believed of it.

use memcap_linux::ByteSize;

/// A look at every member. Pages that several members share count once for
/// each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Anonymous and swapped memory.
    pub(crate) private: ByteSize,
    /// Shared memory.
    pub(crate) shared: ByteSize,
    /// Processes that hold memory; one cannot count a page twice.
    pub(crate) members: usize,
    /// What members that joined since the last exact measurement held when
    /// they were first seen. Private pages come to be counted twice only by
    /// inheritance, which ends with the first write: a newcomer shares at most
    /// this.
    pub(crate) inherited: ByteSize,
    /// Two members hold exactly the same: they may be one address space
    /// (CLONE_VM), whose pages are all counted twice.
    pub(crate) twins: bool,
    /// Somebody has joined since the last look.
    pub(crate) newcomers: bool,
    /// What members held that have left since the last exact measurement. It
    /// may have been what others were counted twice with.
    pub(crate) departed: ByteSize,
    /// What members may have written since the last exact measurement, by their
    /// page faults, where that was asked for ([`Governor::wants_faults`]). A
    /// shared page that is written is a page of its own from then on, and the
    /// sum does not change.
    pub(crate) written: ByteSize,
    /// Mapped privately, writably and not touched yet.
    pub(crate) slack: ByteSize,
    /// The leases that are in force until the next look.
    pub(crate) leases: Option<Leases>,
}

/// Leases as they were given at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// What an exact measurement taught.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Learned {
    /// What the sum counted too much.
    pub(super) twice: ByteSize,
    /// Shared memory in the sum, then.
    pub(super) shared: ByteSize,
}

impl Learned {
    /// What the tree holds at the most: counted twice is what was, except for
    /// what has left or has been written since.
    pub(super) fn at_most(&self, sum: Sum) -> ByteSize {
        let still_twice = self
            .twice
            .saturating_sub(sum.departed)
            .saturating_sub(sum.written);
        match sum.members {
            0 | 1 => sum.total(),
            _ => sum.total().saturating_sub(still_twice),
        }
    }

    /// What the tree holds at the least: counted twice are also what newcomers
    /// have inherited and shared memory that others may have mapped since.
    pub(super) fn at_least(&self, sum: Sum) -> ByteSize {
        match sum.members {
            0 | 1 => sum.total(),
            _ if sum.twins => ByteSize::ZERO,
            _ => sum
                .total()
                .saturating_sub(self.twice)
                .saturating_sub(sum.inherited)
                .saturating_sub(sum.shared.saturating_sub(self.shared)),
        }
    }

    /// How much of the sum may be counted twice without our knowing.
    pub(super) fn doubt(&self, sum: Sum) -> ByteSize {
        self.at_most(sum).saturating_sub(self.at_least(sum))
    }
}
