//! Points in time that two processes can compare.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A point in time by the clock that all processes of a machine share
/// (CLOCK_MONOTONIC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(Duration);

impl Moment {
    /// This very moment.
    pub fn now() -> Moment {
        // The clock is always there.
        Moment(clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from))
    }
}

impl Moment {
    /// So long after the clock's beginning.
    #[cfg(test)]
    pub(crate) fn from_start(duration: Duration) -> Moment {
        Moment(duration)
    }
}
