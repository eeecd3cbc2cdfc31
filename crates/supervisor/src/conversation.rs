//! The embedding program's end of the talk with whoever keeps its job.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use memcap_probe::trial::HarmlessTrial;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::budget::Place;
use crate::guardian::Guardian;
use crate::handle::{Event, Sample};
use crate::keeper::sweep;
use crate::rescue::{rescue, sweep_after};
use crate::wire::{FromKeeper, Inbox, Prepared};
use crate::{LeasePolicy, Mechanism, Outcome, Plan, Rejected, SupervisorError};

/// What listening brought.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Something happened to the job.
    Event(Event),
    /// Nothing until the deadline.
    Nothing,
    /// It is over; this is what became of it.
    Outcome(Box<Outcome>),
}

enum Received {
    Message(FromKeeper),
    Nothing,
    Closed,
}

/// Listens to the keeper of one job until its last word.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) reader: UnixStream,
    pub(crate) inbox: Inbox,
    pub(crate) guardian: Guardian,
    pub(crate) plan: Plan,
    pub(crate) prepared: Prepared,
    pub(crate) forwarded: Arc<Mutex<Vec<i32>>>,
    pub(crate) owns_children: bool,
    /// What the trial before the job has shown.
    pub(crate) trial: Option<HarmlessTrial>,
    /// In a budget; given back when it is over.
    pub(crate) place: Option<Place>,
    /// Answers to [`crate::wire::ToKeeper::Look`].
    pub(crate) looks: Sender<Sample>,
}

impl Conversation {
    /// Up to the job's start. `Err` inside: this mechanism was refused.
    /// `Some`: it is over already.
    pub(crate) fn begin(
        &mut self,
        lease: LeasePolicy,
    ) -> Result<Result<Option<Box<Outcome>>, Rejected>, SupervisorError> {
        let mut heard_of_keeper = false;
        loop {
            match self.receive(None)? {
                Received::Message(FromKeeper::Prepared(prepared)) => {
                    heard_of_keeper = true;
                    self.trial.clone_from(&prepared.trial);
                    self.prepared = prepared;
                    if lease == LeasePolicy::On && self.plan.mechanism != Mechanism::Watchdog {
                        self.prepared.notes.push(format!(
                            "leases are the watchdog's; {} holds the limit without them",
                            self.plan.mechanism
                        ));
                    }
                }
                Received::Message(FromKeeper::Refused(refusal)) => return Ok(Err(refusal)),
                Received::Message(FromKeeper::Started { .. }) => return Ok(Ok(None)),
                Received::Message(FromKeeper::NotStarted {
                    step,
                    errno,
                    reason,
                }) => {
                    let is_exec = step == memcap_linux::spawn::SpawnStep::Exec.to_string();
                    let prepared = std::mem::take(&mut self.prepared);
                    let errno = errno.filter(|_| is_exec);
                    let outcome = Outcome::not_started(self.plan.clone(), prepared, errno, reason);
                    return Ok(Ok(Some(self.finish(outcome))));
                }
                Received::Message(
                    FromKeeper::Sample { .. } | FromKeeper::Looked { .. } | FromKeeper::Ended(_),
                )
                | Received::Nothing => {}
                Received::Closed if !heard_of_keeper && self.guardian.wait() => {
                    return Err(SupervisorError::NoKeeper);
                }
                // Killed; the job may have been born already.
                Received::Closed => return Ok(Ok(Some(self.lose_keeper()))),
            }
        }
    }

    /// Waits for the next thing to happen, until the deadline if there is one.
    pub(crate) fn listen(&mut self, deadline: Option<Instant>) -> Result<Heard, SupervisorError> {
        loop {
            return Ok(match self.receive(deadline)? {
                Received::Message(FromKeeper::Sample { current, peak }) => {
                    Heard::Event(Event::Sample(Sample { current, peak }))
                }
                Received::Message(FromKeeper::Looked { current, peak }) => {
                    // Nobody may be waiting for it any more.
                    let _ = self.looks.send(Sample { current, peak });
                    continue;
                }
                Received::Message(FromKeeper::Ended(evidence)) => {
                    let forwarded = self
                        .forwarded
                        .lock()
                        .map(|signals| signals.clone())
                        .unwrap_or_default();
                    let prepared = std::mem::take(&mut self.prepared);
                    let outcome =
                        Outcome::ended(self.plan.clone(), prepared, *evidence, &forwarded);
                    Heard::Outcome(self.finish(outcome))
                }
                Received::Message(
                    FromKeeper::Prepared(_)
                    | FromKeeper::Refused(_)
                    | FromKeeper::Started { .. }
                    | FromKeeper::NotStarted { .. },
                ) => return Err(SupervisorError::KeeperGone),
                Received::Nothing => Heard::Nothing,
                Received::Closed => Heard::Outcome(self.lose_keeper()),
            });
        }
    }

    fn receive(&mut self, deadline: Option<Instant>) -> Result<Received, SupervisorError> {
        loop {
            if let Some(message) = self.inbox.take().map_err(SupervisorError::Channel)? {
                return Ok(Received::Message(message));
            }
            if self.inbox.is_closed() {
                return Ok(Received::Closed);
            }
            match self.wait(deadline).map_err(SupervisorError::Channel)? {
                Speaker::Nobody => return Ok(Received::Nothing),
                Speaker::Keeper => self
                    .inbox
                    .fill(&self.reader)
                    .map_err(SupervisorError::Channel)?,
                Speaker::Death => return Ok(Received::Closed),
            }
        }
    }

    /// Waits for a word. The death of the keeper counts where the channel has
    /// nothing more to say.
    fn wait(&self, deadline: Option<Instant>) -> std::io::Result<Speaker> {
        loop {
            let word = PollFd::new(self.reader.as_fd(), PollFlags::POLLIN);
            let death = self.guardian.death();
            let mut fds = vec![word];
            fds.extend(death.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            match poll(&mut fds, timeout(deadline)) {
                Ok(0) if deadline.is_some_and(|at| Instant::now() >= at) => {
                    return Ok(Speaker::Nobody);
                }
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
            if fds[0].any() == Some(true) {
                return Ok(Speaker::Keeper);
            }
            // What was said just before dying is there by now.
            let mut word = [PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)];
            return Ok(match poll(&mut word, PollTimeout::ZERO) {
                Ok(1..) => Speaker::Keeper,
                _ => Speaker::Death,
            });
        }
    }

    fn finish(&mut self, mut outcome: Outcome) -> Box<Outcome> {
        outcome.notes.extend(self.guardian.note());
        // It exits right after its last word.
        self.guardian.wait();
        Box::new(outcome)
    }

    /// The keeper was killed: end what it kept.
    fn lose_keeper(&mut self) -> Box<Outcome> {
        self.guardian.kill();
        self.guardian.wait();
        let prepared = std::mem::take(&mut self.prepared);
        let (left, mut notes) = rescue(&prepared, self.owns_children);
        notes.extend(sweep_after(&self.plan));
        if let Some(home) = self.place.as_ref().and_then(|place| place.home(&self.plan)) {
            notes.extend(sweep(home.path()));
        }
        let outcome = Outcome::keeper_lost(self.plan.clone(), prepared, left, notes);
        self.finish(outcome)
    }
}

enum Speaker {
    Nobody,
    Keeper,
    Death,
}

/// Rounded up, so that the deadline has passed when the wait is over.
fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let millis = left.as_micros().div_ceil(1000);
    i32::try_from(millis)
        .ok()
        .and_then(|millis| PollTimeout::try_from(millis).ok())
        .unwrap_or(PollTimeout::MAX)
}
