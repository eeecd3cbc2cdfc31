//! What the job programs are made of.

mod arguments;
mod ledger;
mod memory;
mod process;

pub use arguments::{Arguments, EXIT_USAGE};
pub use ledger::Ledger;
pub use memory::{
    Appetite, EXIT_REFUSED, Refused, consume, keep_pace, map_file, map_huge, map_private,
    map_shared, reserve, touch_all,
};
pub use process::{
    End, alarm, continue_in_child, detach, end_first_thread, end_of, end_of_any,
    end_without_waiting, forbid_processor_time, fork_job, halt_by_ptrace, hold, ignore_signals,
    raise_default, run_forked, share_memory_with_child, stop_dumping_core,
};
