//! The memcap command line.
#![forbid(unsafe_code)]
