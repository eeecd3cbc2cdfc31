//! Job programs and the harness of the behaviour suites.
//!
//! [`job`] is what the small programs in `src/bin` are made of: they allocate,
//! fork, detach and refuse to die in known ways. [`harness`] runs them under
//! memcap, as root and as an ordinary user, in every mechanism, and leaves
//! nothing behind. The suites in `suite/` hold one behaviour each.

pub mod harness;
pub mod job;
