//! See DESIGN.
#![forbid(unsafe_code)]
