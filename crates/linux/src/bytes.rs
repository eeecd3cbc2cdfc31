//! Amounts of memory, and how people write them.
//!
//! `K`, `M`, `G`, `T` (and `KiB`, `MiB`, …) are powers of 1024, as in the
//! kernel, systemd and docker; `KB`, `MB`, … are powers of 1000. Crates on the
//! registry read `64M` as 64,000,000, which is why this one is our own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount of memory in bytes, from 0 to 2^64 - 1.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ByteSize(u64);

impl ByteSize {
    /// No memory at all.
    pub const ZERO: ByteSize = ByteSize(0);
    /// The largest amount that can be written down.
    pub const MAX: ByteSize = ByteSize(u64::MAX);

    /// An amount in bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        ByteSize(bytes)
    }

    /// An amount in KiB (1024 bytes), saturating at 2^64 - 1 bytes.
    pub const fn from_kib(kib: u64) -> Self {
        ByteSize(kib.saturating_mul(1 << 10))
    }

    /// An amount in MiB (1024 KiB), saturating at 2^64 - 1 bytes.
    pub const fn from_mib(mib: u64) -> Self {
        ByteSize(mib.saturating_mul(1 << 20))
    }

    /// An amount in GiB (1024 MiB), saturating at 2^64 - 1 bytes.
    pub const fn from_gib(gib: u64) -> Self {
        ByteSize(gib.saturating_mul(1 << 30))
    }

    /// The amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The amount in whole MiB, rounded down.
    pub const fn mib(self) -> u64 {
        self.0 >> 20
    }

    /// The sum, or `None` above 2^64 - 1 bytes.
    pub fn checked_add(self, other: ByteSize) -> Option<ByteSize> {
        self.0.checked_add(other.0).map(ByteSize)
    }

    /// The sum, held at 2^64 - 1 bytes.
    pub const fn saturating_add(self, other: ByteSize) -> ByteSize {
        ByteSize(self.0.saturating_add(other.0))
    }

    /// The difference, or zero where `other` is larger.
    pub const fn saturating_sub(self, other: ByteSize) -> ByteSize {
        ByteSize(self.0.saturating_sub(other.0))
    }

    /// `percent` hundredths of this amount, without overflow.
    pub fn percent(self, percent: u32) -> ByteSize {
        let share = u128::from(self.0) * u128::from(percent) / 100;
        ByteSize(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

/// `1.5 GiB`, `512 MiB`, `700 B`: at most two decimals, for people. Machines
/// get [`ByteSize::bytes`].
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 5] =
            [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
        let (unit, shift) = UNITS
            .into_iter()
            .find(|(_, shift)| self.0 >> shift > 0)
            .unwrap_or(("B", 0));
        let whole = self.0 >> shift;
        let rest = u128::from(self.0) - (u128::from(whole) << shift);
        let mut hundredths = (rest * 100) >> shift;
        if whole >= 100 {
            // Three digits are enough for anyone.
            hundredths = 0;
        }
        let number = match hundredths {
            0 => format!("{whole}"),
            h if h % 10 == 0 => format!("{whole}.{}", h / 10),
            h => format!("{whole}.{h:02}"),
        };
        f.pad(&format!("{number} {unit}"))
    }
}

/// A size as a user writes it, before the machine it refers to is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeSpec {
    /// A plain amount.
    Bytes(ByteSize),
    /// Hundredths of the memory that is effectively there, 1 to 100.
    Percent(u32),
    /// `max`: as much as there is.
    Max,
}

impl fmt::Display for SizeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SizeSpec::Bytes(bytes) => bytes.fmt(f),
            SizeSpec::Percent(percent) => write!(f, "{percent}%"),
            SizeSpec::Max => f.pad("max"),
        }
    }
}

impl From<ByteSize> for SizeSpec {
    fn from(bytes: ByteSize) -> SizeSpec {
        SizeSpec::Bytes(bytes)
    }
}

impl SizeSpec {
    /// Nothing at all.
    pub const NOTHING: SizeSpec = SizeSpec::Bytes(ByteSize::ZERO);

    /// The amount, given the memory that is effectively there: the machine's,
    /// or the smallest limit of any enclosing cgroup.
    pub fn resolve(self, effective: ByteSize) -> ByteSize {
        match self {
            SizeSpec::Bytes(bytes) => bytes,
            SizeSpec::Percent(percent) => effective.percent(percent),
            SizeSpec::Max => effective,
        }
    }
}

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSizeError {
    /// Nothing was written.
    #[error("a size is missing")]
    Empty,
    /// It does not begin with a decimal number.
    #[error("`{0}` does not begin with a number such as 8 or 1.5")]
    NotANumber(String),
    /// The letters behind the number are no unit.
    #[error("unknown unit `{unit}` in `{text}`")]
    UnknownUnit {
        /// The text as given.
        text: String,
        /// The part that was not understood.
        unit: String,
    },
    /// More than 2^64 - 1 bytes.
    #[error("`{0}` is more than 2^64 - 1 bytes")]
    TooLarge(String),
    /// A number with a point and no unit: bytes are whole.
    #[error("`{0}` has no unit")]
    FractionOfAByte(String),
    /// A share that is not a whole number of percent from 1 to 100.
    #[error("`{0}` is not a whole share from 1% to 100%")]
    PercentOutOfRange(String),
}

impl ParseSizeError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        match self {
            ParseSizeError::FractionOfAByte(_) => "write the unit behind it, such as 1.5G",
            ParseSizeError::PercentOutOfRange(_) => "write a whole share such as 75%",
            ParseSizeError::Empty
            | ParseSizeError::NotANumber(_)
            | ParseSizeError::UnknownUnit { .. }
            | ParseSizeError::TooLarge(_) => {
                "write a size such as 512M, 8G, 1.5GiB (1024-based), 500MB (1000-based), 75% or max"
            }
        }
    }
}

