//! The examination for people: the host, a table of mechanisms, findings in the
//! order of their weight, remedies to copy, and what a run will use.

use std::path::Path;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use memcap_probe::diagnosis::{Finding, Weight};
use memcap_probe::facts::{ContainerKind, MemoryController};
use memcap_probe::trial::Verdict;
use memcap_probe::{DoctorReport, Fact, Guarantee, MechanismReport};

use super::Examination;
use super::wrap::{USUAL, wrap};
use crate::render::printable;

/// Narrower than this, a table has no room for its evidence.
const NARROWEST_TABLE: usize = 64;

/// The whole text, without a newline at its end. The table alone gains by columns
/// beyond those in which prose is read with ease.
pub(super) fn render(examination: &Examination, columns: usize) -> String {
    let report = &examination.host;
    let width = columns.min(USUAL);
    let mut parts = vec![
        host(report, width),
        mechanisms(report, columns),
        containment(report, width),
    ];
    if !report.aids.is_empty() {
        parts.push(aids(report, width));
    }
    if let Some(control) = report.control.as_ref().filter(|control| !control.passed) {
        let failed = format!("failed, {}", control.seen);
        parts.push(wrap("control: ", &failed, width));
    }
    if let Some(marker) = &examination.marker {
        parts.push(wrap("marker: ", &marker.text(), width));
    }
    parts.extend(report.findings.iter().map(|found| finding(found, width)));
    if !report.findings.is_empty() {
        parts.push(remedies(&report.findings));
    }
    parts.push(conclusion(report, width));
    parts.join("\n\n")
}

fn host(report: &DoctorReport, width: usize) -> String {
    let mut lines: Vec<String> = replayed(report, width).into_iter().collect();
    lines.extend([machine(report, width), groups(report, width)]);
    if let Some(container) = report.facts.container.value() {
        let kind = match container.kind {
            ContainerKind::Docker => "Docker's",
            ContainerKind::Podman => "Podman's",
            ContainerKind::Kubernetes => "Kubernetes'",
            ContainerKind::Lxc => "LXC's",
            ContainerKind::Nspawn => "systemd-nspawn's",
            ContainerKind::Other => "of a kind that does not show",
        };
        let text = format!("{kind} ({})", container.told_by);
        lines.push(wrap("container: ", &text, width));
    }
    let lacks: Vec<String> = report
        .facts
        .features
        .named()
        .into_iter()
        .filter(|(_, fact)| fact.is_absent())
        .map(|(name, _)| name.to_owned())
        .collect();
    if !lacks.is_empty() && report.host.cgroup_v2.is_present() {
        lines.push(wrap("not in this kernel: ", &lacks.join(", "), width));
    }
    lines.join("\n")
}

/// That all this is of another host.
fn replayed(report: &DoctorReport, width: usize) -> Option<String> {
    let record = report.replayed.as_ref()?;
    let trials = match record.has_trials {
        true => "the trials are those on record",
        false => "no trials are on record",
    };
    let text = format!(
        "a saved host (memcap {}); nothing was tried now, {trials}",
        record.saved_by
    );
    Some(wrap("", &text, width))
}

fn machine(report: &DoctorReport, width: usize) -> String {
    let host = &report.host;
    let kernel = match &host.kernel {
        Fact::Present { value } => format!("Linux {}", printable(value)),
        Fact::Absent { because } | Fact::Unknown { because } => {
            format!("kernel unknown ({because})")
        }
    };
    let memory = match &host.memory {
        Fact::Present { value } => {
            let available = match value.available {
                Some(available) => format!(", {available} available"),
                None => String::new(),
            };
            let swap = match value.swap_total.bytes() {
                0 => "no swap".to_owned(),
                _ => format!("{} swap", value.swap_total),
            };
            format!("{} memory{available}, {swap}", value.total)
        }
        Fact::Absent { because } | Fact::Unknown { because } => {
            format!("memory unknown ({because})")
        }
    };
    wrap("", &format!("{kernel}, {memory}"), width)
}

/// Our group where memory is controlled: beside v1, that on v2 says nothing of it.
fn own_group(report: &DoctorReport) -> Option<String> {
    let facts = &report.facts;
    let Some(MemoryController::V1 { .. }) = facts.memory_controller.value() else {
        return facts.own_group.value().cloned();
    };
    let place = report.host.cgroup_v1.value()?;
    let below = place.own.strip_prefix(&place.mount_point).ok()?;
    Some(Path::new("/").join(below).display().to_string())
}

