//! Why limits do not work on a host, and what to do about it.
//!
//! A table of causes, each a function from what is known to a finding. A cause
//! speaks only where it is certain; the codes are those of `docs/doctor.md`.

mod causes;
mod signs;

use serde::{Deserialize, Serialize};

use crate::Host;
use crate::trial::Trials;

pub use signs::{Platform, Signs};

/// One cause that is at work on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its code, `C0` to `C15`; stable between versions.
    pub code: String,
    /// What was seen.
    pub seen: String,
    /// What follows from it.
    pub means: String,
    /// What to do, a line each; a line may be a command.
    pub fix: Vec<String>,
}

/// Everything a cause may look at.
struct Known<'a> {
    host: &'a Host,
    trials: &'a Trials,
    signs: &'a Signs,
}

/// Every cause that is certainly at work, in the order of the codes.
pub fn diagnose(host: &Host, trials: &Trials, signs: &Signs) -> Vec<Finding> {
    let known = Known {
        host,
        trials,
        signs,
    };
    causes::TABLE
        .iter()
        .filter_map(|cause| cause(&known))
        .collect()
}
