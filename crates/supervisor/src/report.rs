//! The JSON report of a run. Absent means unknown, never zero.

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::evidence::{JobEnd, LeftRunning, PeakSource};
use crate::lease::LeaseUse;
use crate::plan::{Clamp, Rejected};
use crate::processes::{ProcessPeak, Processes};
use crate::proof::ProofKind;
use crate::timeline::{Happening, Interval, TimedEvent, Timeline};
use crate::verdict::Verdict;
use crate::wire::Word;
use crate::{Containment, Guarantee, Held, Mechanism, Outcome, Plan, SupervisorError};

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// The report's fields, in their order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<ReportedRequest>,
    /// Who stopped growth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<Mechanism>,
    /// How the tree was followed and ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
    /// What could be counted on.
    pub guarantee: Guarantee,
    /// What was read back before the job started, and what a trial has shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// What the limit was trusted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_kind: Option<ProofKind>,
    /// The limit asked for, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_bytes: Option<u64>,
    /// The limit set, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Why the two differ, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clamped: Option<Clamp>,
    /// The limits beside memory, each with what held it.
    pub limits: Vec<Held>,
    /// The tree's largest memory, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Who measured it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_source: Option<PeakSource>,
    /// How far the peak was above the limit, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overshoot_bytes: Option<u64>,
    /// What happened.
    pub verdict: Verdict,
    /// How the main process ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<ReportedJob>,
    /// memcap's own exit code.
    pub exit_code: u8,
    /// From the job's start to the end of its last process, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_seconds: Option<f64>,
    /// User and system time of every reaped process, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Memory over time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<ReportedTimeline>,
    /// The largest processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<ReportedProcesses>,
    /// How long the tree was held back above its soft limit, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_seconds: Option<f64>,
    /// What leases did, in a run with leases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseUse>,
    /// For a member of a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<ReportedBudget>,
    /// What could not be ended.
    pub left_running: Vec<LeftRunning>,
    /// Stronger mechanisms that were not chosen.
    pub rejected: Vec<Rejected>,
    /// Things that went less well than hoped.
    pub notes: Vec<String>,
    /// Who wrote this.
    pub versions: Versions,
}

/// What was asked for, in the words of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedRequest {
    /// The program and its arguments; the program alone once redacted.
    pub command: Vec<Word>,
    /// The memory limit, for people: `512 MiB`, `75%` or `max`.
    pub memory: String,
    /// `auto` or the one mechanism asked for.
    pub mechanism: String,
}

/// What became of a member of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReportedBudget {
    /// What all members may hold together.
    pub total_bytes: u64,
    /// It was ended to make room for others, and is to be started again.
    pub requeue: bool,
    /// How long it was frozen so that others could finish.
    pub paused_seconds: f64,
}

/// How the main process ended; one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReportedJob {
    /// By itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// By a signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// Memory over time in intervals of equal length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportedTimeline {
    /// How long each interval is.
    pub interval_seconds: f64,
    /// Begin in seconds since the job's start, least and largest bytes of each
    /// interval that has samples.
    pub points: Vec<(f64, u64, u64)>,
    /// What happened.
    pub events: Vec<ReportedEvent>,
    /// How many more events there were.
    pub events_left_out: u64,
}

/// Something that happened to the job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReportedEvent {
    /// Since the job's start.
    pub seconds: f64,
    /// What.
    pub what: Happening,
}

/// The largest processes of the job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportedProcesses {
    /// Largest first, at most 64.
    pub largest: Vec<ReportedProcess>,
    /// How many more were seen.
    pub others: u64,
}

/// One process, as it was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportedProcess {
    /// Its pid.
    pub pid: i32,
    /// Its start in clock ticks since boot.
    pub start: u64,
    /// Its short name.
    pub name: String,
    /// Its command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its largest resident set, file pages included (VmHWM).
    pub peak_bytes: u64,
    /// User and system time.
    pub cpu_seconds: f64,
}

impl From<&Timeline> for ReportedTimeline {
    fn from(timeline: &Timeline) -> ReportedTimeline {
        let point = |interval: Interval| {
            let begin = interval.begin.as_secs_f64();
            (begin, interval.least.bytes(), interval.most.bytes())
        };
        let event = |event: &TimedEvent| ReportedEvent {
            seconds: event.at.as_secs_f64(),
            what: event.what,
        };
        ReportedTimeline {
            interval_seconds: timeline.interval().as_secs_f64(),
            points: timeline.intervals().map(point).collect(),
            events: timeline.events().iter().map(event).collect(),
            events_left_out: timeline.events_left_out(),
        }
    }
}

