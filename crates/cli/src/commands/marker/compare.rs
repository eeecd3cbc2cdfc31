//! `memcap marker compare`: one document at several settings.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;
use memcap_marker::compare::{Row, Setting, requests, rows, settings};
use memcap_marker::many::{DocumentResult, Pool, Tally, Verdict, convert_all};
use memcap_marker::runner::Runner;
use memcap_marker::{Chunking, Multiplier, MultiplierError, Plan, Request, World, path_text, plan};
use serde::Serialize;

use super::args::CompareArgs;
use super::display::Display;
use super::display::words::{counted, duration};
use super::wish::{self, Wish};
use super::{INTERRUPTED, NOTHING, PARTIAL, internal, limit, refuse, table};
use crate::error::{CliError, USAGE};
use crate::render::{self, printable, say, warning};
use crate::supervised::SupervisedRunner;

/// What is compared when nothing is named.
const USUAL: [&str; 3] = ["1.0", "0.5", "0.25"];

#[derive(Serialize)]
struct Comparison<'a> {
    schema_version: u32,
    document: String,
    limit_bytes: ByteSize,
    rows: &'a [Row],
}

/// What is compared, and where.
struct Task {
    settings: Vec<Setting>,
    requests: Vec<Request>,
    output: PathBuf,
    /// Removes the folder where it is nobody's.
    scratch: Option<tempfile::TempDir>,
    limit: ByteSize,
    runner: SupervisedRunner,
    quiet: bool,
}

pub(super) fn run(args: CompareArgs, world: &World) -> Result<u8, CliError> {
    let json = args.json;
    let task = Task::of(args, world)?;
    let plans = task.plans(world)?;
    if !task.quiet {
        say(&task.cost(&plans));
    }
    let results = task.convert(world);
    let rows = rows(&task.settings, &results, &task.output).map_err(internal)?;
    let text = match json {
        true => task.json(&rows).map_err(internal)?,
        false => task.text(&rows),
    };
    render::data(text.trim_end())?;
    Ok(exit_code(&results))
}

impl Task {
    fn of(args: CompareArgs, world: &World) -> Result<Task, CliError> {
        if args.input.is_dir() {
            return Err(refuse(
                format!("`{}` is a folder", path_text(&args.input)),
                "name one document; its settings will do for others like it",
            ));
        }
        let wish = Wish::of(args.settings, args.marker_args)?;
        let multipliers = multipliers(args.multipliers.as_deref(), &args.chunk_sizes, &wish)?;
        let chunkings = match &args.chunk_sizes {
            None => vec![wish.chunking],
            Some(text) => {
                let sizes = text.split(',');
                sizes
                    .map(|size| wish::chunk_size("--chunk-sizes", size))
                    .collect::<Result<Vec<Chunking>, _>>()?
            }
        };
        let settings = settings(&multipliers, &chunkings);
        let limit = limit(wish.memory, wish.mechanism, args.quiet)?;
        let (output, scratch) = folder(args.output, world)?;
        let document = world.absolute(&args.input);
        let like = wish.request(document, output.clone(), limit);
        Ok(Task {
            requests: requests(&like, &settings),
            settings,
            output,
            scratch,
            limit,
            runner: SupervisedRunner::new(wish.mechanism).map_err(internal)?,
            quiet: args.quiet,
        })
    }

