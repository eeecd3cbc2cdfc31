//! Starting a keeper and listening to it.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use memcap_linux::{ByteSize, ProcessId, signals};
use memcap_probe::{Host, Roots};

use crate::error::KeeperRefusal;
use crate::keeper::start::{self, Keeper};
use crate::plan::{needs_systemd, plan};
use crate::rescue::{rescue, sweep_after};
use crate::wire::{self, FromKeeper, Inbox, Prepared, Spec, ToKeeper, Word};
use crate::{
    Job, LeasePolicy, Limits, Mechanism, MechanismChoice, Outcome, Plan, Rejected, Request,
    SupervisorError,
};

/// Starts runs. One is enough for a whole program; it may be shared between
/// threads.
#[derive(Debug, Clone)]
pub struct Supervisor {
    keeper: PathBuf,
    owns_children: bool,
    forks_keeper: bool,
    mirrors_stops: bool,
}

impl Default for Supervisor {
    fn default() -> Self {
        Supervisor::new()
    }
}

impl Supervisor {
    /// Finds the keeper as `memcap` on `PATH`.
    pub fn new() -> Supervisor {
        Supervisor {
            keeper: PathBuf::from("memcap"),
            owns_children: false,
            forks_keeper: false,
            mirrors_stops: false,
        }
    }

    /// Names the keeper's executable: `memcap`, or a program that hands its
    /// hidden subcommand `__keeper FD` to [`crate::keeper::main`].
    #[must_use]
    pub fn keeper(self, executable: impl Into<PathBuf>) -> Supervisor {
        Supervisor {
            keeper: executable.into(),
            ..self
        }
    }

    /// Makes this process a subreaper when a job starts, and lets it end every
    /// descendant it has should the keeper be killed: orphans of the job come
    /// here then. Only for a program that does nothing but run one job.
    #[must_use]
    pub fn owns_all_children(self) -> Supervisor {
        Supervisor {
            owns_children: true,
            ..self
        }
    }

    /// Forks the keeper off this process instead of executing its program,
    /// which saves most of what starting a run costs. Only while this process
    /// has a single thread, and for jobs that take its streams, directory and
    /// environment as they are; otherwise the program is executed all the
    /// same. The keeper then shares this process's memory until either writes
    /// to it: for a program that is small when it starts jobs.
    #[must_use]
    pub fn forks_keeper(self) -> Supervisor {
        Supervisor {
            forks_keeper: true,
            ..self
        }
    }

    /// Stops this process when the job's main process stops (Ctrl-Z, SIGSTOP, a
    /// background job that reads the terminal) and continues it with the job,
    /// so that whoever waits for this process sees what it would see of the
    /// job. For a program that stands in for one job, as a shell's child.
    #[must_use]
    pub fn mirrors_stops(self) -> Supervisor {
        Supervisor {
            mirrors_stops: true,
            ..self
        }
    }

    /// What would be done on this host. Starts nothing.
    ///
    /// # Errors
    /// When no mechanism fits.
    pub fn plan(&self, request: &Request) -> Result<Plan, SupervisorError> {
        let mut host = Host::observe(&Roots::default());
        choose(&request.limits, request.mechanism, &mut host, &[])
    }

    /// Runs a job to its end.
    ///
    /// # Errors
    /// When nothing could be started. A failing job is an [`Outcome`].
    pub fn run(&self, request: Request) -> Result<Outcome, SupervisorError> {
        self.spawn(request)?.wait()
    }

    /// Starts a job. When this returns, it runs under its limit, or it is
    /// already known why not.
    ///
    /// # Errors
    /// When no mechanism fits or the keeper does not start.
    pub fn spawn(&self, request: Request) -> Result<Handle, SupervisorError> {
        self.spawn_as_planned(request, |_| {})
    }

