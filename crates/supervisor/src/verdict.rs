//! Judges the evidence. Pure: the same evidence gives the same verdict.

use serde::Serialize;

use crate::Evidence;
use crate::evidence::{Cause, GroupCounters, JobEnd, Reached, Shortage};

/// What happened, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// The job ended by itself.
    Finished,
    /// A signal that was not ours ended it.
    Signaled,
    /// Our limit was reached.
    MemoryLimit,
    /// A limit around us was reached.
    OuterLimit,
    /// The machine ran out of memory.
    MachineOom,
    /// Somebody sent SIGKILL.
    KilledByOther,
    /// A member was OOM-killed, though the main process ended with 0.
    PartialKill,
    /// The wall time was over.
    TimeLimit,
    /// The CPU time of the tree was used up.
    CpuLimit,
    /// The tree made no progress above its soft limit.
    Stalled,
    /// The tree wanted more processes than it may have.
    ProcessLimit,
    /// The user stopped us.
    Interrupted,
    /// The command was not found or not executable.
    NotStarted,
    /// memcap itself failed.
    InternalError,
    /// The evidence does not decide.
    Unexplained,
}

impl VerdictKind {
    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            VerdictKind::Finished => "finished",
            VerdictKind::Signaled => "signaled",
            VerdictKind::MemoryLimit => "memory-limit",
            VerdictKind::OuterLimit => "outer-limit",
            VerdictKind::MachineOom => "machine-oom",
            VerdictKind::KilledByOther => "killed-by-other",
            VerdictKind::PartialKill => "partial-kill",
            VerdictKind::TimeLimit => "time-limit",
            VerdictKind::CpuLimit => "cpu-limit",
            VerdictKind::ProcessLimit => "process-limit",
            VerdictKind::Stalled => "stalled",
            VerdictKind::Interrupted => "interrupted",
            VerdictKind::NotStarted => "not-started",
            VerdictKind::InternalError => "internal-error",
            VerdictKind::Unexplained => "unexplained",
        }
    }
}

impl std::fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Who held our limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The kernel's OOM killer, in the job's own group.
    Kernel,
    /// Our own sampling.
    Watchdog,
    /// What is to stay available on the machine, seen by our own looks.
    Reserve,
    /// The total of the budget that the job was a member of, and not a limit of
    /// its own: our own looks ended it before the kernel had to choose, or the
    /// kernel chose it.
    Budget,
}

/// What happened, with what it is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// In one word.
    pub kind: VerdictKind,
    /// Who held the limit, for a memory verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// What was seen, a line each.
    pub evidence: Vec<String>,
}

impl Verdict {
    pub(crate) fn new(kind: VerdictKind, evidence: impl Into<String>) -> Verdict {
        Verdict {
            kind,
            by: None,
            evidence: vec![evidence.into()],
        }
    }

    fn by(kind: VerdictKind, by: By, evidence: impl Into<String>) -> Verdict {
        Verdict {
            by: Some(by),
            ..Verdict::new(kind, evidence)
        }
    }
}

/// Draws the verdict. `forwarded` are the signals that we passed on to the job
/// on the user's behalf.
pub(crate) fn judge(evidence: &Evidence, forwarded: &[i32]) -> Verdict {
    if let Some(counters) = evidence.group.filter(|counters| counters.oom_kills > 0) {
        return judge_oom(evidence, counters);
    }
    match evidence.cause {
        Some(Cause::Watchdog) => Verdict::by(
            VerdictKind::MemoryLimit,
            By::Watchdog,
            "the sampled tree was at its limit",
        ),
        Some(Cause::Reserve(Shortage { available, reserve })) => Verdict::by(
            VerdictKind::MemoryLimit,
            By::Reserve,
            format!("{available} was available on the machine, and {reserve} is to stay free"),
        ),
        Some(Cause::Budget(Reached { used, total })) => Verdict::by(
            VerdictKind::MemoryLimit,
            By::Budget,
            format!(
                "the members of the budget held {used} of {total} together, \
                 and this one was the youngest to make room"
            ),
        ),
        // The counter was seen rising while the job ran; it cannot fall.
        Some(Cause::KernelOom) => Verdict::new(
            VerdictKind::Unexplained,
            "an OOM kill was seen, but not at the end",
        ),
        Some(Cause::TimeLimit) => Verdict::new(VerdictKind::TimeLimit, "the wall time was over"),
        Some(Cause::CpuLimit) => {
            Verdict::new(VerdictKind::CpuLimit, "the tree had used up its CPU time")
        }
        Some(Cause::Stalled) => Verdict::new(
            VerdictKind::Stalled,
            "the tree made no progress above its soft limit",
        ),
        Some(Cause::ProcessLimit) => Verdict::new(
            VerdictKind::ProcessLimit,
            "the tree wanted more processes than it may have",
        ),
        Some(Cause::LimitLost) => Verdict::new(
            VerdictKind::InternalError,
            "the group with the limit was removed by somebody else, and the tree was ended",
        ),
        Some(Cause::StopAsked | Cause::HostGone) => {
            Verdict::new(VerdictKind::Interrupted, "we were asked to end the job")
        }
        None => judge_end(evidence, forwarded),
    }
}

