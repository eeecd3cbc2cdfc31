//! A plan for people: what would be done, and what was turned down.

use memcap_supervisor::{Clamp, Held, OtherLimit, Plan, PlannedProof, Rejected, SizeSpec};

use crate::render::printable;

/// Wide enough for the longest name.
const COLUMN: usize = 13;

/// The plan, a line each.
pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    let mut lines = vec![
        line("mechanism", &below(plan.mechanism, plan.place())),
        line("guarantee", &plan.guarantee.to_string()),
        line(
            "containment",
            &below(plan.containment, plan.containment_place()),
        ),
        line("limit", &plan.limit.to_string()),
    ];
    lines.extend(
        plan.clamped
            .as_ref()
            .map(|clamp| line("", &clamped(plan, clamp))),
    );
    lines.extend(plan.proof.as_ref().map(proof));
    lines.extend(plan.beside.iter().map(beside));
    lines.extend(plan.rejected.iter().map(rejected));
    lines.push("nothing was started; limits are read back from the kernel at the start".to_owned());
    lines
}

fn line(name: &str, text: &str) -> String {
    // Paths and reasons come from anywhere.
    format!("{name:COLUMN$}{}", printable(text))
}

fn below(what: impl std::fmt::Display, place: Option<&std::path::Path>) -> String {
    match place {
        Some(place) => format!("{what}, a group below {}", place.display()),
        None => what.to_string(),
    }
}

fn clamped(plan: &Plan, clamp: &Clamp) -> String {
    let whose = match &clamp.file {
        Some(file) => format!("{} in {}", clamp.ceiling, file.display()),
        None if clamp.budget => format!("the budget's {}", clamp.ceiling),
        None => format!("the machine's {}", clamp.ceiling),
    };
    match plan.asked {
        SizeSpec::Max => format!("as much as fits below {whose}"),
        SizeSpec::Bytes(_) | SizeSpec::Percent(_) => {
            format!("{} was asked for; clamped below {whose}", plan.requested)
        }
    }
}

fn proof(proof: &PlannedProof) -> String {
    let text = match proof {
        PlannedProof::Fresh => "a trial that harms nobody, beside the job before it starts".into(),
        PlannedProof::Cached { seen } => format!("an earlier trial since boot: {seen}"),
        PlannedProof::ReadBack { because } => {
            format!("only what is read back; no trial: {because}")
        }
    };
    line("proof", &text)
}

fn beside(held: &Held) -> String {
    let (name, value) = match held.limit {
        OtherLimit::Swap { bytes } => ("swap", bytes.to_string()),
        OtherLimit::Soft { bytes } => ("soft limit", bytes.to_string()),
        OtherLimit::Time { seconds } => ("time", humantime::format_duration(seconds).to_string()),
        OtherLimit::Cpu { seconds } => {
            ("cpu time", humantime::format_duration(seconds).to_string())
        }
        OtherLimit::Processes { count } => ("processes", count.to_string()),
        OtherLimit::KeepFree { bytes } => ("keep free", bytes.to_string()),
    };
    line(name, &format!("{value}, held by {}", held.by))
}

fn rejected(rejected: &Rejected) -> String {
    line(
        "not",
        &format!("{}: {}", rejected.mechanism, rejected.reason),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use memcap_supervisor::{Containment, Guarantee, Mechanism};

    #[test]
    fn a_rejected_rung_keeps_its_reason_and_no_control_characters() {
        let told = rejected(&Rejected {
            mechanism: Mechanism::CgroupV2,
            reason: "/sys/fs/cgroup/a\u{1b}[2J: not ours to write".into(),
        });
        assert_eq!(
            told,
            "not          cgroup-v2: /sys/fs/cgroup/a\\u{1b}[2J: not ours to write"
        );
        assert_eq!(
            line("guarantee", &Guarantee::TreeExact.to_string()),
            "guarantee    tree-exact"
        );
        assert_eq!(below(Containment::Keeper, None), "keeper");
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        let held = Held {
            limit: OtherLimit::Time {
                seconds: std::time::Duration::from_secs(90),
            },
            by: "the keeper's clock",
        };
        assert_eq!(
            beside(&held),
            "time         1m 30s, held by the keeper's clock"
        );
    }
}
