//! The samples that tell about a conversion, from earlier ones and from its own
//! chunks.

use super::sample::Sample;
use super::store::{Store, Subject};

/// What is known about runs like those of this conversion.
#[derive(Debug, Clone)]
pub struct Lessons {
    store: Store,
    subject: Subject,
    samples: Vec<Sample>,
}

impl Lessons {
    /// What earlier conversions have taught, and what is wrong with the record.
    pub fn recall(store: Store, subject: Subject) -> (Lessons, Option<String>) {
        let recalled = store.recall(&subject);
        let lessons = Lessons {
            store,
            subject,
            samples: recalled.samples,
        };
        (lessons, recalled.warning)
    }

    /// From the eldest to the newest.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Adds a run; one that cannot be is left out. That later conversions do not
    /// learn of it, where it cannot be written down, is no reason to stop this
    /// one.
    pub fn add(&mut self, sample: Sample) {
        if sample.is_plausible() {
            self.samples.push(sample);
            let _ = self.store.remember(&self.subject, sample);
        }
    }
}
