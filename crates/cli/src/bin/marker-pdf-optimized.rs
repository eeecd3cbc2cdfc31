//! Drop-in spelling.
#![forbid(unsafe_code)]
fn main() {}
