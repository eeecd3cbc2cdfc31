//! Safe handles on Linux's memory-control interfaces.
//!
//! Every syscall that needs `unsafe` lives here, one call to a block; the
//! other crates forbid it. Nothing here decides and nothing prints: parsers
//! take text, openers are two lines, errors carry the operation and the path.

mod bytes;

pub use bytes::{ByteSize, ParseSizeError, SizeSpec};
