//! How many chunks there really were at the same time, gathered from events. Pure.

use std::collections::BTreeMap;

use crate::events::Event;
use crate::many::DocumentEvent;

/// Counts chunks that are being converted.
#[derive(Debug, Clone, Default)]
pub struct AtOnce {
    /// By the document's index.
    now: BTreeMap<usize, usize>,
    most: usize,
}

impl AtOnce {
    /// Notes what happens to the document with this index.
    pub fn note(&mut self, index: usize, event: &DocumentEvent<'_>) {
        let now = self.now.entry(index).or_default();
        match event {
            DocumentEvent::Conversion(Event::ChunkStarted { .. }) => *now += 1,
            DocumentEvent::Conversion(
                Event::ChunkDone { .. }
                | Event::ChunkFailed { .. }
                | Event::ChunkRequeued { .. }
                | Event::ChunkStopped { .. },
            ) => *now = now.saturating_sub(1),
            // After a failure of the whole the end of its chunks is not told.
            DocumentEvent::Ended(_) => *now = 0,
            DocumentEvent::Begun(_)
            | DocumentEvent::Planned(_)
            | DocumentEvent::Conversion(
                Event::Resumed { .. }
                | Event::Usage { .. }
                | Event::Recut { .. }
                | Event::Merging { .. }
                | Event::Merged(_)
                | Event::Published { .. },
            ) => {}
        }
        self.most = self.most.max(self.now.values().sum());
    }

    /// The most there were; 0 where none was begun.
    pub fn most(&self) -> usize {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use memcap_linux::ByteSize;

    use crate::many::{Attempts, DocumentResult, End};
    use crate::pages::PageSet;
    use crate::recovery::Effort;

    #[test]
    fn chunks_of_all_documents_count_until_they_or_their_document_end() {
        let pages = PageSet::all(1);
        let started = || {
            DocumentEvent::Conversion(Event::ChunkStarted {
                pages: &pages,
                again: false,
                effort: Effort::Usual,
                estimate: ByteSize::ZERO,
            })
        };
        let result = DocumentResult {
            document: "a.pdf".into(),
            plan: None,
            attempts: Attempts::default(),
            wall: Duration::ZERO,
            end: End::NotBegun,
        };
        let mut count = AtOnce::default();
        assert_eq!(count.most(), 0);
        count.note(0, &started());
        count.note(0, &started());
        count.note(0, &DocumentEvent::Ended(&result));
        count.note(1, &started());
        assert_eq!(count.most(), 2);
        count.note(2, &started());
        count.note(2, &started());
        assert_eq!(count.most(), 3);
    }
}
