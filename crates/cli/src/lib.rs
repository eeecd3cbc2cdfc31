//! The memcap command line: arguments, settings, rendering, exit codes.
//!
//! Decisions that an embedding program would miss live in the libraries; this
//! crate speaks to the user and joins the supervisor with marker.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod error;
mod explain;
mod file_limit;
mod forward;
mod hidden;
mod plot;
mod proof_folder;
mod render;
mod report_file;
mod stack;
mod supervised;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use args::Command;
use error::CliError;

/// The binary `memcap`.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = refuse_setuid() {
        return code;
    }
    // Our own helpers first: they must start fast and need no parsing.
    if let Some(code) = hidden::dispatch(&arguments) {
        return code;
    }
    file_limit::outlive();
    stack::with_room(|| {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        match args::parse(&arguments) {
            Ok(command) => finish(run(command)),
            Err(error) => finish(error::report_usage(&error, &arguments)),
        }
    })
}

/// The binary `marker-pdf-optimized`: the spelling people have in scripts.
pub fn drop_in_main() -> ExitCode {
    if let Some(code) = refuse_setuid() {
        return code;
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = hidden::dispatch(&arguments) {
        return code;
    }
    file_limit::outlive();
    stack::with_room(run_drop_in)
}

fn run_drop_in() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let version = concat!("memcap ", env!("CARGO_PKG_VERSION"));
    finish(match arguments.get(1).and_then(|word| word.to_str()) {
        Some("--help" | "-h") => render::data(memcap_marker::dropin::USAGE).map(|()| 0),
        Some("--version" | "-V") => render::data(version).map(|()| 0),
        _ => commands::marker::run_drop_in(arguments.into_iter().skip(1)),
    })
}

/// A borrowed identity would let anyone run anything as another.
fn refuse_setuid() -> Option<ExitCode> {
    use nix::unistd::{getegid, geteuid, getgid, getuid};
    if getuid() == geteuid() && getgid() == getegid() {
        return None;
    }
    render::error(&CliError::new(
        "memcap does not run setuid or setgid",
        Some("memcap needs no privilege: remove the bits with `chmod ug-s` on its file".to_owned()),
        error::INTERNAL,
    ));
    Some(ExitCode::from(error::INTERNAL))
}

fn run(command: Command) -> Result<u8, CliError> {
    match command {
        Command::Run(args) => commands::run::run(*args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Marker(args) => commands::marker::run(*args),
    }
}

fn finish(result: Result<u8, CliError>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            render::error(&error);
            ExitCode::from(error.code)
        }
    }
}
