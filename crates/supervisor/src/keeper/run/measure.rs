//! Looking at how large the tree is: as often as the governor asks, and exactly
//! where it has to be sure.

use std::time::{Duration, Instant};

use memcap_linux::ByteSize;
use memcap_linux::cgroup::V2Group;

use super::launch::start_limit;
use super::watch::Watch;
use crate::budget::rules::Turn;
use crate::governor::{Action, Input, Leases, Measured, Sum};
use crate::keeper::recorder::cpu_time;
use crate::keeper::seat::Seat;
use crate::lease::{LeaseUse, Refusal};
use crate::plan::Placement;
use crate::timeline::Happening;
use crate::wire::FromKeeper;

/// How long a freeze may take before the measurement goes on without it.
const FREEZE_DEADLINE: Duration = Duration::from_millis(20);

impl<'a> Watch<'a> {
    pub(super) fn look(&mut self) -> Input {
        if let Some(charged) = self.enclosure.charged() {
            self.note(charged);
            let sum = Sum {
                private: charged,
                members: 1,
                ..Sum::default()
            };
            return Input::Sum(sum);
        }
        self.looked_at = self.now();
        let mut sum = self.sampler.look(self.enclosure.directory());
        if self.governor.wants_faults(sum) {
            sum.written = self.sampler.written();
        }
        self.note(self.governor.believable(sum, self.peak));
        if let Some(seat) = &mut self.seat {
            let (at_least, at_most) = self.governor.bounds(sum);
            let (share, turn) = seat.share(at_least, at_most);
            sum.share = Some(share);
            self.turn = turn;
        }
        sum.leases = self.renew_leases(sum);
        Input::Sum(sum)
    }

    /// Looks at what all members of the budget hold, where a group of theirs tells,
    /// and takes the turn that the last look has brought.
    pub(super) fn take_turn(&mut self) -> Option<Input> {
        let now = self.now();
        let seat = self.seat.as_mut()?;
        let told = match self.enclosure.home() {
            Some(home) => seat.look(home, self.enclosure, now),
            None => seat.act(std::mem::replace(&mut self.turn, Turn::Stay)),
        };
        match told {
            Some(Input::MainStopped) => self.record(Happening::Frozen),
            Some(Input::MainContinued) => self.record(Happening::Thawed),
            _ => {}
        }
        told
    }

    /// Holds the tree back above its soft limit.
    pub(super) fn throttle(&mut self) -> Option<Input> {
        let now = self.now();
        let soft = self.soft.as_mut()?;
        let (enclosure, sampler, current) = (self.enclosure, &mut self.sampler, self.current);
        let size = || match self.spec.placement {
            Placement::CgroupV2(_) | Placement::Systemd(_) | Placement::CgroupV1(_) => {
                enclosure.charged_for_good()
            }
            // The governor's looks come often enough, and are its own.
            Placement::Watchdog => Some(current),
            Placement::Rlimit => Some(sampler.look(enclosure.directory()).total()),
        };
        soft.look(size, now)
    }

    /// Bounds what members may map until the next look.
    pub(super) fn renew_leases(&mut self, sum: Sum) -> Option<Leases> {
        let leasing = self.leasing.as_mut()?;
        let allowance = self.governor.allowance(sum)?;
        let mut leases = self
            .sampler
            .lease(allowance, leasing.terms, &mut leasing.least);
        leases.fit &= self.governor.slack_fits(sum);
        Some(leases)
    }

    /// What the leases did; `None` for a run without.
    pub(super) fn lease_use(&self) -> Option<LeaseUse> {
        self.spec.leases().then(|| LeaseUse {
            min_headroom: self.leasing.as_ref().and_then(|leasing| leasing.least),
            // The first lease is set before the first look.
            refusal: match start_limit(self.spec) {
                Some(_) => Refusal::Possible,
                None => Refusal::Excluded,
            },
        })
    }

    pub(super) fn note(&mut self, current: ByteSize) {
        self.current = current;
        self.peak = self.peak.max(current);
        let now = self.started.elapsed();
        if let Some(recorder) = &mut self.recorder {
            recorder.sample(now, current);
        }
    }

    pub(super) fn due_sample(&mut self) -> Option<FromKeeper> {
        let every = self.spec.sample_every?;
        let now = self.now();
        if now < self.next_sample {
            return None;
        }
        self.next_sample = now + every;
        let (current, peak) = self.sizes();
        Some(FromKeeper::Sample { current, peak })
    }

