//! How a program becomes its own keeper.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use super::run::NAME;

/// The subcommand that is followed by the channel's descriptor.
pub(super) const SUBCOMMAND: &str = "__keeper";

static HOOKED: AtomicBool = AtomicBool::new(false);

/// Lets this program be its own keeper, so that nothing else need be installed.
/// Call it first in `main`, before threads, arguments and output: in a process
/// that was started as a keeper it does not return.
///
/// ```no_run
/// memcap_supervisor::keeper::hook();
/// // … the program; this finds the keeper.
/// let supervisor = memcap_supervisor::Supervisor::new();
/// ```
pub fn hook() {
    HOOKED.store(true, Ordering::Relaxed);
    if !started_as_keeper() {
        return;
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let socket = match &arguments[..] {
        [_, subcommand, socket] if subcommand == SUBCOMMAND => {
            socket.to_str().and_then(|number| number.parse().ok())
        }
        _ => None,
    };
    let code = socket.map_or(ExitCode::FAILURE, super::main);
    // The standard library gives no number out of an `ExitCode`.
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// This program's own file, if it has called [`hook`]: the running one, even
/// when the file has been replaced.
pub(crate) fn own_program() -> Option<PathBuf> {
    HOOKED
        .load(Ordering::Relaxed)
        .then(|| PathBuf::from("/proc/self/exe"))
}

/// A program that was named as its own keeper and has no hook: going on, it
/// would start itself for ever.
pub(crate) fn is_without_hook() -> bool {
    started_as_keeper() && !HOOKED.load(Ordering::Relaxed)
}

fn started_as_keeper() -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|name| name.as_encoded_bytes() == NAME.to_bytes())
}
