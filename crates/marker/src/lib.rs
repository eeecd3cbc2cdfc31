//! All knowledge of marker-pdf: the installed version, its settings, page
//! chunks, driving, recovery, the journal, merging.
//!
//! Processes are started only through [`runner::Runner`]; cgroups and the
//! terminal are unknown here.
#![forbid(unsafe_code)]

pub mod merge;
pub mod runner;
