//! One job being watched: what the loop knows of it, and its evidence in the end.

use std::time::{Duration, Instant};

use memcap_linux::ByteSize;
use memcap_linux::proc::{self, Stat};
use memcap_linux::spawn::Spawned;
use nix::sys::signal::Signal;

use super::leasing::Leasing;
use crate::budget::rules::Turn;
use crate::evidence::{Cause, Evidence, PeakSource};
use crate::governor::{Action, Governor, Input, Rules};
use crate::keeper::beside::{self, Beside};
use crate::keeper::enclosure::Enclosure;
use crate::keeper::job_control::JobControl;
use crate::keeper::punctuality::{Punctuality, Stamp};
use crate::keeper::recorder::{Recorder, cpu_time};
use crate::keeper::roll_call::RollCall;
use crate::keeper::sampler::Sampler;
use crate::keeper::seat::Seat;
use crate::keeper::soft::SoftLimit;
use crate::keeper::tree::{Family, Reaped};
use crate::plan::Placement;
use crate::timeline::Happening;
use crate::trace::Tracer;
use crate::wire::Spec;

/// One job being watched.
pub(super) struct Watch<'a> {
    pub(super) spec: &'a Spec,
    pub(super) enclosure: &'a Enclosure,
    pub(super) governor: Governor,
    pub(super) sampler: Sampler,
    pub(super) beside: Beside,
    pub(super) roll_call: RollCall,
    /// A limit that somebody else has raised, in words.
    pub(super) raised: Option<String>,
    pub(super) soft: Option<SoftLimit>,
    pub(super) leasing: Option<Leasing>,
    pub(super) main: &'a Spawned,
    pub(super) family: Family,
    pub(super) reaped: Reaped,
    pub(super) job_control: JobControl,
    pub(super) started: Instant,
    pub(super) current: ByteSize,
    pub(super) peak: ByteSize,
    pub(super) next_sample: Duration,
    pub(super) recorder: Option<Recorder>,
    pub(super) tracer: Option<Tracer>,
    /// When the last look at the members began.
    pub(super) looked_at: Duration,
    pub(super) punctuality: Punctuality,
    /// When the tree was halted for its last measurement.
    pub(super) halted: Option<Duration>,
    /// At the table of a budget.
    pub(super) seat: Option<Seat>,
    /// What the last look there said is to be done.
    pub(super) turn: Turn,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        (spec, enclosure): (&'a Spec, &'a Enclosure),
        (job, started): (&'a Spawned, Instant),
        sampler: Sampler,
        family: Family,
        mut seat: Option<Seat>,
    ) -> Watch<'a> {
        let sampled = matches!(spec.placement, Placement::Watchdog);
        // Where the kernel keeps no peak, samples must do.
        let needs_samples = !sampled && enclosure.kernel_peak().is_none();
        let sample_every = spec
            .sample_every
            .or(needs_samples.then_some(Duration::from_millis(50)));
        let governor = Governor::new(Rules {
            sampled_limit: sampled.then_some(spec.limit),
            time: spec.time,
            grace: spec.grace,
            sample_every,
            leases: spec.leases(),
        });
        if let Some(seat) = seat.as_mut().filter(|_| spec.soft.is_none()) {
            seat.may_pause(enclosure);
        }
        Watch {
            spec,
            enclosure,
            governor,
            sampler,
            beside: Beside::new(spec, enclosure, family, job.pid),
            roll_call: RollCall::new(enclosure, family, job.pid),
            raised: None,
            soft: spec.soft.and_then(|rules| SoftLimit::new(rules, enclosure)),
            leasing: spec.leases().then(Leasing::begin).flatten(),
            main: job,
            family,
            reaped: Reaped::default(),
            // A thread is not told of stops.
            job_control: JobControl::new(family == Family::Descendants),
            started,
            current: ByteSize::ZERO,
            peak: ByteSize::ZERO,
            next_sample: Duration::ZERO,
            halted: None,
            tracer: spec
                .trace
                .as_ref()
                .map(|file| Tracer::new((&file.0).into())),
            looked_at: Duration::ZERO,
            punctuality: Punctuality::default(),
            recorder: spec.record.then(Recorder::default),
            seat,
            turn: Turn::Stay,
        }
    }

    /// Tells the governor; what it asks for.
    pub(super) fn tell(&mut self, input: Input) -> Action {
        let now = self.now();
        let asked = self.governor.on(input, now);
        if let Some(tracer) = &mut self.tracer {
            tracer.step(&self.governor, self.looked_at, (now, input, asked));
        }
        asked
    }

    /// When something is to be done at the latest.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let samples_itself = !self.is_sampled();
        let recorder = self.recorder.as_ref();
        [
            self.governor.wake_at(),
            self.beside.next_look(),
            self.roll_call.next_look(),
            self.next_look_below(),
            self.soft.as_ref().and_then(SoftLimit::next_look),
            recorder.map(|recorder| recorder.wake_at(samples_itself)),
            // Where the governor looks, it asks the others too.
            self.seat
                .as_ref()
                .filter(|_| self.enclosure.home().is_some())
                .map(Seat::next_look),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the governor asks for looks of its own accord.
    pub(super) fn is_sampled(&self) -> bool {
        matches!(self.spec.placement, Placement::Watchdog)
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn signal_main(&self, signal: i32) {
        if self.reaped.main.is_some() {
            return;
        }
        // The main process is our unreaped child, so neither way can miss it.
        let _ = match &self.main.pidfd {
            Some(handle) => handle.send(signal),
            None => Signal::try_from(signal)
                .and_then(|signal| {
                    nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.main.pid), signal)
                })
                .map_err(Into::into),
        };
    }

    /// Whether nobody has continued the main process since its stop was told of, as
    /// far as can be known. What continues a group has continued it already, and a
    /// SIGCONT of ours would discard the next SIGTSTP on its way to it.
    pub(super) fn main_is_still_stopped(&self) -> bool {
        !proc::is_ours() || Stat::read(self.main.pid).is_ok_and(|stat| stat.state == 'T')
    }

    /// Lets a stopped main process go on. Where it shares the embedding
    /// program's process group, whoever continued that has done so already and
    /// it may have stopped anew; where it has made a group of its own (an
    /// interactive shell), nobody else does.
    pub(super) fn continue_main(&self) {
        use nix::unistd::{Pid, getpgid};
        if self.reaped.main.is_some() {
            return;
        }
        let main = Pid::from_raw(self.main.pid);
        if getpgid(Some(main)) == Ok(main) {
            // An unreaped leader keeps its group's number.
            let _ = nix::sys::signal::killpg(main, Signal::SIGCONT);
        }
        self.signal_main(Signal::SIGCONT as i32);
    }

    /// Now, for [`Punctuality`].
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            now: self.now(),
            used: cpu_time(),
        }
    }

    fn next_look_below(&self) -> Option<Duration> {
        let at = self.enclosure.next_look_below()?;
        Some(at.saturating_duration_since(self.started))
    }

    /// Looks for kills in groups of the job's own. Whether it was due.
    pub(super) fn look_below_if_due(&self) -> bool {
        let is_due = self.next_look_below().is_some_and(|at| at <= self.now());
        if is_due {
            self.enclosure.look_below();
        }
        is_due
    }

    /// Asks whether the limits are still those that were read back.
    pub(super) fn look_at_limits(&mut self) {
        if self.raised.is_none() {
            self.raised = self.enclosure.raised(self.spec.limit, self.spec.swap);
        }
    }

    pub(super) fn evidence(mut self, left_running: Vec<crate::LeftRunning>) -> Evidence {
        // A short job may never have been looked at.
        if let Some(charged) = self.enclosure.charged() {
            self.note(charged);
        }
        self.look_at_limits();
        self.enclosure.look_below();
        let sampled = self.is_sampled();
        self.record(Happening::Ended);
        let recorded = self.recorder.take().map(Recorder::close);
        let (timeline, processes) = recorded.unzip();
        let kernel_peak = self.enclosure.kernel_peak();
        let (peak, peak_source) = match kernel_peak {
            Some(peak) => (Some(peak), PeakSource::Kernel),
            None => (
                (self.peak > ByteSize::ZERO).then_some(self.peak),
                PeakSource::Sampled,
            ),
        };
        let traced = self.tracer.take().map(|tracer| {
            let halted = self.halted.unwrap_or_else(|| self.now());
            tracer.write(&self.governor, halted, self.peak)
        });
        let throttled = self.soft.as_ref().and_then(SoftLimit::held_back);
        let mut notes = self.soft.as_mut().map_or_else(Vec::new, SoftLimit::notes);
        if self.governor.cause() == Some(Cause::Watchdog) {
            notes.extend(self.sampler.note());
        }
        if let Some(Err(error)) = traced {
            notes.push(format!("failed to write the trace: {error}"));
        }
        Evidence {
            main: self.reaped.main,
            cause: self.governor.cause(),
            // Told by who knows the groups around.
            group: None,
            outer: None,
            oom_kills_around: None,
            peak,
            peak_source,
            wall: self.started.elapsed(),
            cpu: match self.family {
                Family::Descendants => beside::cpu_of_reaped(),
                Family::OfMain => self.reaped.cpu,
            },
            escaped: self.roll_call.take(),
            raised: self.raised.take(),
            late: match sampled {
                true => self.punctuality.worst(),
                false => Duration::ZERO,
            },
            throttled,
            lease: self.lease_use(),
            budget: self.seat.as_mut().map(Seat::evidence),
            left_running,
            timeline,
            processes,
            notes,
        }
    }
}
