//! Counting pages from trailer and page tree alone: milliseconds and a few MiB
//! for a file of any size, but the number is what the file itself claims.

/// What lopdf's quick look says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuickCount {
    /// A plausible number.
    Pages(u32),
    /// Encrypted, and nothing readable without a password.
    NeedsPassword,
    /// No number, or one that a file of this size cannot have.
    Doubtful(String),
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
        0 => QuickCount::Doubtful("its page tree is empty".to_owned()),
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
    fn the_quick_count_distrusts_what_cannot_be() {
        assert_eq!(quick_count(&pdf::letter_pages(3)), QuickCount::Pages(3));
        let doubtful = |content: &[u8]| matches!(quick_count(content), QuickCount::Doubtful(_));
        assert!(doubtful(&pdf::claiming(1, 1_410_065_407)));
        assert!(doubtful(&pdf::letter_pages(0)));
        assert!(doubtful(b"%PDF-1.4\n"));
        assert_eq!(quick_count(&pdf::locked()), QuickCount::NeedsPassword);
    }
}
