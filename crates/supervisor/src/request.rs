//! What is to be run, and within which limits.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memcap_linux::{ByteSize, SizeSpec};

use crate::wire::Word;
use crate::{LeasePolicy, MechanismChoice, ReportedRequest, Stream};

/// The command to run, with its streams and surroundings. Whatever is not
/// changed here is the caller's own.
///
/// ```
/// use memcap_supervisor::{Job, Stream};
///
/// let job = Job::new("cc")
///     .args(["-c", "main.c"])
///     .env("LANG", "C")
///     .current_dir("/src")
///     .stdin(Stream::Null)
///     .stderr(Stream::Piped);
/// ```
#[derive(Debug)]
pub struct Job {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, Option<OsString>)>,
    pub(crate) current_dir: Option<PathBuf>,
    /// Standard input, output and error.
    pub(crate) streams: [Stream; 3],
}

impl Job {
    /// A command; a name without a slash is looked up in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Job {
        Job {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            current_dir: None,
            streams: Default::default(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Job {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: Into<OsString>>>(mut self, args: I) -> Job {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Job {
        self.env
            .push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Job {
        self.env.push((name.as_ref().to_owned(), None));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Job {
        self.current_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Gives it another standard input than ours.
    #[must_use]
    pub fn stdin(mut self, stream: impl Into<Stream>) -> Job {
        self.streams[0] = stream.into();
        self
    }

    /// Gives it another standard output than ours.
    #[must_use]
    pub fn stdout(mut self, stream: impl Into<Stream>) -> Job {
        self.streams[1] = stream.into();
        self
    }

    /// Gives it another standard error than ours.
    #[must_use]
    pub fn stderr(mut self, stream: impl Into<Stream>) -> Job {
        self.streams[2] = stream.into();
        self
    }
}

/// Limits that cannot be met by any job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Zero, or less than a process needs to exist.
    #[error("a memory limit of {0} is below {min}, what a process needs to start", min = Limits::SMALLEST)]
    MemoryTooSmall(ByteSize),
    /// A time limit of nothing.
    #[error("a time limit of zero ends every job before it starts")]
    NoTime,
    /// A CPU time limit of nothing.
    #[error("a CPU time limit of zero ends every job before it starts")]
    NoCpu,
    /// A soft limit that would never be reached, or is no limit.
    #[error("a soft limit of {soft} is not between {min} and the memory limit of {memory}", min = Limits::SMALLEST)]
    SoftOutOfRange {
        /// The soft limit.
        soft: ByteSize,
        /// The memory limit.
        memory: ByteSize,
    },
    /// A deadline for a soft limit that is not there.
    #[error("a stall deadline means nothing without a soft limit")]
    StallWithoutSoft,
    /// A stall deadline of nothing.
    #[error("a stall deadline of zero ends every job that reaches its soft limit")]
    NoStall,
    /// Not even the main process.
    #[error("a limit of zero processes leaves no room for the command itself")]
    NoProcesses,
}

impl LimitError {
    /// What to write instead.
    pub fn hint(self) -> String {
        let told = match self {
            LimitError::MemoryTooSmall(bytes) => return unit_forgotten(bytes),
            LimitError::SoftOutOfRange { .. } => {
                "write a soft limit below the memory limit, such as `--memory 8G --soft 6G`"
            }
            LimitError::StallWithoutSoft => "give `--soft SIZE` too, or leave `--stall` out",
            LimitError::NoTime | LimitError::NoCpu | LimitError::NoStall => {
                "write a time such as 90s, 10m or 2h"
            }
            LimitError::NoProcesses => "write a number of processes and threads such as 64",
        };
        told.to_owned()
    }
}

/// Up to this, a number without a unit is more likely meant in GiB than in MiB.
const MOST_GIB: u64 = 64;

/// What somebody may have meant by so few bytes: a number is seldom written for
/// bytes alone. What is whole in KiB may have been written with a unit.
fn unit_forgotten(bytes: ByteSize) -> String {
    let meant = match bytes.bytes() {
        0 => None,
        few @ 1..=MOST_GIB => Some(format!("{few}G")),
        more if more % 1024 != 0 => Some(format!("{more}M")),
        _ => None,
    };
    match meant {
        Some(size) => format!("did you mean {size}? A size without a unit is in bytes"),
        None => "write a limit such as 512M or 8G; a size without a unit is in bytes".to_owned(),
    }
}

/// What a job may use, valid by construction.
///
/// ```
/// use std::time::Duration;
/// use memcap_supervisor::Limits;
///
/// let limits = Limits::memory("1.5G".parse()?)?
///     .time(Duration::from_secs(600))?
///     .grace(Duration::from_secs(5));
/// assert!(Limits::memory("12K".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub(crate) memory: SizeSpec,
    pub(crate) swap: SizeSpec,
    pub(crate) soft: Option<SizeSpec>,
    pub(crate) stall: Option<Duration>,
    pub(crate) time: Option<Duration>,
    pub(crate) cpu: Option<Duration>,
    pub(crate) processes: Option<u64>,
    /// Of the machine; zero for no reserve.
    pub(crate) keep_free: SizeSpec,
    pub(crate) grace: Duration,
}

impl Limits {
    /// The smallest memory limit that is accepted.
    pub const SMALLEST: ByteSize = ByteSize::from_mib(1);

    /// A memory limit for the whole tree, swap included.
    ///
    /// # Errors
    /// Below [`Limits::SMALLEST`].
    pub fn memory(memory: SizeSpec) -> Result<Limits, LimitError> {
        match memory {
            SizeSpec::Bytes(bytes) if bytes < Limits::SMALLEST => {
                Err(LimitError::MemoryTooSmall(bytes))
            }
            SizeSpec::Bytes(_) | SizeSpec::Percent(_) | SizeSpec::Max => Ok(Limits {
                memory,
                swap: SizeSpec::NOTHING,
                soft: None,
                stall: None,
                time: None,
                cpu: None,
                processes: None,
                keep_free: SizeSpec::NOTHING,
                grace: Duration::from_secs(2),
            }),
        }
    }

    /// Ends the tree after this wall time: SIGTERM to the main process, and
    /// SIGKILL to the tree after the grace.
    ///
    /// # Errors
    /// A time of zero.
    pub fn time(self, limit: Duration) -> Result<Limits, LimitError> {
        if limit.is_zero() {
            return Err(LimitError::NoTime);
        }
        Ok(Limits {
            time: Some(limit),
            ..self
        })
    }

    /// Lets the tree have this much in swap beside its memory limit; nothing
    /// unless set. What is swapped beyond it counts as memory. A share is one of
    /// the memory that is effectively there, as for the limit itself; `max` is
    /// all the swap of the machine.
    #[must_use]
    pub fn swap(self, allowance: impl Into<SizeSpec>) -> Limits {
        Limits {
            swap: allowance.into(),
            ..self
        }
    }

    /// Slows the tree down from here on, so that others keep their memory and
    /// their turn: by `memory.high` in a cgroup v2 leaf, else by short freezes.
    /// A tree that makes no progress so for a minute is let go, unless
    /// [`Limits::stall`] asks for its end. A share is one of the memory that is
    /// effectively there, as for the limit itself.
    ///
    /// # Errors
    /// Below [`Limits::SMALLEST`], or not below the memory limit; where either is
    /// a share the plan finds out.
    pub fn soft(self, soft: impl Into<SizeSpec>) -> Result<Limits, LimitError> {
        let soft = soft.into();
        let in_bytes = |size, otherwise| match size {
            SizeSpec::Bytes(bytes) => bytes,
            SizeSpec::Percent(_) | SizeSpec::Max => otherwise,
        };
        let memory = in_bytes(self.memory, ByteSize::MAX);
        let least = in_bytes(soft, Limits::SMALLEST);
        if least < Limits::SMALLEST || least >= memory {
            return Err(LimitError::SoftOutOfRange {
                soft: least,
                memory,
            });
        }
        Ok(Limits {
            soft: Some(soft),
            ..self
        })
    }

    /// Ends a tree that has made no progress above its soft limit for so long:
    /// SIGTERM to the main process, and SIGKILL to the tree after the grace.
    ///
    /// # Errors
    /// Without a soft limit; a time of zero.
    pub fn stall(self, deadline: Duration) -> Result<Limits, LimitError> {
        if self.soft.is_none() {
            return Err(LimitError::StallWithoutSoft);
        }
        if deadline.is_zero() {
            return Err(LimitError::NoStall);
        }
        Ok(Limits {
            stall: Some(deadline),
            ..self
        })
    }

    /// Ends the tree when its processes together have used this much CPU time,
    /// user and system, on all processors: SIGTERM to the main process, and
    /// SIGKILL to the tree after the grace.
    ///
    /// # Errors
    /// A time of zero.
    pub fn cpu(self, limit: Duration) -> Result<Limits, LimitError> {
        if limit.is_zero() {
            return Err(LimitError::NoCpu);
        }
        Ok(Limits {
            cpu: Some(limit),
            ..self
        })
    }

    /// Ends the tree at once when it wants more processes than this at a time.
    /// Threads count, as they do for `pids.max` and systemd's `TasksMax`.
    ///
    /// # Errors
    /// A limit of zero.
    pub fn processes(self, limit: u64) -> Result<Limits, LimitError> {
        if limit == 0 {
            return Err(LimitError::NoProcesses);
        }
        Ok(Limits {
            processes: Some(limit),
            ..self
        })
    }

    /// Ends the tree at once when less than this is available on the machine
    /// (`MemAvailable` of /proc/meminfo), whoever uses the rest; zero, and so
    /// never, unless set. Looked at beside every mechanism, when at 8 GiB/s it
    /// could at the earliest be so, every 2 to 250 ms: a tree that is faster, or
    /// a burst between two looks, goes below it. A reserve that is not available
    /// when the job is to start is refused with the plan. A share is one of all
    /// the machine's memory.
    #[must_use]
    pub fn keep_free(self, reserve: impl Into<SizeSpec>) -> Limits {
        Limits {
            keep_free: reserve.into(),
            ..self
        }
    }

    /// How long a job that was asked to end may take; 2 s unless set. A memory
    /// breach has no grace.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Limits {
        Limits { grace, ..self }
    }
}

/// One run: a job, its limits, and how they shall be held.
#[derive(Debug)]
pub struct Request {
    pub(crate) job: Job,
    pub(crate) limits: Limits,
    pub(crate) mechanism: MechanismChoice,
    pub(crate) sample_every: Option<Duration>,
    pub(crate) record: bool,
    pub(crate) trace: Option<PathBuf>,
    pub(crate) lease: LeasePolicy,
    pub(crate) expected_peak: Option<ByteSize>,
}

impl Request {
    /// A run with the strongest mechanism there is.
    pub fn new(job: Job, limits: Limits) -> Request {
        Request {
            job,
            limits,
            mechanism: MechanismChoice::Auto,
            sample_every: None,
            record: false,
            trace: None,
            lease: LeasePolicy::default(),
            expected_peak: None,
        }
    }

    /// What is asked for, for a [`crate::Report`].
    pub fn describe(&self) -> ReportedRequest {
        let words = std::iter::once(&self.job.program).chain(&self.job.args);
        ReportedRequest {
            command: words.cloned().map(Word).collect(),
            memory: self.limits.memory.to_string(),
            mechanism: self.mechanism.to_string(),
        }
    }

    /// Keeps a [`crate::Timeline`] and the [`crate::Processes`] of the run.
    /// Where the kernel holds the limit, the keeper then wakes up to look, at
    /// most every 5 ms at first and every half second in a long run.
    #[must_use]
    pub fn record(self, record: bool) -> Request {
        Request { record, ..self }
    }

    /// Writes what the governor was told and what it decided to `file`, an
    /// absolute path, when the job is over: JSON lines for memcap's own tests,
    /// whose format may change with any version.
    #[doc(hidden)]
    #[must_use]
    pub fn trace(self, file: Option<PathBuf>) -> Request {
        Request {
            trace: file,
            ..self
        }
    }

    /// Asks for one mechanism, or leaves the choice open.
    #[must_use]
    pub fn mechanism(self, mechanism: MechanismChoice) -> Request {
        Request { mechanism, ..self }
    }

    /// Bounds what processes map between two looks of the watchdog; off unless
    /// set. Only the watchdog gives leases: where another mechanism holds the
    /// limit the outcome has a note that says so.
    #[must_use]
    pub fn lease(self, lease: LeasePolicy) -> Request {
        Request { lease, ..self }
    }

    /// What the tree is expected to hold at its largest. Only a [`crate::Budget`]
    /// makes use of it: where it is known of every elder member, and all of them
    /// fit beside what a younger one holds, that one is paused and not ended. An
    /// estimate limits nothing.
    #[must_use]
    pub fn expected_peak(self, estimate: ByteSize) -> Request {
        Request {
            expected_peak: Some(estimate),
            ..self
        }
    }

    /// Reports the tree's memory about this often as [`crate::Event::Sample`].
    #[must_use]
    pub fn sample_every(self, interval: Duration) -> Request {
        Request {
            sample_every: Some(interval),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_unit_is_guessed() {
        let cases = [
            (0, "write a limit"),
            (5, "did you mean 5G?"),
            (64, "did you mean 64G?"),
            (512, "did you mean 512M?"),
            (5000, "did you mean 5000M?"),
            // Perhaps 8K, which was written with a unit.
            (8192, "write a limit"),
        ];
        for (bytes, expected) in cases {
            let hint = LimitError::MemoryTooSmall(ByteSize::from_bytes(bytes)).hint();
            assert!(hint.starts_with(expected), "{hint}");
            assert!(hint.ends_with(" size without a unit is in bytes"), "{hint}");
        }
    }

    #[test]
    fn limits_that_cannot_be_met_are_refused() {
        let bytes = |n| SizeSpec::Bytes(ByteSize::from_bytes(n));
        assert_eq!(
            Limits::memory(bytes(0)),
            Err(LimitError::MemoryTooSmall(ByteSize::ZERO))
        );
        let limits = Limits::memory(bytes(1 << 20)).expect("one MiB is accepted");
        assert_eq!(limits.time(Duration::ZERO), Err(LimitError::NoTime));
        assert_eq!(limits.cpu(Duration::ZERO), Err(LimitError::NoCpu));
        let second = Duration::from_secs(1);
        assert_eq!(limits.stall(second), Err(LimitError::StallWithoutSoft));
        let memory = ByteSize::from_mib(8);
        let limits = Limits::memory(SizeSpec::Bytes(memory)).expect("a limit");
        for soft in [ByteSize::ZERO, memory] {
            let refused = Err(LimitError::SoftOutOfRange { soft, memory });
            assert_eq!(limits.soft(soft), refused);
        }
        let soft = limits.soft(ByteSize::from_mib(7)).expect("below the limit");
        assert_eq!(soft.stall(Duration::ZERO), Err(LimitError::NoStall));
        assert_eq!(limits.processes(0), Err(LimitError::NoProcesses));
        assert_eq!(
            LimitError::MemoryTooSmall(ByteSize::ZERO).to_string(),
            "a memory limit of 0 B is below 1 MiB, what a process needs to start"
        );
    }
}
