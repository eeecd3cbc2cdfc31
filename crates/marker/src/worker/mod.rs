//! What is said between memcap and the worker that keeps marker's models
//! loaded, and when a worker has done enough.

mod protocol;
mod recycle;

pub(crate) use protocol::{Said, answer, question};
pub(crate) use recycle::Recycling;

/// The worker, for `python -c`.
pub(crate) const PROGRAM: &str = include_str!("worker.py");
