//! One document at several settings: what each takes in time and memory, and
//! how far its text is from that of the first.
//!
//! ```text
//! multipliers x chunk sizes --settings--> [Setting] --requests--> many::convert_all
//!                                                                        |
//!                    [Row] <--rows-- measured, difference <--- [DocumentResult]
//! ```
//!
//! Each setting has a folder of its own below the output folder, so that none
//! takes up what another has done, and a comparison that was interrupted goes
//! on. What has been measured is kept there too, because a result that is
//! taken up tells nothing about what it has cost.

mod difference;
mod error;
mod measured;
mod row;
mod setting;

pub use difference::{Similarity, similarity};
pub use error::CompareError;
pub use measured::Measured;
pub use row::{Row, rows};
pub use setting::{Setting, requests, settings};