impl From<&Processes> for ReportedProcesses {
    fn from(processes: &Processes) -> ReportedProcesses {
        let told = |process: &ProcessPeak| ReportedProcess {
            pid: process.process.pid,
            start: process.process.start,
            name: process.name.clone(),
            command: process.command.clone(),
            peak_bytes: process.peak.bytes(),
            cpu_seconds: process.cpu.as_secs_f64(),
        };
        ReportedProcesses {
            largest: processes.largest.iter().map(told).collect(),
            others: processes.others,
        }
    }
}

/// Who wrote the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// memcap's version.
    pub memcap: &'static str,
    /// The kernel's release, as `uname -r` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
}

impl From<JobEnd> for ReportedJob {
    fn from(end: JobEnd) -> ReportedJob {
        match end {
            JobEnd::Exited(code) => ReportedJob {
                exit_code: Some(code),
                signal: None,
            },
            JobEnd::Signaled(signal) => ReportedJob {
                exit_code: None,
                signal: Some(signal),
            },
        }
    }
}

impl Report {
    /// The same without what people typed: command lines go, names of programs
    /// stay.
    #[must_use]
    pub fn redacted(mut self) -> Report {
        if let Some(request) = &mut self.request {
            request.command.truncate(1);
        }
        for process in self.processes.iter_mut().flat_map(|all| &mut all.largest) {
            process.command = None;
        }
        for left in &mut self.left_running {
            left.command = None;
        }
        self
    }

    /// The same with what was asked for.
    #[must_use]
    pub fn with_request(self, request: ReportedRequest) -> Report {
        Report {
            request: Some(request),
            ..self
        }
    }

    /// The report of a run.
    pub fn of(outcome: &Outcome) -> Report {
        let Plan {
            mechanism,
            containment,
            guarantee,
            requested,
            limit,
            ..
        } = outcome.plan;
        Report {
            schema_version: SCHEMA_VERSION,
            request: None,
            mechanism: Some(mechanism),
            containment: Some(containment),
            guarantee,
            proof: outcome.proof.clone(),
            proof_kind: outcome.proof_kind,
            requested_bytes: Some(requested.bytes()),
            limit_bytes: Some(limit.bytes()),
            clamped: outcome.plan.clamped.clone(),
            limits: outcome.plan.beside.clone(),
            peak_bytes: outcome.peak.map(ByteSize::bytes),
            peak_source: outcome.peak_source,
            overshoot_bytes: outcome.overshoot().map(ByteSize::bytes),
            verdict: outcome.verdict.clone(),
            job: outcome.job.map(ReportedJob::from),
            exit_code: outcome.exit_code(),
            wall_seconds: outcome.wall.map(|wall| wall.as_secs_f64()),
            cpu_seconds: outcome.cpu.map(|cpu| cpu.as_secs_f64()),
            timeline: outcome.timeline.as_ref().map(ReportedTimeline::from),
            processes: outcome.processes.as_ref().map(ReportedProcesses::from),
            throttled_seconds: outcome.throttled.map(|time| time.as_secs_f64()),
            lease: outcome.lease,
            budget: outcome.budget.map(|share| ReportedBudget {
                total_bytes: share.total.bytes(),
                requeue: share.requeue,
                paused_seconds: share.paused.as_secs_f64(),
            }),
            left_running: outcome.left_running.clone(),
            rejected: outcome.plan.rejected.clone(),
            notes: outcome.notes.clone(),
            versions: versions(),
        }
    }

    /// The report of a run that was refused before it began.
    pub fn of_refusal(error: &SupervisorError) -> Report {
        Report::of_failure(error.to_string())
    }

    /// The report of a run that was refused for this reason.
    pub fn of_failure(reason: String) -> Report {
        Report {
            schema_version: SCHEMA_VERSION,
            request: None,
            mechanism: None,
            containment: None,
            guarantee: Guarantee::None,
            proof: None,
            proof_kind: None,
            requested_bytes: None,
            limit_bytes: None,
            clamped: None,
            limits: Vec::new(),
            peak_bytes: None,
            peak_source: None,
            overshoot_bytes: None,
            verdict: Verdict::new(crate::VerdictKind::InternalError, reason),
            job: None,
            exit_code: 125,
            wall_seconds: None,
            cpu_seconds: None,
            timeline: None,
            processes: None,
            throttled_seconds: None,
            lease: None,
            budget: None,
            left_running: Vec::new(),
            rejected: Vec::new(),
            notes: Vec::new(),
            versions: versions(),
        }
    }
}

fn versions() -> Versions {
    let kernel = nix::sys::utsname::uname().ok();
    Versions {
        memcap: env!("CARGO_PKG_VERSION"),
        kernel: kernel.map(|kernel| kernel.release().to_string_lossy().into_owned()),
    }
}
