//! What the user is told when something is wrong, and with which exit code.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use memcap_linux::one_line;
use memcap_supervisor::SupervisorError;

use crate::render;
use crate::report_file::ReportError;

/// memcap's own failure, as `memcap run` reports it.
pub(crate) const INTERNAL: u8 = 125;
/// A mistake on the command line of any other command.
pub(crate) const USAGE: u8 = 2;

/// One line of error, with its causes, and a hint.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) source: Box<dyn std::error::Error>,
    pub(crate) hint: Option<String>,
    pub(crate) code: u8,
}

impl CliError {
    pub(crate) fn new(
        source: impl Into<Box<dyn std::error::Error>>,
        hint: Option<String>,
        code: u8,
    ) -> CliError {
        let source = source.into();
        let usual = usual_advice(&one_line(source.as_ref()));
        CliError {
            // Whatever failed, nobody has made a mistake on the command line.
            code: if usual.is_some() { INTERNAL } else { code },
            hint: usual.map(str::to_owned).or(hint),
            source,
        }
    }
}

/// A handful more than any command needs.
const MORE_DESCRIPTORS: &str = "allow more open files: ulimit -n 256";

/// One for the keeper and those of the job.
const MORE_PROCESSES: &str =
    "allow more processes: ulimit -u, or pids.max of the control group around";

/// What helps whatever was tried, where the words for it tell. Some causes are known by
/// their words alone: a keeper's come from another process.
pub(crate) fn usual_advice(told: &str) -> Option<&'static str> {
    if lacks_descriptors(told) {
        return Some(MORE_DESCRIPTORS);
    }
    lacks_processes(told).then_some(MORE_PROCESSES)
}

/// Whether the limit of open files is behind it, in the C library's words for EMFILE:
/// memcap leaves the locale as it is at a start, and Python's errors have them too.
fn lacks_descriptors(told: &str) -> bool {
    told.contains("Too many open files")
}

/// Whether a limit of processes is behind it, in the C library's words for EAGAIN, which
/// fork(2) fails with.
fn lacks_processes(told: &str) -> bool {
    told.contains("failed to make a process") && told.contains("Resource temporarily unavailable")
}

impl From<SupervisorError> for CliError {
    fn from(error: SupervisorError) -> CliError {
        let hint = error.hint();
        CliError::new(error, hint, INTERNAL)
    }
}

impl From<ReportError> for CliError {
    fn from(error: ReportError) -> CliError {
        let hint = "name a file in a folder that can be written and has room";
        CliError::new(error, Some(hint.to_owned()), INTERNAL)
    }
}

/// What clap found, in our form; help and version are no errors, and printed.
///
/// # Errors
/// A mistake, with the exit code: those of `memcap run` are 125, so that they
/// cannot be taken for the job's own code. Help that cannot be written.
pub(crate) fn report_usage(error: &clap::Error, arguments: &[OsString]) -> Result<u8, CliError> {
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help || !error.use_stderr() {
        render::written(error.print())?;
        return Ok(if is_help { USAGE } else { 0 });
    }
    let command = arguments.get(1).and_then(|word| word.to_str());
    let (message, tip) = in_our_words(&error.render().to_string());
    let tip = unknown_word(error)
        .filter(|word| is_meant_as_file(word, Path::new(word).exists()))
        .map(|word| format!("write ./{word} for the file of that name"))
        .or(tip);
    let below = arguments.get(2).and_then(|word| word.to_str());
    let hint = tip.unwrap_or_else(|| match (command, below) {
        (Some("marker"), Some(below @ ("plan" | "compare"))) => {
            format!("`memcap marker {below} --help` lists the options")
        }
        (Some(command @ ("run" | "doctor" | "marker")), _) => {
            format!("`memcap {command} --help` lists the options")
        }
        _ => "`memcap --help` lists the commands".to_owned(),
    });
    let code = match command {
        Some("run") => INTERNAL,
        _ => USAGE,
    };
    Err(CliError::new(message, Some(hint), code))
}

/// The word that begins with a dash and is no option.
fn unknown_word(error: &clap::Error) -> Option<&str> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) => Some(word),
        _ => None,
    }
}

/// Whether it is a document's name rather than a mistyped option.
fn is_meant_as_file(word: &str, exists: bool) -> bool {
    let ending = Path::new(word).extension().unwrap_or_default();
    word.starts_with('-') && (exists || ending.eq_ignore_ascii_case("pdf"))
}

/// clap's first paragraph in one line, and its first tip. That a word may follow
/// `--` is none: there it would be the command.
fn in_our_words(text: &str) -> (String, Option<String>) {
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let words: Vec<&str> = first.lines().map(str::trim).collect();
    let tip = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("tip: "))
        .find(|tip| !tip.starts_with("to pass "));
    (words.join(" "), tip.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn a_name_with_a_dash_is_told_from_a_mistyped_option() {
        let cases = [
            ("--help.pdf", false, true),
            ("-x.PDF", false, true),
            ("--notes", true, true),
            ("--notes", false, false),
            ("--report.json", false, false),
            ("more.pdf", false, false),
        ];
        for (word, exists, expected) in cases {
            assert_eq!(is_meant_as_file(word, exists), expected, "{word}");
        }
    }

    #[test]
    fn a_lack_of_processes_is_told_where_one_was_to_be_made() {
        let unavailable = "Resource temporarily unavailable (os error 11)";
        let made = format!("failed to make a process for the keeper: {unavailable}");
        assert_eq!(usual_advice(&made), Some(MORE_PROCESSES));
        assert_eq!(
            usual_advice(&format!("failed to read: {unavailable}")),
            None
        );
    }

    #[test]
    fn a_lack_of_open_files_is_no_mistake_and_comes_before_other_advice() {
        let error = |told: &str| CliError::new(told, Some("name another".to_owned()), USAGE);
        let lacking = error("`python` could not be started: Too many open files (os error 24)");
        assert_eq!(lacking.hint.as_deref(), Some(MORE_DESCRIPTORS));
        assert_eq!(lacking.code, INTERNAL);
        let other = error("`python` could not be started: No such file (os error 2)");
        assert_eq!(other.hint.as_deref(), Some("name another"));
        assert_eq!(other.code, USAGE);
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        let told = |words: &[&str]| {
            let words = std::iter::once("memcap").chain(words.iter().copied());
            let error = crate::args::Cli::try_parse_from(words).expect_err("a mistake");
            in_our_words(&error.render().to_string())
        };
        let (message, tip) = told(&["run", "--memroy", "1G", "true"]);
        assert_eq!(message, "unexpected argument '--memroy' found");
        assert_eq!(
            tip.as_deref(),
            Some("a similar argument exists: '--memory'")
        );
        let (_, tip) = told(&["run", "-m", "1G", "--bogus", "true"]);
        assert_eq!(tip, None);
        let (message, tip) = told(&["run"]);
        assert_eq!(
            message,
            "the following required arguments were not provided: --memory <SIZE> <COMMAND>..."
        );
        assert_eq!(tip, None);
    }
}
