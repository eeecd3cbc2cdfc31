//! One value that feeds the human line, the JSON report and the exit code.

use std::num::NonZeroU8;
use std::time::Duration;

use memcap_linux::ByteSize;

use crate::evidence::{Cause, Evidence, JobEnd, LeftRunning, PeakSource};
use crate::lease::LeaseUse;
use crate::processes::Processes;
use crate::proof::{ProofKind, conclude};
use crate::timeline::Timeline;
use crate::verdict::{By, Verdict, VerdictKind, judge};
use crate::wire::Prepared;
use crate::{Guarantee, Mechanism, Plan};

/// A keeper that was kept from looking for so long says so: it never waits longer by
/// itself.
const LATE: Duration = Duration::from_millis(250);
/// A keeper that did not look for so long was halted, rather than kept waiting by a
/// busy machine, and the limit did not hold meanwhile.
const HALTED: Duration = Duration::from_secs(1);

/// What became of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How it was enforced.
    pub plan: Plan,
    /// What was read back before the job started, and what a trial has shown;
    /// `None` where there was nothing (watchdog, rlimit).
    pub proof: Option<String>,
    /// What the limit was trusted for; `None` where no group held it, or none was
    /// set up.
    pub proof_kind: Option<ProofKind>,
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
    /// How long the tree was held back above its soft limit; `None` without
    /// one, or where the kernel does not tell.
    pub throttled: Option<Duration>,
    /// What leases did; `None` in a run without.
    pub lease: Option<LeaseUse>,
    /// For a member of a [`crate::Budget`].
    pub budget: Option<BudgetShare>,
    /// What could not be ended.
    pub left_running: Vec<LeftRunning>,
    /// Memory over time, where [`crate::Request::record`] asked for it.
    pub timeline: Option<Timeline>,
    /// The largest processes, where [`crate::Request::record`] asked for them.
    pub processes: Option<Processes>,
    /// Things that went less well than hoped.
    pub notes: Vec<String>,
    /// The exit code where the job was never executed: 126 or 127 for the user's
    /// reason, 125 for ours.
    start_failure: Option<u8>,
    /// Instead of the job's own code, where a lease may explain it.
    refusal_exit: Option<NonZeroU8>,
}

/// What became of a run as a member of a [`crate::Budget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetShare {
    /// What all members may hold together.
    pub total: ByteSize,
    /// It was ended to make room for others, not for a fault or a limit of its own:
    /// started again when they have finished, it may well come to its end.
    pub requeue: bool,
    /// How long it was frozen so that others could finish; its wall time stood
    /// still meanwhile.
    pub paused: Duration,
}