    /// At the last look, and the largest so far.
    pub(super) fn sizes(&self) -> (ByteSize, ByteSize) {
        let peak = self.enclosure.kernel_peak().unwrap_or(self.peak);
        (self.current, peak)
    }

    /// Measures as long as the governor asks for it; what it asks for then. The
    /// tree is frozen meanwhile where nobody notices: it cannot grow, and leaves
    /// the processors to us.
    pub(super) fn measure(&mut self, asked: Action, pause: impl Fn(Duration)) -> Action {
        if !matches!(asked, Action::MeasureBounds | Action::MeasureExactly) {
            return asked;
        }
        let frozen = self.freeze();
        let asked = self.measure_still(asked, frozen.is_some(), || {
            let deadline = Instant::now() + FREEZE_DEADLINE;
            while let Some(group) = frozen
                && !group.is_frozen().unwrap_or(true)
                && Instant::now() < deadline
            {
                pause(Duration::from_micros(200));
            }
        });
        match frozen {
            Some(group) if asked != Action::EndTree && group.set_frozen(false).is_err() => {
                // A group that cannot be thawed can be killed: not left hanging.
                Action::EndTree
            }
            _ => asked,
        }
    }

    fn freeze(&self) -> Option<&'a V2Group> {
        self.enclosure
            .directory()
            // One that is paused is frozen, and stays so.
            .filter(|_| !self.seat.as_ref().is_some_and(Seat::is_paused))
            .filter(|group| group.set_frozen(true).is_ok())
    }

    fn measure_still(&mut self, asked: Action, frozen: bool, settle: impl Fn()) -> Action {
        let mut asked = asked;
        loop {
            asked = match asked {
                // Bounds hold for what moves as well.
                Action::MeasureBounds => self.find_bounds(frozen),
                Action::MeasureExactly => {
                    settle();
                    self.measure_exactly(frozen)
                }
                Action::Wait | Action::AskToEnd | Action::EndTree => return asked,
            };
        }
    }

    fn find_bounds(&mut self, frozen: bool) -> Action {
        let clock = Clock::start();
        self.looked_at = self.now();
        let mut sum = self.sampler.look(self.enclosure.directory());
        sum.written = self.sampler.written();
        let (least, most) = self.sampler.bounds(sum, self.spec.limit);
        let (took, cost) = clock.stop(frozen);
        self.note(least);
        self.tell(Input::Bounds(Measured {
            least,
            most,
            sum,
            took,
            cost,
        }))
    }

    /// Counts shared pages once.
    fn measure_exactly(&mut self, frozen: bool) -> Action {
        let clock = Clock::start();
        self.looked_at = self.now();
        let mut sum = self.sampler.look(self.enclosure.directory());
        sum.written = self.sampler.written();
        let (least, most) = self.sampler.exact();
        let (took, cost) = clock.stop(frozen);
        // Growing meanwhile, the parts are of different moments.
        let at_most = sum.total().max(self.spec.limit);
        let (least, most) = (least.min(at_most), most.min(at_most));
        self.note(least);
        self.tell(Input::Exact(Measured {
            least,
            most,
            sum,
            took,
            cost,
        }))
    }

    /// Halts a tree that is about to be ended for memory and takes its last
    /// size, so that the overshoot reported is what really was there.
    pub(super) fn last_measurement(&mut self) {
        use crate::evidence::Cause;
        match self.governor.cause() {
            Some(Cause::Watchdog) => {}
            Some(Cause::Reserve(_) | Cause::Budget(_)) if self.is_sampled() => {}
            _ => return,
        }
        match self.enclosure.directory() {
            // Not yet stopped everywhere is near enough.
            Some(group) => drop(group.set_frozen(true)),
            None => self.sampler.stop_members(),
        }
        self.halted = Some(self.now());
        let sum = self.sampler.look(self.enclosure.directory());
        let size = if sum.members <= 1 && sum.shared == ByteSize::ZERO {
            sum.total()
        } else {
            self.sampler.exact().0
        };
        self.note(size);
    }
}

/// What a measurement takes and costs.
struct Clock {
    wall: Instant,
    processor: Duration,
}

impl Clock {
    fn start() -> Clock {
        Clock {
            wall: Instant::now(),
            processor: cpu_time(),
        }
    }

    /// The time since then, and what it cost: a tree that is frozen loses all of
    /// it, one that goes on only what we take from it.
    fn stop(self, frozen: bool) -> (Duration, Duration) {
        let took = self.wall.elapsed();
        let used = cpu_time().saturating_sub(self.processor);
        (took, if frozen { took } else { used })
    }
}
