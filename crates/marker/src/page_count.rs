//! How many pages there are, and how large they are.
//!
//! lopdf reads trailer and page tree alone, in milliseconds, but the number is
//! what the file itself claims. PDFium claims the same, but asked for each page
//! it shows which are there.

use crate::install::PageSize;

/// The pages of a document, as marker will see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// How many there are up to the last one that can be read, at least 1.
    pub count: u32,
    /// Sizes from the first page on; may be fewer than `count`.
    pub sizes: Vec<PageSize>,
    /// Something the user should know about the count.
    pub warning: Option<String>,
}

impl Pages {
    /// A document that is converted in one piece, whatever pages that makes.
    pub fn one_piece() -> Pages {
        Pages {
            count: 1,
            sizes: Vec::new(),
            warning: None,
        }
    }

    /// The size of a page (counted from 0). An unknown one is taken to be as
    /// large as the last known, or US letter.
    pub fn size(&self, page: u32) -> PageSize {
        usize::try_from(page)
            .ok()
            .and_then(|page| self.sizes.get(page))
            .or(self.sizes.last())
            .copied()
            .filter(|size| size.area() > 0)
            .unwrap_or(PageSize::LETTER)
    }
}

/// The pages up to the last one that opens: PDFium counts as many as the file
/// claims, and marker would fail on those that are not there. `None` where
/// not even one opens.
pub fn readable(claimed: u32, sizes: Vec<PageSize>) -> Option<Pages> {
    let asked = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
    let last = sizes.iter().rposition(|size| size.area() > 0)?;
    // Sizes of the last pages of a huge document are not asked for.
    let count = match u32::try_from(last + 1) {
        Ok(count) if count < asked => count,
        _ => claimed,
    };
    let unreadable = sizes
        .iter()
        .take(last)
        .filter(|size| size.area() == 0)
        .count();
    let warning = if count < claimed {
        Some(format!(
            "the file claims {claimed} pages, but only {count} can be read"
        ))
    } else if unreadable > 0 {
        Some(format!("{unreadable} of {claimed} pages cannot be read"))
    } else {
        None
    };
    Some(Pages {
        count,
        sizes,
        warning,
    })
}

/// The claimed number, unless no file of that many bytes can hold it; then the
/// number of pages that were asked for.
pub fn plausible(claimed: u32, asked: &[PageSize], bytes: u64) -> u32 {
    let most = bytes / LEAST_BYTES_PER_PAGE as u64;
    if u64::from(claimed) <= most {
        return claimed;
    }
    claimed.min(u32::try_from(asked.len()).unwrap_or(u32::MAX))
}

/// What lopdf's quick look says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuickCount {
    /// A plausible number.
    Pages(u32),
    /// Encrypted, and nothing readable without a password.
    NeedsPassword,
    /// It has a page tree, and nothing is in it.
    Empty,
    /// No number, or one that a file of this size cannot have.
    Doubtful(String),
    /// The file was not read, because of its size.
    TooLarge,
}

/// A page cannot be described in fewer bytes than this: two fuzzed files of
/// 5,061 claim hundreds of millions of pages.
const LEAST_BYTES_PER_PAGE: usize = 20;

/// Counts pages by trailer and page tree alone, without loading objects.
pub fn quick_count(content: &[u8]) -> QuickCount {
    let metadata = match lopdf::Document::load_metadata_mem(content) {
        Ok(metadata) => metadata,
        Err(error) => return QuickCount::Doubtful(error.to_string()),
    };
    match metadata.page_count {
        0 if metadata.encrypted => QuickCount::NeedsPassword,
        0 => QuickCount::Empty,
        count => match usize::try_from(count) {
            Ok(pages) if pages <= content.len() / LEAST_BYTES_PER_PAGE => QuickCount::Pages(count),
            _ => QuickCount::Doubtful(format!(
                "it claims {count} pages in {} bytes",
                content.len()
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pdf;

    #[test]
    fn pages_count_up_to_the_last_that_opens() {
        let letter = PageSize::LETTER;
        let nothing = PageSize(0, 0);
        let said = |claimed, sizes: &[PageSize]| {
            let pages = readable(claimed, sizes.to_vec())?;
            Some((pages.count, pages.warning))
        };
        assert_eq!(said(2, &[letter, letter]), Some((2, None)));
        let lied = "the file claims 30 pages, but only 1 can be read".to_owned();
        let sizes = [vec![letter], vec![nothing; 29]].concat();
        assert_eq!(said(30, &sizes), Some((1, Some(lied))));
        let hole = "1 of 3 pages cannot be read".to_owned();
        assert_eq!(said(3, &[letter, nothing, letter]), Some((3, Some(hole))));
        // Not all were asked for.
        assert_eq!(said(200_000, &[letter, letter]), Some((200_000, None)));
        assert_eq!(plausible(200_000, &[letter, letter], 4_000_000), 200_000);
        assert_eq!(plausible(200_000, &[letter, letter], 3_999_999), 2);
        assert_eq!(said(1, &[nothing]), None);
        assert_eq!(said(0, &[]), None);
    }

    #[test]
    fn unknown_page_sizes_are_taken_from_the_last_known() {
        let pages = |sizes: &[(u32, u32)]| Pages {
            count: 9,
            sizes: sizes.iter().map(|(w, h)| PageSize(*w, *h)).collect(),
            warning: None,
        };
        assert_eq!(pages(&[]).size(0), PageSize::LETTER);
        assert_eq!(pages(&[(10, 20), (30, 40)]).size(1), PageSize(30, 40));
        assert_eq!(pages(&[(10, 20), (30, 40)]).size(8), PageSize(30, 40));
        assert_eq!(pages(&[(0, 0)]).size(0), PageSize::LETTER);
    }

    #[test]
    fn the_quick_count_distrusts_what_cannot_be() {
        assert_eq!(quick_count(&pdf::letter_pages(3)), QuickCount::Pages(3));
        let doubtful = |content: &[u8]| matches!(quick_count(content), QuickCount::Doubtful(_));
        assert!(doubtful(&pdf::claiming(1, 1_410_065_407)));
        assert_eq!(quick_count(&pdf::letter_pages(0)), QuickCount::Empty);
        assert!(doubtful(b"%PDF-1.4\n"));
        assert_eq!(quick_count(&pdf::locked()), QuickCount::NeedsPassword);
    }
}
