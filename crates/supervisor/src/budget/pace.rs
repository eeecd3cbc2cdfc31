//! How fast the members of a budget grow together. Ending one of them takes a
//! while, in which the others go on.

use std::time::Duration;

use memcap_linux::ByteSize;

/// From a turn to where room has been made: a signal, a process that gets a
/// processor to end with, its pages given back.
const TO_MAKE_ROOM: Duration = Duration::from_millis(50);
/// Over how long growth is measured at the least: members are looked at at
/// different times.
const WINDOW: Duration = Duration::from_millis(20);

/// What is known of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// When `from` was what all held.
    since: Duration,
    from: ByteSize,
    /// What they grow by while room is being made.
    meanwhile: ByteSize,
}

impl Pace {
    /// Takes note of what all hold at `now`, a time that never goes back.
    pub(crate) fn note(&mut self, used: ByteSize, now: Duration) {
        let passed = now.saturating_sub(self.since);
        if passed < WINDOW {
            return;
        }
        let grown = u128::from(used.saturating_sub(self.from).bytes());
        let meanwhile = grown * TO_MAKE_ROOM.as_micros() / passed.as_micros();
        *self = Pace {
            since: now,
            from: used,
            meanwhile: ByteSize::from_bytes(u64::try_from(meanwhile).unwrap_or(u64::MAX)),
        };
    }

    /// What they grow by until room has been made, if they go on so.
    pub(crate) fn meanwhile(&self) -> ByteSize {
        self.meanwhile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_it_was_over_a_window() {
        let mut pace = Pace::default();
        let looks = [
            // milliseconds, MiB held, MiB ahead
            (100, 100, 50),
            (110, 300, 50),
            (120, 120, 50),
            (140, 120, 0),
            (160, 100, 0),
            (200, 180, 100),
        ];
        for (millis, held, ahead) in looks {
            pace.note(ByteSize::from_mib(held), Duration::from_millis(millis));
            assert_eq!(pace.meanwhile(), ByteSize::from_mib(ahead), "{millis}");
        }
    }
}
