//! Recorded traces of real runs, told to the governor again. One that decides
//! otherwise than it did is shown where; what must hold of every run is held
//! apart from what it decided. `scripts/record-traces` records them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::trace::{End, Line, Step};

/// How many steps before a difference are shown.
const CONTEXT: usize = 4;
/// What a job's processes hold beside what they write down, and what they touch
/// between two lines of their ledger.
const JOB_OVERHEAD: ByteSize = ByteSize::from_mib(16);

/// One recorded run.
struct Trace {
    name: String,
    rules: Rules,
    steps: Vec<Step>,
    end: End,
    touched: ByteSize,
}

impl Trace {
    fn read(path: &Path) -> Trace {
        let name = path.file_stem().unwrap_or_default().display().to_string();
        let text = std::fs::read_to_string(path).expect("a trace is readable");
        let (mut rules, mut end, mut touched) = (None, None, None);
        let mut steps = Vec::new();
        for (index, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(Line::Rules(line)) => rules = Some(line),
                Ok(Line::Step(step)) => steps.push(step),
                Ok(Line::End(line)) => end = Some(line),
                Ok(Line::Touched(bytes)) => touched = Some(bytes),
                Err(error) => panic!("{name}, line {}: {error}", index + 1),
            }
        }
        Trace {
            rules: rules.expect("a trace begins with its rules"),
            end: end.expect("a trace ends"),
            touched: touched.expect("a trace says what the job touched"),
            name,
            steps,
        }
    }

    fn limit(&self) -> ByteSize {
        self.rules.sampled_limit.expect("traces are the watchdog's")
    }

    /// The same with another limit. What was measured because of the old one is
    /// told all the same.
    fn ends_below(&self, limit: ByteSize) -> Option<Cause> {
        let mut governor = Governor::new(Rules {
            sampled_limit: Some(limit),
            ..self.rules
        });
        for step in &self.steps {
            governor.on(step.input, step.at);
        }
        governor.cause()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces")
}

fn traces() -> Vec<Trace> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("there are traces")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"))
        .collect();
    paths.sort();
    paths.iter().map(|path| Trace::read(path)).collect()
}

/// The limit reached for certain, by what is told here alone.
fn is_certain(input: Input, limit: ByteSize) -> bool {
    match input {
        // One process without shared memory counts nothing twice.
        Input::Sum(sum) => sum.members <= 1 && sum.shared == ByteSize::ZERO && sum.private >= limit,
        Input::Bounds(measured) => measured.least.min(measured.sum.total()) >= limit,
        Input::Exact(measured) => measured.least >= limit,
        _ => false,
    }
}

/// The limit reached for nobody who counts right.
fn is_impossible(input: Input, limit: ByteSize) -> bool {
    match input {
        Input::Sum(sum) | Input::Bounds(Measured { sum, .. }) => sum.total() < limit,
        Input::Exact(measured) => measured.most < limit,
        _ => false,
    }
}

fn describe(input: Input) -> String {
    match input {
        Input::Sum(sum) => describe_sum(sum),
        Input::Bounds(Measured {
            least,
            most,
            sum,
            took,
            ..
        }) => format!(
            "bounds {least} to {most} in {took:?}, {}",
            describe_sum(sum)
        ),
        Input::Exact(Measured {
            least, sum, took, ..
        }) => {
            format!("exactly {least} in {took:?}, {}", describe_sum(sum))
        }
        other => format!("{other:?}"),
    }
}

fn describe_sum(sum: Sum) -> String {
    let mut text = format!("sum {} of {}", sum.total(), sum.members);
    let parts = [
        ("shared", sum.shared),
        ("inherited", sum.inherited),
        ("held", sum.held),
        ("given_back", sum.given_back),
        ("written", sum.written),
        ("slack", sum.slack),
    ];
    for (name, bytes) in parts {
        if bytes > ByteSize::ZERO {
            let _ = write!(text, ", {name} {bytes}");
        }
    }
    if sum.newcomers {
        text.push_str(", newcomers");
    }
    text
}

fn describe_answer(action: Action, at: Duration, next: Option<Duration>) -> String {
    match (action, next) {
        (Action::Wait, Some(next)) => format!("wait {:?}", next.saturating_sub(at)),
        (action, _) => format!("{action:?}"),
    }
}

/// What differs from the recorded run first, for people.
fn difference(trace: &Trace) -> Option<String> {
    let mut governor = Governor::new(trace.rules);
    for (index, step) in trace.steps.iter().enumerate() {
        let action = governor.on(step.input, step.at);
        let next = governor.wake_at();
        if (action, next) == (step.action, step.next) {
            continue;
        }
        let mut text = format!("{} goes another way than it was recorded:\n", trace.name);
        for shown in &trace.steps[index.saturating_sub(CONTEXT)..=index] {
            let _ = writeln!(
                text,
                "  {:>12?}  {}\n      recorded: {}",
                shown.at,
                describe(shown.input),
                describe_answer(shown.action, shown.at, shown.next),
            );
        }
        let _ = writeln!(
            text,
            "      now:      {}\nwhere that is meant: scripts/record-traces",
            describe_answer(action, step.at, next),
        );
        return Some(text);
    }
    let cause = governor.cause();
    (cause != trace.end.cause).then(|| {
        format!(
            "{} ended for {:?} when it was recorded, now for {cause:?}",
            trace.name, trace.end.cause
        )
    })
}

