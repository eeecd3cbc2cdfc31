//! What can be typed. Holds text as typed; meaning is given to it by the
//! commands.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::commands::doctor::DoctorArgs;
use crate::commands::marker::MarkerArgs;
use crate::commands::run::RunArgs;

const EXAMPLES: &str = "\
Examples:
  memcap doctor                                what holds on this host, and what does not
  memcap run --memory 2G -- COMMAND ARGS...
  memcap marker book.pdf -o out --memory 8G

`memcap COMMAND --help` tells of each; the guides are README.md and docs/.";

/// Run a command, or a marker-pdf conversion, under a memory limit that really
/// holds, and say truthfully what happened.
#[derive(Debug, Parser)]
#[command(
    name = "memcap",
    version,
    about,
    long_about = None,
    after_help = EXAMPLES,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<RunArgs>),
    Doctor(DoctorArgs),
    Marker(Box<MarkerArgs>),
}

/// `memcap run` alone, for [`parse`].
#[derive(Debug, Parser)]
#[command(name = "memcap")]
struct OnlyRun {
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    Run(Box<RunArgs>),
}

/// Understands a command line. To describe every option of every command takes
/// longer than all else before a job starts, and most of these are marker's: where
/// the line is one of `memcap run` and right, nothing else is described. The rest,
/// mistakes and help among it, is for the whole.
///
/// # Errors
/// A mistake, or help or version that was asked for.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Command, clap::Error> {
    if arguments.get(1).is_some_and(|word| word == "run")
        && let Ok(OnlyRun {
            command: RunCommand::Run(args),
        }) = OnlyRun::try_parse_from(arguments)
    {
        return Ok(Command::Run(args));
    }
    Ok(Cli::try_parse_from(arguments)?.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_run_means_the_same_to_both() {
        for line in [
            "memcap run -m 1G true",
            "memcap run --memory 1G --quiet -- sh -c exit",
            "memcap run -m 1G --explain",
        ] {
            let alone = parse(&words(line)).expect("understood");
            let whole = Cli::try_parse_from(words(line)).expect("understood");
            assert_eq!(format!("{alone:?}"), format!("{:?}", whole.command));
        }
    }

    #[test]
    fn mistakes_and_help_are_told_by_the_whole() {
        for line in [
            "memcap run",
            "memcap run --help",
            "memcap run --memroy 1G true",
            "memcap run -m 1G --redact true",
            "memcap --version",
            "memcap runn",
        ] {
            let told = parse(&words(line)).expect_err("no command");
            let whole = Cli::try_parse_from(words(line)).expect_err("no command");
            assert_eq!(told.to_string(), whole.to_string());
        }
    }
}
