//! A machine and a marker made of paper.

mod early_marker;
mod fake_marker;
mod machine;
pub(crate) mod pdf;
pub(crate) mod records;
pub(crate) mod require;
pub(crate) mod stop;

pub(crate) use early_marker::EarlyMarker;
pub(crate) use fake_marker::{FakeMarker, Scene};
pub(crate) use machine::Machine;
