//! The command line that converts one chunk.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::format::OutputFormat;
use crate::install::Installation;
use crate::kind::DocumentKind;
use crate::pages::PageSet;
use crate::plan::Plan;
use crate::recovery::Effort;
use crate::runner::Step;
use crate::tuning::{Heap, Tuning};
use crate::version::{Family, PageChoice, Version};

/// What `marker_single` is started as where its script is missing: the same
/// entry point, by the interpreter. The current folder, which `-c` puts first
/// on the module path, is taken off it.
const LAUNCHER: &str = "\
import sys
sys.path[:] = [entry for entry in sys.path if entry]
sys.argv[0] = 'marker_single'
from importlib.metadata import entry_points
entry = next(iter(entry_points(group='console_scripts', name='marker_single')))
sys.exit(entry.load()())
";

/// Where a chunk's run reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The document, absolute.
    pub input: PathBuf,
    /// The folder for its result, absolute and empty.
    pub output: PathBuf,
    /// Standard output.
    pub stdout: PathBuf,
    /// Standard error.
    pub stderr: PathBuf,
    /// The file for `--config_json`, written where it is needed.
    pub config: PathBuf,
}

/// What every run of a conversion has in common.
#[derive(Debug, Clone, Copy)]
pub struct Orders<'a> {
    /// The installed marker.
    pub version: Version,
    /// What is converted; pages can be chosen of a PDF only.
    pub kind: DocumentKind,
    /// What to convert to.
    pub format: OutputFormat,
    /// Settings.
    pub settings: &'a Tuning,
    /// Options that the user hands on.
    pub marker_args: &'a [OsString],
}

/// The step that converts `pages` with this effort and this done to freed memory.
///
/// # Errors
/// When the configuration file cannot be written.
pub fn step(
    plan: &Plan,
    pages: &PageSet,
    effort: Effort,
    heap: Heap,
    paths: Paths,
) -> io::Result<Step> {
    let settings = plan.settings_at(effort, heap);
    if let Some(config) = settings.config() {
        std::fs::write(&paths.config, config.to_string())?;
    }
    let orders = Orders {
        version: plan.marker.version,
        format: plan.format,
        kind: plan.document_kind,
        settings: &settings,
        marker_args: &plan.marker_args,
    };
    let (program, mut args) = program(&plan.marker);
    args.extend(arguments(&orders, pages, &paths));
    Ok(Step {
        label: format!("pages {pages}"),
        program,
        args,
        env: settings.variables(),
        stdout: paths.stdout,
        stderr: paths.stderr,
        memory: plan.run_limit(),
        estimate: None,
        time_limit: plan.chunk_time,
    })
}

/// What stands behind `marker_single`. All paths are absolute, so that no name
/// can be taken for an option.
///
/// Before 1.0 the output folder is a second name and pages are a first one and
/// a number; the caller keeps to [`Capabilities`](crate::Capabilities), since
/// other pages cannot be said there.
pub fn arguments(orders: &Orders<'_>, pages: &PageSet, paths: &Paths) -> Vec<OsString> {
    let mut args = match orders.version.family() {
        Family::BeforePageRanges => early_places(orders.version, pages, paths),
        Family::ConfigFile | Family::Flags | Family::Servers => places(orders, pages, paths),
    };
    args.extend(orders.settings.flags());
    args.extend(orders.marker_args.iter().cloned());
    match orders.version.family() {
        Family::BeforePageRanges => {}
        Family::ConfigFile | Family::Flags | Family::Servers => args.push((&paths.input).into()),
    }
    args
}

fn early_places(version: Version, pages: &PageSet, paths: &Paths) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![(&paths.input).into(), (&paths.output).into()];
    let mut option = |name: &str, value: usize| {
        args.extend([name.into(), OsString::from(value.to_string())]);
    };
    match version.capabilities().pages {
        PageChoice::Any | PageChoice::Contiguous => {
            let first = pages.first().unwrap_or_default();
            option("--start_page", usize::try_from(first).unwrap_or(usize::MAX));
        }
        PageChoice::FromTheFirst => {}
    }
    option("--max_pages", pages.len());
    args
}

fn places(orders: &Orders<'_>, pages: &PageSet, paths: &Paths) -> Vec<OsString> {
    let mut args = Vec::new();
    let mut option = |name: &str, value: &OsStr| args.extend([name.into(), value.to_owned()]);
    option("--output_dir", paths.output.as_os_str());
    option("--output_format", OsStr::new(orders.format.word()));
    if orders.kind == DocumentKind::Pdf {
        option("--page_range", OsStr::new(&pages.marker_range()));
    }
    if orders.settings.config().is_some() {
        option("--config_json", paths.config.as_os_str());
    }
    args
}

fn program(marker: &Installation) -> (PathBuf, Vec<OsString>) {
    match &marker.marker_single {
        Some(script) => (script.clone(), Vec::new()),
        None => (marker.python.clone(), vec!["-c".into(), LAUNCHER.into()]),
    }
}

/// The files that marker writes at least, below its output folder.
pub fn main_files(stem: &OsStr, format: OutputFormat) -> [PathBuf; 2] {
    let text = format!(".{}", format.extension());
    [text.as_str(), "_meta.json"].map(|end| {
        let mut name = stem.to_owned();
        name.push(end);
        Path::new(stem).join(name)
    })
}
