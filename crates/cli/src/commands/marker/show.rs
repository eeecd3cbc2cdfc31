//! A plan and an outcome, for people and as JSON.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use memcap_marker::{Effect, Outcome, PassedAs, Plan, Status};
use serde::Serialize;

use crate::render::{printable, warning};

/// The JSON report of a conversion.
#[derive(Serialize)]
pub(crate) struct ConversionReport<'a> {
    schema_version: u32,
    plan: &'a Plan,
    outcome: &'a Outcome,
}

pub(crate) fn report<'a>(plan: &'a Plan, outcome: &'a Outcome) -> ConversionReport<'a> {
    ConversionReport {
        schema_version: 1,
        plan,
        outcome,
    }
}

/// Everything, on standard output.
pub(crate) fn plan(plan: &Plan, json: bool) -> io::Result<()> {
    let mut text = if json {
        serde_json::to_string_pretty(plan).map_err(io::Error::other)?
    } else {
        plan_text(plan)
    };
    text.push('\n');
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn plan_text(plan: &Plan) -> String {
    let mut lines = vec![
        format!(
            "{}: {} pages, converting {}",
            printable(&plan.document.display().to_string()),
            plan.document_pages,
            plan.pages
        ),
        marker_line(plan),
        format!(
            "limit {} for each run; result in {}",
            plan.limit,
            plan.result.display()
        ),
        String::new(),
        settings_table(plan),
        String::new(),
    ];
    if !plan.done.is_empty() {
        lines.push(format!("pages {} are done already", plan.done));
    }
    lines.push(chunk_table(plan));
    lines.extend(plan.warnings.iter().map(|text| format!("warning: {text}")));
    lines.join("\n")
}

fn marker_line(plan: &Plan) -> String {
    let torch = plan.marker.torch.as_deref().unwrap_or("unknown");
    format!(
        "marker {} in {} (torch {torch}, device {:?}: {})",
        plan.marker.version,
        plan.marker.python.display(),
        plan.device.device,
        plan.device.because
    )
}

fn settings_table(plan: &Plan) -> String {
    let mut table = new_table(["setting", "value", "passed as", "effect here"]);
    for lever in &plan.settings.levers {
        let how = match &lever.passed_as {
            PassedAs::Flag(flag) => flag.clone(),
            PassedAs::ConfigFile(key) => format!("config: {key}"),
            PassedAs::Environment(name) => format!("env: {name}"),
        };
        let effect = match &lever.effect {
            Effect::Yes => "yes".to_owned(),
            Effect::No { because } => format!("ignored: {because}"),
        };
        table.add_row([lever.name.clone(), lever.value.clone(), how, effect]);
    }
    table.to_string()
}

fn chunk_table(plan: &Plan) -> String {
    let mut table = new_table(["chunk", "pages", "estimate"]);
    for (index, chunk) in plan.chunks.iter().enumerate() {
        table.add_row([
            (index + 1).to_string(),
            chunk.pages.to_string(),
            chunk.estimate.to_string(),
        ]);
    }
    table.to_string()
}

fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(100);
    table.set_header(header);
    table
}

/// The settings in force, in two lines, and what will have no effect.
pub(crate) fn before_start(plan: &Plan) {
    let done = if plan.done.is_empty() {
        String::new()
    } else {
        format!(", {} done already", plan.done.len())
    };
    say(&format!(
        "memcap: {} pages in {} chunks{done}; limit {}; marker {}",
        plan.pages.len(),
        plan.chunks.len(),
        plan.limit,
        plan.marker.version
    ));
    for lever in &plan.settings.levers {
        if let Effect::No { because } = &lever.effect {
            say(&format!(
                "memcap: ignored: {} {}: {because}",
                lever.name, lever.value
            ));
        }
    }
    for text in &plan.warnings {
        warning(&printable(text));
    }
}

/// What became of it: a sentence on standard error, the result's folder on
/// standard output.
pub(crate) fn ending(plan: &Plan, outcome: &Outcome) {
    let peak = outcome
        .peak
        .map_or("unknown".to_owned(), |peak| peak.to_string());
    let work = format!(
        "{} chunks converted, {} taken from earlier; peak {peak} of {}; {:.0} s of marker",
        outcome.chunks_run,
        outcome.chunks_kept,
        plan.limit,
        outcome.marker_time.as_secs_f64()
    );
    say(&match outcome.status {
        Status::Complete => format!("memcap: complete: {} pages; {work}", plan.pages.len()),
        Status::AlreadyDone => "memcap: already done by an earlier run".to_owned(),
        Status::Partial => format!("memcap: pages {} are missing; {work}", outcome.missing),
        Status::Nothing => format!("memcap: no page was converted; {work}"),
        Status::Interrupted => {
            format!("memcap: interrupted; {work}; the same command goes on with the missing chunks")
        }
    });
    if let Some(result) = &outcome.result {
        use std::os::unix::ffi::OsStrExt;
        let mut line = result.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        // Nobody reads it: nobody is told.
        let _ = io::stdout().write_all(&line);
    }
}

fn say(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}