impl FromStr for SizeSpec {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("max") {
            return Ok(SizeSpec::Max);
        }
        if let Some(share) = trimmed.strip_suffix('%') {
            return match share.trim().parse::<u32>() {
                Ok(percent @ 1..=100) => Ok(SizeSpec::Percent(percent)),
                Err(_) if !share.starts_with(|c: char| c.is_ascii_digit()) => {
                    Err(ParseSizeError::NotANumber(text.to_owned()))
                }
                Ok(_) | Err(_) => Err(ParseSizeError::PercentOutOfRange(text.to_owned())),
            };
        }
        trimmed.parse().map(SizeSpec::Bytes)
    }
}

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(ParseSizeError::Empty);
        }
        let digits_end = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits_end);
        let unit_bytes = unit_bytes(unit.trim()).ok_or_else(|| {
            if number.is_empty() {
                ParseSizeError::NotANumber(text.to_owned())
            } else {
                ParseSizeError::UnknownUnit {
                    text: text.to_owned(),
                    unit: unit.trim().to_owned(),
                }
            }
        })?;
        let bytes = decimal_times(number, unit_bytes, text)?;
        match unit_bytes {
            1 if number.contains('.') => Err(ParseSizeError::FractionOfAByte(text.to_owned())),
            _ => Ok(ByteSize(bytes)),
        }
    }
}

/// Bytes in one `unit`; `None` for a word that is no unit.
fn unit_bytes(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

/// `number * unit` in whole bytes, rounded down, exact for any decimal number.
fn decimal_times(number: &str, unit: u64, text: &str) -> Result<u64, ParseSizeError> {
    let not_a_number = || ParseSizeError::NotANumber(text.to_owned());
    let too_large = || ParseSizeError::TooLarge(text.to_owned());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty())
        || fraction.contains('.')
        || number.ends_with('.')
        || whole.is_empty()
    {
        return Err(not_a_number());
    }
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    // Eighteen digits behind the point are more than any byte needs.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(18));
    let fraction: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().map_err(|_| not_a_number())?
    };
    let bytes = u128::from(whole) * u128::from(unit) + fraction * u128::from(unit) / scale;
    u64::try_from(bytes).map_err(|_| too_large())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_1024_based_unless_they_end_in_b_alone() {
        let cases: [(&str, u64); 16] = [
            ("0", 0),
            ("700", 700),
            ("1b", 1),
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("64MiB", 64 << 20),
            ("64Mi", 64 << 20),
            ("64 MiB", 64 << 20),
            ("64MB", 64_000_000),
            ("1K", 1024),
            ("1kB", 1000),
            ("1.5G", 3 << 29),
            ("0.5k", 512),
            ("2T", 2 << 40),
            (" 8G ", 8 << 30),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(ByteSize::from_bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        use ParseSizeError as E;
        let unknown = |text: &str, unit: &str| E::UnknownUnit {
            text: text.into(),
            unit: unit.into(),
        };
        let cases = [
            ("", E::Empty),
            ("  ", E::Empty),
            ("M", E::NotANumber("M".into())),
            (".5G", E::NotANumber(".5G".into())),
            ("5.G", E::NotANumber("5.G".into())),
            ("1.2.3G", E::NotANumber("1.2.3G".into())),
            ("-1G", E::NotANumber("-1G".into())),
            ("1.5", E::FractionOfAByte("1.5".into())),
            ("0.5 B", E::FractionOfAByte("0.5 B".into())),
            ("8X", unknown("8X", "X")),
            ("1e9", unknown("1e9", "e9")),
            ("8 G G", unknown("8 G G", "G G")),
            (
                "18446744073709551616",
                E::TooLarge("18446744073709551616".into()),
            ),
            ("99999999T", E::TooLarge("99999999T".into())),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<ByteSize>(), Err(error), "{text}");
        }
    }

    #[test]
    fn specs_take_shares_and_max() {
        let machine = ByteSize::from_gib(16);
        let resolve = |text: &str| text.parse::<SizeSpec>().map(|spec| spec.resolve(machine));
        assert_eq!(resolve("75%"), Ok(ByteSize::from_gib(12)));
        assert_eq!(resolve("max"), Ok(machine));
        assert_eq!(resolve("1G"), Ok(ByteSize::from_gib(1)));
        for text in ["0%", "101%", "33.3%", "99999999999%"] {
            let expected = ParseSizeError::PercentOutOfRange(text.into());
            assert_eq!(resolve(text), Err(expected));
        }
        assert_eq!(resolve("x%"), Err(ParseSizeError::NotANumber("x%".into())));
    }

    #[test]
    fn people_read_at_most_three_digits() {
        let shown = |bytes: u64| ByteSize::from_bytes(bytes).to_string();
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(1023), "1023 B");
        assert_eq!(shown(3 << 29), "1.5 GiB");
        assert_eq!(shown((1 << 30) + (1 << 24)), "1.01 GiB");
        assert_eq!(shown(512 << 20), "512 MiB");
        assert_eq!(shown((512 << 20) + (700 << 10)), "512 MiB");
        assert_eq!(shown(u64::MAX), "16777215 TiB");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = text.parse::<SizeSpec>();
        }

        #[test]
        fn every_byte_count_is_read_back(bytes: u64) {
            prop_assert_eq!(bytes.to_string().parse(), Ok(ByteSize::from_bytes(bytes)));
        }
    }
}
