use super::*;
use crate::evidence::{PeakSource, SharedTotal};
use memcap_linux::ByteSize;
use std::time::Duration;

fn evidence(main: JobEnd) -> Evidence {
    Evidence {
        main: Some(main),
        cause: None,
        group: None,
        outer: None,
        oom_kills_around: None,
        peak: None,
        peak_source: PeakSource::Sampled,
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        throttled: None,
        lease: None,
        budget: None,
        left_running: Vec::new(),
        escaped: Vec::new(),
        late: Duration::ZERO,
        raised: None,
        timeline: None,
        processes: None,
        notes: Vec::new(),
    }
}

const SHORTAGE: Shortage = Shortage {
    available: ByteSize::from_mib(900),
    reserve: ByteSize::from_gib(1),
};

#[test]
fn a_shortage_is_told_with_both_numbers() {
    let verdict = judge(
        &Evidence {
            cause: Some(Cause::Reserve(SHORTAGE)),
            ..evidence(JobEnd::Signaled(9))
        },
        &[],
    );
    assert_eq!(verdict.by, Some(By::Reserve));
    assert_eq!(
        verdict.evidence,
        ["900 MiB was available on the machine, and 1 GiB is to stay free"]
    );
}

fn group(oom_kills: u64, own_limit_hit: Option<bool>) -> Option<GroupCounters> {
    Some(GroupCounters {
        oom_kills,
        own_limit_hit,
    })
}

#[test]
fn the_total_of_a_budget_is_told_apart_from_the_jobs_own_limit() {
    let budget = |hit: bool| {
        Some(SharedTotal {
            others: true,
            hit: hit.then(|| "the limit of /all was hit".into()),
            paused: Duration::ZERO,
        })
    };
    let killed = || evidence(JobEnd::Signaled(9));
    let reached = Reached {
        used: ByteSize::from_mib(502),
        total: ByteSize::from_mib(512),
    };
    let told = |evidence: &Evidence| {
        let verdict = judge(evidence, &[]);
        (verdict.kind, verdict.by)
    };
    use VerdictKind as K;
    let cases = [
        // By the governor.
        (
            Evidence {
                cause: Some(Cause::Budget(reached)),
                budget: budget(false),
                ..killed()
            },
            (K::MemoryLimit, Some(By::Budget)),
        ),
        // By the kernel.
        (
            Evidence {
                group: group(1, Some(false)),
                budget: budget(true),
                ..killed()
            },
            (K::MemoryLimit, Some(By::Budget)),
        ),
        (
            Evidence {
                group: group(1, Some(false)),
                budget: budget(true),
                ..evidence(JobEnd::Exited(0))
            },
            (K::PartialKill, Some(By::Budget)),
        ),
        // Its own limit, though the total was hit too meanwhile.
        (
            Evidence {
                group: group(1, Some(true)),
                budget: budget(true),
                ..killed()
            },
            (K::MemoryLimit, Some(By::Kernel)),
        ),
        (
            Evidence {
                cause: Some(Cause::Watchdog),
                budget: budget(false),
                ..killed()
            },
            (K::MemoryLimit, Some(By::Watchdog)),
        ),
        // A limit around the budget.
        (
            Evidence {
                group: group(1, Some(false)),
                outer: Some("the limit of /outer was hit".into()),
                budget: budget(true),
                ..killed()
            },
            (K::OuterLimit, None),
        ),
        (
            Evidence {
                group: group(1, Some(false)),
                budget: budget(false),
                ..killed()
            },
            (K::MachineOom, None),
        ),
    ];
    for (evidence, expected) in cases {
        assert_eq!(told(&evidence), expected, "{evidence:?}");
    }
}

#[test]
fn each_kind_has_its_evidence() {
    use VerdictKind as K;
    let killed = || evidence(JobEnd::Signaled(9));
    let outer = || Some("memory.max of /outer was hit".to_owned());
    let cases = [
        (evidence(JobEnd::Exited(3)), K::Finished),
        (evidence(JobEnd::Signaled(11)), K::Signaled),
        (evidence(JobEnd::Signaled(2)), K::Interrupted),
        (killed(), K::KilledByOther),
        (
            Evidence {
                group: group(0, Some(false)),
                ..killed()
            },
            K::KilledByOther,
        ),
        // Nobody of the group was OOM-killed, whatever happened around it.
        (
            Evidence {
                group: group(0, Some(false)),
                outer: outer(),
                oom_kills_around: Some(1),
                ..killed()
            },
            K::KilledByOther,
        ),
        (
            Evidence {
                group: group(2, Some(true)),
                ..killed()
            },
            K::MemoryLimit,
        ),
        // A grandchild was the victim, and the main process said 3.
        (
            Evidence {
                group: group(1, Some(true)),
                ..evidence(JobEnd::Exited(3))
            },
            K::MemoryLimit,
        ),
        (
            Evidence {
                group: group(1, Some(true)),
                ..evidence(JobEnd::Exited(0))
            },
            K::PartialKill,
        ),
        (
            Evidence {
                group: group(1, Some(false)),
                outer: outer(),
                ..killed()
            },
            K::OuterLimit,
        ),
        (
            Evidence {
                group: group(1, Some(false)),
                ..killed()
            },
            K::MachineOom,
        ),
        (
            Evidence {
                group: group(1, None),
                ..killed()
            },
            K::Unexplained,
        ),
        (
            Evidence {
                outer: outer(),
                oom_kills_around: Some(1),
                ..killed()
            },
            K::OuterLimit,
        ),
        (
            Evidence {
                oom_kills_around: Some(1),
                ..killed()
            },
            K::MachineOom,
        ),
        (
            Evidence {
                cause: Some(Cause::Watchdog),
                ..killed()
            },
            K::MemoryLimit,
        ),
        (
            Evidence {
                cause: Some(Cause::Reserve(SHORTAGE)),
                ..killed()
            },
            K::MemoryLimit,
        ),
        (
            Evidence {
                cause: Some(Cause::TimeLimit),
                ..killed()
            },
            K::TimeLimit,
        ),
        (
            Evidence {
                cause: Some(Cause::CpuLimit),
                ..killed()
            },
            K::CpuLimit,
        ),
        (
            Evidence {
                cause: Some(Cause::Stalled),
                ..killed()
            },
            K::Stalled,
        ),
        // It gave up by itself when it got no more processes.
        (
            Evidence {
                cause: Some(Cause::ProcessLimit),
                ..evidence(JobEnd::Exited(0))
            },
            K::ProcessLimit,
        ),
        (
            Evidence {
                cause: Some(Cause::StopAsked),
                ..killed()
            },
            K::Interrupted,
        ),
        (
            Evidence {
                main: None,
                ..killed()
            },
            K::Unexplained,
        ),
    ];
    for (evidence, kind) in cases {
        assert_eq!(judge(&evidence, &[2]).kind, kind, "{evidence:?}");
    }
}
