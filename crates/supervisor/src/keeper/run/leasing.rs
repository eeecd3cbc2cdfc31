//! Leases being given, where they were asked for.

use memcap_linux::{ByteSize, data_limit};

use crate::lease::{Mark, Terms};

/// Leases being given.
#[derive(Debug)]
pub(super) struct Leasing {
    pub(super) terms: Terms,
    /// The least that a member had left of its lease.
    pub(super) least: Option<ByteSize>,
}

impl Leasing {
    /// `None` where our own limit cannot be read; no lease is given then.
    pub(super) fn begin() -> Option<Leasing> {
        let pid = std::process::id();
        let own = data_limit::soft(i32::try_from(pid).ok()?).ok()?;
        Some(Leasing {
            terms: Terms {
                mark: Mark::of(pid),
                own,
            },
            least: None,
        })
    }
}