#[test]
fn recorded_runs_go_as_they_went() {
    let differences: Vec<String> = traces().iter().filter_map(difference).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_family_is_recorded_and_small() {
    let mut names: Vec<String> = traces().into_iter().map(|trace| trace.name).collect();
    names.sort();
    let families = [
        "copies",
        "copies-reserved",
        "copies-within",
        "filled",
        "forks",
        "huge",
        "leases",
        "malloc",
        "many-maps",
        "mapped-file",
        "one-memory",
        "processes",
        "shared",
        "shared-within",
        "threads",
        "written-file",
    ];
    assert_eq!(names, families);
    for name in names {
        let size = std::fs::metadata(folder().join(format!("{name}.jsonl")));
        let size = size.expect("it was read before").len();
        assert!(size < 64 << 10, "{name}: {size} bytes");
    }
}

#[test]
fn trees_are_ended_when_it_is_certain_and_never_when_it_is_impossible() {
    for trace in traces() {
        let limit = trace.limit();
        let mut governor = Governor::new(trace.rules);
        for step in &trace.steps {
            let before = governor.cause();
            let action = governor.on(step.input, step.at);
            let shown = describe(step.input);
            if is_certain(step.input, limit) && before.is_none() {
                assert_eq!(action, Action::EndTree, "{}: {shown}", trace.name);
            }
            if is_impossible(step.input, limit) && before.is_none() {
                let cause = governor.cause();
                assert_ne!(cause, Some(Cause::Watchdog), "{}: {shown}", trace.name);
            }
        }
    }
}

#[test]
fn looks_come_no_later_than_the_tree_could_be_at_its_limit() {
    for trace in traces() {
        let mut governor = Governor::new(trace.rules);
        for step in &trace.steps {
            governor.on(step.input, step.at);
            let (Input::Sum(sum), Some(next)) = (step.input, governor.wake_at()) else {
                continue;
            };
            let headroom = trace.limit().saturating_sub(governor.bounds(sum).1);
            let closest = match sum.leases {
                Some(leases) if leases.fit => clock::BOUNDED,
                _ => SHORTEST,
            };
            let latest = step.at + time_to_fill(headroom).clamp(closest, LONGEST);
            let shown = describe(step.input);
            assert!(next <= latest, "{}: {shown}: {next:?}", trace.name);
            if sum.newcomers {
                assert!(next <= step.at + RESTLESS, "{}: {shown}", trace.name);
            }
        }
    }
}

#[test]
fn another_limit_changes_only_when_they_are_ended() {
    for trace in traces() {
        let sums = trace.steps.iter().filter_map(|step| match step.input {
            Input::Sum(sum) => Some(sum.total()),
            Input::Bounds(measured) | Input::Exact(measured) => Some(measured.sum.total()),
            _ => None,
        });
        let highest = sums.max().unwrap_or_default();
        let above = highest.saturating_add(ByteSize::from_mib(1));
        let cause = trace.ends_below(above);
        assert_ne!(cause, Some(Cause::Watchdog), "{} below {above}", trace.name);

        let proof = trace.steps.iter().find_map(|step| match step.input {
            Input::Bounds(measured) => Some(measured.least.min(measured.sum.total())),
            Input::Exact(measured) => Some(measured.least),
            Input::Sum(sum) if is_certain(step.input, ByteSize::from_mib(64)) => Some(sum.private),
            _ => None,
        });
        if let Some(proven) = proof.filter(|proven| *proven > ByteSize::ZERO) {
            let cause = trace.ends_below(proven);
            assert_eq!(cause, Some(Cause::Watchdog), "{} at {proven}", trace.name);
        }
    }
}

#[test]
fn who_goes_over_is_ended_and_came_no_farther_than_the_trace_explains() {
    for trace in traces() {
        let Trace { name, end, .. } = &trace;
        let limit = trace.limit();
        if trace.touched.saturating_add(JOB_OVERHEAD) < limit {
            assert_eq!(end.cause, None, "{name}");
        } else if trace.touched >= limit {
            assert_eq!(end.cause, Some(Cause::Watchdog), "{name}");
        }
        if end.cause.is_none() {
            // Far from the limit the peak tells what is certain.
            continue;
        }
        let apart = end.peak.bytes().abs_diff(trace.touched.bytes());
        assert!(apart <= JOB_OVERHEAD.bytes(), "{name}: peak {}", end.peak);
        let unseen = u128::from(end.fastest.bytes()) * end.exposed.as_nanos() / 1_000_000_000;
        let over = trace.touched.saturating_sub(limit);
        let explained = unseen + u128::from(JOB_OVERHEAD.bytes());
        assert!(u128::from(over.bytes()) <= explained, "{name}: {over} over");
    }
}
