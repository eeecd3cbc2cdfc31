//! Subcommands that memcap starts itself with: they are no part of its
//! interface and appear in no help.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a hidden subcommand; `None` when there is none.
pub(crate) fn dispatch(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments.get(1)?.to_str()? {
        "__keeper" => {
            let socket = arguments.get(2)?.to_str()?.parse().ok()?;
            Some(memcap_supervisor::keeper::main(socket))
        }
        "__trial-hog" => Some(memcap_probe::trial::hog_main(&arguments[2..])),
        _ => None,
    }
}
