//! `memcap marker`: documents converted by marker within a memory limit.
//!
//! ```text
//! words --args--> text --wish--> settings --convert, plan, compare--> the library
//!                                                 |
//!                                   display, json_events (while it runs)
//!                                   summary, report      (at the end)
//! ```

mod args;
mod before_start;
mod compare;
mod convert;
mod display;
mod drop_caches;
mod json_events;
mod kept;
mod password;
mod plan;
mod report;
mod summary;
mod table;
mod wish;

use std::ffi::OsString;

pub(crate) use args::MarkerArgs;
use args::{MarkerCommand, TellingArgs};
use memcap_linux::{ByteSize, SizeSpec};
use memcap_marker::World;
use memcap_marker::dropin::DropIn;
use memcap_probe::{Host, Roots};
use memcap_supervisor::{Job, Limits, MechanismChoice, Supervisor};

use crate::error::{CliError, INTERNAL, USAGE};
use crate::render;
use convert::Task;
use wish::Wish;

/// Placeholder pages, or pages or documents missing.
const PARTIAL: u8 = 3;
/// Nothing was produced.
const NOTHING: u8 = 4;
/// The user stopped us.
const INTERRUPTED: u8 = 130;

pub(crate) fn run(args: MarkerArgs) -> Result<u8, CliError> {
    let world = world()?;
    match args.command {
        Some(MarkerCommand::Plan(args)) => plan::run(args, &world),
        Some(MarkerCommand::Compare(args)) => compare::run(args, &world),
        None => Task::of(args.convert)?.run(&world),
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
        jobs,
        output,
        memory,
        python,
        pages,
        format,
        chunking,
        tuning,
        force,
        marker_args,
    } = asked;
    let wish = Wish {
        memory,
        mechanism: MechanismChoice::Auto,
        pages,
        format,
        chunking,
        chunk_time: None,
        drive: memcap_marker::Drive::default(),
        tuning,
        python,
        password: None,
        drop_caches: false,
        force,
        marker_args,
    };
    let task = Task {
        inputs: vec![document],
        output,
        wish,
        jobs,
        telling: TellingArgs {
            report: None,
            json_events: None,
            quiet: false,
        },
    };
    task.run(&world)
}

/// The limit in bytes, below every enclosing one.
fn limit(
    wanted: Option<SizeSpec>,
    mechanism: MechanismChoice,
    quiet: bool,
) -> Result<ByteSize, CliError> {
    let limit = wanted.unwrap_or_else(|| SizeSpec::Bytes(conservative_limit()));
    let limits = Limits::memory(limit).map_err(|error| refuse(error.to_string(), &error.hint()))?;
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
    let current_dir = std::env::current_dir().map_err(|error| {
        refuse(
            format!("cannot tell the current folder: {error}"),
            "it may have been removed; go to another one",
        )
    })?;
    Ok(World::new(std::env::vars_os(), current_dir))
}

fn refuse(message: String, hint: &str) -> CliError {
    CliError::new(message, Some(hint.to_owned()), USAGE)
}

fn internal(error: impl std::error::Error + 'static) -> CliError {
    CliError::new(error, None, INTERNAL)
}
