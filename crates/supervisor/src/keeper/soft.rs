//! The hands of the throttle: reads what it asks about and does what it says.

use std::time::{Duration, Instant};

use memcap_linux::cgroup::{Limit, V2Group};
use memcap_linux::{ByteSize, one_line};

use super::enclosure::Enclosure;
use crate::governor::Input;
use crate::throttle::{PATIENCE, Rules, Seen, Step, Throttle, ThrottleBy};

/// The soft limit of a running job.
#[derive(Debug)]
pub(super) struct SoftLimit {
    throttle: Throttle,
    by: ThrottleBy,
    group: V2Group,
    frozen_since: Option<Instant>,
    frozen_for: Duration,
    notes: Vec<String>,
}

impl SoftLimit {
    /// `None` without a directory, where the keeper has refused the run.
    pub(super) fn new(rules: Rules, enclosure: &Enclosure) -> Option<SoftLimit> {
        Some(SoftLimit {
            throttle: Throttle::new(rules),
            by: rules.by,
            group: enclosure.directory()?.clone(),
            frozen_since: None,
            frozen_for: Duration::ZERO,
            notes: Vec::new(),
        })
    }

    /// When [`SoftLimit::look`] must be called, as time since the job's start.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.throttle.next_look()
    }

    /// Looks and acts where that is due. `size` tells what the tree holds.
    pub(super) fn look(
        &mut self,
        size: impl FnOnce() -> Option<ByteSize>,
        now: Duration,
    ) -> Option<Input> {
        if self.next_look().is_none_or(|due| now < due) {
            return None;
        }
        let seen = Seen {
            current: size().unwrap_or_default(),
            waited: match self.by {
                ThrottleBy::MemoryHigh => self.group.full_memory_stall().ok(),
                ThrottleBy::Freezes => None,
            },
        };
        match self.throttle.on(seen, now) {
            Step::Nothing => {}
            Step::Freeze => self.freeze(),
            Step::Thaw => {
                if !self.thaw() {
                    self.throttle.thaw_failed(now);
                }
            }
            Step::Lift => {
                self.release();
                self.notes.push(format!(
                    "the soft limit was lifted: the job had not come below it for {} s",
                    PATIENCE.as_secs()
                ));
            }
            Step::End => {
                self.release();
                return Some(Input::Stalled);
            }
        }
        None
    }

    /// Lets the tree go for good: it is asked to end, and must be able to.
    pub(super) fn give_up(&mut self) {
        self.throttle.give_up();
        self.release();
    }

    fn release(&mut self) {
        self.thaw();
        if self.by == ThrottleBy::MemoryHigh
            && let Err(error) = self.group.set_high(Limit::Unlimited)
        {
            self.notes
                .push(format!("memory.high stays: {}", one_line(&error)));
        }
    }

    /// How long the tree was held back in all: frozen, or waiting for memory.
    pub(super) fn held_back(&self) -> Option<Duration> {
        match self.by {
            ThrottleBy::Freezes => Some(self.frozen_for),
            ThrottleBy::MemoryHigh => self.group.full_memory_stall().ok(),
        }
    }

    /// What did not work out, or was given up.
    pub(super) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn freeze(&mut self) {
        // Refused: the tree runs on, as it would without a soft limit, and the
        // next period tries again.
        if self.group.set_frozen(true).is_ok() {
            self.frozen_since = Some(Instant::now());
        }
    }

    /// False: it is still frozen.
    fn thaw(&mut self) -> bool {
        let Some(since) = self.frozen_since else {
            return true;
        };
        match self.group.set_frozen(false) {
            Err(error) if !error.is_absent() => false,
            // Removed under us: nobody is in it.
            _ => {
                self.frozen_for += since.elapsed();
                self.frozen_since = None;
                true
            }
        }
    }
}
