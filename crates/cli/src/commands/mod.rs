//! One file for each command.

pub(crate) mod doctor;
pub(crate) mod marker;
pub(crate) mod run;
