//! `memcap marker`: a PDF converted by marker within a memory limit.

mod progress;
mod show;

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use memcap_linux::{ByteSize, ParseSizeError, SizeSpec};
use memcap_marker::dropin::DropIn;
use memcap_marker::{
    Chunking, ConversionError, Outcome, Plan, PlanError, Request, Status, TuningRequest, World,
    plan,
};
use memcap_probe::{Host, Roots};
use memcap_supervisor::{Job, Limits, MechanismChoice, Supervisor};

use crate::error::{CliError, INTERNAL, USAGE};
use crate::render;
use crate::report_file::ReportFile;
use crate::supervised::SupervisedRunner;

/// Placeholder pages, or pages missing.
const PARTIAL: u8 = 3;
/// Nothing was produced.
const NOTHING: u8 = 4;
/// The user stopped us.
const INTERRUPTED: u8 = 130;

/// Convert a PDF with marker within a memory limit: in chunks of pages, each
/// in a fresh process under the limit, joined into one result. A second run
/// goes on where the first one stopped.
///
/// The exit code is 0 when every page is there, 3 when pages are missing, 4
/// when nothing was produced, 2 for bad input, 130 when interrupted, 125 for a
/// failure of memcap.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct MarkerArgs {
    #[command(subcommand)]
    command: Option<MarkerCommand>,
    #[command(flatten)]
    convert: Option<ConvertArgs>,
}

#[derive(Debug, Subcommand)]
enum MarkerCommand {
    /// Show settings and chunks without converting anything.
    Plan {
        #[command(flatten)]
        convert: ConvertArgs,
        /// Print the plan as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct ConvertArgs {
    /// The PDF.
    #[arg(value_name = "INPUT.pdf")]
    input: PathBuf,
    /// Folder for the result, which becomes OUT/NAME/NAME.md.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Memory limit for each run of marker with everything it starts: 2G, 8G,
    /// 50%. Without it: 75 % of the memory that is free.
    #[arg(short, long, value_name = "SIZE", allow_negative_numbers = true)]
    memory: Option<String>,
    /// Pages in a chunk; without it as many as fit under the limit.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    chunk_size: Option<String>,
    /// Factor for marker's batch sizes, such as 0.5; mapped to what the
    /// installed version understands.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    batch_multiplier: Option<String>,
    /// Pages to convert, counted from 1: 1-20,25,30-
    #[arg(long, value_name = "PAGES", allow_negative_numbers = true)]
    pages: Option<String>,
    /// Threads of the numerical libraries.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    threads: Option<NonZeroU32>,
    /// The Python in which marker-pdf is installed; without it, it is looked
    /// for.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// How to hold the limit: auto, cgroup-v2, systemd, cgroup-v1, watchdog or
    /// rlimit.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    mechanism: String,
    /// Overwrite files in the result's folder that memcap did not write.
    #[arg(long)]
    force: bool,
    /// Write what became of it as JSON to this file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print nothing but errors.
    #[arg(short, long)]
    quiet: bool,
    /// Further options for marker itself.
    #[arg(last = true, value_name = "MARKER OPTIONS")]
    marker_args: Vec<OsString>,
}

/// What is asked for, in either spelling.
struct Wish {
    request: Request,
    mechanism: MechanismChoice,
    report: Option<ReportFile>,
    quiet: bool,
}

pub(crate) fn run(args: MarkerArgs) -> Result<u8, CliError> {
    match (args.command, args.convert) {
        (Some(MarkerCommand::Plan { convert, json }), _) => show_plan(convert, json),
        (None, Some(convert)) => {
            let world = world()?;
            convert_document(wish(convert)?, &world)
        }
        (None, None) => Err(CliError::new(
            "no document is named",
            Some("write `memcap marker INPUT.pdf -o OUT --memory 4G`".to_owned()),
            USAGE,
        )),
    }
}

/// The spelling of marker-pdf-optimized.
pub(crate) fn run_drop_in(words: impl IntoIterator<Item = OsString>) -> Result<u8, CliError> {
    let world = world()?;
    let asked = memcap_marker::dropin::parse(words, &world).map_err(|error| {
        let hint = error.hint();
        CliError::new(error, Some(hint), USAGE)
    })?;
    let DropIn {
        document,
        output,
        memory,
        python,
        pages,
        chunking,
        tuning,
        force,
        marker_args,
    } = asked;
    let mechanism = MechanismChoice::Auto;
    let memory = limit(memory, mechanism, false)?;
    let request = Request {
        python,
        pages,
        chunking,
        tuning,
        force,
        marker_args,
        ..Request::new(document, output, memory)
    };
    convert_document(
        Wish {
            request,
            mechanism,
            report: None,
            quiet: false,
        },
        &world,
    )
}

fn show_plan(args: ConvertArgs, json: bool) -> Result<u8, CliError> {
    let world = world()?;
    let Wish {
        request, mechanism, ..
    } = wish(args)?;
    let mut runner = SupervisedRunner::new(mechanism).map_err(internal)?;
    let plan = make_plan(&request, &world, &mut runner)?;
    show::plan(&plan, json).map_err(internal)?;
    Ok(0)
}

fn convert_document(wish: Wish, world: &World) -> Result<u8, CliError> {
    let Wish {
        request,
        mechanism,
        report,
        quiet,
    } = wish;
    let mut runner = SupervisedRunner::new(mechanism).map_err(internal)?;
    let plan = make_plan(&request, world, &mut runner)?;
    if !quiet {
        show::before_start(&plan);
    }
    let outcome = {
        let mut display = progress::Display::new(&plan, quiet);
        plan.run(&mut runner, &mut |event| display.show(&event))
            .map_err(conversion_failed)?
    };
    if let Some(report) = report {
        report
            .write(&show::report(&plan, &outcome))
            .map_err(internal)?;
    }
    if !quiet {
        show::ending(&plan, &outcome);
    }
    Ok(exit_code(&outcome))
}

fn make_plan(
    request: &Request,
    world: &World,
    runner: &mut SupervisedRunner,
) -> Result<Plan, CliError> {
    plan(request, world, runner).map_err(|error: PlanError| {
        if runner.was_interrupted() {
            return CliError::new("interrupted before anything was started", None, INTERRUPTED);
        }
        let hint = error.hint();
        CliError::new(error, hint, USAGE)
    })
}

/// The command line with meaning.
fn wish(args: ConvertArgs) -> Result<Wish, CliError> {
    let mechanism: MechanismChoice = args.mechanism.parse().map_err(|error| {
        let hint = "write auto, cgroup-v2, systemd, cgroup-v1, watchdog or rlimit";
        refuse(format!("--mechanism: {error}"), hint)
    })?;
    let chunking = match &args.chunk_size {
        None => Chunking::Fit,
        Some(text) => Chunking::Fixed(text.parse::<NonZeroU32>().map_err(|_| {
            let hint = "write how many pages a chunk shall have: 1 or more";
            refuse(
                format!("--chunk-size: `{text}` is no number of pages"),
                hint,
            )
        })?),
    };
    let multiplier = match &args.batch_multiplier {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|error: memcap_marker::MultiplierError| {
                    let hint = error.hint();
                    refuse(format!("--batch-multiplier: {error}"), hint)
                })?,
        ),
    };
    let pages = match &args.pages {
        None => None,
        Some(text) => Some(text.parse().map_err(|error: memcap_marker::PagesError| {
            let hint = error.hint();
            refuse(format!("--pages: {error}"), &hint)
        })?),
    };
    let memory = match &args.memory {
        None => None,
        Some(text) => Some(text.parse().map_err(|error: ParseSizeError| {
            let hint = error.hint();
            refuse(format!("--memory: {error}"), hint)
        })?),
    };
    let memory = limit(memory, mechanism, args.quiet)?;
    let tuning = TuningRequest {
        multiplier,
        threads: args.threads,
        ..TuningRequest::default()
    };
    let report = args
        .report
        .as_deref()
        .map(ReportFile::open)
        .transpose()
        .map_err(internal)?;
    let request = Request {
        python: args.python,
        pages,
        chunking,
        tuning,
        force: args.force,
        marker_args: args.marker_args,
        ..Request::new(args.input, args.output, memory)
    };
    Ok(Wish {
        request,
        mechanism,
        report,
        quiet: args.quiet,
    })
}

