//! The keeper's life: receive a spec, prepare, start the job, watch, end,
//! clean up, tell.

mod launch;
mod leasing;
mod measure;
mod record;
mod watch;
mod woken;

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memcap_linux::spawn::Spawned;
use memcap_linux::{
    PidFd, ProcessId, adopt_fd, close_all_except, detach_standard_streams, one_line, priority,
    signals,
};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::{TimeSpec, TimeValLike};

pub(super) use self::launch::JOB_OOM_SCORE;
use self::launch::{not_started, start};
use self::watch::Watch;
use super::around::Around;
use super::enclosure::Enclosure;
use super::home::Home;
use super::sampler::Sampler;
use super::seat::Seat;
use super::tree::{self, Family};
use crate::evidence::Evidence;
use crate::governor::Action;
use crate::plan::{Placement, Rejected};
use crate::stream::JobEnds;
use crate::timeline::Happening;
use crate::wire::{self, FromKeeper, Inbox, Spec, ToKeeper};

/// What ps(1) and pgrep(1) show of a keeper.
pub(super) const NAME: &CStr = c"memcap-keeper";
/// How long the groups may take to be removable after the last process.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(2);

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
    carried: Option<[OwnedFd; 2]>,
) -> io::Result<JoinHandle<()>> {
    // Without handles on processes nothing would tell of the end of a job.
    PidFd::open(i32::try_from(std::process::id()).map_err(io::Error::other)?)?;
    let hands = Hands {
        env,
        streams,
        carried,
    };
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
                seat: None,
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
    /// At the table of a budget, until the job is watched.
    seat: Option<Seat>,
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
    /// Descriptors of a budget.
    carried: Option<[OwnedFd; 2]>,
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
        // Somebody may have stopped us, and whoever would continue us is gone.
        nix::sys::prctl::set_pdeathsig(Signal::SIGCONT)?;
        let mut ended = SigSet::empty();
        ended.add(Signal::SIGCHLD);
        let children =
            SignalFd::with_flags(&ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Keeper {
            stream,
            inbox: Inbox::default(),
            role: Role::Process(children),
            host: None,
            seat: None,
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
                self.dispose(&spec, &enclosure);
                Err(error)
            }
        }
    }

    /// One job from its start to its end, and what is said of it.
    fn run(&mut self, spec: &Spec, enclosure: &Enclosure) -> io::Result<FromKeeper> {
        let around = Around::observe(&spec.surroundings);
        let home = enclosure.home().map(Home::surroundings);
        let around_home = home.map(|home| Around::observe(&home));
        let mut sampler = match spec.placement {
            Placement::Watchdog | Placement::Rlimit => {
                Sampler::new(enclosure.directory(), spec.swap)
            }
            // The group's own counter is read instead.
            Placement::CgroupV2(_) | Placement::Systemd(_) | Placement::CgroupV1(_) => {
                Sampler::unused()
            }
        };
        let oom_score = self.seat.as_mut().map_or(JOB_OOM_SCORE, Seat::oom_score);
        if let Role::Process(_) = self.role {
            // A job of the same user could halt us by ptrace(2), and grow meanwhile. It
            // cannot fail.
            let _ = nix::sys::prctl::set_dumpable(false);
        }
        // A look that is late is late from here on.
        let started = Instant::now();
        let job = match start(spec, enclosure, &self.role, oom_score) {
            Ok(job) => job,
            Err(error) => {
                self.dispose(spec, enclosure);
                return Ok(not_started(&error, spec));
            }
        };
        if let Role::Process(_) = self.role {
            // The job has its own limit by now, and we hold two for each of its processes.
            allow_many_descriptors();
        }
        if self.role.family() == Family::OfMain && job.pidfd.is_some() {
            sampler.follow(job.pid);
        }
        let seat = self.seat.take();
        let mut keep = seat
            .as_ref()
            .map_or(Vec::new(), |seat| seat.descriptors().to_vec());
        keep.extend(around.descriptors());
        keep.extend(around_home.iter().flat_map(Around::descriptors));
        let mut watch = Watch::new(
            (spec, enclosure),
            (&job, started),
            sampler,
            self.role.family(),
            seat,
        );
        let watched = self
            .let_go_of_the_jobs_things(enclosure, keep, &job)
            .and_then(|()| {
                if matches!(spec.placement, Placement::Watchdog) || spec.budget.is_some() {
                    priority::prefer_this_process();
                    priority::ask_for_short_slices();
                    if let Role::Process(_) = self.role {
                        priority::prefer_this_session();
                    }
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
        let since = around.since();
        let at_home = around_home.as_ref().map(Around::since).unwrap_or_default();
        evidence.group = enclosure.counters(since.told.max(at_home.told));
        evidence.outer = since.limit_hit;
        evidence.oom_kills_around = around.kills();
        evidence.notes.extend(enclosure.notes(evidence.group));
        if let Some(budget) = &mut evidence.budget {
            budget.hit = at_home.limit_hit;
        }
        evidence.notes.extend(self.dispose(spec, enclosure));
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
            if let (Some(seating), None) = (&spec.budget, &self.seat) {
                let carried = match &mut self.role {
                    Role::Process(_) => None,
                    Role::Thread(hands) => hands.carried.take(),
                };
                self.seat = Some(Seat::take(seating, carried)?);
            }
            match Enclosure::prepare(&spec) {
                Ok((enclosure, prepared)) => {
                    if let Some(surroundings) = enclosure.surroundings() {
                        spec.surroundings = surroundings;
                    }
                    if let Err(error) = wire::send(&self.stream, &FromKeeper::Prepared(prepared)) {
                        self.dispose(&spec, &enclosure);
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
                Some(
                    ToKeeper::Signal(_)
                    | ToKeeper::StopAsked { .. }
                    | ToKeeper::ContinueAsked { .. }
                    | ToKeeper::Look,
                ) => {}
                None if self.inbox.is_closed() => return Ok(None),
                None => self.inbox.fill(&self.stream)?,
            }
        }
    }

    /// The job's pipes must end when the job closes them, not when we do.
    fn let_go_of_the_jobs_things(
        &mut self,
        enclosure: &Enclosure,
        mut keep: Vec<RawFd>,
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
        keep.extend([self.stream.as_raw_fd(), children]);
        keep.extend(self.host.as_ref().map(|host| host.as_fd().as_raw_fd()));
        keep.extend(job.pidfd.as_ref().map(|handle| handle.as_fd().as_raw_fd()));
        keep.extend(enclosure.oom_signal().map(|(fd, _)| fd.as_raw_fd()));
        keep.extend(enclosure.task_signal().map(|(fd, _)| fd.as_raw_fd()));
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
        let mut inputs = Vec::new();
        loop {
            watch.punctuality.worked(watch.stamp());
            let due = watch.wake_at();
            let woken = self.wait(watch)?;
            watch.punctuality.woke(due, watch.stamp());
            self.inputs(&woken, watch, &mut inputs)?;
            for input in inputs.drain(..) {
                let asked = watch.tell(input);
                match watch.measure(asked, rest) {
                    Action::Wait | Action::MeasureBounds | Action::MeasureExactly => {}
                    Action::AskToEnd => {
                        watch.record_limit();
                        watch.record(Happening::AskedToEnd);
                        if let Some(soft) = &mut watch.soft {
                            soft.give_up();
                        }
                        if let Some(seat) = &mut watch.seat {
                            seat.give_up_pausing();
                        }
                        watch.signal_main(Signal::SIGTERM as i32);
                        // A stopped one could not hear it.
                        if watch.job_control.main_may_be_stopped() {
                            watch.continue_main();
                        }
                    }
                    Action::EndTree => return Ok(()),
                }
            }
        }
    }

    fn end(&self, mut watch: Watch<'_>) -> Evidence {
        watch.punctuality.worked(watch.stamp());
        if let Some(seat) = &mut watch.seat {
            seat.begin_to_end();
        }
        watch.last_measurement();
        watch.record_ending();
        if watch.governor.cause().is_some() {
            watch.sampler.kill_members();
        }
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

    /// Removes the groups; a dying process may hold them for a moment. Returns
    /// notes about what stayed.
    fn dispose(&self, spec: &Spec, enclosure: &Enclosure) -> Vec<String> {
        let deadline = Instant::now() + REMOVAL_DEADLINE;
        let removed = loop {
            match enclosure.dispose() {
                Err(_) if Instant::now() < deadline => self.pause(Duration::from_millis(1)),
                outcome => break outcome,
            }
        };
        let host_is_dead = || spec.host.is_some_and(ProcessId::is_gone);
        if let Some(home) = enclosure.home().filter(|_| host_is_dead()) {
            // Others are still at it: the last one removes it, or the next start.
            let _ = home.remove();
        }
        let left = removed.and_then(|()| enclosure.leave_room()).err();
        left.map(|error| format!("{}; it is swept at the next start", one_line(&error)))
            .into_iter()
            .collect()
    }

    /// Waits a little for a child to end, and takes note of it: for when the loop is
    /// over and the caller reaps.
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

/// As many as we may have without asking anybody (RLIMIT_NOFILE).
fn allow_many_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // It cannot fail, and all that were there are left.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Waits, and leaves what happens meanwhile to the loop: a child's end that is
/// acknowledged elsewhere would never be asked about.
fn rest(duration: Duration) {
    // Woken early: the caller looks again anyway.
    let _ = ppoll(&mut [], Some(timespec(duration)), None);
}

fn can_write(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    ppoll(&mut fds, Some(timespec(Duration::ZERO)), None).is_ok_and(|ready| ready > 0)
}

fn timespec(duration: Duration) -> TimeSpec {
    TimeSpec::nanoseconds(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}
