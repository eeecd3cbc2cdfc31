//! How this crate gets a process run under the limit, without knowing how.
//!
//! The conversion asks for [`Step`]s; whoever embeds it (the command line, a
//! test with a script) runs them. Nothing in this crate starts a process by
//! any other way.

use std::ffi::OsString;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

/// One process to be run to its end under a memory limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is being done, for people: `pages 1-20`.
    pub label: String,
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
    /// Changes to the environment: a value to set, or `None` to remove.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// Where standard output goes; created or truncated, 0600.
    pub stdout: PathBuf,
    /// Where standard error goes; created or truncated, 0600.
    pub stderr: PathBuf,
    /// The limit for the whole process tree, swap included.
    pub memory: ByteSize,
    /// What the tree is expected to hold at its largest, where that is
    /// estimated. It limits nothing: a total that is shared with others makes room
    /// by it.
    pub estimate: Option<ByteSize>,
    /// How long it may take; `None` is without end.
    pub time_limit: Option<Duration>,
}

/// How a step ended. Mirrors the supervisor's verdict kinds (exit-codes page
/// of the documentation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It ended by itself with this exit code.
    Finished {
        /// 0 to 255.
        exit_code: i32,
    },
    /// A signal that was not ours ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// Its own limit was reached and the tree was ended.
    MemoryLimit,
    /// An enclosing limit was reached.
    OuterLimit,
    /// The machine's OOM killer ended it.
    MachineOom,
    /// Somebody sent SIGKILL.
    KilledByOther,
    /// A member of the tree was OOM-killed though the main process ended by itself.
    PartialKill,
    /// It said itself that an allocation was refused.
    RefusedAllocation,
    /// It took longer than [`Step::time_limit`].
    TimeLimit,
    /// A budget that it shares with others ended it to make room for them; it is
    /// to be started again. Not its fault.
    Requeued,
    /// The user asked us to stop.
    Interrupted,
    /// It could not be started.
    NotStarted {
        /// Why, in one line.
        reason: String,
    },
    /// The evidence does not say.
    Unexplained,
}

impl Ending {
    /// The verdict kind's name, as reports and journals spell it.
    pub fn kind(&self) -> &'static str {
        match self {
            Ending::Finished { .. } => "finished",
            Ending::Signaled { .. } => "signaled",
            Ending::MemoryLimit => "memory-limit",
            Ending::OuterLimit => "outer-limit",
            Ending::MachineOom => "machine-oom",
            Ending::KilledByOther => "killed-by-other",
            Ending::PartialKill => "partial-kill",
            Ending::RefusedAllocation => "refused-allocation",
            Ending::TimeLimit => "time-limit",
            Ending::Requeued => "requeued",
            Ending::Interrupted => "interrupted",
            Ending::NotStarted { .. } => "not-started",
            Ending::Unexplained => "unexplained",
        }
    }
}

/// What happened, as the rest of a sentence: `marker_single …`.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Finished { exit_code } => write!(f, "ended with exit code {exit_code}"),
            Ending::Signaled { signal } => write!(f, "was ended by signal {signal}"),
            Ending::MemoryLimit => f.write_str("reached its memory limit"),
            Ending::OuterLimit => f.write_str("reached the memory limit of an enclosing group"),
            Ending::MachineOom => f.write_str("was ended because the machine ran out of memory"),
            Ending::KilledByOther => f.write_str("was killed by another program"),
            Ending::PartialKill => f.write_str("lost one of its processes to the memory limit"),
            Ending::RefusedAllocation => f.write_str("was refused memory"),
            Ending::TimeLimit => f.write_str("took longer than its time limit"),
            Ending::Requeued => f.write_str("made room for others"),
            Ending::Interrupted => f.write_str("was interrupted"),
            Ending::NotStarted { reason } => write!(f, "could not be started: {reason}"),
            Ending::Unexplained => f.write_str("ended for an unknown reason"),
        }
    }
}

