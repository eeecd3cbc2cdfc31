//! What this host can do about memory limits: facts, trials, diagnosis.
//!
//! Facts are read below injectable roots and never guessed: what could not be
//! read is [`Fact::Unknown`], which is neither "there" nor "not there".
#![forbid(unsafe_code)]

pub mod bundle;
mod ceiling;
pub mod diagnosis;
mod fact;
pub mod facts;
mod host;
mod mechanism;
mod observed;
mod report;
mod roots;
pub mod systemd;
pub mod trial;
mod v1;
mod v2;

pub use ceiling::{Ceiling, Ceilings};
pub use fact::Fact;
pub use facts::Facts;
pub use host::{Host, NotAGroup};
pub use mechanism::{Guarantee, Mechanism};
pub use observed::Observed;
pub use report::{
    ContainmentReport, DoctorReport, MechanismReport, Replayed, SCHEMA_VERSION, examine, replay,
};
pub use roots::Roots;
pub use systemd::SystemdPlace;
pub use v1::V1Place;
pub use v2::{MemoryBase, V2Place};
