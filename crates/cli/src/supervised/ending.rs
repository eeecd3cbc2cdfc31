//! The supervisor's verdict in marker's words. Pure.

use memcap_marker::runner::Ending;
use memcap_supervisor::{JobEnd, Outcome, VerdictKind};

/// How a step ended.
pub(super) fn ending(outcome: &Outcome) -> Ending {
    if outcome.is_to_be_requeued() {
        return Ending::Requeued;
    }
    match outcome.verdict.kind {
        VerdictKind::Finished => match outcome.job {
            Some(JobEnd::Exited(exit_code)) => Ending::Finished { exit_code },
            Some(JobEnd::Signaled(signal)) => Ending::Signaled { signal },
            None => Ending::Unexplained,
        },
        VerdictKind::Signaled => match outcome.job {
            Some(JobEnd::Signaled(signal)) => Ending::Signaled { signal },
            Some(JobEnd::Exited(_)) | None => Ending::Unexplained,
        },
        VerdictKind::MemoryLimit => Ending::MemoryLimit,
        VerdictKind::OuterLimit => Ending::OuterLimit,
        VerdictKind::MachineOom => Ending::MachineOom,
        VerdictKind::KilledByOther => Ending::KilledByOther,
        VerdictKind::PartialKill => Ending::PartialKill,
        VerdictKind::TimeLimit | VerdictKind::CpuLimit | VerdictKind::Stalled => Ending::TimeLimit,
        VerdictKind::Interrupted => Ending::Interrupted,
        VerdictKind::NotStarted => Ending::NotStarted {
            reason: outcome.verdict.evidence.join("; "),
        },
        VerdictKind::InternalError if outcome.never_started() => Ending::NotStarted {
            reason: outcome.verdict.evidence.join("; "),
        },
        VerdictKind::ProcessLimit | VerdictKind::InternalError | VerdictKind::Unexplained => {
            Ending::Unexplained
        }
    }
}
