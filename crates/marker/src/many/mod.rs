//! Many documents: which ones are meant, how many at once, one after the other
//! or side by side, and what became of each.
//!
//! ```text
//! names --find--> Inputs --Jobs::decide--> convert_all --> [DocumentResult] --> Tally
//! ```
//!
//! Each document is a [`Plan`](crate::Plan) and a run of its own with its own
//! work folder; here is only what concerns them together. One that fails does
//! not stop the others, unless they would all fail by the same reason.

mod at_once;
mod attempts;
mod expected;
mod inputs;
mod jobs;
mod result;
mod schedule;
mod tally;

pub use at_once::AtOnce;
pub use attempts::{AttemptRecord, Attempts, Then};
pub use expected::expected_pages;
pub use inputs::{Inputs, InputsError, SkipReason, Skipped, find as find_inputs};
pub use jobs::{Jobs, JobsDecision, JobsError, JobsReason, usual_need};
pub use result::{DocumentResult, End, Failure};
pub use schedule::{DocumentEvent, Pool, convert_all};
pub use tally::{Tally, Verdict};
