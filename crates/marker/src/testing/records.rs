//! Lines of a journal.

use crate::journal::Record;
use crate::pages::PageSet;
use crate::recovery::Effort;

/// The first so many pages, converted as usual.
pub(crate) fn done(pages: u32) -> Record {
    Record::Done {
        pages: PageSet::all(pages),
        files: Vec::new(),
        effort: Effort::Usual,
        peak_bytes: None,
        wall_ms: 1,
    }
}
