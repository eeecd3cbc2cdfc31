//! What the peaks of finished chunks teach about the next ones.
//!
//! ```text
//! constants --prior--+
//!                    +--fit--> coefficients, spread --> estimates
//! [Sample] ----------+
//!     |  ^
//!     v  |   one file for the machine
//!     store
//! ```

mod fit;
mod lessons;
#[cfg(test)]
mod recorded;
mod sample;
mod store;

pub use fit::{Coefficients, Prior, fit};
pub use lessons::Lessons;
pub use sample::{Sample, Seen};
pub use store::{Store, Subject};
