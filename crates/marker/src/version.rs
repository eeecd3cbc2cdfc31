//! Versions of marker-pdf, the families that take their settings alike, and
//! what each can be asked for.
//!
//! From the published wheels and the git history. A version that is not among
//! them is treated like the nearest one below it ([`Version::nearest`]).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::Serialize;

use crate::pages::PageSet;

/// The numbers of a version; anything behind them (`rc1`, `.post1`, `+cpu`)
/// is left out, since it changes nothing that is decided here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second, 0 where missing.
    pub minor: u32,
    /// The third, 0 where missing.
    pub patch: u32,
}

impl Version {
    /// `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Version {
            major,
            minor,
            patch,
        }
    }

    /// The family whose rules apply.
    pub fn family(self) -> Family {
        if self < Version::new(1, 0, 0) {
            Family::BeforePageRanges
        } else if self < Version::new(1, 7, 4) {
            Family::ConfigFile
        } else if self < Version::new(2, 0, 0) {
            Family::Flags
        } else {
            Family::Servers
        }
    }

    /// The published version whose rules apply: itself, else the nearest below
    /// it, else (for those before all) the first.
    pub fn nearest(self) -> Version {
        PUBLISHED
            .iter()
            .rev()
            .flat_map(|(major, minor, patches)| {
                let patches = (*patches.start()..=*patches.end()).rev();
                patches.map(|patch| Version::new(*major, *minor, patch))
            })
            .find(|published| *published <= self)
            .unwrap_or(FIRST)
    }

    /// What the version can be asked for.
    pub fn capabilities(self) -> Capabilities {
        let pages = if self < Version::new(0, 2, 12) {
            PageChoice::FromTheFirst
        } else if self < Version::new(1, 0, 0) {
            PageChoice::Contiguous
        } else {
            PageChoice::Any
        };
        let family = self.family();
        Capabilities {
            pages,
            warm: self >= Version::new(1, 2, 0),
            servers: family == Family::Servers,
            lists_pages: family != Family::BeforePageRanges,
            cuts_folder_names: self < Version::new(0, 2, 14),
        }
    }
}

/// What a version of marker can be asked for, and how its results differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Which pages one run can convert.
    pub pages: PageChoice,
    /// Whether one process can convert range after range through its Python
    /// interface (`ConfigParser` and a converter class, as they are since
    /// 1.2).
    pub warm: bool,
    /// Whether its models run in servers beside it.
    pub servers: bool,
    /// Whether `_meta.json` lists the converted pages (`page_stats`). Those
    /// without count them only (`pages`).
    pub lists_pages: bool,
    /// Whether the result's folder is named by the document's name up to its
    /// *first* dot, while the files in it are named up to the last.
    pub cuts_folder_names: bool,
}

/// Which pages one run can convert.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageChoice {
    /// Any set (`--page_range`).
    #[default]
    Any,
    /// Pages that follow each other (`--start_page`, `--max_pages`).
    Contiguous,
    /// Pages that follow each other from the first on (`--max_pages`).
    FromTheFirst,
}

impl PageChoice {
    /// The parts of these pages that one run can convert each, in order.
    pub fn parts(self, pages: &PageSet) -> Vec<PageSet> {
        match self {
            PageChoice::Any | PageChoice::FromTheFirst => vec![pages.clone()],
            PageChoice::Contiguous => pages.runs(),
        }
    }

    /// The two halves, where each of them can be converted by itself.
    pub fn halves(self, pages: &PageSet) -> Option<(PageSet, PageSet)> {
        match self {
            PageChoice::Any | PageChoice::Contiguous => pages.halves(),
            PageChoice::FromTheFirst => None,
        }
    }

    /// Whether these pages can be converted at all.
    pub fn allows(self, pages: &PageSet) -> bool {
        match self {
            PageChoice::Any | PageChoice::Contiguous => true,
            PageChoice::FromTheFirst => pages.first() == Some(0) && pages.runs().len() == 1,
        }
    }
}

const FIRST: Version = Version::new(0, 1, 0);

/// Everything on the package registry: major, minor, patches.
const PUBLISHED: [(u32, u32, RangeInclusive<u32>); 15] = [
    (0, 1, 0..=3),
    (0, 2, 1..=17),
    (0, 3, 0..=10),
    (1, 0, 0..=2),
    (1, 1, 0..=0),
    (1, 2, 0..=7),
    (1, 3, 0..=5),
    (1, 4, 0..=0),
    (1, 5, 0..=5),
    (1, 6, 0..=2),
    (1, 7, 0..=5),
    (1, 8, 0..=5),
    (1, 9, 0..=3),
    (1, 10, 0..=2),
    (2, 0, 0..=0),
];

