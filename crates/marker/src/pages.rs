//! Pages: people count from 1, marker from 0.
//!
//! Inside, pages are counted from 0. [`PageSelection`] is what a user writes
//! (`1-20,25,30-`), [`PageSet`] the pages that it means in one document.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a user writes to choose pages: numbers and ranges, counted from 1,
/// both ends included; a range may be open at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSelection {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    first: NonZeroU32,
    /// `None`: up to the last page.
    last: Option<NonZeroU32>,
}

/// Why a text chooses no pages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PagesError {
    /// Nothing was written.
    #[error("no pages are named")]
    Empty,
    /// A part is neither a page number nor a range.
    #[error("`{0}` is neither a page number nor a range")]
    NotPages(String),
    /// Page 0 was asked for.
    #[error("`{0}` names page 0, but pages are counted from 1")]
    PageZero(String),
    /// The end comes before the beginning.
    #[error("the range `{0}` runs backwards")]
    Reversed(String),
    /// The document is shorter.
    #[error("page {page} is asked for, but the document has {count}")]
    BeyondTheEnd {
        /// The page, counted from 1.
        page: u32,
        /// Pages of the document.
        count: u32,
    },
}

impl PagesError {
    /// What to write instead.
    pub fn hint(&self) -> String {
        match self {
            PagesError::BeyondTheEnd { count, .. } => {
                format!("choose from 1-{count}, or leave the end open: 30-")
            }
            PagesError::Empty
            | PagesError::NotPages(_)
            | PagesError::PageZero(_)
            | PagesError::Reversed(_) => "write pages such as 1-20,25,30-".to_owned(),
        }
    }
}

impl FromStr for PageSelection {
    type Err = PagesError;

    fn from_str(text: &str) -> Result<Self, PagesError> {
        if text.trim().is_empty() {
            return Err(PagesError::Empty);
        }
        let parts = text
            .split(',')
            .map(|part| parse_part(part.trim()))
            .collect::<Result<_, _>>()?;
        Ok(PageSelection { parts })
    }
}

fn parse_part(part: &str) -> Result<Part, PagesError> {
    let Some((first, last)) = part.split_once('-') else {
        let page = parse_page(part, part)?;
        return Ok(Part {
            first: page,
            last: Some(page),
        });
    };
    let first = parse_page(first.trim(), part)?;
    let last = match last.trim() {
        "" => None,
        last => Some(parse_page(last, part)?),
    };
    match last {
        Some(last) if last < first => Err(PagesError::Reversed(part.to_owned())),
        _ => Ok(Part { first, last }),
    }
}

fn parse_page(number: &str, part: &str) -> Result<NonZeroU32, PagesError> {
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PagesError::NotPages(part.to_owned()));
    }
    let page = number
        .parse::<u32>()
        .map_err(|_| PagesError::NotPages(part.to_owned()))?;
    NonZeroU32::new(page).ok_or_else(|| PagesError::PageZero(part.to_owned()))
}

impl PageSelection {
    /// The pages meant in a document of `count` pages.
    ///
    /// # Errors
    /// [`PagesError::BeyondTheEnd`] when a named page does not exist; marker
    /// itself refuses such ranges too, but only after loading its models.
    pub fn resolve(&self, count: u32) -> Result<PageSet, PagesError> {
        let mut pages = Vec::new();
        for part in &self.parts {
            let last = part.last.map_or(count, NonZeroU32::get);
            let farthest = last.max(part.first.get());
            if farthest > count {
                return Err(PagesError::BeyondTheEnd {
                    page: farthest,
                    count,
                });
            }
            pages.extend(part.first.get() - 1..last);
        }
        Ok(PageSet::from_pages(pages))
    }
}

/// Pages of one document, counted from 0, ascending, each once.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSet(Vec<u32>);

impl PageSet {
    /// All pages of a document of `count` pages.
    pub fn all(count: u32) -> Self {
        PageSet((0..count).collect())
    }

    /// These pages, in whatever order they come.
    pub fn from_pages(pages: impl IntoIterator<Item = u32>) -> Self {
        let mut pages: Vec<u32> = pages.into_iter().collect();
        pages.sort_unstable();
        pages.dedup();
        PageSet(pages)
    }

    /// The lowest page, `None` for no pages.
    pub fn first(&self) -> Option<u32> {
        self.0.first().copied()
    }

    /// The highest page, `None` for no pages.
    pub fn last(&self) -> Option<u32> {
        self.0.last().copied()
    }

    /// How many pages there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no page at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pages, ascending, counted from 0.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// Whether the page is among them.
    pub fn contains(&self, page: u32) -> bool {
        self.0.binary_search(&page).is_ok()
    }

    /// Whether every page of `other` is among them.
    pub fn contains_all(&self, other: &PageSet) -> bool {
        other.iter().all(|page| self.contains(page))
    }

