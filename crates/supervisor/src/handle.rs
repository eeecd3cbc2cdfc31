//! Starting jobs, and holding them while they run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memcap_linux::{ByteSize, ProcessId, signals};
use memcap_probe::{Host, Roots};

use crate::budget::Place;
use crate::conversation::{Conversation, Heard};
use crate::error::KeeperRefusal;
use crate::guardian::Guardian;
use crate::keeper;
use crate::keeper::start::{self, EnvChanges};
use crate::plan::{ceilings, needs_systemd, plan};
use crate::proof::{self, PlannedProof};
use crate::proof_cache::ProofCache;
use crate::stream::{self, JobEnds, OwnEnds};
use crate::wire::{self, Inbox, Prepared, Spec, ToKeeper, Word};
use crate::{
    LeasePolicy, Limits, Mechanism, MechanismChoice, Moment, Outcome, Plan, Rejected, Request,
    SupervisorError,
};

/// Starts runs. One is enough for a whole program; it may be shared between
/// threads.
///
/// ```no_run
/// use memcap_supervisor::{Job, Limits, Request, Stream, Supervisor};
///
/// let supervisor = Supervisor::new();
/// let job = Job::new("sort").arg("big.txt").stdout(Stream::Piped);
/// let handle = supervisor.spawn(Request::new(job, Limits::memory("1G".parse()?)?))?;
/// let (outcome, output) = handle.wait_with_output()?;
/// println!("{}: {} bytes sorted", outcome.verdict.kind, output.stdout.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// In the host process nothing changes: no signal handler, no signal mask, no
/// subreaper, no working directory. It may ignore SIGCHLD, reap all its children
/// with `waitpid(-1)`, block signals (a job inherits the mask of the thread that
/// starts it, as with [`std::process::Command`]) and fork.
#[derive(Debug, Clone)]
pub struct Supervisor {
    keeping: Keeping,
    owns_children: bool,
    forks_keeper: bool,
    mirrors_stops: bool,
    proofs: ProofCache,
}

#[derive(Debug, Clone)]
enum Keeping {
    /// By a process of this executable.
    Program(PathBuf),
    /// By a thread of ours.
    Thread,
}

impl Default for Supervisor {
    fn default() -> Self {
        Supervisor::new()
    }
}

impl Supervisor {
    /// The keeper is this very program if it has called [`keeper::hook`], else
    /// `memcap` on `PATH`.
    pub fn new() -> Supervisor {
        Supervisor {
            keeping: Keeping::Program(keeper::own_program().unwrap_or_else(|| "memcap".into())),
            owns_children: false,
            forks_keeper: false,
            mirrors_stops: false,
            proofs: ProofCache::default(),
        }
    }

    /// Without a keeper process: a thread of this program prepares, starts and
    /// watches each job (Linux 5.4).
    ///
    /// Weaker where this program dies: then nobody watches. The main process is
    /// killed with it; its descendants live on, without a limit under
    /// [`crate::Mechanism::Watchdog`], until the next start sweeps their group. And
    /// where [`Plan::containment`] says [`crate::Containment::InProcess`], a
    /// descendant that flees (`setsid`, double fork) before it was first seen
    /// outlives the job.
    pub fn in_process() -> Supervisor {
        Supervisor {
            keeping: Keeping::Thread,
            owns_children: false,
            forks_keeper: false,
            mirrors_stops: false,
            proofs: ProofCache::default(),
        }
    }