/// Releases of marker-pdf that take their settings in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// 0.1 to 0.3: no page ranges, the output folder behind the document;
    /// sizes from the environment and an integer multiplier.
    BeforePageRanges,
    /// 1.0.0 to 1.7.3: page ranges; batch sizes only by `--config_json`
    /// (their flags are missing, or crash with `Cannot instantiate
    /// typing.Union`).
    ConfigFile,
    /// 1.7.4 to 1.10: page ranges, and one flag per batch size.
    Flags,
    /// 2.0 and later: models run in servers, which take their sizes from the
    /// environment when they start.
    Servers,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that does not begin like a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version number")]
pub struct ParseVersionError(String);

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.trim().split('.').map(leading_number);
        let major = numbers
            .next()
            .flatten()
            .ok_or_else(|| ParseVersionError(text.to_owned()))?;
        let mut next = || numbers.next().flatten().unwrap_or(0);
        Ok(Version {
            major,
            minor: next(),
            patch: next(),
        })
    }
}

fn leading_number(part: &str) -> Option<u32> {
    let digits = part
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(part.len());
    part[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_packages_write_them() {
        let cases = [
            ("1.10.2", Version::new(1, 10, 2)),
            ("2.0.0rc1", Version::new(2, 0, 0)),
            ("1.7", Version::new(1, 7, 0)),
            ("0.3.10.post1", Version::new(0, 3, 10)),
            ("2.7.1+cpu", Version::new(2, 7, 1)),
            ("3", Version::new(3, 0, 0)),
        ];
        for (text, version) in cases {
            assert_eq!(text.parse(), Ok(version), "{text}");
        }
        for text in ["", "x", "-1", ".1"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn ten_comes_after_nine_and_families_border_where_the_flags_changed() {
        assert!(Version::new(1, 10, 0) > Version::new(1, 9, 3));
        let cases = [
            ("0.3.10", Family::BeforePageRanges),
            ("1.0.0", Family::ConfigFile),
            ("1.7.3", Family::ConfigFile),
            ("1.7.4", Family::Flags),
            ("1.10.2", Family::Flags),
            ("2.0.0", Family::Servers),
        ];
        for (text, family) in cases {
            assert_eq!(text.parse::<Version>().unwrap().family(), family, "{text}");
        }
    }

    #[test]
    fn a_version_between_or_above_the_published_ones_is_like_the_nearest_below() {
        let cases = [
            ("1.10.2", "1.10.2"),
            ("1.10.3", "1.10.2"),
            ("1.11.0", "1.10.2"),
            ("2.1.0", "2.0.0"),
            ("3.0", "2.0.0"),
            ("0.2.0", "0.1.3"),
            ("0.3.11", "0.3.10"),
            ("0.0.1", "0.1.0"),
        ];
        for (text, nearest) in cases {
            let version: Version = text.parse().unwrap();
            assert_eq!(version.nearest().to_string(), nearest, "{text}");
        }
    }

    #[test]
    fn pages_are_chosen_as_the_parsers_allow() {
        let cases = [
            ("0.2.11", PageChoice::FromTheFirst),
            ("0.2.12", PageChoice::Contiguous),
            ("0.3.10", PageChoice::Contiguous),
            ("1.0.0", PageChoice::Any),
            ("2.0.0", PageChoice::Any),
        ];
        for (text, pages) in cases {
            let version: Version = text.parse().unwrap();
            assert_eq!(version.capabilities().pages, pages, "{text}");
        }
        let can = |text: &str| text.parse::<Version>().unwrap().capabilities();
        assert!(!can("1.1.0").warm && can("1.2.0").warm);
        assert!(!can("1.10.2").servers && can("2.0.0").servers);
        assert!(can("0.2.13").cuts_folder_names && !can("0.2.14").cuts_folder_names);
    }

    #[test]
    fn pages_are_divided_as_one_run_can_take_them() {
        let pages = PageSet::from_pages([0, 1, 2, 7, 8]);
        let parts = |choice: PageChoice| -> Vec<String> {
            choice
                .parts(&pages)
                .iter()
                .map(PageSet::to_string)
                .collect()
        };
        assert_eq!(parts(PageChoice::Any), ["1-3,8-9"]);
        assert_eq!(parts(PageChoice::Contiguous), ["1-3", "8-9"]);
        let first = PageChoice::FromTheFirst;
        assert!(!first.allows(&pages) && first.allows(&PageSet::all(3)));
        assert!(!first.allows(&PageSet::from_pages([1, 2])));
        assert_eq!(first.halves(&PageSet::all(4)), None);
        assert!(PageChoice::Contiguous.halves(&PageSet::all(4)).is_some());
    }
}