impl Outcome {
    pub(crate) fn ended(
        mut plan: Plan,
        mut prepared: Prepared,
        evidence: Evidence,
        forwarded: &[i32],
    ) -> Outcome {
        let verdict = judge(&evidence, forwarded);
        let proof_kind = conclude(&plan, &mut prepared);
        let budget = plan
            .budget
            .zip(evidence.budget)
            .map(|(total, seen)| BudgetShare {
                total,
                requeue: verdict.by == Some(By::Budget) && seen.others,
                paused: seen.paused,
            });
        let mut notes = prepared.notes;
        notes.extend(evidence.notes);
        if !evidence.escaped.is_empty()
            || evidence.raised.is_some()
            || evidence.late >= HALTED
            || evidence.cause == Some(Cause::LimitLost)
        {
            // What was set did not hold for the whole tree.
            plan.guarantee = Guarantee::None;
        }
        notes.extend(evidence.raised);
        notes.extend((evidence.late >= LATE).then(|| {
            format!(
                "the keeper could not look for {:.1} s at one time: it had no processor, or \
                 somebody has halted it; what the tree held meanwhile is not known",
                evidence.late.as_secs_f64()
            )
        }));
        notes.extend(evidence.escaped.iter().map(|process| {
            let command = process.command.as_deref().unwrap_or("unknown command");
            format!(
                "process {} (`{command}`) left the group of the limit, which did not hold for it",
                process.process.pid
            )
        }));
        Outcome {
            plan,
            proof: prepared.proof,
            proof_kind,
            verdict,
            job: evidence.main,
            peak: evidence.peak,
            peak_source: evidence.peak.map(|_| evidence.peak_source),
            wall: Some(evidence.wall),
            cpu: Some(evidence.cpu),
            throttled: evidence.throttled,
            lease: evidence.lease,
            budget,
            left_running: evidence.left_running,
            timeline: evidence.timeline,
            processes: evidence.processes,
            notes,
            start_failure: None,
            refusal_exit: None,
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
            None => (VerdictKind::InternalError, Some(125)),
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
        if outcome.plan.mechanism == Mechanism::Watchdog {
            // Nobody looked from then on, and it is not known since when.
            outcome.plan.guarantee = Guarantee::None;
        }
        outcome.left_running = left_running;
        outcome.notes.extend(notes);
        outcome
    }

    fn without_evidence(
        plan: Plan,
        mut prepared: Prepared,
        verdict: Verdict,
        start_failure: Option<u8>,
    ) -> Outcome {
        let proof_kind = conclude(&plan, &mut prepared);
        Outcome {
            plan,
            proof: prepared.proof,
            proof_kind,
            verdict,
            job: None,
            peak: None,
            peak_source: None,
            wall: None,
            cpu: None,
            throttled: None,
            lease: None,
            budget: None,
            left_running: Vec::new(),
            timeline: None,
            processes: None,
            notes: prepared.notes,
            start_failure,
            refusal_exit: None,
        }
    }

    /// Whether the job was never executed: its command could not be, or what memcap
    /// needs for it could not be made. The verdict's evidence says why.
    pub fn never_started(&self) -> bool {
        self.start_failure.is_some()
    }

    /// Whether it was ended only to make room for other members of its
    /// [`crate::Budget`], and is to be started again.
    pub fn is_to_be_requeued(&self) -> bool {
        self.budget.is_some_and(|budget| budget.requeue)
    }

    /// Whether a lease may have made the job fail: it ended by itself with
    /// another code than 0, and a lease was all but used up
    /// ([`LeaseUse::is_exhausted`]).
    pub fn may_have_been_refused(&self) -> bool {
        let failed = self.verdict.kind == VerdictKind::Finished
            && matches!(self.job, Some(JobEnd::Exited(code)) if code != 0);
        let lease = self.lease.as_ref();
        failed && lease.is_some_and(|lease| lease.is_exhausted(self.plan.limit))
    }

    /// The same with `code` as [`Outcome::exit_code`] where
    /// [`Outcome::may_have_been_refused`].
    #[must_use]
    pub fn with_refusal_exit(self, code: NonZeroU8) -> Outcome {
        Outcome {
            refusal_exit: Some(code),
            ..self
        }
    }

    /// For a program that has got signals of which it could not tell
    /// [`crate::Control::note`] in time: a job that died of one of them was
    /// interrupted, not failed.
    #[must_use]
    pub fn also_sent(mut self, signals: &[i32]) -> Outcome {
        let died_of_one =
            matches!(self.job, Some(JobEnd::Signaled(signal)) if signals.contains(&signal));
        if self.verdict.kind == VerdictKind::Signaled && died_of_one {
            self.verdict.kind = VerdictKind::Interrupted;
            self.verdict.evidence.push("it was sent to us too".into());
        }
        self
    }

    /// How far the tree was above its limit; `None` when no peak is known.
    pub fn overshoot(&self) -> Option<ByteSize> {
        self.peak.map(|peak| peak.saturating_sub(self.plan.limit))
    }

    /// The exit code of `memcap run`, 0 to 255; never 0 after a kill.
    pub fn exit_code(&self) -> u8 {
        if let Some(code) = self.refusal_exit.filter(|_| self.may_have_been_refused()) {
            return code.get();
        }
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
            | VerdictKind::PartialKill
            | VerdictKind::ProcessLimit => 137,
            VerdictKind::TimeLimit | VerdictKind::CpuLimit | VerdictKind::Stalled => 124,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Placement;
    use crate::{Containment, Report};

    fn outcome(kind: VerdictKind, job: Option<JobEnd>) -> Outcome {
        let limit = ByteSize::from_mib(512);
        let plan = Plan {
            mechanism: Mechanism::Watchdog,
            containment: Containment::Keeper,
            guarantee: Mechanism::Watchdog.guarantee(),
            asked: memcap_linux::SizeSpec::Bytes(limit),
            requested: limit,
            limit,
            clamped: None,
            budget: None,
            proof: None,
            beside: Vec::new(),
            rejected: Vec::new(),
            placement: Placement::Watchdog,
            swap: ByteSize::ZERO,
            keep_free: ByteSize::ZERO,
            throttle: None,
            containment_base: None,
            surroundings: crate::wire::Surroundings::default(),
        };
        let verdict = Verdict::new(kind, "seen");
        Outcome {
            job,
            ..Outcome::without_evidence(plan, Prepared::default(), verdict, None)
        }
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        use JobEnd::{Exited, Signaled};
        use VerdictKind as K;
        let cases = [
            (K::Finished, Some(Exited(0)), 0),
            (K::Finished, Some(Exited(255)), 255),
            (K::Signaled, Some(Signaled(11)), 139),
            (K::Interrupted, Some(Signaled(2)), 130),
            (K::Interrupted, Some(Exited(0)), 143),
            (K::MemoryLimit, Some(Exited(0)), 137),
            (K::OuterLimit, Some(Signaled(9)), 137),
            (K::MachineOom, Some(Signaled(9)), 137),
            (K::KilledByOther, Some(Signaled(9)), 137),
            (K::PartialKill, Some(Exited(0)), 137),
            (K::TimeLimit, Some(Exited(0)), 124),
            (K::CpuLimit, Some(Signaled(15)), 124),
            (K::Stalled, Some(Signaled(9)), 124),
            (K::ProcessLimit, Some(Exited(0)), 137),
            (K::InternalError, None, 125),
            (K::Unexplained, Some(Exited(0)), 125),
        ];
        for (kind, job, code) in cases {
            assert_eq!(outcome(kind, job).exit_code(), code, "{kind} {job:?}");
        }
        let refused = |errno| {
            let plan = outcome(K::Finished, None).plan;
            Outcome::not_started(plan, Prepared::default(), errno, String::new()).exit_code()
        };
        assert_eq!(refused(Some(nix::libc::ENOENT)), 127);
        assert_eq!(refused(Some(nix::libc::EACCES)), 126);
        assert_eq!(refused(None), 125);
    }

    #[test]
    fn a_signal_that_came_to_us_too_is_an_interruption() {
        let died = |signal| outcome(VerdictKind::Signaled, Some(JobEnd::Signaled(signal)));
        assert_eq!(
            died(2).also_sent(&[2, 15]).verdict.kind,
            VerdictKind::Interrupted
        );
        assert_eq!(died(11).also_sent(&[2]).verdict.kind, VerdictKind::Signaled);
        let finished = outcome(VerdictKind::Finished, Some(JobEnd::Exited(0)));
        assert_eq!(finished.also_sent(&[2]).verdict.kind, VerdictKind::Finished);
    }

    #[test]
    fn a_refusal_has_its_code_where_a_lease_may_explain_the_end() {
        use crate::lease::Refusal;
        use JobEnd::{Exited, Signaled};
        use VerdictKind as K;
        let code = NonZeroU8::new(99).expect("not zero");
        let (near, far) = (ByteSize::from_mib(1), ByteSize::from_mib(100));
        let cases = [
            (K::Finished, Exited(7), Some(near), 99),
            (K::Finished, Exited(0), Some(near), 0),
            (K::Finished, Exited(7), Some(far), 7),
            (K::Finished, Exited(7), None, 7),
            (K::Signaled, Signaled(11), Some(near), 139),
            (K::MemoryLimit, Exited(7), Some(near), 137),
            (K::TimeLimit, Exited(7), Some(near), 124),
        ];
        for (kind, job, least, expected) in cases {
            let refused = Outcome {
                lease: least.map(|least| LeaseUse {
                    min_headroom: Some(least),
                    refusal: Refusal::Possible,
                }),
                ..outcome(kind, Some(job))
            };
            let plain = refused.exit_code();
            assert_ne!(plain, 99, "{kind} {job:?}");
            let told = refused.with_refusal_exit(code).exit_code();
            assert_eq!(told, expected, "{kind} {job:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_absent_from_the_report() {
        let mut outcome = outcome(VerdictKind::Finished, Some(JobEnd::Exited(0)));
        let report = serde_json::to_value(Report::of(&outcome)).expect("serialises");
        for absent in [
            "peak_bytes",
            "peak_source",
            "overshoot_bytes",
            "wall_seconds",
            "proof",
            "proof_kind",
        ] {
            assert_eq!(report.get(absent), None, "{absent}");
        }
        assert_eq!(report["limit_bytes"], 512 << 20);
        assert_eq!(report["job"], serde_json::json!({"exit_code": 0}));
        outcome.peak = Some(ByteSize::from_mib(513));
        let report = serde_json::to_value(Report::of(&outcome)).expect("serialises");
        assert_eq!(report["overshoot_bytes"], 1 << 20);
    }
}