    /// Names the keeper's executable: `memcap`, or a program that begins with
    /// [`keeper::hook`].
    #[must_use]
    pub fn keeper(self, executable: impl Into<PathBuf>) -> Supervisor {
        Supervisor {
            keeping: Keeping::Program(executable.into()),
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
    /// has a single thread, and for jobs that take its streams and environment
    /// as they are; otherwise the program is executed all the same. The keeper
    /// then shares this process's memory until either writes to it: for a
    /// program that is small when it starts jobs.
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

    /// Keeps in this folder what the trial before a run has shown, so that later
    /// programs of the same user need none until the machine, its layout of groups
    /// or the place of the job changes. Without it a supervisor remembers for itself
    /// alone, and writes no file.
    ///
    /// The folder is made (0700) when there is something to keep. Nothing is
    /// believed of a folder or file that anybody else could have written, and one
    /// that cannot be written costs a later run its own trial, of a few
    /// milliseconds.
    #[must_use]
    pub fn proof_cache(self, folder: impl Into<PathBuf>) -> Supervisor {
        Supervisor {
            proofs: self.proofs.in_folder(folder.into()),
            ..self
        }
    }

    /// Makes the trial before each run anew, whatever is known, and keeps what
    /// that shows.
    #[must_use]
    pub fn renews_proofs(self) -> Supervisor {
        Supervisor {
            proofs: self.proofs.renewing(),
            ..self
        }
    }

    /// What would be done on this host. Starts nothing.
    ///
    /// # Errors
    /// When no mechanism fits.
    pub fn plan(&self, request: &Request) -> Result<Plan, SupervisorError> {
        let mut host = Host::observe(&Roots::default());
        let refused = self.refused_here();
        let plan = choose(&request.limits, request.mechanism, &mut host, &refused)?;
        Ok(self.finished(plan, &host))
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
        self.launch(request, tell, None)
    }

    /// As [`Supervisor::spawn_as_planned`], as a member of a budget where there is
    /// one.
    pub(crate) fn launch(
        &self,
        request: Request,
        tell: impl FnOnce(&Plan),
        place: Option<Place>,
    ) -> Result<Handle, SupervisorError> {
        let Request {
            job,
            limits,
            mechanism,
            sample_every,
            record,
            trace,
            lease,
            expected_peak: _,
        } = request;
        let mechanism = place.as_ref().map_or(mechanism, Place::mechanism);
        if keeper::is_without_hook() {
            return Err(SupervisorError::NoHook);
        }
        if self.owns_children {
            signals::keep_dead_children();
            nix::sys::prctl::set_child_subreaper(true)
                .map_err(|errno| SupervisorError::Channel(errno.into()))?;
        }
        let mut host = Host::observe(&Roots::default());
        let mut refused = self.refused_here();
        refused.extend(place.iter().flat_map(Place::refused));
        let choose = |host: &mut Host, refused: &[Rejected]| match &place {
            Some(place) => place.plan(&limits, |own| choose(own, mechanism, host, refused)),
            None => choose(&limits, mechanism, host, refused),
        };
        let mut chosen = choose(&mut host, &refused).map(|plan| self.finished(plan, &host))?;
        tell(&chosen);
        let closed_streams = stream::closed(&job.streams);
        let (theirs, ours) = stream::open(job.streams).map_err(SupervisorError::Stream)?;
        let carried = place.as_ref().map(Place::descriptors).transpose()?;
        let seating = place
            .as_ref()
            .zip(carried.as_ref())
            .map(|(place, carried)| place.seating(carried));
        let (stream, guardian) = self.start_guardian(&job.env, theirs, carried)?;
        let (looks, looked) = channel();
        let control = Control {
            stream: Arc::new(Mutex::new(
                stream.try_clone().map_err(SupervisorError::Channel)?,
            )),
            forwarded: Arc::default(),
        };
        let mut conversation = Conversation {
            reader: stream,
            inbox: Inbox::default(),
            guardian,
            plan: chosen.clone(),
            prepared: Prepared::default(),
            forwarded: Arc::clone(&control.forwarded),
            owns_children: self.owns_children,
            place: None,
            trial: None,
            looks,
        };
        loop {
            let spec = Spec {
                program: Word(job.program.clone()),
                args: job.args.iter().cloned().map(Word).collect(),
                current_dir: job.current_dir.clone().map(|dir| Word(dir.into())),
                placement: chosen.placement.clone(),
                trial: chosen.proof == Some(PlannedProof::Fresh),
                containment_base: chosen.containment_base.clone(),
                surroundings: chosen.surroundings.clone(),
                limit: chosen.limit,
                swap: chosen.swap,
                soft: chosen.throttle,
                time: limits.time,
                cpu: limits.cpu,
                processes: limits.processes,
                keep_free: chosen.keep_free,
                grace: limits.grace,
                sample_every,
                record,
                trace: trace.clone().map(|file| Word(file.into())),
                lease: lease == LeasePolicy::On,
                budget: seating.clone(),
                host: ProcessId::current(),
                mirrors_stops: self.mirrors_stops,
                closed_streams,
                signal_mask: signals::blocked(),
                ignored_signals: signals::ignored_at_start(),
            };
            match control.send(&ToKeeper::Start(Box::new(spec))) {
                // Gone already: how, is learned by listening.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                sent => sent.map_err(SupervisorError::Channel)?,
            }
            let begun = conversation.begin(lease)?;
            // The job runs by now: this costs it nothing.
            proof::learn(&chosen, conversation.trial.as_ref(), &self.proofs);
            let refusal = match begun {
                Ok(outcome) => {
                    conversation.place = place;
                    return Ok(Handle {
                        keeper_pid: conversation.guardian.pid(),
                        plan: chosen,
                        link: match outcome {
                            Some(outcome) => Link::Over(Some(outcome)),
                            None => Link::Here(Box::new(conversation)),
                        },
                        control,
                        looked,
                        streams: ours,
                        owner: std::process::id(),
                    });
                }
                Err(refusal) => refusal,
            };
            proof::doubt(&chosen, &self.proofs);
            if let MechanismChoice::Only(_) = mechanism {
                return Err(KeeperRefusal(refusal).into());
            }
            refused.push(refusal);
            chosen = choose(&mut host, &refused).map(|plan| self.finished(plan, &host))?;
            conversation.plan = chosen.clone();
        }
    }

    /// What a thread cannot do.
    fn refused_here(&self) -> Vec<Rejected> {
        match self.keeping {
            Keeping::Program(_) => Vec::new(),
            Keeping::Thread => vec![Rejected {
                mechanism: Mechanism::Systemd,
                reason: "a scope would take this whole program in; it needs a keeper process"
                    .into(),
            }],
        }
    }

    /// The plan as this supervisor carries it out, on this host.
    fn finished(&self, plan: Plan, host: &Host) -> Plan {
        let around = ceilings(&plan.placement, host);
        Plan {
            proof: proof::planned(&plan.placement, &around, host, &self.proofs),
            ..self.kept(plan)
        }
    }

    /// The plan with the weaker containment of a thread.
    fn kept(&self, plan: Plan) -> Plan {
        match self.keeping {
            Keeping::Program(_) => plan,
            Keeping::Thread => plan.kept_by_a_thread(),
        }
    }

    fn start_guardian(
        &self,
        env: &EnvChanges,
        streams: JobEnds,
        carried: Option<[OwnedFd; 2]>,
    ) -> Result<(UnixStream, Guardian), SupervisorError> {
        let path = match &self.keeping {
            Keeping::Program(path) => path,
            Keeping::Thread => {
                let (near, far) = UnixStream::pair().map_err(SupervisorError::Channel)?;
                let thread = keeper::in_a_thread(far, environment(env), streams, carried)
                    .map_err(SupervisorError::Thread)?;
                return Ok((near, Guardian::Thread(Some(thread))));
            }
        };
        if self.forks_keeper
            && let Some(forked) = start::fork(env, &streams).map_err(SupervisorError::ForkKeeper)?
        {
            return Ok(forked);
        }
        let carried = carried.as_ref().map_or(&[][..], |carried| carried);
        start::execute(path, env, streams, carried).map_err(|source| SupervisorError::StartKeeper {
            path: path.clone(),
            source,
        })
    }
}

impl Supervisor {
    /// The plan for limits without a request.
    pub(crate) fn plan_for(
        &self,
        limits: &Limits,
        mechanism: MechanismChoice,
        refused: &[Rejected],
    ) -> Result<Plan, SupervisorError> {
        let mut host = Host::observe(&Roots::default());
        let refused = [&self.refused_here(), refused].concat();
        let plan = choose(limits, mechanism, &mut host, &refused)?;
        Ok(self.kept(plan))
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

/// Our environment with the job's changes.
fn environment(changes: &EnvChanges) -> Vec<(OsString, OsString)> {
    let mut env: BTreeMap<_, _> = std::env::vars_os().collect();
    for (name, value) in changes {
        match value {
            Some(value) => env.insert(name.clone(), value.clone()),
            None => env.remove(name),
        };
    }
    env.into_iter().collect()
}

/// The memory of a running tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Now.
    pub current: ByteSize,
    /// Largest so far.
    pub peak: ByteSize,
}

/// Something happened to a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The tree's memory, as often as [`Request::sample_every`] asked for.
    Sample(Sample),
    /// It is over; [`Handle::wait`] returns at once.
    Ended,
}

/// A running job. Dropping it ends the tree and waits until it is gone.
///
/// ```no_run
/// use std::time::Duration;
/// use memcap_supervisor::{Event, Job, Limits, Request, Supervisor};
///
/// let request = Request::new(Job::new("make"), Limits::memory("2G".parse()?)?)
///     .sample_every(Duration::from_millis(200));
/// let mut handle = Supervisor::new().spawn(request)?;
/// for event in handle.events() {
///     if let Event::Sample(sample) = event {
///         println!("{} now, {} at most", sample.current, sample.peak);
///     }
/// }
/// let outcome = handle.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Let a child that this program forks not wait for the job; dropping the
/// handle there does nothing.
#[derive(Debug)]
pub struct Handle {
    link: Link,
    control: Control,
    looked: Receiver<Sample>,
    streams: OwnEnds,
    plan: Plan,
    keeper_pid: u32,
    /// The process that made it: a forked copy ends nothing.
    owner: u32,
}

/// Who listens to the keeper.
#[derive(Debug)]
enum Link {
    /// Whoever asks.
    Here(Box<Conversation>),
    /// A thread of its own, for [`Handle::events`].
    Pumped {
        outcome: Receiver<Result<Box<Outcome>, SupervisorError>>,
        thread: JoinHandle<()>,
    },
    /// Nobody any more; `None` after a failure that was told.
    Over(Option<Box<Outcome>>),
}

/// What a running job does, in order, until [`Event::Ended`]. See
/// [`Handle::events`].
#[derive(Debug)]
pub struct Events(Receiver<Event>);

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.recv().ok()
    }
}

