//! What is written down of a run for its report.

use std::time::Duration;

use super::watch::Watch;
use crate::evidence::Cause;
use crate::timeline::Happening;

impl Watch<'_> {
    pub(super) fn record(&mut self, what: Happening) {
        let now = self.now();
        if let Some(recorder) = &mut self.recorder {
            recorder.event(now, what);
        }
    }

    pub(super) fn record_what_is_due(&mut self) {
        let now = self.now();
        let Some(recorder) = &self.recorder else {
            return;
        };
        let (sample, processes) = (recorder.wants_sample(now), recorder.wants_processes(now));
        if sample && !self.is_sampled() {
            self.look();
        }
        if processes {
            self.look_at_processes(now);
        }
    }

    pub(super) fn look_at_processes(&mut self, now: Duration) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let in_groups = self.enclosure.members();
        let pids = match in_groups.as_slice() {
            [] => self.sampler.member_pids(),
            _ => in_groups,
        };
        recorder.look(now, &pids);
    }

    /// Which kind of limit was reached, once.
    pub(super) fn record_limit(&mut self) {
        let what = match self.governor.cause() {
            Some(cause) if !cause.is_a_limit() => return,
            Some(Cause::Watchdog | Cause::KernelOom) => Happening::LimitReached,
            Some(_) => Happening::OtherLimitReached,
            None => return,
        };
        let now = self.now();
        if let Some(recorder) = &mut self.recorder {
            recorder.event_once(now, what);
        }
    }

    /// The last look at the processes, where there is time for one: none is
    /// lost to a tree that could grow meanwhile.
    pub(super) fn record_ending(&mut self) {
        let now = self.now();
        match self.governor.cause() {
            Some(_) => {
                self.record_limit();
                self.record(Happening::Ending);
            }
            None => self.record(Happening::MainEnded),
        }
        if self.governor.cause() != Some(Cause::KernelOom) {
            self.look_at_processes(now);
        }
    }
}