    /// The plan of each setting that has one. What none has is an error.
    fn plans(&self, world: &World) -> Result<Vec<Plan>, CliError> {
        let mut plans = Vec::new();
        let mut last = None;
        for request in &self.requests {
            match plan(request, world, &mut self.runner.beside()) {
                Ok(plan) => plans.push(plan),
                Err(_) if self.runner.was_interrupted() => {
                    let text = "interrupted before anything was started";
                    return Err(CliError::new(text, None, INTERRUPTED));
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if plans.is_empty() => {
                let hint = error.hint();
                Err(CliError::new(error, hint, USAGE))
            }
            _ => Ok(plans),
        }
    }

    /// What is to be expected, as far as it is known.
    fn cost(&self, plans: &[Plan]) -> String {
        let chunks: usize = plans.iter().map(|plan| plan.chunks.len()).sum();
        let pages: usize = plans
            .iter()
            .flat_map(|plan| &plan.chunks)
            .map(|chunk| chunk.pages.len())
            .sum();
        let settings = counted(self.settings.len(), "setting");
        if chunks == 0 {
            return format!("memcap: {settings}, all converted by an earlier comparison");
        }
        format!(
            "memcap: {settings}, one after the other: {} to convert in {}, each of which \
             begins with the ten seconds or more that marker needs to start; limit {}",
            counted(pages, "page"),
            counted(chunks, "chunk"),
            self.limit
        )
    }

    fn convert(&self, world: &World) -> Vec<DocumentResult> {
        let names = self
            .settings
            .iter()
            .map(|setting| (setting.to_string(), None));
        let mut display = Display::new(names.collect(), self.limit, self.quiet);
        let runner = &self.runner;
        let make_runner = || {
            let runner: Box<dyn Runner> = Box::new(runner.beside());
            Ok(runner)
        };
        let pool = Pool {
            jobs: NonZeroUsize::MIN,
            runner: &make_runner,
            worker: &make_runner,
            is_stopped: &|| runner.was_interrupted(),
            tries_all: true,
        };
        convert_all(&self.requests, world, &pool, &mut |index, event| {
            display.show(index, &event, runner.was_interrupted());
        })
    }

    fn json(&self, rows: &[Row]) -> serde_json::Result<String> {
        let document = self
            .requests
            .first()
            .map(|request| path_text(&request.document));
        serde_json::to_string_pretty(&Comparison {
            schema_version: 1,
            document: document.unwrap_or_default(),
            limit_bytes: self.limit,
            rows,
        })
    }

    fn text(&self, rows: &[Row]) -> String {
        let header = [
            "setting", "pages", "time", "peak", "runs", "text", "alike", "",
        ];
        let mut table = table::new(header);
        for row in rows {
            table.add_row(cells(row));
        }
        let mut text = format!("{table}\n");
        let _ = writeln!(
            text,
            "time: of marker, all its runs together; alike: words in the same order as with the \
             first setting"
        );
        if self.scratch.is_some() {
            text.push_str(
                "the results are thrown away; with -o OUT they stay, with their differences\n",
            );
        }
        for diff in rows.iter().filter_map(|row| row.diff.as_deref()) {
            let _ = writeln!(text, "differences in {}", path_text(diff));
        }
        text
    }
}

fn cells(row: &Row) -> Vec<String> {
    let or_nothing = |text: Option<String>| text.unwrap_or_default();
    let measured = row.measured.as_ref();
    let all = row.converted.len() + row.missing.len();
    let runs = measured.map(|measured| match measured.failures {
        0 => measured.attempts.to_string(),
        failures => format!("{}, {failures} failed", measured.attempts),
    });
    let note = match (&row.error, row.status) {
        (Some(error), _) => printable(error),
        (None, "complete" | "already-done") => String::new(),
        (None, status) => status.to_owned(),
    };
    vec![
        row.setting.clone(),
        match all {
            0 => String::new(),
            all => format!("{}/{all}", row.converted.len()),
        },
        or_nothing(measured.and_then(|measured| measured.time()).map(duration)),
        or_nothing(
            measured
                .and_then(|measured| measured.peak_bytes)
                .map(|peak| peak.to_string()),
        ),
        or_nothing(runs),
        or_nothing(row.text_bytes.map(|size| size.to_string())),
        or_nothing(
            row.similarity
                .map(|alike| format!("{:.2} %", alike * 100.0)),
        ),
        note,
    ]
}

/// `--multipliers`; else the one that is set, or the usual ones where nothing
/// at all is named.
fn multipliers(
    text: Option<&str>,
    chunk_sizes: &Option<String>,
    wish: &Wish,
) -> Result<Vec<Option<Multiplier>>, CliError> {
    let usual = USUAL.join(",");
    let text = match text {
        Some(text) => text,
        None if wish.tuning.multiplier.is_some() || chunk_sizes.is_some() => {
            return Ok(vec![wish.tuning.multiplier]);
        }
        None => &usual,
    };
    let parse = |text: &str| {
        wish::value("--multipliers", text.trim(), |error: &MultiplierError| {
            error.hint().to_owned()
        })
        .map(Some)
    };
    text.split(',').map(parse).collect()
}

/// The folder of the results: one that is named, or one that is removed.
fn folder(
    output: Option<PathBuf>,
    world: &World,
) -> Result<(PathBuf, Option<tempfile::TempDir>), CliError> {
    if let Some(output) = output {
        return Ok((world.absolute(&output), None));
    }
    let scratch = tempfile::Builder::new()
        .prefix("memcap-compare-")
        .tempdir()
        .map_err(internal)?;
    if !has_room(scratch.path()) {
        warning("results go into a folder in memory; name one on a disk with -o OUT");
    }
    Ok((scratch.path().to_owned(), Some(scratch)))
}

/// Whether files there are on a disk, and not in the memory that is measured.
fn has_room(folder: &Path) -> bool {
    use nix::sys::statfs::{TMPFS_MAGIC, statfs};
    statfs(folder).is_ok_and(|filesystem| filesystem.filesystem_type() != TMPFS_MAGIC)
}

fn exit_code(results: &[DocumentResult]) -> u8 {
    match Tally::of(results, &[]).verdict() {
        Verdict::Complete => 0,
        Verdict::Partial => PARTIAL,
        Verdict::Nothing => NOTHING,
        Verdict::Interrupted => INTERRUPTED,
    }
}
