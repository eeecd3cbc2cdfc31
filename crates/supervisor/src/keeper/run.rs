//! The keeper's life: receive a spec, prepare, start the job, watch, end,
//! clean up, tell.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memcap_linux::spawn::{DataLimit, SpawnError, SpawnRequest, Spawned, spawn};
use memcap_linux::{
    ByteSize, PidFd, adopt_fd, close_all_except, data_limit, detach_standard_streams, one_line,
    priority, signals,
};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::{TimeSpec, TimeValLike};

use super::around::Around;
use super::beside::{self, Beside};
use super::enclosure::Enclosure;
use super::not_executed;
use super::recorder::Recorder;
use super::roll_call::RollCall;
use super::sampler::Sampler;
use super::soft::SoftLimit;
use super::tree::{self, Family, Reaped, Turn};
use crate::evidence::{Evidence, PeakSource};
use crate::governor::{Action, Governor, Input, Leases, Rules, Sum};
use crate::lease::{LeaseUse, Mark, Refusal, Terms};
use crate::plan::{Placement, Rejected};
use crate::stream::JobEnds;
use crate::timeline::Happening;
use crate::wire::{self, FromKeeper, Inbox, Spec, ToKeeper};

/// What ps(1) and pgrep(1) show of a keeper.
pub(super) const NAME: &CStr = c"memcap-keeper";
/// What the job's `oom_score_adj` is raised to, so that the machine's OOM
/// killer takes the job and neither us nor the terminal.
const JOB_OOM_SCORE: i32 = 500;
/// How long the groups may take to be removable after the last process.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(2);
/// How long a freeze may take before the measurement goes on without it.
const FREEZE_DEADLINE: Duration = Duration::from_millis(20);

