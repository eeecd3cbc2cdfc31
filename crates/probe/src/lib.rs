//! What this host can do about memory limits: facts, trials, diagnosis.
//!
//! Facts are read below injectable roots and never guessed: what could not be
//! read is [`Fact::Unknown`], which is neither "there" nor "not there".
#![forbid(unsafe_code)]

mod ceiling;
mod fact;
mod host;
mod v1;
mod v2;

pub use ceiling::{Ceiling, Ceilings};
pub use fact::Fact;
pub use host::{Host, Roots};
pub use v1::V1Place;
pub use v2::{MemoryBase, V2Place};
