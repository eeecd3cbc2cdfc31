//! `memcap doctor`: which limits hold on this host, proved by exceeding them.

mod bundle;
mod explain;
mod marker;
mod text;
pub(crate) mod wrap;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use memcap_probe::{DoctorReport, Roots, examine};
use serde::Serialize;

use crate::error::{CliError, INTERNAL};
use crate::render;
use marker::MarkerReport;

/// The kernel was seen to hold a whole tree to its limit.
const HARD_LIMIT: u8 = 0;
/// Only weaker guarantees, or nothing proved.
const WEAKER_ONLY: u8 = 1;

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
    /// Only read what the host says about itself; nothing is started or proved
    /// then.
    #[arg(long)]
    no_trials: bool,
    /// Explain one cause, such as C9, at length; `list` names them all.
    #[arg(long, value_name = "CAUSE", conflicts_with_all = ["json", "no_trials", "save", "host"])]
    explain: Option<String>,
    /// Save what was read and found in a new folder, names of people and of
    /// this host replaced; for `--host`, or for a report.
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
    /// Examine a host that was saved, instead of this one. Nothing is tried:
    /// the trials on record are shown.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["no_trials", "save"])]
    host: Option<PathBuf>,
}

/// Everything that is printed.
#[derive(Serialize)]
struct Examination {
    #[serde(flatten)]
    host: DoctorReport,
    /// What a conversion would meet; absent when it was not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<MarkerReport>,
}

/// Examines the host and prints the result on standard output.
pub(crate) fn run(args: &DoctorArgs) -> Result<u8, CliError> {
    if let Some(cause) = &args.explain {
        print(&explain::explain(cause, wrap::width())?)?;
        return Ok(0);
    }
    let writer = args.save.as_deref().map(bundle::begin).transpose()?;
    let examination = examine_as_asked(args)?;
    let text = if args.json {
        serde_json::to_string_pretty(&examination)
            .map_err(|error| CliError::new(error, None, INTERNAL))?
    } else {
        text::render(&examination, wrap::columns())
    };
    print(&text)?;
    if let (Some(writer), Some(folder)) = (writer, &args.save) {
        let list = bundle::fill(writer, folder, &examination.host, wrap::width())?;
        render::say(&format!("\n{list}"));
    }
    Ok(if examination.host.has_hard_limit() {
        HARD_LIMIT
    } else {
        WEAKER_ONLY
    })
}

fn examine_as_asked(args: &DoctorArgs) -> Result<Examination, CliError> {
    if let Some(folder) = &args.host {
        return Ok(Examination {
            host: bundle::examine_saved(folder)?,
            marker: None,
        });
    }
    if args.no_trials {
        return Ok(Examination {
            host: examine(&Roots::default(), None),
            marker: None,
        });
    }
    let program = std::env::current_exe().map_err(not_found)?;
    let host = examine(&Roots::default(), Some(&program));
    Ok(Examination {
        marker: Some(MarkerReport::look(&host.host)),
        host,
    })
}

fn not_found(error: io::Error) -> CliError {
    let hint = "`memcap doctor --no-trials` needs no child processes".to_owned();
    CliError::new(error, Some(hint), INTERNAL)
}

/// Text that has no newline at its end.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    render::written(writeln!(out, "{text}").and_then(|()| out.flush()))
}
