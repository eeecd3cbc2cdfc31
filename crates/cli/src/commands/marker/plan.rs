//! `memcap marker plan`: what would be done, without doing it.

use std::fmt::Write as _;
use std::io;

use memcap_linux::ByteSize;
use memcap_marker::many::{Inputs, JobsDecision, JobsReason, Skipped};
use memcap_marker::{Effect, PassedAs, Plan, PlanError, SetBy, World, path_text, plan};
use serde::Serialize;

use super::args::PlanArgs;
use super::display::words::{counted, of_pages};
use super::wish::{self, Wish};
use super::{INTERRUPTED, PARTIAL, limit, table};
use crate::commands::doctor::wrap::{width, wrap};
use crate::error::{CliError, USAGE};
use crate::render::{self, printable};
use crate::supervised::SupervisedRunner;

/// Chunks that are shown one by one.
const MOST_CHUNKS: usize = 40;

/// All plans.
#[derive(Serialize)]
struct Plans<'a> {
    schema_version: u32,
    limit_bytes: ByteSize,
    #[serde(flatten)]
    jobs: JobsDecision,
    documents: Vec<Planned<'a>>,
    skipped: &'a [Skipped],
}

#[derive(Serialize)]
#[serde(untagged)]
enum Planned<'a> {
    Plan(&'a Plan),
    Failed { document: String, error: String },
}

pub(super) fn run(args: PlanArgs, world: &World) -> Result<u8, CliError> {
    let wish = Wish::of(args.settings, args.marker_args)?;
    let jobs = wish::jobs(&args.jobs.jobs)?;
    let inputs = super::convert::find_inputs(&args.inputs)?;
    let total = limit(wish.memory, wish.mechanism, false)?;
    let jobs = super::convert::decide(jobs, inputs.documents.len(), total, world)?;
    let mut runner = SupervisedRunner::new(wish.mechanism).map_err(super::internal)?;
    let mut plans = Vec::new();
    for request in super::convert::requests(&inputs, &args.output, &wish, jobs, world) {
        plans.push(plan(&request, world, &mut runner));
        if runner.was_interrupted() {
            return Err(CliError::new("interrupted", None, INTERRUPTED));
        }
    }
    if let ([_], true) = (&plans[..], inputs.skipped.is_empty())
        && let Some(Err(error)) = plans.pop_if(|plan| plan.is_err())
    {
        let hint = error.hint();
        return Err(CliError::new(error, hint, USAGE));
    }
    let text = match args.json {
        true => json(&plans, &inputs, total, jobs),
        false => text(&plans, &inputs, total, jobs),
    };
    render::written(text.and_then(|text| print(&text)))?;
    let is_whole = plans.iter().all(Result::is_ok);
    Ok(if is_whole { 0 } else { PARTIAL })
}

fn print(text: &str) -> io::Result<()> {
    io::Write::write_all(&mut anstream::stdout(), text.as_bytes())
}

fn json(
    plans: &[Result<Plan, PlanError>],
    inputs: &Inputs,
    limit_bytes: ByteSize,
    jobs: JobsDecision,
) -> io::Result<String> {
    let planned = plans.iter().zip(&inputs.documents);
    let documents = planned.map(|(plan, document)| match plan {
        Ok(plan) => Planned::Plan(plan),
        Err(error) => Planned::Failed {
            document: path_text(document),
            error: memcap_linux::one_line(error),
        },
    });
    let plans = Plans {
        schema_version: 1,
        limit_bytes,
        jobs,
        documents: documents.collect(),
        skipped: &inputs.skipped,
    };
    let mut text = serde_json::to_string_pretty(&plans)?;
    text.push('\n');
    Ok(text)
}

fn text(
    plans: &[Result<Plan, PlanError>],
    inputs: &Inputs,
    total: ByteSize,
    jobs: JobsDecision,
) -> io::Result<String> {
    let mut text = String::new();
    if let ([Ok(plan)], true) = (plans, inputs.skipped.is_empty()) {
        text.push_str(&in_full(plan, total));
    } else {
        text.push_str(&summary(plans, inputs, total, jobs));
    }
    Ok(text)
}