/// What a peak counts. The two differ by hundreds of MiB for the same step,
/// because libraries and weights are read from files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accounting {
    /// A group's charge: page cache too, also what the kernel could have taken
    /// back, so a peak at the limit can be no more than that.
    Group,
    /// Anonymous, shared and swapped memory of the processes, without files.
    Processes,
}

/// What is known about a step that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// How it ended.
    pub ending: Ending,
    /// The tree's peak, where it was measured.
    pub peak: Option<ByteSize>,
    /// What the peak counts, where known.
    pub accounting: Option<Accounting>,
    /// From start to the end of the last process.
    pub wall: Duration,
}

/// A look at a running step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Memory of the tree now.
    pub current: ByteSize,
    /// Largest value so far.
    pub peak: ByteSize,
}

/// Hears how much memory a tree holds, and says whether it is still wanted: by
/// `Break` it is ended.
pub type Watch<'a> = dyn FnMut(Usage) -> ControlFlow<()> + 'a;

/// The embedding program failed to run a step at all.
#[derive(Debug, thiserror::Error)]
#[error("failed to run {label}")]
pub struct RunnerError {
    /// The step's label.
    pub label: String,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Runs steps. Implemented by the command line over the supervisor, and by a
/// script in tests.
pub trait Runner {
    /// Runs one step to its end, telling `watch` now and then how much memory
    /// its tree holds. After the user's request to stop, the running step ends
    /// with [`Ending::Interrupted`], and so does every further one.
    ///
    /// # Errors
    /// When the step could not be supervised; a failing program is no error
    /// but an [`Ending`].
    fn run(&mut self, step: &Step, watch: &mut Watch<'_>) -> Result<StepReport, RunnerError>;

    /// What the peaks of its steps will count, as far as the steps so far tell.
    fn accounting(&self) -> Option<Accounting> {
        None
    }

    /// Starts a step that goes on for as long as it is needed and is talked to.
    /// Its standard input and output are the channel: [`Step::stdout`] is not
    /// used. [`Step::time_limit`] holds for the whole. The user's request to
    /// stop ends it as it ends a running step.
    ///
    /// # Errors
    /// When it could not be supervised.
    fn start(&mut self, step: &Step) -> Result<Box<dyn Session>, RunnerError>;
}

/// Makes a runner for another worker.
pub type MakeRunner<'a> = dyn Fn() -> Result<Box<dyn Runner>, RunnerError> + Sync + 'a;

/// A step that goes on, and is talked to a line at a time. Dropping it ends its
/// tree.
pub trait Session {
    /// Sends a line, given without its end. A program that is gone hears
    /// nothing, and [`Session::hear`] tells of its end.
    fn send(&mut self, line: &str);

    /// What its tree is expected to hold at its largest from now on, in place of
    /// [`Step::estimate`].
    fn expect(&mut self, estimate: ByteSize);

    /// Waits for the next line until `deadline`, without end where there is
    /// none, telling `watch` now and then how much memory its tree holds, and
    /// once more when the line has come. Where `watch` does not want it any more,
    /// nothing is heard.
    ///
    /// # Errors
    /// When supervision fails.
    fn hear(
        &mut self,
        deadline: Option<Instant>,
        watch: &mut Watch<'_>,
    ) -> Result<Heard, RunnerError>;

    /// What the looks count, where known.
    fn accounting(&self) -> Option<Accounting>;

    /// Ends its tree and waits until it is gone. How it had ended before; `None`
    /// where it ran until now.
    ///
    /// # Errors
    /// When supervision fails.
    fn end(self: Box<Self>) -> Result<Option<Ending>, RunnerError>;
}

/// What a wait for a line brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A line, without its end.
    Line(Vec<u8>),
    /// Its tree is gone, and every line has been told.
    Ended,
    /// Nothing before the deadline.
    Nothing,
}
