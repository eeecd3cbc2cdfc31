//! What a setting has cost, kept beside its result.
//!
//! A run that is interrupted adds its part, so that the sum is right when the
//! next one has finished.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use super::CompareError;
use crate::conversion::{Outcome, Status};
use crate::many::Attempts;

/// What a setting has cost so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The conversion that it belongs to.
    key: String,
    /// How long marker ran, all attempts together, in seconds.
    pub marker_seconds: f64,
    /// The largest peak, where measured, in bytes.
    pub peak_bytes: Option<ByteSize>,
    /// Runs of marker.
    pub attempts: usize,
    /// Those that were not kept.
    pub failures: usize,
}

impl Measured {
    /// Where it is kept below a setting's folder.
    fn place(output: &Path, key: &str) -> PathBuf {
        output.join(format!("measured-{key}.json"))
    }

    /// What earlier runs have measured; nothing where it cannot be read.
    pub(super) fn load(output: &Path, key: &str) -> Measured {
        let read = std::fs::read(Measured::place(output, key)).ok();
        let known = read.and_then(|text| serde_json::from_slice::<Measured>(&text).ok());
        let fresh = || Measured {
            key: key.to_owned(),
            ..Measured::default()
        };
        known
            .filter(|measured| measured.key == key)
            .unwrap_or_else(fresh)
    }

    /// Adds what a run took.
    #[must_use]
    pub(super) fn and(self, outcome: &Outcome, attempts: &Attempts) -> Measured {
        Measured {
            marker_seconds: self.marker_seconds + outcome.marker_time.as_secs_f64(),
            peak_bytes: self.peak_bytes.max(attempts.peak()),
            attempts: self.attempts + attempts.records.len(),
            failures: self.failures + attempts.failures(),
            key: self.key,
        }
    }

    /// Keeps it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self, output: &Path) -> Result<(), CompareError> {
        let path = Measured::place(output, &self.key);
        let write = || -> io::Result<()> {
            let new = tempfile::NamedTempFile::new_in(output)?;
            serde_json::to_writer(&new, self)?;
            new.as_file().sync_all()?;
            new.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| CompareError {
            operation: "write",
            path: path.clone(),
            source,
        })
    }

    /// How long marker ran; unknown where nothing was measured, as for a result
    /// that was there before the first comparison.
    pub fn time(&self) -> Option<Duration> {
        (self.attempts > 0).then(|| Duration::from_secs_f64(self.marker_seconds))
    }
}

/// Whether a run has anything to add.
pub(super) fn is_measured(outcome: &Outcome) -> bool {
    outcome.status != Status::AlreadyDone
}
