//! What can be typed. Holds text as typed; meaning is given to it by the
//! commands.

use clap::{Parser, Subcommand};

use crate::commands::doctor::DoctorArgs;
use crate::commands::marker::MarkerArgs;
use crate::commands::run::RunArgs;

/// Run a command, or a marker-pdf conversion, under a memory limit that really
/// holds, and say truthfully what happened.
#[derive(Debug, Parser)]
#[command(name = "memcap", version, about, long_about = None, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command and everything it starts under one memory limit.
    Run(Box<RunArgs>),
    /// Find out by experiment which memory limits hold on this host.
    Doctor(DoctorArgs),
    Marker(Box<MarkerArgs>),
}
