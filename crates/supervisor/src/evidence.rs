//! What was seen of a run that has ended. Facts only; the verdict is drawn
//! from them elsewhere.

use std::time::Duration;

use memcap_linux::{ByteSize, ProcessId};
use serde::{Deserialize, Serialize};

use crate::lease::LeaseUse;
use crate::processes::Processes;
use crate::timeline::Timeline;

/// How the job's main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobEnd {
    /// By itself, with this exit code, 0 to 255.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// Why the keeper ended the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// The watchdog saw the tree at its limit.
    Watchdog,
    /// The kernel killed a member of the group for memory.
    KernelOom,
    /// The wall time was over.
    TimeLimit,
    /// The CPU time was used up.
    CpuLimit,
    /// The tree made no progress above its soft limit.
    Stalled,
    /// A process more than allowed was wanted.
    ProcessLimit,
    /// The machine had less available than is to stay free.
    Reserve(Shortage),
    /// The members of the budget held its total together, and it was this one's
    /// turn to go.
    Budget(Reached),
    /// The group with the limit is not there any more: somebody has moved the tree
    /// out and removed it.
    LimitLost,
    /// The program that started us asked for it.
    StopAsked,
    /// The program that started us is gone.
    HostGone,
}

impl Cause {
    /// Whether one of our limits was reached, rather than somebody's wish.
    pub(crate) fn is_a_limit(self) -> bool {
        !matches!(self, Cause::LimitLost | Cause::StopAsked | Cause::HostGone)
    }
}

/// Less available on the machine than is to stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shortage {
    /// What was seen to be available.
    pub(crate) available: ByteSize,
    /// What was to stay available.
    pub(crate) reserve: ByteSize,
}

/// The total of a budget, reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// What all members held together.
    pub(crate) used: ByteSize,
    /// What they may hold.
    pub(crate) total: ByteSize,
}

/// What was seen of the budget that a job was a member of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedTotal {
    /// Whether there were other members when the job ended.
    pub(crate) others: bool,
    /// In words, if the kernel ran into the total during the run.
    pub(crate) hit: Option<String>,
    /// How long the job was frozen so that others could finish.
    pub(crate) paused: Duration,
}

/// Who measured the peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeakSource {
    /// The kernel's own high-water mark.
    Kernel,
    /// The largest of our samples.
    Sampled,
}

/// How long the command line of one process that is listed may take.
pub(crate) const COMMAND_PATIENCE: Duration = Duration::from_millis(100);

/// A process that could not be ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRunning {
    /// Which.
    #[serde(flatten)]
    pub process: ProcessId,
    /// Its command line, for people.
    pub command: Option<String>,
}

/// What the kernel's counters of the job's own group said at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCounters {
    /// Processes of the group killed by any OOM killer.
    pub oom_kills: u64,
    /// Whether the group's own limit was what was hit; `None` where the
    /// kernel does not tell.
    pub own_limit_hit: Option<bool>,
}

/// Everything that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// How the main process ended; `None` when it could not be learned.
    pub main: Option<JobEnd>,
    /// Why the keeper ended the tree, if it did.
    pub(crate) cause: Option<Cause>,
    /// Counters of the job's own group, in cgroup mechanisms.
    pub group: Option<GroupCounters>,
    /// An enclosing group whose own limit was hit during the run.
    pub outer: Option<String>,
    /// Processes in the group around us that an OOM killer took during the
    /// run, where no group of the job's own tells.
    pub oom_kills_around: Option<u64>,
    /// The tree's largest memory.
    pub peak: Option<ByteSize>,
    /// Who measured it.
    pub peak_source: PeakSource,
    /// From the job's start to the end of its last process.
    pub wall: Duration,
    /// User and system time of every reaped process.
    pub cpu: Duration,
    /// How long the tree was held back above its soft limit; `None` without
    /// one, or where the kernel does not tell.
    pub throttled: Option<Duration>,
    /// What leases did; `None` in a run without.
    pub lease: Option<LeaseUse>,
    /// Of the budget, for a member of one.
    pub(crate) budget: Option<SharedTotal>,
    /// What could not be ended.
    pub left_running: Vec<LeftRunning>,
    /// Memory over time, where it was asked for.
    pub timeline: Option<Timeline>,
    /// The largest processes, where they were asked for.
    pub processes: Option<Processes>,
    /// Processes that moved themselves out of the group of the limit, which did
    /// not hold for them.
    pub escaped: Vec<LeftRunning>,
    /// A limit that somebody else has raised, in words.
    pub(crate) raised: Option<String>,
    /// The longest that a keeper which holds the limit by looking was kept from it at
    /// one time; zero where the kernel holds it.
    pub(crate) late: Duration,
    /// Side effects that did not work out, for the report.
    pub notes: Vec<String>,
}
