//! Runs a process tree under a memory limit and says truthfully what happened.
//!
//! A run reads: plan what to do from the [`Request`] and the host's facts,
//! start a **keeper** that does it, listen to its events, judge the evidence
//! into one [`Outcome`]. Plan, governor and verdict are pure functions; the
//! keeper holds the effects.
//!
//! ```no_run
//! use memcap_supervisor::{Job, Limits, Request, Supervisor};
//!
//! let job = Job::new("make").args(["-j8"]);
//! let limits = Limits::memory("2G".parse()?)?;
//! let outcome = Supervisor::new().run(Request::new(job, limits))?;
//! println!("{} at most {:?}", outcome.verdict.kind, outcome.peak);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod amounts;
mod budget;
mod conversation;
mod error;
mod evidence;
mod governor;
mod guardian;
mod handle;
mod held;
pub mod keeper;
mod launch;
mod lease;
mod mechanism;
mod meters;
mod moment;
mod outcome;
mod plan;
mod processes;
mod proof;
mod proof_cache;
mod report;
mod request;
mod rescue;
mod stream;
mod supervisor;
mod throttle;
mod timeline;
mod trace;
mod verdict;
mod wire;

pub use budget::{Budget, BudgetError, BudgetSample};
pub use error::{KeeperRefusal, SupervisorError};
pub use evidence::{Evidence, JobEnd, LeftRunning, PeakSource};
pub use handle::{Control, Event, Events, Handle, Output, Sample};
pub use held::{Held, OtherLimit};
pub use lease::{LeasePolicy, LeaseUse, Refusal};
pub use mechanism::{Containment, MechanismChoice, UnknownMechanism};
pub use memcap_linux::{ByteSize, ParseSizeError, ProcessId, SizeSpec};
pub use memcap_probe::{Guarantee, Mechanism};
pub use moment::Moment;
pub use outcome::{BudgetShare, Outcome};
pub use plan::{Clamp, Plan, PlanError, Rejected};
pub use processes::{ProcessPeak, Processes};
pub use proof::{PlannedProof, ProofKind};
pub use report::{
    Report, ReportedBudget, ReportedEvent, ReportedJob, ReportedProcess, ReportedProcesses,
    ReportedRequest, ReportedTimeline, SCHEMA_VERSION, Versions,
};
pub use request::{Job, LimitError, Limits, Request};
pub use stream::Stream;
pub use supervisor::Supervisor;
pub use timeline::{Happening, Interval, TimedEvent, Timeline};
pub use verdict::{By, Verdict, VerdictKind};
pub use wire::Word;
