//! /proc/PID as the sampler needs it: who is whose child, and how much memory
//! each process holds. Parsers take text; buffers are kept between looks.

mod command_line;
mod list;
mod memory_files;
mod namespace;
mod page_counts;
mod pid_file;
mod resident;
mod share;
mod stat;
mod stops;
mod units;

pub use command_line::{command_line, command_line_within};
pub use list::{all, descendants, pids};
pub use memory_files::{Baseline, MemoryFiles};
pub use namespace::{NewestPid, is_ours};
pub use page_counts::{PageCounts, Pages};
pub(crate) use pid_file::pid_file;
pub use resident::Resident;
pub use share::Share;
pub use stat::{Stat, minor_faults};
pub use stops::is_stopped_or_about_to;
pub use units::page_size;

const PROC: &str = "/proc";