impl Events {
    /// The channel itself, for `try_recv` and `recv_timeout`.
    pub fn into_receiver(self) -> Receiver<Event> {
        self.0
    }
}

/// Sends signals to a running job from another thread. After the job's end
/// nothing happens.
#[derive(Debug, Clone)]
pub struct Control {
    stream: Arc<Mutex<UnixStream>>,
    forwarded: Arc<Mutex<Vec<i32>>>,
}

impl Control {
    /// Passes a signal to the job's main process. A job that dies of it was
    /// interrupted, not failed.
    pub fn signal(&self, signal: i32) {
        self.note(signal);
        self.tell(&ToKeeper::Signal(signal));
    }

    /// Passes SIGTSTP or SIGCONT to the job's main process, as
    /// [`Control::signal`] does, for a request that was `seen` at this moment at
    /// the latest. Where both this process and the job have been stopped since
    /// ([`Supervisor::mirrors_stops`]) it is obsolete, and nothing happens: who
    /// stops or continues a whole process group sends the job a copy of its own,
    /// and what is passed on must not come when the next one has arrived.
    pub fn job_control(&self, signal: i32, seen: Moment) {
        self.note(signal);
        self.tell(&ToKeeper::JobControl { signal, seen });
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
        self.tell(&ToKeeper::Stop);
    }