/// The layout of control groups and our place in it.
fn groups(report: &DoctorReport, width: usize) -> String {
    let facts = &report.facts;
    let layout = match &facts.layout {
        Fact::Present { value } => value.text().to_owned(),
        Fact::Absent { because } | Fact::Unknown { because } => format!("unknown ({because})"),
    };
    let memory = match &facts.memory_controller {
        Fact::Present { value } => match value {
            MemoryController::V2 { .. } => ", memory on v2".to_owned(),
            MemoryController::V1 { .. } => ", memory on v1".to_owned(),
            MemoryController::V1OutOfSight { .. } => ", memory on a v1 out of sight".to_owned(),
        },
        Fact::Absent { .. } => ", no memory controller".to_owned(),
        Fact::Unknown { .. } => String::new(),
    };
    let own = match own_group(report) {
        Some(own) => format!("; we are in {}", printable(&own)),
        None => String::new(),
    };
    let ceiling = match report.host.ceilings.lowest() {
        Some(lowest) if lowest.file.is_some() => format!(", which has at most {}", lowest.bytes),
        Some(_) | None => String::new(),
    };
    wrap(
        "control groups: ",
        &format!("{layout}{memory}{own}{ceiling}"),
        width,
    )
}

fn mechanisms(report: &DoctorReport, width: usize) -> String {
    if width < NARROWEST_TABLE {
        let entries = report.mechanisms.iter().map(|mechanism| {
            let verdict = mechanism.trial.verdict.text();
            let mut head = format!("{}: {verdict}", mechanism.trial.mechanism);
            if mechanism.guarantee != Guarantee::None {
                head = format!("{head}, {}", guarantee(mechanism));
            }
            let seen = wrap("  ", &evidence(mechanism), width);
            format!("{}\n{seen}", wrap("", &head, width))
        });
        return entries.collect::<Vec<_>>().join("\n");
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(80))
        .set_header(["mechanism", "verdict", "guarantee", "what was seen"]);
    for mechanism in &report.mechanisms {
        table.add_row([
            mechanism.trial.mechanism.name().to_owned(),
            mechanism.trial.verdict.text().to_owned(),
            guarantee(mechanism),
            evidence(mechanism),
        ]);
    }
    // Short words stay whole; only the evidence is broken into lines.
    for (index, width) in [10, 16, 13].into_iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column
                .set_padding((0, 2))
                .set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + 2)));
        }
    }
    if let Some(column) = table.column_mut(3) {
        column.set_padding((0, 0));
    }
    table.trim_fmt()
}

fn guarantee(mechanism: &MechanismReport) -> String {
    match mechanism.guarantee {
        Guarantee::None => "-".to_owned(),
        some => some.name().to_owned(),
    }
}

/// What was seen, and what it means where that is not plain.
fn evidence(mechanism: &MechanismReport) -> String {
    let trial = &mechanism.trial;
    joined(trial.seen.as_deref(), trial.because.as_deref())
}

fn joined(seen: Option<&str>, because: Option<&str>) -> String {
    let text: Vec<&str> = [seen, because].into_iter().flatten().collect();
    printable(&text.join("; "))
}

