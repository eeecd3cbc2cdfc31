//! What the user is told when something is wrong, and with which exit code.

use std::ffi::OsString;

use memcap_supervisor::SupervisorError;

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
        CliError {
            source: source.into(),
            hint,
            code,
        }
    }
}

impl From<SupervisorError> for CliError {
    fn from(error: SupervisorError) -> CliError {
        let hint = error.hint();
        CliError::new(error, hint, INTERNAL)
    }
}

/// Prints what clap found; help and version are no errors. Returns the exit
/// code: mistakes of `memcap run` are 125, so that they cannot be taken for
/// the job's own code.
pub(crate) fn report_usage(error: &clap::Error, arguments: &[OsString]) -> u8 {
    // A closed pipe is the reader's choice.
    let _ = error.print();
    if !error.use_stderr() {
        return 0;
    }
    if arguments.get(1).is_some_and(|word| word == "run") {
        INTERNAL
    } else {
        USAGE
    }
}