/// One document: everything.
fn in_full(plan: &Plan, total: ByteSize) -> String {
    let mut text = format!(
        "{}: {}, converting {}\n",
        path_text(&plan.document),
        counted(
            usize::try_from(plan.document_pages).unwrap_or(usize::MAX),
            "page"
        ),
        plan.pages
    );
    text.push_str(&marker_line(plan));
    let _ = match plan.workers.get() {
        1 => writeln!(
            text,
            "limit {} for marker with all that it starts",
            plan.limit
        ),
        workers => writeln!(
            text,
            "limit {total} for marker with all that it starts; {workers} workers, chunks cut for {} each",
            plan.limit
        ),
    };
    let _ = writeln!(text, "result in {}\n", path_text(&plan.result));
    text.push_str(&settings(plan));
    if !plan.done.is_empty() {
        let _ = writeln!(text, "{} done already\n", of_pages(&plan.done));
    }
    text.push_str(&choices(plan));
    text.push_str(&chunks(plan));
    text.push_str(&warnings(plan.warnings.iter().map(String::as_str)));
    text
}

/// A paragraph of warnings, where there are any.
fn warnings<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let told = all.map(|warning| format!("{}\n", wrap("warning: ", &printable(warning), width())));
    let told: String = told.collect();
    match told.is_empty() {
        true => told,
        false => format!("\n{told}"),
    }
}

/// What is true of every document, and need not be said of each.
fn common_warnings<'a>(plans: &[&'a Plan]) -> Vec<&'a str> {
    let Some((first, others)) = plans.split_first() else {
        return Vec::new();
    };
    let everywhere = |text: &&str| {
        let has_it = |plan: &&Plan| plan.warnings.iter().any(|other| other == text);
        others.iter().all(has_it)
    };
    let all = first.warnings.iter().map(String::as_str);
    all.filter(everywhere).collect()
}

fn marker_line(plan: &Plan) -> String {
    let torch = plan.marker.torch.as_deref().unwrap_or("unknown");
    let computes = format!("on {}, because {}", plan.device.device, plan.device.because);
    format!(
        "marker {} in {}\n{}\n",
        plan.marker.version,
        path_text(&plan.marker.python),
        wrap(&format!("PyTorch {torch}, computes "), &computes, width())
    )
}

/// What has an effect as a table, and what has none with the reason.
fn settings(plan: &Plan) -> String {
    let mut table = table::new(["setting", "value", "set by", "passed as"]);
    let mut without = String::new();
    for lever in &plan.settings.levers {
        match &lever.effect {
            Effect::Yes => {
                table.add_row([
                    lever.name.clone(),
                    printable(&lever.value),
                    set_by(lever.set_by).to_owned(),
                    passed_as(&lever.passed_as),
                ]);
            }
            Effect::No { because } => {
                let setting = format!("{} {}", lever.name, printable(&lever.value));
                let told = format!("{}: {because}", setting.trim_end());
                let _ = writeln!(without, "{}", wrap("  ", &told, width()));
            }
        }
    }
    let mut text = match table.row_count() {
        0 => "marker's own settings\n\n".to_owned(),
        _ => format!("{table}\n\n"),
    };
    if !without.is_empty() {
        let _ = writeln!(text, "without effect here:\n{without}");
    }
    if !plan.marker_options.is_empty() {
        let _ = writeln!(text, "handed on: {}\n", plan.marker_options.join(" "));
    }
    text
}

/// What memcap has chosen to stay under the limit, and how well it can tell.
fn choices(plan: &Plan) -> String {
    let mut text = String::new();
    for choice in &plan.chosen {
        let told = format!("{}, because {}", choice.value, choice.because);
        let label = format!("{}: ", choice.what);
        let _ = writeln!(text, "{}", wrap(&label, &told, width()));
    }
    let _ = match plan.memory_model.samples() {
        0 => writeln!(
            text,
            "estimates: by constants; the first chunks correct them\n"
        ),
        runs => writeln!(
            text,
            "estimates: by constants and {} of marker on this machine\n",
            counted(runs, "run")
        ),
    };
    text
}

