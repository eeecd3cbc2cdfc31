//! How many pages a document seems to have, before anything is started.
//!
//! For the length of a progress bar only: the file's own word, which planning
//! corrects.

use std::path::Path;

use crate::document::Document;
use crate::page_count::QuickCount;
use crate::pages::PageSelection;

/// The pages that would be converted of a document, where its file tells.
pub fn expected_pages(document: &Path, pages: Option<&PageSelection>) -> Option<usize> {
    let document = Document::open(document).ok()?;
    let QuickCount::Pages(count) = document.quick_count().ok()? else {
        return None;
    };
    match pages {
        Some(selection) => selection.resolve(count).ok().map(|pages| pages.len()),
        None => usize::try_from(count).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;

    #[test]
    fn the_files_own_word_is_taken() {
        let machine = Machine::new();
        let request = machine.request("a.pdf", 7);
        let expected = |pages: &str| expected_pages(&request.document, pages.parse().ok().as_ref());
        assert_eq!(expected(""), Some(7));
        assert_eq!(expected("2-4"), Some(3));
        assert_eq!(expected("9"), None);
        std::fs::write(&request.document, "text").unwrap();
        assert_eq!(expected(""), None);
    }
}
