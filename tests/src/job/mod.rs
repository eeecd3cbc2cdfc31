//! What the job programs are made of.

mod arguments;
mod ledger;
mod memory;
mod process;

pub use arguments::{Arguments, EXIT_USAGE};
pub use ledger::Ledger;
pub use memory::{Appetite, EXIT_REFUSED, Refused, consume};
pub use process::{
    End, alarm, detach, end_of, fork_job, hold, ignore_signals, raise_default, run_forked,
    stop_dumping_core,
};
