//! `memcap doctor`: which limits hold on this host, proved by exceeding them.

use std::io::{self, Write};

use clap::Args;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use memcap_probe::diagnosis::Finding;
use memcap_probe::trial::Verdict;
use memcap_probe::{DoctorReport, Fact, Guarantee, MechanismReport, Roots, examine};

use crate::error::{CliError, INTERNAL};
use crate::render::printable;

/// The kernel was seen to hold a whole tree to its limit.
const HARD_LIMIT: u8 = 0;
/// Only weaker guarantees, or nothing proved.
const WEAKER_ONLY: u8 = 1;

/// Columns of text: the width that every terminal has.
const WIDTH: usize = 80;

/// Find out by experiment which memory limits hold on this host, and why
/// others do not.
///
/// For each mechanism a child is started that touches 96 MiB under a limit of
/// 32 MiB. The exit code is 0 when the kernel was seen to hold a whole process
/// tree to its limit, 1 when only weaker guarantees were seen, 125 for a
/// failure of memcap.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// Only read what the host says about itself; nothing is proved then.
    #[arg(long)]
    no_trials: bool,
}

/// Examines the host and prints the result on standard output.
pub(crate) fn run(args: &DoctorArgs) -> Result<u8, CliError> {
    let program = if args.no_trials {
        None
    } else {
        Some(std::env::current_exe().map_err(not_found)?)
    };
    let report = examine(&Roots::default(), program.as_deref());
    let mut text = if args.json {
        serde_json::to_string_pretty(&report)
            .map_err(|error| CliError::new(error, None, INTERNAL))?
    } else {
        render(&report)
    };
    text.push('\n');
    print(&text)?;
    Ok(if report.has_hard_limit() {
        HARD_LIMIT
    } else {
        WEAKER_ONLY
    })
}

fn not_found(error: io::Error) -> CliError {
    let hint = "`memcap doctor --no-trials` needs no child processes".to_owned();
    CliError::new(error, Some(hint), INTERNAL)
}

fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    crate::render::written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// The whole text, without a newline at its end.
fn render(report: &DoctorReport) -> String {
    let mut parts = vec![machine(report), mechanisms(report), containment(report)];
    if let Some(control) = report.control.as_ref().filter(|control| !control.passed) {
        parts.push(wrap("control: ", &format!("failed, {}", control.seen)));
    }
    parts.extend(report.findings.iter().map(finding));
    parts.push(conclusion(report));
    parts.join("\n\n")
}

fn machine(report: &DoctorReport) -> String {
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
    wrap("", &format!("{kernel}, {memory}"))
}

fn mechanisms(report: &DoctorReport) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(WIDTH).unwrap_or(80))
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
    let parts = [trial.seen.as_deref(), trial.because.as_deref()];
    let text: Vec<&str> = parts.into_iter().flatten().collect();
    printable(&text.join("; "))
}

fn containment(report: &DoctorReport) -> String {
    report
        .containment
        .iter()
        .map(|way| {
            let trial = &way.trial;
            let parts = [trial.seen.as_deref(), trial.because.as_deref()];
            let evidence: Vec<&str> = parts.into_iter().flatten().collect();
            let line = format!(
                "{} {}: {}",
                way.containment,
                trial.verdict.text(),
                evidence.join("; ")
            );
            wrap("ending a tree: ", &line)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn finding(finding: &Finding) -> String {
    let mut lines = vec![
        wrap(&format!("{:<4} ", finding.code), &finding.seen),
        wrap("     ", &finding.means),
        wrap("now: ", &finding.meanwhile),
    ];
    let mut label = "fix: ";
    for line in &finding.fix {
        // Not wrapped: a command must stay one line.
        lines.push(format!("{label}{}", printable(line)));
        label = "     ";
    }
    lines.join("\n")
}

fn conclusion(report: &DoctorReport) -> String {
    if let Some(best) = report.best() {
        return wrap(
            "",
            &format!("memcap run will use: {best} ({})", best.guarantee()),
        );
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
            "memcap run will use: {}, as far as can be told without a trial",
            mechanism.trial.mechanism
        ),
        None => "memcap run will use: nothing, since no limit was seen to hold".to_owned(),
    };
    wrap("", &text)
}

/// Breaks a text at blanks so that lines with the label before them stay within
/// the width; further lines are indented below the text. A word that is longer
/// by itself, such as a path, stays whole.
fn wrap(label: &str, text: &str) -> String {
    let text = printable(text);
    let indent = " ".repeat(label.len());
    let mut lines: Vec<String> = vec![label.to_owned()];
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if !is_empty && last + 1 + word.chars().count() > WIDTH {
            lines.push(indent.clone());
            is_empty = true;
        }
        if let Some(line) = lines.last_mut() {
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use memcap_probe::diagnosis::Weight;
    use memcap_probe::{Facts, Host, trial};

    /// A host that could not be looked at, judged without trials.
    fn blind() -> DoctorReport {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Host::observe(&Roots::below(folder.path()));
        let facts = Facts::observe(&Roots::below(folder.path()), &host);
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
        report
    }

    #[test]
    fn prose_wraps_and_words_stay_whole() {
        let long = "/a/very/long/path".repeat(6);
        let text = wrap(
            "C3   ",
            &format!("memory is {long} bound to cgroup v1 there"),
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "C3   memory is");
        assert_eq!(lines[1], format!("     {long}"));
        assert_eq!(lines[2], "     bound to cgroup v1 there");
    }

    #[test]
    fn nothing_is_claimed_without_a_trial() {
        let mut report = blind();
        for mechanism in &mut report.mechanisms {
            assert_eq!(mechanism.guarantee, Guarantee::None);
            // The folder's name is different each time.
            mechanism.trial.because = Some("unknown".into());
        }
        assert!(!report.has_hard_limit());
        let text = render(&report);
        assert!(text.contains("fix: first line\n     second line"), "{text}");
        assert!(
            text.ends_with("as far as can be told without a trial"),
            "{text}"
        );
    }

    #[test]
    fn tables_fit_the_width() {
        let mut report = blind();
        for mechanism in &mut report.mechanisms {
            mechanism.trial.because = Some("word ".repeat(40));
        }
        for line in mechanisms(&report).lines() {
            assert!(line.chars().count() <= WIDTH, "{line:?}");
            assert_eq!(line, line.trim_end());
        }
    }

    #[test]
    fn names_from_the_host_cannot_reach_the_terminal_raw() {
        assert_eq!(wrap("", "a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