    /// As [`Supervisor::spawn`]; `tell` is shown the plan before anything is
    /// started.
    ///
    /// # Errors
    /// As [`Supervisor::spawn`].
    pub fn spawn_as_planned(
        &self,
        request: Request,
        tell: impl FnOnce(&Plan),
    ) -> Result<Handle, SupervisorError> {
        let Request {
            job,
            limits,
            mechanism,
            sample_every,
            record,
            lease,
        } = request;
        if self.owns_children {
            signals::keep_dead_children();
            nix::sys::prctl::set_child_subreaper(true)
                .map_err(|errno| SupervisorError::Channel(errno.into()))?;
        }
        let mut host = Host::observe(&Roots::default());
        let mut refused: Vec<Rejected> = Vec::new();
        let mut chosen = choose(&limits, mechanism, &mut host, &refused)?;
        tell(&chosen);
        let (program, args) = (Word(job.program.clone()), job.args.clone());
        let (stream, keeper) = self.start_keeper(job)?;
        let mut handle = Handle {
            stream: Arc::new(Mutex::new(
                stream.try_clone().map_err(SupervisorError::Channel)?,
            )),
            reader: stream,
            inbox: Inbox::default(),
            keeper,
            plan: chosen.clone(),
            prepared: Prepared::default(),
            forwarded: Arc::default(),
            owns_children: self.owns_children,
            outcome: None,
        };
        loop {
            let spec = Spec {
                program: program.clone(),
                args: args.iter().cloned().map(Word).collect(),
                placement: chosen.placement.clone(),
                containment_base: chosen.containment_base.clone(),
                surroundings: chosen.surroundings.clone(),
                limit: chosen.limit,
                swap: limits.swap,
                soft: chosen.throttle,
                time: limits.time,
                cpu: limits.cpu,
                processes: limits.processes,
                grace: limits.grace,
                sample_every,
                record,
                lease: lease == LeasePolicy::On,
                host: ProcessId::current(),
                mirrors_stops: self.mirrors_stops,
                signal_mask: signals::blocked(),
                ignored_signals: signals::ignored_at_start(),
            };
            wire::send(&handle.reader, &ToKeeper::Start(Box::new(spec)))
                .map_err(SupervisorError::Channel)?;
            match handle.begin(&chosen, lease)? {
                None => return Ok(handle),
                Some(refusal) => refused.push(refusal),
            }
            if let (MechanismChoice::Only(_), Some(refusal)) = (mechanism, refused.last()) {
                return Err(KeeperRefusal(refusal.clone()).into());
            }
            chosen = choose(&limits, mechanism, &mut host, &refused)?;
            handle.plan = chosen.clone();
        }
    }

    fn start_keeper(&self, job: Job) -> Result<(UnixStream, Keeper), SupervisorError> {
        if self.forks_keeper
            && let Some(forked) = start::fork(&job).map_err(SupervisorError::ForkKeeper)?
        {
            return Ok(forked);
        }
        start::execute(&self.keeper, job).map_err(|source| SupervisorError::StartKeeper {
            path: self.keeper.clone(),
            source,
        })
    }
}

/// Plans, and asks systemd first where the plan depends on it.
fn choose(
    limits: &Limits,
    mechanism: MechanismChoice,
    host: &mut Host,
    refused: &[Rejected],
) -> Result<Plan, SupervisorError> {
    if needs_systemd(limits, mechanism, host, refused) {
        host.ask_systemd(&Roots::default());
    }
    Ok(plan(limits, mechanism, host, refused)?)
}

/// Something happened to a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The tree's memory, as often as [`Request::sample_every`] asked for.
    Sample {
        /// Now.
        current: ByteSize,
        /// Largest so far.
        peak: ByteSize,
    },
    /// It is over; [`Handle::wait`] returns at once.
    Ended,
}

/// A running job. Dropping it ends the tree.
#[derive(Debug)]
pub struct Handle {
    stream: Arc<Mutex<UnixStream>>,
    reader: UnixStream,
    inbox: Inbox,
    keeper: Keeper,
    plan: Plan,
    prepared: Prepared,
    forwarded: Arc<Mutex<Vec<i32>>>,
    owns_children: bool,
    outcome: Option<Outcome>,
}

/// Sends signals to a running job from another thread.
#[derive(Debug, Clone)]
pub struct Control {
    stream: Arc<Mutex<UnixStream>>,
    forwarded: Arc<Mutex<Vec<i32>>>,
}

impl Control {
    /// Passes a signal to the job's main process. A job that dies of it was
    /// interrupted, not failed. After the job's end nothing happens.
    pub fn signal(&self, signal: i32) {
        self.note(signal);
        self.send(&ToKeeper::Signal(signal));
    }

    /// Notes a signal that the job has got by itself, since it is in our
    /// process group: dying of it is an interruption too.
    pub fn note(&self, signal: i32) {
        if let Ok(mut forwarded) = self.forwarded.lock() {
            forwarded.push(signal);
        }
    }

    /// Asks the job to end: SIGTERM, and SIGKILL to the tree after the grace.
    pub fn stop(&self) {
        self.send(&ToKeeper::Stop);
    }

    fn send(&self, message: &ToKeeper) {
        if let Ok(stream) = self.stream.lock() {
            // A keeper that is gone has nothing left to signal.
            let _ = wire::send(&stream, message);
        }
    }
}