/// The limit in bytes, below every enclosing one.
fn limit(
    wanted: Option<SizeSpec>,
    mechanism: MechanismChoice,
    quiet: bool,
) -> Result<ByteSize, CliError> {
    let limit = wanted.unwrap_or_else(|| SizeSpec::Bytes(conservative_limit()));
    let limits = Limits::memory(limit).map_err(|error| refuse(error.to_string(), error.hint()))?;
    let trial = memcap_supervisor::Request::new(Job::new("marker"), limits).mechanism(mechanism);
    let plan = Supervisor::new().plan(&trial)?;
    if !quiet && wanted.is_some() {
        render::clamp(&plan);
    }
    Ok(plan.limit)
}

/// Without a wish: three quarters of what is free. The ceiling is minded by
/// the plan.
fn conservative_limit() -> ByteSize {
    let host = Host::observe(&Roots::default());
    let available = host.memory.value().and_then(|memory| memory.available);
    let ceiling = host.ceilings.lowest().map(|ceiling| ceiling.bytes);
    available
        .or(ceiling)
        .unwrap_or(ByteSize::from_gib(4))
        .percent(75)
}

fn world() -> Result<World, CliError> {
    let current_dir = std::env::current_dir().map_err(internal)?;
    Ok(World::new(std::env::vars_os(), current_dir))
}

fn exit_code(outcome: &Outcome) -> u8 {
    match outcome.status {
        Status::AlreadyDone | Status::Complete => 0,
        Status::Partial => PARTIAL,
        Status::Nothing => NOTHING,
        Status::Interrupted => INTERRUPTED,
    }
}

fn conversion_failed(error: ConversionError) -> CliError {
    let hint = error.hint();
    let code = match &error {
        ConversionError::Refused { .. }
        | ConversionError::FailsAlways { .. }
        | ConversionError::LimitTooSmall { .. } => NOTHING,
        _ => INTERNAL,
    };
    CliError::new(error, hint, code)
}

fn refuse(message: String, hint: &str) -> CliError {
    CliError::new(message, Some(hint.to_owned()), USAGE)
}

fn internal(error: impl std::error::Error + 'static) -> CliError {
    CliError::new(error, None, INTERNAL)
}