fn containment(report: &DoctorReport, width: usize) -> String {
    report
        .containment
        .iter()
        .map(|way| {
            let trial = &way.trial;
            let evidence = joined(trial.seen.as_deref(), trial.because.as_deref());
            let line = format!("{} {}: {evidence}", way.containment, trial.verdict.text());
            wrap("ending a tree: ", &line, width)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn aids(report: &DoctorReport, width: usize) -> String {
    let lines = report.aids.iter().map(|trial| {
        let evidence = joined(trial.seen.as_deref(), trial.because.as_deref());
        let line = format!("{}, {evidence}", trial.verdict.text());
        wrap(&format!("{}: ", trial.aid.text()), &line, width)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn finding(finding: &Finding, width: usize) -> String {
    let weight = match finding.weight {
        Weight::Blocks => "blocks",
        Weight::Weakens => "weakens",
        Weight::Note => "note",
    };
    [
        wrap(
            &format!("{:<5}", finding.code),
            &format!("({weight}) {}", finding.seen),
            width,
        ),
        wrap("     ", &finding.means, width),
        wrap("now: ", &finding.meanwhile, width),
    ]
    .join("\n")
}

/// To be copied: nothing of it is wrapped.
fn remedies(findings: &[Finding]) -> String {
    let mut lines = vec!["remedies, and more by `memcap doctor --explain CAUSE`:".to_owned()];
    for finding in findings {
        let mut label = format!("{:<5}", finding.code);
        for line in &finding.fix {
            lines.push(format!("{label}{}", printable(line)));
            label = "     ".to_owned();
        }
    }
    lines.join("\n")
}

fn conclusion(report: &DoctorReport, width: usize) -> String {
    let verb = match report.replayed {
        Some(_) => "would use there",
        None => "will use",
    };
    if let Some(best) = report.best() {
        let text = format!("memcap run {verb}: {best} ({})", best.guarantee());
        return wrap("", &text, width);
    }
    let nothing_tried = report
        .mechanisms
        .iter()
        .all(|mechanism| mechanism.trial.seen.is_none());
    let possible = report
        .mechanisms
        .iter()
        .find(|mechanism| mechanism.trial.verdict == Verdict::NotTried)
        .filter(|_| nothing_tried);
    let text = match possible {
        Some(mechanism) => format!(
            "memcap run {verb}: {}, as far as can be told without a trial",
            mechanism.trial.mechanism
        ),
        None => format!("memcap run {verb}: nothing, since no limit was seen to hold"),
    };
    wrap("", &text, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use memcap_probe::{Facts, Host, Roots, trial};

    /// A host that could not be looked at, judged without trials.
    fn blind() -> Examination {
        let folder = tempfile::tempdir().expect("a folder");
        let roots = Roots::below(folder.path());
        let host = Host::observe(&roots);
        let facts = Facts::observe(&roots, &host);
        let trials = trial::facts_only(&host, "no trials were asked for");
        let mut report = DoctorReport::new(host, facts, trials);
        report.findings = vec![Finding {
            code: "C9".into(),
            weight: Weight::Weakens,
            seen: "under cgroup-v1 a child exceeded its limit by going to swap".into(),
            means: "the limit holds for memory, but not for memory and swap together".into(),
            meanwhile: "memcap includes swap in its own limits".into(),
            fix: vec!["first line".into(), "second line".into()],
        }];
        Examination {
            host: report,
            marker: None,
        }
    }

    #[test]
    fn nothing_is_claimed_without_a_trial() {
        let mut examination = blind();
        for mechanism in &mut examination.host.mechanisms {
            assert_eq!(mechanism.guarantee, Guarantee::None);
            // The folder's name is different each time.
            mechanism.trial.because = Some("unknown".into());
        }
        assert!(!examination.host.has_hard_limit());
        let text = render(&examination, 80);
        assert!(
            text.contains("\nC9   first line\n     second line"),
            "{text}"
        );
        assert!(
            text.ends_with("as far as can be told without a trial"),
            "{text}"
        );
    }

    #[test]
    fn our_group_is_the_one_that_memory_is_controlled_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = folder.path().join("mounted");
        std::fs::create_dir_all(mounted.join("job")).expect("made");
        let proc = folder.path().join("proc/self");
        std::fs::create_dir_all(&proc).expect("made");
        std::fs::write(proc.join("cgroup"), "4:memory:/job\n0::/beside\n").expect("written");
        std::fs::write(
            proc.join("mountinfo"),
            "30 1 0:26 / /mounted rw - cgroup cgroup rw,memory\n\
             31 1 0:27 / /unified rw - cgroup2 cgroup2 rw\n",
        )
        .expect("written");
        let roots = Roots::below(folder.path());
        let host = Host::observe(&roots);
        let facts = Facts::observe(&roots, &host);
        let trials = trial::facts_only(&host, "no trials were asked for");
        let report = DoctorReport::new(host, facts, trials);
        let text = groups(&report, 80);
        assert!(text.contains("memory on v1; we are in /job"), "{text}");
    }

    #[test]
    fn a_mechanism_without_a_guarantee_shows_none_in_a_narrow_terminal() {
        let examination = blind();
        let text = render(&examination, 40);
        assert!(text.contains("\ncgroup-v1: not"), "{text}");
        assert!(!text.contains(", -"), "{text}");
    }

    #[test]
    fn a_wide_terminal_has_wide_evidence_and_prose_as_usual() {
        let mut examination = blind();
        examination.host.host.kernel = Fact::unknown_since("word ".repeat(40));
        for mechanism in &mut examination.host.mechanisms {
            mechanism.trial.because = Some("x".repeat(60));
        }
        let text = render(&examination, 120);
        let row = text.lines().find(|line| line.starts_with("cgroup-v2"));
        let row = row.expect("a row").chars().count();
        assert!(row > 100, "{text}");
        let prose = text.lines().take_while(|line| !line.is_empty());
        assert!(prose.into_iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn everything_but_remedies_fits_the_width() {
        let mut examination = blind();
        examination.host.host.kernel = Fact::present("6.12.0".into());
        examination.host.host.memory = Fact::absent("none");
        examination.host.facts.layout = Fact::absent("none");
        examination.host.facts.own_group = Fact::absent("none");
        for mechanism in &mut examination.host.mechanisms {
            mechanism.trial.because = Some("word ".repeat(40));
        }
        for way in &mut examination.host.containment {
            way.trial.because = Some("word ".repeat(40));
        }
        for width in [30, 40, 63, 64, 80, 120] {
            let text = render(&examination, width);
            let text = text.split("remedies").next().unwrap_or_default();
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
                assert_eq!(line, line.trim_end());
            }
        }
    }
}