/// The kernel killed members of the job's own group: whose limit was it?
fn judge_oom(evidence: &Evidence, counters: GroupCounters) -> Verdict {
    let seen = format!(
        "oom_kill of the job's group, with groups below, is {}",
        counters.oom_kills
    );
    if counters.own_limit_hit == Some(true) {
        if evidence.main == Some(JobEnd::Exited(0)) {
            return Verdict::by(VerdictKind::PartialKill, By::Kernel, seen);
        }
        return Verdict::by(VerdictKind::MemoryLimit, By::Kernel, seen);
    }
    if let Some(outer) = &evidence.outer {
        let mut verdict = Verdict::new(VerdictKind::OuterLimit, seen);
        verdict.evidence.push(outer.clone());
        return verdict;
    }
    let of_budget = evidence.budget.as_ref();
    if let Some(hit) = of_budget.and_then(|budget| budget.hit.as_ref()) {
        let kind = match evidence.main {
            Some(JobEnd::Exited(0)) => VerdictKind::PartialKill,
            _ => VerdictKind::MemoryLimit,
        };
        let mut verdict = Verdict::by(kind, By::Budget, seen);
        verdict
            .evidence
            .push(format!("{hit}: the total of the budget"));
        return verdict;
    }
    match counters.own_limit_hit {
        Some(false) => {
            let mut verdict = Verdict::new(VerdictKind::MachineOom, seen);
            verdict
                .evidence
                .push("neither our limit nor one around us was hit".into());
            verdict
        }
        Some(true) | None => Verdict::new(VerdictKind::Unexplained, seen),
    }
}

/// Nobody but the job, or somebody unknown, ended it.
fn judge_end(evidence: &Evidence, forwarded: &[i32]) -> Verdict {
    const SIGKILL: i32 = 9;
    match evidence.main {
        Some(JobEnd::Exited(code)) => {
            let mut verdict =
                Verdict::new(VerdictKind::Finished, format!("the job exited with {code}"));
            verdict.evidence.extend(kills_of_unknown(evidence));
            verdict
        }
        Some(JobEnd::Signaled(signal)) if forwarded.contains(&signal) => Verdict::new(
            VerdictKind::Interrupted,
            format!("signal {signal} was passed on"),
        ),
        Some(JobEnd::Signaled(SIGKILL)) => judge_kill(evidence),
        Some(JobEnd::Signaled(signal)) => {
            Verdict::new(VerdictKind::Signaled, format!("signal {signal}"))
        }
        None => Verdict::new(VerdictKind::Unexplained, "the job's exit status was lost"),
    }
}

/// Without a group of the job's own, an OOM kill around it may have been that
/// of a grandchild. That is said; whether it was so is not known.
fn kills_of_unknown(evidence: &Evidence) -> Vec<String> {
    let kills = evidence.oom_kills_around.unwrap_or(0);
    if evidence.group.is_some() || kills == 0 {
        return Vec::new();
    }
    let told = format!("{kills} OOM kills around us meanwhile, of the job or of others");
    evidence.outer.iter().cloned().chain([told]).collect()
}

/// SIGKILL, and not from us: an OOM killer around us, or a person.
fn judge_kill(evidence: &Evidence) -> Verdict {
    if evidence.group.is_some() {
        return Verdict::new(
            VerdictKind::KilledByOther,
            "SIGKILL, not from us, and the kernel counts no OOM kill in the job's group",
        );
    }
    let around = evidence.oom_kills_around.filter(|kills| *kills > 0);
    match (&evidence.outer, around) {
        (Some(outer), _) => Verdict::new(VerdictKind::OuterLimit, outer.clone()),
        (None, Some(kills)) => Verdict::new(
            VerdictKind::MachineOom,
            format!("SIGKILL, and {kills} OOM kills around us, no limit of a group hit"),
        ),
        (None, None) => Verdict::new(
            VerdictKind::KilledByOther,
            "SIGKILL, no OOM kill counted, not from us",
        ),
    }
}

#[cfg(test)]
mod tests;