impl Handle {
    /// How the job is held.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The keeper's pid.
    pub fn keeper_pid(&self) -> u32 {
        self.keeper.pid()
    }

    /// A sender of signals for other threads.
    pub fn control(&self) -> Control {
        Control {
            stream: Arc::clone(&self.stream),
            forwarded: Arc::clone(&self.forwarded),
        }
    }

    /// Waits for the next event; after [`Event::Ended`] there is none.
    ///
    /// # Errors
    /// When the keeper talks nonsense.
    pub fn next_event(&mut self) -> Result<Option<Event>, SupervisorError> {
        if self.outcome.is_some() {
            return Ok(None);
        }
        Ok(Some(match self.receive()? {
            Some(FromKeeper::Sample { current, peak }) => Event::Sample { current, peak },
            Some(FromKeeper::Ended(evidence)) => {
                let forwarded = self
                    .forwarded
                    .lock()
                    .map(|signals| signals.clone())
                    .unwrap_or_default();
                let prepared = std::mem::take(&mut self.prepared);
                self.finish(Outcome::ended(
                    self.plan.clone(),
                    prepared,
                    *evidence,
                    &forwarded,
                ))
            }
            Some(
                FromKeeper::Prepared(_)
                | FromKeeper::Refused(_)
                | FromKeeper::Started { .. }
                | FromKeeper::NotStarted { .. },
            ) => return Err(SupervisorError::KeeperGone),
            None => self.lose_keeper(),
        }))
    }

    /// Waits for the end of the tree.
    ///
    /// # Errors
    /// As [`Handle::next_event`].
    pub fn wait(mut self) -> Result<Outcome, SupervisorError> {
        while self.next_event()?.is_some() {}
        self.outcome.take().ok_or(SupervisorError::KeeperGone)
    }

    /// Up to the job's start. `Some`: this mechanism was refused.
    fn begin(
        &mut self,
        chosen: &Plan,
        lease: LeasePolicy,
    ) -> Result<Option<Rejected>, SupervisorError> {
        loop {
            match self.receive()? {
                Some(FromKeeper::Prepared(prepared)) => {
                    self.prepared = prepared;
                    if lease == LeasePolicy::On && chosen.mechanism != Mechanism::Watchdog {
                        self.prepared.notes.push(format!(
                            "leases are the watchdog's; {} holds the limit without them",
                            chosen.mechanism
                        ));
                    }
                }
                Some(FromKeeper::Refused(refusal)) => return Ok(Some(refusal)),
                Some(FromKeeper::Started { .. }) => return Ok(None),
                Some(FromKeeper::NotStarted {
                    step,
                    errno,
                    reason,
                }) => {
                    let is_exec = step == memcap_linux::spawn::SpawnStep::Exec.to_string();
                    let prepared = std::mem::take(&mut self.prepared);
                    let errno = errno.filter(|_| is_exec);
                    self.finish(Outcome::not_started(
                        chosen.clone(),
                        prepared,
                        errno,
                        reason,
                    ));
                    return Ok(None);
                }
                Some(FromKeeper::Sample { .. } | FromKeeper::Ended(_)) => {}
                // Killed; the job may have been born already.
                None => {
                    self.lose_keeper();
                    return Ok(None);
                }
            }
        }
    }

    fn receive(&mut self) -> Result<Option<FromKeeper>, SupervisorError> {
        loop {
            if let Some(message) = self.inbox.take().map_err(SupervisorError::Channel)? {
                return Ok(Some(message));
            }
            if self.inbox.is_closed() {
                return Ok(None);
            }
            self.inbox
                .fill(&self.reader)
                .map_err(SupervisorError::Channel)?;
        }
    }

    fn finish(&mut self, outcome: Outcome) -> Event {
        self.outcome = Some(outcome);
        // It exits right after its last word.
        self.keeper.wait();
        Event::Ended
    }

    /// The keeper was killed: end what it kept.
    fn lose_keeper(&mut self) -> Event {
        self.keeper.kill();
        self.keeper.wait();
        let prepared = std::mem::take(&mut self.prepared);
        let (left, mut notes) = rescue(&prepared, self.owns_children);
        notes.extend(sweep_after(&self.plan));
        self.finish(Outcome::keeper_lost(
            self.plan.clone(),
            prepared,
            left,
            notes,
        ))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.outcome.is_none() {
            // The keeper sees the channel close, ends the tree and exits.
            if let Ok(stream) = self.stream.lock() {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            self.keeper.wait();
        }
    }
}
