//! The command line that converts one chunk.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::format::OutputFormat;
use crate::install::Installation;
use crate::pages::PageSet;
use crate::plan::Plan;
use crate::recovery::Effort;
use crate::runner::Step;

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

/// Options of marker that memcap sets itself; `--help` and its like would do
/// something else than convert.
const RESERVED: [&str; 7] = [
    "--output_dir",
    "--output_format",
    "--page_range",
    "--config_json",
    "--disable_multiprocessing",
    "--help",
    "--debug",
];

/// Why an option is not handed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkerArgError {
    /// It would change what memcap relies on.
    #[error("marker's `{0}` cannot be given here: memcap sets it")]
    Reserved(String),
    /// It is not an option, but would be taken for a second document.
    #[error("`{0}` is not an option of marker")]
    NotAnOption(String),
}

/// Checks the options that are to be handed on to marker.
///
/// # Errors
/// For an option of memcap's own, and where the first is no option at all.
pub fn check_marker_args(args: &[OsString]) -> Result<(), MarkerArgError> {
    if let Some(first) = args.first().map(|arg| arg.to_string_lossy())
        && !first.starts_with("--")
    {
        return Err(MarkerArgError::NotAnOption(first.into_owned()));
    }
    for arg in args {
        let text = arg.to_string_lossy();
        let name = text.split('=').next().unwrap_or_default();
        if RESERVED.contains(&name) {
            return Err(MarkerArgError::Reserved(name.to_owned()));
        }
    }
    Ok(())
}

/// Where a chunk's run reads and writes.
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

/// The step that converts `pages` with this effort.
///
/// # Errors
/// When the configuration file cannot be written.
pub fn step(plan: &Plan, pages: &PageSet, effort: Effort, paths: Paths) -> io::Result<Step> {
    let settings = plan.settings_at(effort);
    let (program, mut args) = program(&plan.marker);
    let mut option = |name: &str, value: &OsStr| args.extend([name.into(), value.to_owned()]);
    option("--output_dir", paths.output.as_os_str());
    option("--output_format", OsStr::new(plan.format.word()));
    option("--page_range", OsStr::new(&pages.marker_range()));
    if let Some(config) = settings.config() {
        std::fs::write(&paths.config, config.to_string())?;
        option("--config_json", paths.config.as_os_str());
    }
    let (own, users) = (settings.flags(), plan.marker_args.iter().cloned());
    // The last of two options alike counts: the user's, unless an attempt must
    // cost less.
    match effort {
        Effort::Usual => args.extend(own.into_iter().chain(users)),
        Effort::SmallBatches | Effort::LowResolution => args.extend(users.chain(own)),
    }
    // Absolute, so that no name can be taken for an option.
    args.push(paths.input.into());
    Ok(Step {
        label: format!("pages {pages}"),
        program,
        args,
        env: settings.variables(),
        stdout: paths.stdout,
        stderr: paths.stderr,
        memory: plan.limit,
        time_limit: plan.chunk_time,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_memcap_are_not_handed_on() {
        let check = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            check_marker_args(&args).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["--force_ocr", "--highres_image_dpi", "96"]), Ok(()));
        let reserved = "marker's `--page_range` cannot be given here: memcap sets it";
        assert_eq!(check(&["--page_range", "1"]), Err(reserved.into()));
        assert_eq!(check(&["--page_range=1"]), Err(reserved.into()));
        assert_eq!(
            check(&["other.pdf"]),
            Err("`other.pdf` is not an option of marker".into())
        );
    }
}
