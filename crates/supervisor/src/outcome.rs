//! One value that feeds the human line, the JSON report and the exit code.

use std::time::Duration;

use memcap_linux::ByteSize;

use crate::Plan;
use crate::evidence::{Evidence, JobEnd, LeftRunning, PeakSource};
use crate::verdict::{Verdict, VerdictKind, judge};
use crate::wire::Prepared;

/// What became of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it was enforced.
    pub plan: Plan,
    /// What was read back before the job started; `None` where nothing could
    /// be (watchdog, rlimit).
    pub proof: Option<String>,
    /// What happened.
    pub verdict: Verdict,
    /// How the main process ended; `None` when it never ran or it is unknown.
    pub job: Option<JobEnd>,
    /// The tree's largest memory; `None` when it was not measured.
    pub peak: Option<ByteSize>,
    /// Who measured it.
    pub peak_source: Option<PeakSource>,
    /// From the job's start to the end of its last process.
    pub wall: Option<Duration>,
    /// User and system time of every reaped process.
    pub cpu: Option<Duration>,
    /// What could not be ended.
    pub left_running: Vec<LeftRunning>,
    /// Things that went less well than hoped.
    pub notes: Vec<String>,
    /// 126 or 127 when the job was not started for the user's reason.
    start_failure: Option<u8>,
}

impl Outcome {
    pub(crate) fn ended(
        plan: Plan,
        prepared: Prepared,
        evidence: Evidence,
        forwarded: &[i32],
    ) -> Outcome {
        let verdict = judge(&evidence, forwarded);
        let mut notes = prepared.notes;
        notes.extend(evidence.notes);
        Outcome {
            plan,
            proof: prepared.proof,
            verdict,
            job: evidence.main,
            peak: evidence.peak,
            peak_source: evidence.peak.map(|_| evidence.peak_source),
            wall: Some(evidence.wall),
            cpu: Some(evidence.cpu),
            left_running: evidence.left_running,
            notes,
            start_failure: None,
        }
    }

    pub(crate) fn not_started(
        plan: Plan,
        prepared: Prepared,
        exec_errno: Option<i32>,
        reason: String,
    ) -> Outcome {
        use nix::libc::{ENOENT, ENOTDIR};
        let (kind, code) = match exec_errno {
            Some(ENOENT | ENOTDIR) => (VerdictKind::NotStarted, Some(127)),
            Some(_) => (VerdictKind::NotStarted, Some(126)),
            None => (VerdictKind::InternalError, None),
        };
        Outcome::without_evidence(plan, prepared, Verdict::new(kind, reason), code)
    }

    pub(crate) fn keeper_lost(
        plan: Plan,
        prepared: Prepared,
        left_running: Vec<LeftRunning>,
        notes: Vec<String>,
    ) -> Outcome {
        let verdict = Verdict::new(
            VerdictKind::InternalError,
            "the keeper was killed; the tree was ended without it",
        );
        let mut outcome = Outcome::without_evidence(plan, prepared, verdict, None);
        outcome.left_running = left_running;
        outcome.notes.extend(notes);
        outcome
    }

    fn without_evidence(
        plan: Plan,
        prepared: Prepared,
        verdict: Verdict,
        start_failure: Option<u8>,
    ) -> Outcome {
        Outcome {
            plan,
            proof: prepared.proof,
            verdict,
            job: None,
            peak: None,
            peak_source: None,
            wall: None,
            cpu: None,
            left_running: Vec::new(),
            notes: prepared.notes,
            start_failure,
        }
    }

    /// How far the tree was above its limit; `None` when no peak is known.
    pub fn overshoot(&self) -> Option<ByteSize> {
        self.peak.map(|peak| peak.saturating_sub(self.plan.limit))
    }

    /// The exit code of `memcap run`, 0 to 255; never 0 after a kill.
    pub fn exit_code(&self) -> u8 {
        let of_job = match self.job {
            Some(JobEnd::Exited(code)) => u8::try_from(code & 0xff).unwrap_or(125),
            Some(JobEnd::Signaled(signal)) => u8::try_from(128 + (signal & 0x7f)).unwrap_or(125),
            None => 125,
        };
        match self.verdict.kind {
            VerdictKind::Finished | VerdictKind::Signaled => of_job,
            VerdictKind::Interrupted if of_job != 0 => of_job,
            // Asked to end, and it ended with 0: it was cut short all the same.
            VerdictKind::Interrupted => 143,
            VerdictKind::MemoryLimit
            | VerdictKind::OuterLimit
            | VerdictKind::MachineOom
            | VerdictKind::KilledByOther
            | VerdictKind::PartialKill => 137,
            VerdictKind::TimeLimit => 124,
            VerdictKind::NotStarted => self.start_failure.unwrap_or(126),
            VerdictKind::InternalError | VerdictKind::Unexplained => 125,
        }
    }

    /// The signal to end ourselves with, so that a shell sees what it would
    /// have seen of the job: only where a signal passed on ended the job.
    pub fn signal_to_raise(&self) -> Option<i32> {
        match (self.verdict.kind, self.job) {
            (VerdictKind::Interrupted, Some(JobEnd::Signaled(signal))) => Some(signal),
            _ => None,
        }
    }
}
