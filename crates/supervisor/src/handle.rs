//! Holding a job while it runs.

use std::os::unix::net::UnixStream;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memcap_linux::ByteSize;
use nix::sys::signal::Signal;

use crate::budget::{Expectation, Place};
use crate::conversation::{Conversation, Heard};
use crate::stream::OwnEnds;
use crate::wire::{self, ToKeeper};
use crate::{Moment, Outcome, Plan, SupervisorError};

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
    /// The tree's memory, as often as [`crate::Request::sample_every`] asked for.
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
    /// Where it is a member of a budget.
    expectation: Option<Expectation>,
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
    /// Over the channel to the keeper.
    pub(crate) fn over(stream: UnixStream) -> Control {
        Control {
            stream: Arc::new(Mutex::new(stream)),
            forwarded: Arc::default(),
        }
    }

    /// The signals that the job has got.
    pub(crate) fn forwarded(&self) -> Arc<Mutex<Vec<i32>>> {
        Arc::clone(&self.forwarded)
    }

    /// Passes a signal to the job's main process. A job that dies of it was
    /// interrupted, not failed.
    pub fn signal(&self, signal: i32) {
        self.note(signal);
        self.tell(&ToKeeper::Signal(signal));
    }

    /// Passes SIGTSTP to the job's main process. `went_on` is when this process was
    /// last continued, if it was. Where both this process and the job have been
    /// stopped since ([`crate::Supervisor::mirrors_stops`]), that has fulfilled the
    /// request, and nothing happens: who stops a whole process group sends the job a
    /// copy of its own, and what is passed on must not come when the job goes on again.
    pub fn suspend(&self, went_on: Option<Moment>) {
        self.note(Signal::SIGTSTP as i32);
        self.tell(&ToKeeper::StopAsked { went_on });
    }

    /// Passes SIGCONT to the job's main process where that may be stopped, for a
    /// request `seen` at this moment at the latest. Nothing happens where both have
    /// been stopped since. What [`Control::suspend`] has passed on before is undone
    /// in any case.
    pub fn resume(&self, seen: Moment) {
        self.note(Signal::SIGCONT as i32);
        self.tell(&ToKeeper::ContinueAsked { seen });
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

    pub(crate) fn send(&self, message: &ToKeeper) -> std::io::Result<()> {
        let poisoned = |_| std::io::Error::other("a thread panicked while it was sending");
        let stream = self.stream.lock().map_err(poisoned)?;
        wire::send(&stream, message)
    }
}

impl Handle {
    /// A job that its keeper has started; with `outcome`, one that is over already.
    pub(crate) fn on(
        conversation: Conversation,
        outcome: Option<Box<Outcome>>,
        plan: Plan,
        control: Control,
        looked: Receiver<Sample>,
        streams: OwnEnds,
    ) -> Handle {
        Handle {
            keeper_pid: conversation.guardian.pid(),
            expectation: conversation.place.as_ref().map(Place::expectation),
            plan,
            link: match outcome {
                Some(outcome) => Link::Over(Some(outcome)),
                None => Link::Here(Box::new(conversation)),
            },
            control,
            looked,
            streams,
            owner: std::process::id(),
        }
    }

    /// How the job is held.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The keeper's pid; our own in [`crate::Supervisor::in_process`].
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

    /// What the tree is expected to hold at its largest from now on, as
    /// [`crate::Request::expected_peak`] said before the start. Nothing happens
    /// where the job is no member of a [`crate::Budget`].
    pub fn expect_peak(&self, estimate: ByteSize) {
        if let Some(expectation) = &self.expectation {
            expectation.is_now(estimate);
        }
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
