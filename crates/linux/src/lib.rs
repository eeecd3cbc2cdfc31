//! Safe handles on Linux's memory-control interfaces.
//!
//! Every syscall that needs `unsafe` lives here, one call to a block; the
//! other crates forbid it. Nothing here decides and nothing prints: parsers
//! take text, openers are two lines, errors carry the operation and the path.

mod beneath;
mod bytes;
pub mod cgroup;
pub mod data_limit;
mod directory_watch;
mod discardable;
mod fd;
pub mod features;
mod file;
mod fork;
mod heap;
mod mappings;
pub mod meminfo;
pub mod mounts;
mod one_line;
mod pidfd;
pub mod priority;
pub mod proc;
pub mod process;
mod shared_words;
pub mod signals;
pub mod spawn;
mod wait;

pub use beneath::beneath;
pub use bytes::{ByteSize, ParseSizeError, SizeSpec};
pub use directory_watch::DirectoryWatch;
pub use discardable::{Discardable, touch_discardable};
pub use fd::{
    adopt_fd, close_all_except, closed_at_start, detach_standard_streams, keep_open,
    share_inherited,
};
pub use file::{FileError, Operation, read as read_text};
pub use fork::fork_alone;
pub use heap::share_one_heap;
pub use mappings::{AnonymousPages, Extent, MappingReader};
pub use one_line::one_line;
pub use pidfd::{ChildEnd, ChildState, ChildStatus, PidFd};
pub use process::{ProcessId, memory_order, share_memory};
pub use shared_words::SharedWords;
pub use wait::{ChildChange, next_child_change};
