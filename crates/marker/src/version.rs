//! Versions of marker-pdf, and the families that take their settings alike.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

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
}

/// Releases of marker-pdf that take their settings in the same way. From the
/// published wheels and the git history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// 0.1 to 0.3: no page ranges; sizes from the environment and an integer
    /// multiplier.
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
}