    /// The pages that are not in `other`.
    pub fn without(&self, other: &PageSet) -> PageSet {
        let kept = self.iter().filter(|page| !other.contains(*page));
        PageSet(kept.collect())
    }

    /// The lower and the upper half, the lower one larger by one where the
    /// number is odd; `None` for fewer than two pages.
    pub fn halves(&self) -> Option<(PageSet, PageSet)> {
        if self.len() < 2 {
            return None;
        }
        let (low, high) = self.0.split_at(self.len().div_ceil(2));
        Some((PageSet(low.to_vec()), PageSet(high.to_vec())))
    }

    /// The stretches of pages that follow each other, in order.
    pub fn runs(&self) -> Vec<PageSet> {
        let runs = self.0.chunk_by(|a, b| a + 1 == *b);
        runs.map(|run| PageSet(run.to_vec())).collect()
    }

    /// As marker's `--page_range` takes it: counted from 0, `0-9,12`.
    pub fn marker_range(&self) -> String {
        self.ranges(0)
    }

    fn ranges(&self, offset: u32) -> String {
        self.0
            .chunk_by(|a, b| a + 1 == *b)
            .map(|run| match run {
                [page] => (page + offset).to_string(),
                [first, .., last] => format!("{}-{}", first + offset, last + offset),
                [] => String::new(),
            })
            .collect::<Vec<_>>()
            .join(",")
    }
}

/// For people: counted from 1, `1-10,13`.
impl fmt::Display for PageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.ranges(1))
    }
}

impl fmt::Debug for PageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pages {self}")
    }
}

/// As people read it, also in journals and reports.
impl Serialize for PageSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PageSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(PageSet::default());
        }
        let selection: PageSelection = text.parse().map_err(serde::de::Error::custom)?;
        // A closed range is resolved against its own end; an open one has none.
        let count = selection
            .parts
            .iter()
            .map(|part| part.last)
            .try_fold(0, |count, last| {
                last.map(|last| last.get().max(count))
                    .ok_or_else(|| serde::de::Error::custom(format!("`{text}` has no end")))
            })?;
        selection.resolve(count).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolve(text: &str, count: u32) -> Result<String, PagesError> {
        Ok(text
            .parse::<PageSelection>()?
            .resolve(count)?
            .marker_range())
    }

    #[test]
    fn users_count_from_one_and_marker_from_zero() {
        let cases = [
            ("1", "0"),
            ("1-20", "0-19"),
            ("1-20,25,30-", "0-19,24,29"),
            ("5,4,4", "3-4"),
            (" 2 - 3 , 1 ", "0-2"),
            ("30-30", "29"),
            ("1-", "0-29"),
        ];
        for (text, range) in cases {
            assert_eq!(resolve(text, 30).as_deref(), Ok(range), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        use PagesError as E;
        let cases = [
            ("", E::Empty),
            (",", E::NotPages("".into())),
            ("1,,2", E::NotPages("".into())),
            ("a-b", E::NotPages("a-b".into())),
            ("-5", E::NotPages("-5".into())),
            ("1-2-3", E::NotPages("1-2-3".into())),
            ("+1", E::NotPages("+1".into())),
            ("99999999999", E::NotPages("99999999999".into())),
            ("0", E::PageZero("0".into())),
            ("0-3", E::PageZero("0-3".into())),
            ("5-3", E::Reversed("5-3".into())),
            (
                "31",
                E::BeyondTheEnd {
                    page: 31,
                    count: 30,
                },
            ),
            (
                "1-31",
                E::BeyondTheEnd {
                    page: 31,
                    count: 30,
                },
            ),
            (
                "31-",
                E::BeyondTheEnd {
                    page: 31,
                    count: 30,
                },
            ),
        ];
        for (text, error) in cases {
            assert_eq!(resolve(text, 30), Err(error), "{text}");
        }
    }

    #[test]
    fn halves_keep_every_page() {
        let halves = |pages: &[u32]| PageSet::from_pages(pages.iter().copied()).halves();
        let (low, high) = halves(&[1, 2, 7, 8, 9]).unwrap();
        assert_eq!(
            (low.to_string(), high.to_string()),
            ("2-3,8".into(), "9-10".into())
        );
        assert_eq!(halves(&[3]), None);
        assert_eq!(halves(&[]), None);
    }

    proptest! {
        #[test]
        fn sets_survive_their_json(pages in proptest::collection::vec(0u32..500, 0..40)) {
            let set = PageSet::from_pages(pages);
            let json = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(serde_json::from_str::<PageSet>(&json).unwrap(), set);
        }

        #[test]
        fn no_selection_panics(text in "[0-9,\\- a]{0,16}", count in 0u32..50) {
            let _ = resolve(&text, count);
        }
    }
}