/// Runs the keeper on an inherited socket. For the hidden subcommand only: it
/// takes the whole process over (descriptors, signal mask, subreaper).
pub fn main(socket: RawFd) -> ExitCode {
    let served = adopt_fd(socket).and_then(|socket| {
        // For ps and pgrep; the name of our file says nothing.
        nix::sys::prctl::set_name(NAME)?;
        serve(UnixStream::from(socket))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody is left to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

/// The keeper's whole life, in a process that is nothing else.
pub(super) fn serve(stream: UnixStream) -> io::Result<()> {
    Keeper::receive(stream)?.serve()
}

/// Runs the keeper's loop in a thread of the embedding program, with what
/// would be the keeper process's own.
pub(crate) fn in_a_thread(
    stream: UnixStream,
    env: Vec<(OsString, OsString)>,
    streams: JobEnds,
) -> io::Result<JoinHandle<()>> {
    // Without handles on processes nothing would tell of the end of a job.
    PidFd::open(i32::try_from(std::process::id()).map_err(io::Error::other)?)?;
    let hands = Hands { env, streams };
    std::thread::Builder::new()
        .name("memcap-keeper".into())
        .spawn(move || {
            // The program's handlers run on its own threads.
            signals::block_all();
            let keeper = Keeper {
                stream,
                inbox: Inbox::default(),
                role: Role::Thread(hands),
                host: None,
            };
            // A channel that closes without a last word says it.
            let _ = keeper.serve();
        })
}

struct Keeper {
    stream: UnixStream,
    inbox: Inbox,
    role: Role,
    host: Option<PidFd>,
}

/// What the loop runs in.
enum Role {
    /// A process of its own, with the signals of its children.
    Process(SignalFd),
    /// A thread of the embedding program.
    Thread(Hands),
}

/// What a job gets that is not the process's own.
struct Hands {
    env: Vec<(OsString, OsString)>,
    streams: JobEnds,
}

impl Role {
    fn family(&self) -> Family {
        match self {
            Role::Process(_) => Family::Descendants,
            Role::Thread(_) => Family::OfMain,
        }
    }

    /// What becomes readable when the main process, or any other child of the
    /// keeper, has ended.
    fn ended<'a>(&'a self, main: Option<&'a PidFd>) -> Option<BorrowedFd<'a>> {
        match self {
            Role::Process(children) => Some(children.as_fd()),
            Role::Thread(_) => main.map(AsFd::as_fd),
        }
    }

    fn acknowledge(&self) {
        if let Role::Process(children) = self {
            while let Ok(Some(_)) = children.read_signal() {}
        }
    }
}

impl Keeper {
    /// Takes the process over.
    fn receive(stream: UnixStream) -> io::Result<Keeper> {
        // Everything is read from descriptors; the job gets the caller's mask.
        signals::block_all();
        signals::keep_dead_children();
        nix::sys::prctl::set_child_subreaper(true)?;
        let mut ended = SigSet::empty();
        ended.add(Signal::SIGCHLD);
        let children =
            SignalFd::with_flags(&ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Keeper {
            stream,
            inbox: Inbox::default(),
            role: Role::Process(children),
            host: None,
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let Some((spec, enclosure)) = self.prepare()? else {
            return Ok(());
        };
        // Whatever happens from here on, the groups go with us.
        match self.run(&spec, &enclosure) {
            Ok(last_word) => wire::send(&self.stream, &last_word),
            Err(error) => {
                self.dispose(&enclosure);
                Err(error)
            }
        }
    }

    /// One job from its start to its end, and what is said of it.
    fn run(&mut self, spec: &Spec, enclosure: &Enclosure) -> io::Result<FromKeeper> {
        let around = Around::observe(&spec.surroundings);
        let mut sampler = match spec.placement {
            Placement::Watchdog | Placement::Rlimit => {
                Sampler::new(enclosure.directory(), spec.swap)
            }
            // The group's own counter is read instead.
            Placement::CgroupV2(_) | Placement::Systemd(_) | Placement::CgroupV1(_) => {
                Sampler::unused()
            }
        };
        let job = match start(spec, enclosure, &self.role) {
            Ok(job) => job,
            Err(error) => {
                self.dispose(enclosure);
                return Ok(not_started(&error, spec));
            }
        };
        if self.role.family() == Family::OfMain && job.pidfd.is_some() {
            sampler.follow(job.pid);
        }
        let mut watch = Watch::new(spec, enclosure, &job, sampler, self.role.family());
        let watched = self
            .let_go_of_the_jobs_things(enclosure, &around, &job)
            .and_then(|()| {
                if matches!(spec.placement, Placement::Watchdog) {
                    priority::prefer_this_process();
                    priority::ask_for_short_slices();
                }
                if let (Placement::Watchdog, Role::Process(_)) = (&spec.placement, &self.role) {
                    priority::stay_in_memory();
                }
                self.tell(&FromKeeper::Started { pid: job.pid });
                self.watch(&mut watch)
            });
        // A keeper that cannot watch ends what it cannot watch.
        let mut evidence = self.end(watch);
        watched?;
        // The counters are read while the groups are still there.
        evidence.outer = around.limit_hit();
        evidence.oom_kills_around = around.kills();
        evidence.notes.extend(self.dispose(enclosure));
        Ok(FromKeeper::Ended(Box::new(evidence)))
    }

    /// Takes specs until one can be set up. `None`: the embedding program went
    /// away, or gave up.
    fn prepare(&mut self) -> io::Result<Option<(Spec, Enclosure)>> {
        loop {
            let Some(mut spec) = self.next_spec()? else {
                return Ok(None);
            };
            if let Role::Process(_) = self.role {
                self.host = spec.host.and_then(|host| PidFd::open_verified(host).ok());
            }
            match Enclosure::prepare(&spec) {
                Ok((enclosure, prepared)) => {
                    if let Some(surroundings) = enclosure.surroundings() {
                        spec.surroundings = surroundings;
                    }
                    if let Err(error) = wire::send(&self.stream, &FromKeeper::Prepared(prepared)) {
                        self.dispose(&enclosure);
                        return Err(error);
                    }
                    return Ok(Some((spec, enclosure)));
                }
                Err(error) => {
                    let refusal = Rejected {
                        mechanism: spec.placement.mechanism(),
                        reason: one_line(&error),
                    };
                    wire::send(&self.stream, &FromKeeper::Refused(refusal))?;
                }
            }
        }
    }

    fn next_spec(&mut self) -> io::Result<Option<Spec>> {
        loop {
            match self.inbox.take()? {
                Some(ToKeeper::Start(spec)) => return Ok(Some(*spec)),
                Some(ToKeeper::Stop | ToKeeper::Kill) => return Ok(None),
                Some(ToKeeper::Signal(_) | ToKeeper::Look) => {}
                None if self.inbox.is_closed() => return Ok(None),
                None => self.inbox.fill(&self.stream)?,
            }
        }
    }

    /// The job's pipes must end when the job closes them, not when we do.
    fn let_go_of_the_jobs_things(
        &mut self,
        enclosure: &Enclosure,
        around: &Around,
        job: &Spawned,
    ) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let children = match &mut self.role {
            Role::Process(children) => children.as_raw_fd(),
            Role::Thread(hands) => {
                hands.streams = Default::default();
                return Ok(());
            }
        };
        // A session of our own: the terminal's signals are none of ours, and
        // the job's process group is orphaned, or not, as it would be without
        // us between it and memcap.
        nix::unistd::setsid()?;
        detach_standard_streams()?;
        let mut keep = vec![self.stream.as_raw_fd(), children];
        keep.extend(self.host.as_ref().map(|host| host.as_fd().as_raw_fd()));
        keep.extend(job.pidfd.as_ref().map(|handle| handle.as_fd().as_raw_fd()));
        keep.extend(enclosure.oom_signal().map(|(fd, _)| fd.as_raw_fd()));
        keep.extend(enclosure.task_signal().map(|(fd, _)| fd.as_raw_fd()));
        keep.extend(around.descriptors());
        close_all_except(&keep);
        // A job that uses up the directory we stand in must be able to.
        let _ = nix::unistd::chdir("/");
        Ok(())
    }

    /// Tells what may be lost: nothing waits for a stopped embedding program.
    fn tell(&self, message: &FromKeeper) {
        if can_write(&self.stream) {
            // Gone is noticed by the poll.
            let _ = wire::send(&self.stream, message);
        }
    }

    /// The loop: wait for something, tell the governor, do what it says, until
    /// the tree is to be ended.
    fn watch(&mut self, watch: &mut Watch<'_>) -> io::Result<()> {
        loop {
            let woken = self.wait(watch)?;
            for input in self.inputs(&woken, watch)? {
                match watch.governor.on(input, watch.now()) {
                    Action::Wait => {}
                    Action::AskToEnd => {
                        watch.record_limit();
                        watch.record(Happening::AskedToEnd);
                        if let Some(soft) = &mut watch.soft {
                            soft.give_up();
                        }
                        watch.signal_main(Signal::SIGTERM as i32);
                        // A stopped one could not hear it.
                        watch.continue_main();
                    }
                    Action::MeasureExactly => {
                        if watch.measure_exactly(|pause| self.pause(pause)) {
                            return Ok(());
                        }
                    }
                    Action::EndTree => return Ok(()),
                }
            }
        }
    }

    fn end(&self, mut watch: Watch<'_>) -> Evidence {
        watch.last_measurement();
        watch.record_ending();
        // A subreaper without children has nobody anywhere.
        if watch.family != Family::Descendants || !watch.reaped.childless {
            watch
                .roll_call
                .look(watch.enclosure, |pause| self.pause(pause));
        }
        let mut known = watch.sampler.known();
        known.extend(watch.roll_call.seen());
        let left = tree::end(
            watch.enclosure,
            watch.family,
            watch.main,
            &known,
            &mut watch.reaped,
            |pause| self.pause(pause),
        );
        watch.evidence(left)
    }

    /// Sleeps until a descriptor speaks or the governor wants to be asked.
    fn wait(&self, watch: &Watch<'_>) -> io::Result<Woken> {
        let readable = PollFlags::POLLIN;
        let mut fds = vec![PollFd::new(self.stream.as_fd(), readable)];
        let children = self.role.ended(watch.main.pidfd.as_ref()).map(|ended| {
            fds.push(PollFd::new(ended, readable));
            fds.len() - 1
        });
        let host = self.host.as_ref().map(|host| {
            fds.push(PollFd::new(host.as_fd(), readable));
            fds.len() - 1
        });
        let oom = watch.enclosure.oom_signal().map(|(fd, flags)| {
            fds.push(PollFd::new(fd, flags));
            fds.len() - 1
        });
        let tasks = watch.enclosure.task_signal().map(|(fd, flags)| {
            fds.push(PollFd::new(fd, flags));
            fds.len() - 1
        });
        // Gone, and reaped by somebody else, before there was a handle on it.
        let is_lost = children.is_none().then_some(Duration::ZERO);
        let timeout = is_lost
            .or_else(|| watch.wake_at())
            .map(|at| timespec(at.saturating_sub(watch.now())));
        match ppoll(&mut fds, timeout, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let spoke = |index: usize| fds[index].any() == Some(true);
        Ok(Woken {
            children: children.is_none_or(spoke),
            stream: spoke(0),
            host: host.is_some_and(spoke),
            oom: oom.is_some_and(spoke),
            tasks: tasks.is_some_and(spoke),
        })
    }

    /// What happened, most urgent first.
    fn inputs(&mut self, woken: &Woken, watch: &mut Watch<'_>) -> io::Result<Vec<Input>> {
        let mut inputs = Vec::new();
        if woken.oom {
            watch.enclosure.acknowledge_oom_signal();
        }
        if (woken.oom || woken.children) && watch.enclosure.kernel_has_killed() {
            inputs.push(Input::KernelOom);
        }
        if (woken.tasks || woken.children) && watch.enclosure.has_refused_a_task() == Some(true) {
            inputs.push(Input::TooManyProcesses);
        }
        if woken.children {
            self.role.acknowledge();
            tree::reap(watch.family, watch.main, &mut watch.reaped);
            for turn in std::mem::take(&mut watch.reaped.turns) {
                if watch.spec.mirrors_stops {
                    self.mirror(turn);
                }
                inputs.push(match turn {
                    Turn::Stopped(_) => Input::MainStopped,
                    Turn::Continued => Input::MainContinued,
                });
            }
            if watch.reaped.main.is_some() || watch.reaped.childless {
                inputs.push(Input::MainEnded);
            }
        }
        if woken.host {
            inputs.push(Input::HostGone);
        }
        if woken.stream {
            self.inbox.fill(&self.stream)?;
            while let Some(message) = self.inbox.take()? {
                match message {
                    ToKeeper::Signal(nix::libc::SIGCONT) => watch.continue_main(),
                    ToKeeper::Signal(signal) => watch.signal_main(signal),
                    ToKeeper::Stop => inputs.push(Input::StopAsked),
                    ToKeeper::Kill => inputs.push(Input::KillAsked),
                    ToKeeper::Look => {
                        inputs.push(watch.look());
                        let (current, peak) = watch.sizes();
                        self.tell(&FromKeeper::Looked { current, peak });
                    }
                    ToKeeper::Start(_) => {}
                }
            }
            if self.inbox.is_closed() {
                inputs.push(Input::HostGone);
            }
        }
        if watch.governor.look_is_due(watch.now()) {
            inputs.push(watch.look());
            if let Some(message) = watch.due_sample() {
                self.tell(&message);
            }
        }
        inputs.extend(watch.beside.look(watch.enclosure, watch.now()));
        let now = watch.now();
        let pause = |longest| self.pause(longest);
        watch.roll_call.look_if_due(watch.enclosure, now, pause);
        inputs.extend(watch.throttle());
        watch.record_what_is_due();
        inputs.push(Input::Tick);
        Ok(inputs)
    }

    /// Stops the embedding program when the job stops, so that the shell that
    /// waits for it takes the terminal back; continues it with the job.
    fn mirror(&self, turn: Turn) {
        let Some(host) = &self.host else { return };
        let signal = match turn {
            // What the shell is told of: a background job wants the terminal.
            Turn::Stopped(signal @ (Signal::SIGTTIN | Signal::SIGTTOU)) => signal,
            // The others may be caught, as SIGTSTP is in order to be passed on.
            Turn::Stopped(_) => Signal::SIGSTOP,
            Turn::Continued => Signal::SIGCONT,
        };
        // Gone is noticed by the poll.
        let _ = host.send(signal as i32);
    }

    /// Removes the groups; a dying process may hold them for a moment. Returns
    /// notes about what stayed.
    fn dispose(&self, enclosure: &Enclosure) -> Vec<String> {
        let deadline = Instant::now() + REMOVAL_DEADLINE;
        let removed = loop {
            match enclosure.dispose() {
                Err(_) if Instant::now() < deadline => self.pause(Duration::from_millis(1)),
                outcome => break outcome,
            }
        };
        let left = removed.and_then(|()| enclosure.leave_room()).err();
        left.map(|error| format!("{}; it is swept at the next start", one_line(&error)))
            .into_iter()
            .collect()
    }

    /// Waits a little for a child to end.
    fn pause(&self, longest: Duration) {
        let (ended, longest) = match self.role.ended(None) {
            Some(ended) => (Some(ended), longest),
            // Nothing tells; the caller looks again sooner.
            None => (None, longest.min(Duration::from_millis(1))),
        };
        let mut fds: Vec<PollFd<'_>> = ended
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .into_iter()
            .collect();
        // Woken early or by a signal: the caller looks again anyway.
        let _ = ppoll(&mut fds, Some(timespec(longest)), None);
        self.role.acknowledge();
    }
}

struct Woken {
    children: bool,
    stream: bool,
    host: bool,
    oom: bool,
    tasks: bool,
}

/// One job being watched.
struct Watch<'a> {
    spec: &'a Spec,
    enclosure: &'a Enclosure,
    governor: Governor,
    sampler: Sampler,
    beside: Beside,
    roll_call: RollCall,
    soft: Option<SoftLimit>,
    leasing: Option<Leasing>,
    main: &'a Spawned,
    family: Family,
    reaped: Reaped,
    started: Instant,
    current: ByteSize,
    peak: ByteSize,
    next_sample: Duration,
    recorder: Option<Recorder>,
}

impl<'a> Watch<'a> {
    fn new(
        spec: &'a Spec,
        enclosure: &'a Enclosure,
        job: &'a Spawned,
        sampler: Sampler,
        family: Family,
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
        Watch {
            spec,
            enclosure,
            governor,
            sampler,
            beside: Beside::new(spec, enclosure, family, job.pid),
            roll_call: RollCall::new(enclosure, family, job.pid),
            soft: spec.soft.and_then(|rules| SoftLimit::new(rules, enclosure)),
            leasing: spec.leases().then(Leasing::begin).flatten(),
            main: job,
            family,
            reaped: Reaped::default(),
            started: Instant::now(),
            current: ByteSize::ZERO,
            peak: ByteSize::ZERO,
            next_sample: Duration::ZERO,
            recorder: spec.record.then(Recorder::default),
        }
    }

    /// When something is to be done at the latest.
    fn wake_at(&self) -> Option<Duration> {
        let samples_itself = !self.is_sampled();
        let recorder = self.recorder.as_ref();
        [
            self.governor.wake_at(),
            self.beside.next_look(),
            self.roll_call.next_look(),
            self.soft.as_ref().and_then(SoftLimit::next_look),
            recorder.map(|recorder| recorder.wake_at(samples_itself)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the governor asks for looks of its own accord.
    fn is_sampled(&self) -> bool {
        matches!(self.spec.placement, Placement::Watchdog)
    }

    fn record(&mut self, what: Happening) {
        let now = self.now();
        if let Some(recorder) = &mut self.recorder {
            recorder.event(now, what);
        }
    }

    fn record_what_is_due(&mut self) {
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

    fn look_at_processes(&mut self, now: Duration) {
        let in_groups = self.enclosure.members();
        let pids = match in_groups.as_slice() {
            [] => self.sampler.member_pids(),
            _ => in_groups,
        };
        if let Some(recorder) = &mut self.recorder {
            recorder.look(now, &pids);
        }
    }

    /// Which kind of limit was reached, once.
    fn record_limit(&mut self) {
        use crate::evidence::Cause;
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
    fn record_ending(&mut self) {
        use crate::evidence::Cause;
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

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn signal_main(&self, signal: i32) {
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

    /// Lets a stopped main process go on. Where it shares the embedding
    /// program's process group, whoever continued that has done so already and
    /// it may have stopped anew; where it has made a group of its own (an
    /// interactive shell), nobody else does.
    fn continue_main(&self) {
        use nix::unistd::{Pid, getpgid};
        // A thread is not told of stops.
        let may_be_stopped = self.reaped.main_is_stopped || self.family == Family::OfMain;
        if !may_be_stopped || self.reaped.main.is_some() {
            return;
        }
        let main = Pid::from_raw(self.main.pid);
        if getpgid(Some(main)) == Ok(main) {
            // An unreaped leader keeps its group's number.
            let _ = nix::sys::signal::killpg(main, Signal::SIGCONT);
        }
        self.signal_main(Signal::SIGCONT as i32);
    }

    fn look(&mut self) -> Input {
        if let Some(charged) = self.enclosure.charged() {
            self.note(charged);
            let sum = Sum {
                private: charged,
                members: 1,
                ..Sum::default()
            };
            return Input::Sum(sum);
        }
        let mut sum = self.sampler.look(self.enclosure.directory());
        if self.governor.wants_faults(sum) {
            sum.written = self.sampler.written();
        }
        if let Some(bytes) = self.governor.believable(sum) {
            self.note(bytes);
        }
        sum.leases = self.renew_leases(sum);
        Input::Sum(sum)
    }

    /// Holds the tree back above its soft limit.
    fn throttle(&mut self) -> Option<Input> {
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
    fn renew_leases(&mut self, sum: Sum) -> Option<Leases> {
        let leasing = self.leasing.as_mut()?;
        let allowance = self.governor.allowance(sum)?;
        let mut leases = self
            .sampler
            .lease(allowance, leasing.terms, &mut leasing.least);
        leases.fit &= self.governor.slack_fits(sum);
        Some(leases)
    }

    /// What the leases did; `None` for a run without.
    fn lease_use(&self) -> Option<LeaseUse> {
        self.spec.leases().then(|| LeaseUse {
            min_headroom: self.leasing.as_ref().and_then(|leasing| leasing.least),
            // The first lease is set before the first look.
            refusal: match start_limit(self.spec) {
                Some(_) => Refusal::Possible,
                None => Refusal::Excluded,
            },
        })
    }

    fn note(&mut self, current: ByteSize) {
        self.current = current;
        self.peak = self.peak.max(current);
        let now = self.started.elapsed();
        if let Some(recorder) = &mut self.recorder {
            recorder.sample(now, current);
        }
    }

    fn due_sample(&mut self) -> Option<FromKeeper> {
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
    fn sizes(&self) -> (ByteSize, ByteSize) {
        let peak = self.enclosure.kernel_peak().unwrap_or(self.peak);
        (self.current, peak)
    }

    /// Counts shared pages once, frozen where nobody notices. True: the tree
    /// is at its limit and must be ended.
    fn measure_exactly(&mut self, pause: impl Fn(Duration)) -> bool {
        let frozen = self
            .enclosure
            .directory()
            .filter(|group| group.set_frozen(true).is_ok());
        if let Some(group) = frozen {
            let deadline = Instant::now() + FREEZE_DEADLINE;
            while !group.is_frozen().unwrap_or(true) && Instant::now() < deadline {
                pause(Duration::from_micros(200));
            }
        }
        let begun = Instant::now();
        let sum = self.sampler.look(self.enclosure.directory());
        let bytes = self.sampler.exact(self.enclosure.directory());
        let took = begun.elapsed();
        // Growing meanwhile, the parts are of different moments.
        let bytes = bytes.min(sum.total().max(self.spec.limit));
        self.note(bytes);
        let ends = self
            .governor
            .on(Input::Exact { bytes, sum, took }, self.now());
        if ends == Action::EndTree {
            return true;
        }
        if let Some(group) = frozen {
            // A group that cannot be thawed can be killed: not left hanging.
            return group.set_frozen(false).is_err();
        }
        false
    }

    /// Halts a tree that is about to be ended for memory and takes its last
    /// size, so that the overshoot reported is what really was there.
    fn last_measurement(&mut self) {
        use crate::evidence::Cause;
        match self.governor.cause() {
            Some(Cause::Watchdog) => {}
            Some(Cause::Reserve(_)) if self.is_sampled() => {}
            _ => return,
        }
        match self.enclosure.directory() {
            // Not yet stopped everywhere is near enough.
            Some(group) => drop(group.set_frozen(true)),
            None => self.sampler.stop_members(),
        }
        let sum = self.sampler.look(self.enclosure.directory());
        let size = if sum.members <= 1 {
            sum.total()
        } else {
            self.sampler.exact(self.enclosure.directory())
        };
        self.note(size);
    }

    fn evidence(mut self, left_running: Vec<crate::LeftRunning>) -> Evidence {
        // A short job may never have been looked at.
        if let Some(charged) = self.enclosure.charged() {
            self.note(charged);
        }
        self.record(Happening::Ended);
        let recorded = self.recorder.take().map(Recorder::close);
        let (timeline, processes) = recorded.unzip();
        let (peak, peak_source) = match self.enclosure.kernel_peak() {
            Some(peak) => (Some(peak), PeakSource::Kernel),
            None => (
                (self.peak > ByteSize::ZERO).then_some(self.peak),
                PeakSource::Sampled,
            ),
        };
        let throttled = self.soft.as_ref().and_then(SoftLimit::held_back);
        let notes = self.soft.as_mut().map(SoftLimit::notes);
        Evidence {
            main: self.reaped.main,
            cause: self.governor.cause(),
            group: self.enclosure.counters(),
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
            throttled,
            lease: self.lease_use(),
            left_running,
            timeline,
            processes,
            notes: notes.unwrap_or_default(),
        }
    }
}

fn start(spec: &Spec, enclosure: &Enclosure, role: &Role) -> Result<Spawned, StartError> {
    let entrances = enclosure.entrances().map_err(StartError::Entrance)?;
    let args: Vec<_> = spec.args.iter().map(|word| word.0.clone()).collect();
    let (env, streams) = match role {
        Role::Process(_) => (std::env::vars_os().collect(), [None; 3]),
        Role::Thread(hands) => (
            hands.env.clone(),
            hands
                .streams
                .each_ref()
                .map(|s| s.as_ref().map(AsFd::as_fd)),
        ),
    };
    spawn(&SpawnRequest {
        program: &spec.program.0,
        args: &args,
        env: &env,
        current_dir: directory_of(spec),
        streams,
        // Born into the embedding program's group, which we are still in.
        process_group: None,
        entrances: &entrances,
        data_limit: start_limit(spec),
        oom_score_adj: Some(JOB_OOM_SCORE),
        signal_mask: spec.signal_mask,
        ignored_signals: spec.ignored_signals,
    })
    .map_err(StartError::Spawn)
}

/// The job's own working directory.
fn directory_of(spec: &Spec) -> Option<&Path> {
    spec.current_dir.as_ref().map(|dir| Path::new(&dir.0))
}

/// RLIMIT_DATA before the job's first instruction. The first lease is the whole
/// limit.
fn start_limit(spec: &Spec) -> Option<DataLimit> {
    match spec.placement {
        Placement::Rlimit => Some(DataLimit::Fixed(spec.limit)),
        Placement::Watchdog if spec.lease => {
            let terms = Leasing::begin()?.terms;
            let first = terms.lease(ByteSize::ZERO, spec.limit);
            (first != terms.own).then(|| DataLimit::Soft(ByteSize::from_bytes(first)))
        }
        _ => None,
    }
}

/// Leases being given.
#[derive(Debug)]
struct Leasing {
    terms: Terms,
    /// The least that a member had left of its lease.
    least: Option<ByteSize>,
}

impl Leasing {
    /// `None` where our own limit cannot be read; no lease is given then.
    fn begin() -> Option<Leasing> {
        let pid = std::process::id();
        let own = data_limit::soft(i32::try_from(pid).ok()?).ok()?;
        Some(Leasing {
            terms: Terms {
                mark: Mark::of(pid),
                own,
            },
            least: None,
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("failed to open the way into the group")]
    Entrance(#[source] memcap_linux::FileError),
    #[error(transparent)]
    Spawn(SpawnError),
}

fn not_started(error: &StartError, spec: &Spec) -> FromKeeper {
    use memcap_linux::spawn::SpawnStep;
    let (step, errno) = match error {
        StartError::Entrance(error) => (SpawnStep::EnterCgroup, error.errno()),
        StartError::Spawn(error) => (error.step, error.source.raw_os_error()),
    };
    let known = errno.filter(|_| step == SpawnStep::Exec);
    let why = known.and_then(|errno| not_executed::why(&spec.program.0, directory_of(spec), errno));
    let reason = match why {
        Some(why) => format!("{}: {why}", one_line(error)),
        None => one_line(error),
    };
    FromKeeper::NotStarted {
        step: step.to_string(),
        errno,
        reason,
    }
}

fn can_write(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    ppoll(&mut fds, Some(timespec(Duration::ZERO)), None).is_ok_and(|ready| ready > 0)
}

fn timespec(duration: Duration) -> TimeSpec {
    TimeSpec::nanoseconds(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}
