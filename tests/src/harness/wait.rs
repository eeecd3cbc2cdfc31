//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

use crate::job::hold;

/// How long a condition may take that should hold at once: long enough for a
/// machine under full load, short enough that a failure is told soon.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(2);

/// Looks at `condition` until it gives a value; `None` after `patience`.
pub fn poll_until<T>(patience: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        hold(INTERVAL);
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// After [`PATIENCE`], naming `what` did not come true.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let held = poll_until(PATIENCE, || condition().then_some(()));
    assert!(held.is_some(), "waited {PATIENCE:?} in vain: {what}");
}