    /// Ends the tree at once.
    pub fn kill(&self) {
        self.tell(&ToKeeper::Kill);
    }

    fn tell(&self, message: &ToKeeper) {
        // A keeper that is gone has nothing left to signal.
        let _ = self.send(message);
    }

    fn send(&self, message: &ToKeeper) -> std::io::Result<()> {
        let poisoned = |_| std::io::Error::other("a thread panicked while it was sending");
        let stream = self.stream.lock().map_err(poisoned)?;
        wire::send(&stream, message)
    }
}

impl Handle {
    /// How the job is held.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The keeper's pid; our own in [`Supervisor::in_process`].
    pub fn keeper_pid(&self) -> u32 {
        self.keeper_pid
    }

    /// A sender of signals for other threads.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// As [`Control::signal`].
    pub fn signal(&self, signal: i32) {
        self.control.signal(signal);
    }

    /// As [`Control::stop`].
    pub fn stop(&self) {
        self.control.stop();
    }

    /// As [`Control::kill`].
    pub fn kill(&self) {
        self.control.kill();
    }

    /// Takes the end that writes to the job's standard input, where that is
    /// [`crate::Stream::Piped`].
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.streams.stdin.take()
    }

    /// Takes the end that reads the job's standard output, where that is
    /// [`crate::Stream::Piped`].
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.streams.stdout.take()
    }

    /// Takes the end that reads the job's standard error, where that is
    /// [`crate::Stream::Piped`].
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.streams.stderr.take()
    }

    /// Waits for the next event; after [`Event::Ended`] there is none, and none
    /// here once [`Handle::events`] has taken them.
    ///
    /// # Errors
    /// When the keeper talks nonsense.
    pub fn next_event(&mut self) -> Result<Option<Event>, SupervisorError> {
        let Link::Here(conversation) = &mut self.link else {
            return Ok(None);
        };
        loop {
            match conversation.listen(None)? {
                Heard::Event(event) => return Ok(Some(event)),
                Heard::Nothing => {}
                Heard::Outcome(outcome) => {
                    self.link = Link::Over(Some(outcome));
                    return Ok(Some(Event::Ended));
                }
            }
        }
    }

    /// The events as an iterator over a channel, which another thread may take
    /// along. They are there for one taker: a second call gives none. From here
    /// on a thread of this library listens; a failure of it is told by
    /// [`Handle::wait`].
    pub fn events(&mut self) -> Events {
        let (events, taken) = channel();
        if let Link::Here(_) = &self.link
            && let Link::Here(conversation) = std::mem::replace(&mut self.link, Link::Over(None))
        {
            let (told, outcome) = channel();
            let pump = move || {
                let mut conversation = *conversation;
                let result = loop {
                    match conversation.listen(None) {
                        // A taker who is gone wants no more.
                        Ok(Heard::Event(event)) => drop(events.send(event)),
                        Ok(Heard::Nothing) => {}
                        Ok(Heard::Outcome(outcome)) => break Ok(outcome),
                        Err(error) => break Err(error),
                    }
                };
                // As above.
                let _ = told.send(result);
                let _ = events.send(Event::Ended);
            };
            let thread = std::thread::spawn(pump);
            self.link = Link::Pumped { outcome, thread };
        }
        Events(taken)
    }

    /// Measures the tree now. `None`: it is over.
    ///
    /// # Errors
    /// As [`Handle::wait`].
    pub fn sample(&mut self) -> Result<Option<Sample>, SupervisorError> {
        // Late answers to earlier questions.
        while self.looked.try_recv().is_ok() {}
        loop {
            // A keeper that had no room for its answer is asked again.
            self.control.tell(&ToKeeper::Look);
            let patience = Instant::now() + ASK_AGAIN;
            while let Link::Here(conversation) = &mut self.link
                && Instant::now() < patience
            {
                match conversation.listen(Some(Instant::now() + TICK))? {
                    // Whoever measures on demand has no use for it.
                    Heard::Event(_) | Heard::Nothing => {}
                    Heard::Outcome(outcome) => self.link = Link::Over(Some(outcome)),
                }
                if let Ok(sample) = self.looked.try_recv() {
                    return Ok(Some(sample));
                }
            }
            match &self.link {
                Link::Here(_) => {}
                Link::Pumped { .. } => match self.looked.recv_timeout(ASK_AGAIN) {
                    Ok(sample) => return Ok(Some(sample)),
                    Err(RecvTimeoutError::Timeout) => {}
                    // The thread hangs up when the job is over.
                    Err(RecvTimeoutError::Disconnected) => return Ok(None),
                },
                Link::Over(_) => return Ok(None),
            }
        }
    }

    /// What became of the job, if it is over.
    ///
    /// # Errors
    /// As [`Handle::wait`].
    pub fn try_wait(&mut self) -> Result<Option<&Outcome>, SupervisorError> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Waits for the end of the tree, but no longer than this.
    ///
    /// # Errors
    /// As [`Handle::wait`].
    pub fn wait_timeout(&mut self, longest: Duration) -> Result<Option<&Outcome>, SupervisorError> {
        self.wait_until(Instant::now().checked_add(longest))?;
        match &self.link {
            Link::Over(outcome) => Ok(outcome.as_deref()),
            Link::Here(_) | Link::Pumped { .. } => Ok(None),
        }
    }

    /// Waits for the end of the tree. Closes the job's standard input first,
    /// where that is a pipe nobody has taken.
    ///
    /// # Errors
    /// When the keeper talks nonsense.
    pub fn wait(mut self) -> Result<Outcome, SupervisorError> {
        drop(self.stdin());
        self.wait_until(None)?;
        match &mut self.link {
            Link::Over(outcome) => outcome.take().map(|outcome| *outcome),
            Link::Here(_) | Link::Pumped { .. } => None,
        }
        .ok_or(SupervisorError::KeeperGone)
    }

    /// Reads what the job writes to pipes nobody has taken, and waits for its
    /// end.
    ///
    /// # Errors
    /// As [`Handle::wait`], and when reading fails.
    pub fn wait_with_output(mut self) -> Result<(Outcome, Output), SupervisorError> {
        drop(self.stdin());
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let reading = std::thread::spawn(move || read_all(stderr));
        let stdout = read_all(stdout).map_err(SupervisorError::Stream)?;
        let stderr = match reading.join() {
            Ok(read) => read.map_err(SupervisorError::Stream)?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Ok((self.wait()?, Output { stdout, stderr }))
    }

    /// Listens until it is over, or until the deadline if there is one.
    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<(), SupervisorError> {
        loop {
            let told = match &mut self.link {
                Link::Over(_) => return Ok(()),
                Link::Here(conversation) => match conversation.listen(deadline) {
                    Ok(Heard::Event(_)) => continue,
                    Ok(Heard::Nothing) => return Ok(()),
                    Ok(Heard::Outcome(outcome)) => Ok(outcome),
                    Err(error) => return Err(error),
                },
                Link::Pumped { outcome, .. } => {
                    let told = match deadline {
                        Some(at) => {
                            outcome.recv_timeout(at.saturating_duration_since(Instant::now()))
                        }
                        None => outcome.recv().map_err(RecvTimeoutError::from),
                    };
                    match told {
                        Ok(told) => told,
                        Err(RecvTimeoutError::Timeout) => return Ok(()),
                        Err(RecvTimeoutError::Disconnected) => Err(SupervisorError::KeeperGone),
                    }
                }
            };
            let (outcome, result) = match told {
                Ok(outcome) => (Some(outcome), Ok(())),
                Err(error) => (None, Err(error)),
            };
            if let Link::Pumped { thread, .. } =
                std::mem::replace(&mut self.link, Link::Over(outcome))
            {
                // It has said its last word.
                let _ = thread.join();
            }
            return result;
        }
    }
}

/// How often a wait for a sample looks whether the answer is there.
const TICK: Duration = Duration::from_millis(20);
/// How long an answer is waited for.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a job has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// To its standard output; empty where that was no pipe.
    pub stdout: Vec<u8>,
    /// To its standard error; empty where that was no pipe.
    pub stderr: Vec<u8>,
}

fn read_all(stream: Option<impl std::io::Read>) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut read)?;
    }
    Ok(read)
}

impl Drop for Handle {
    fn drop(&mut self) {
        if std::process::id() == self.owner && !matches!(self.link, Link::Over(_)) {
            self.control.kill();
            // Nobody is left to be told of a failure.
            let _ = self.wait_until(None);
        }
    }
}