fn set_by(by: SetBy) -> &'static str {
    match by {
        SetBy::Marker => "marker",
        SetBy::Memcap => "memcap",
        SetBy::Hand => "you",
        SetBy::Environment => "environment",
    }
}

fn passed_as(how: &PassedAs) -> String {
    match how {
        PassedAs::Flag(word) | PassedAs::Switch(word) => word.clone(),
        PassedAs::ConfigFile(key) => format!("config file: {key}"),
        PassedAs::Environment(name) => format!("environment: {name}"),
    }
}

fn chunks(plan: &Plan) -> String {
    let of_what = match plan.workers.get() {
        1 => "of the limit",
        _ => "of its share",
    };
    let mut table = table::new(["chunk", "pages", "estimate", of_what]);
    for (index, chunk) in plan.chunks.iter().take(MOST_CHUNKS).enumerate() {
        let share = chunk.estimate.bytes().saturating_mul(100) / plan.limit.bytes().max(1);
        table.add_row([
            (index + 1).to_string(),
            chunk.pages.to_string(),
            chunk.estimate.to_string(),
            format!("{share} %"),
        ]);
    }
    let mut text = format!("{table}\n");
    if plan.chunks.len() > MOST_CHUNKS {
        let more = plan.chunks.len() - MOST_CHUNKS;
        let _ = writeln!(text, "and {more} more; --json lists all");
    }
    text
}

/// Many documents: a line for each.
fn summary(
    plans: &[Result<Plan, PlanError>],
    inputs: &Inputs,
    total: ByteSize,
    jobs: JobsDecision,
) -> String {
    let mut text = format!(
        "{}, {}\n",
        counted(plans.len(), "document"),
        together(jobs, total)
    );
    text.push_str(&why_so_many(jobs));
    let planned: Vec<&Plan> = plans.iter().flatten().collect();
    if let Some(plan) = planned.first() {
        text.push_str(&marker_line(plan));
        text.push('\n');
        text.push_str(&settings(plan));
    }
    let mut table = table::new([
        "document",
        "pages",
        "done",
        "chunks",
        "largest estimate",
        "",
    ]);
    let common = common_warnings(&planned);
    for (plan, document) in plans.iter().zip(&inputs.documents) {
        let name = document.file_name().unwrap_or_default();
        let name = printable(&name.to_string_lossy());
        table.add_row(match plan {
            Ok(plan) => row(name, plan, &common),
            Err(error) => {
                let error = printable(&memcap_linux::one_line(error));
                let empty = || String::new();
                vec![name, empty(), empty(), empty(), empty(), error]
            }
        });
    }
    let _ = writeln!(text, "{table}");
    for one in &inputs.skipped {
        let _ = writeln!(text, "skipped: {}: {}", path_text(&one.path), one.because);
    }
    text.push_str(&warnings(common.into_iter()));
    text
}

/// How many at a time, and what they may take.
fn together(jobs: JobsDecision, total: ByteSize) -> String {
    match jobs.jobs.get() {
        1 => format!("one after the other, each within {total}"),
        several => format!(
            "{several} at a time, within {total} all together; chunks are cut for {} each",
            jobs.share
        ),
    }
}

/// Nothing where it is what was asked for.
fn why_so_many(jobs: JobsDecision) -> String {
    if jobs.because == JobsReason::Asked {
        return String::new();
    }
    let told = format!("{}, because {}", jobs.jobs, jobs.because);
    format!("{}\n", wrap("documents at once: ", &told, width()))
}

fn row(name: String, plan: &Plan, common: &[&str]) -> Vec<String> {
    let own = |text: &&str| !common.contains(text);
    let warnings: Vec<&str> = plan
        .warnings
        .iter()
        .map(String::as_str)
        .filter(own)
        .collect();
    let largest = plan.chunks.iter().map(|chunk| chunk.estimate).max();
    vec![
        name,
        plan.pages.len().to_string(),
        plan.done.len().to_string(),
        plan.chunks.len().to_string(),
        largest.map_or(String::new(), |estimate| estimate.to_string()),
        printable(&warnings.join("; ")),
    ]
}
