//! Batch sizes: what each release of marker uses by itself, and what a
//! fractional multiplier makes of it.
//!
//! No release since 1.0 has `--batch_multiplier`, and before it was an
//! integer. Marker always passes a size of its own for each stage, so the
//! multiplier is applied to those. Defaults are from the `get_*batch_size`
//! functions of the published wheels 0.3.10, 1.0.0 to 1.10.2 and 2.0.0.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::PassedAs;
use crate::device::Device;
use crate::version::{Family, Version};

/// A factor for batch sizes: above 0, at most 64. 1 is marker's own choice.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Multiplier(f64);

/// Why a text is no multiplier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a batch multiplier")]
pub struct MultiplierError(String);

impl MultiplierError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write a number above 0 and at most 64, such as 0.5"
    }
}

impl FromStr for Multiplier {
    type Err = MultiplierError;

    fn from_str(text: &str) -> Result<Self, MultiplierError> {
        let error = || MultiplierError(text.to_owned());
        let value: f64 = text.trim().parse().map_err(|_| error())?;
        if value > 0.0 && value <= Multiplier::MAX {
            Ok(Multiplier(value))
        } else {
            Err(error())
        }
    }
}

impl fmt::Display for Multiplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Multiplier {
    const MAX: f64 = 64.0;
    /// Marker's own sizes.
    pub const ONE: Multiplier = Multiplier(1.0);
    /// Half of them, as the `marker-pdf-optimized` form has it.
    pub const HALF: Multiplier = Multiplier(0.5);
    /// A quarter.
    pub const QUARTER: Multiplier = Multiplier(0.25);
    /// A tenth.
    pub const TENTH: Multiplier = Multiplier(0.1);

    /// `size` times the multiplier, rounded, at least 1.
    pub fn apply(self, size: u32) -> u32 {
        let product = (f64::from(size) * self.0)
            .round()
            .clamp(1.0, f64::from(u32::MAX));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the range of u32"
        )]
        let product = product as u32;
        product
    }
}

/// A stage of the conversion, with the size of its batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name, for people.
    pub name: &'static str,
    /// Marker's own size on the device.
    pub default: u32,
    /// How another size reaches it.
    pub passed_as: PassedAs,
}

/// Sizes on a processor, on Apple's GPU and on CUDA.
#[derive(Clone, Copy)]
struct Sizes(u32, u32, u32);

impl Sizes {
    fn on(self, device: Device) -> u32 {
        match device {
            Device::Cpu => self.0,
            Device::Mps => self.1,
            Device::Cuda => self.2,
        }
    }
}

const fn same(size: u32) -> Sizes {
    Sizes(size, size, size)
}

/// The stages of a release whose batches can be sized.
pub fn stages(version: Version, device: Device) -> Vec<Stage> {
    let family = version.family();
    let rows: Vec<Row> = match family {
        Family::BeforePageRanges => early_rows(version),
        Family::ConfigFile | Family::Flags => rows(version),
        Family::Servers => server_rows(),
    };
    rows.into_iter()
        .map(|(name, sizes, key)| Stage {
            name,
            default: sizes.on(device),
            passed_as: match family {
                Family::BeforePageRanges | Family::Servers => PassedAs::Environment(key.to_owned()),
                Family::ConfigFile => PassedAs::ConfigFile(key.to_owned()),
                Family::Flags => PassedAs::Flag(format!("--{key}")),
            },
        })
        .collect()
}

/// Name, sizes, and marker's word for it.
type Row = (&'static str, Sizes, &'static str);

/// 0.2 and 0.3, whose default multiplier of 2 is included here: memcap passes
/// `--batch_multiplier 1` with these. Tables are not multiplied by marker.
fn early_rows(version: Version) -> Vec<Row> {
    let recognition = if version < Version::new(0, 2, 2) {
        Sizes(64, 64, 128)
    } else {
        same(64)
    };
    let mut rows = vec![
        ("layout", same(12), "LAYOUT_BATCH_SIZE"),
        ("detection", same(8), "DETECTOR_BATCH_SIZE"),
        ("recognition", recognition, "RECOGNITION_BATCH_SIZE"),
        ("order", same(12), "ORDER_BATCH_SIZE"),
        ("equations", Sizes(4, 12, 12), "TEXIFY_BATCH_SIZE"),
    ];
    if version >= Version::new(0, 3, 2) {
        rows.push(("tables", same(6), "TABLE_REC_BATCH_SIZE"));
    }
    rows
}

/// 2.0: read by the servers when they start.
fn server_rows() -> Vec<Row> {
    vec![
        ("layout", same(8), "FAST_LAYOUT_SERVER_MAX_BATCH"),
        ("ocr error server", same(64), "OCR_ERROR_SERVER_MAX_BATCH"),
        ("ocr error", Sizes(8, 8, 64), "OCR_ERROR_BATCH_SIZE"),
        ("recognition slots", same(8), "SURYA_INFERENCE_PARALLEL"),
    ]
}

/// 1.x.
fn rows(version: Version) -> Vec<Row> {
    let since = |minor| version >= Version::new(1, minor, 0);
    let bigger_on_cuda = |usual, cuda| {
        if since(7) {
            Sizes(usual, usual, cuda)
        } else {
            same(usual)
        }
    };
    // 1.8.2 changed it in the middle of a series, and 1.7.4 the next.
    let recognition = match (since(9), version >= Version::new(1, 8, 2), since(7)) {
        (true, ..) => Sizes(32, 16, 48),
        (_, true, _) => Sizes(32, 16, 64),
        (_, _, true) => Sizes(32, 32, 64),
        _ => same(32),
    };
    let detection = if version < Version::new(1, 7, 4) {
        bigger_on_cuda(4, 12)
    } else {
        bigger_on_cuda(4, 10)
    };
    let layout_key = if since(4) {
        "layout_batch_size"
    } else {
        "batch_size"
    };
    let mut rows = vec![
        ("layout", bigger_on_cuda(6, 12), layout_key),
        ("detection", detection, "detection_batch_size"),
        ("recognition", recognition, "recognition_batch_size"),
        ("tables", bigger_on_cuda(6, 14), "table_rec_batch_size"),
    ];
    if !since(4) {
        rows.push(("table text", same(4), "detector_batch_size"));
    }
    if since(7) {
        let equations = if since(9) {
            Sizes(6, 6, 32)
        } else {
            Sizes(6, 6, 16)
        };
        rows.push(("equations", equations, "equation_batch_size"));
    } else if since(2) {
        rows.push(("equations", Sizes(2, 6, 6), "texify_batch_size"));
    }
    if since(5) {
        rows.push(("ocr error", bigger_on_cuda(4, 14), "ocr_error_batch_size"));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(version: &str, device: Device, multiplier: &str) -> String {
        let multiplier: Multiplier = multiplier.parse().unwrap();
        stages(version.parse().unwrap(), device)
            .iter()
            .map(|stage| format!("{}={}", stage.passed_as, multiplier.apply(stage.default)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn multipliers_become_the_sizes_of_the_installed_release() {
        let cases = [
            (
                "1.10.2",
                Device::Cpu,
                "1",
                "--layout_batch_size=6 --detection_batch_size=4 --recognition_batch_size=32 \
                 --table_rec_batch_size=6 --equation_batch_size=6 --ocr_error_batch_size=4",
            ),
            (
                "1.10.2",
                Device::Cpu,
                "0.5",
                "--layout_batch_size=3 --detection_batch_size=2 --recognition_batch_size=16 \
                 --table_rec_batch_size=3 --equation_batch_size=3 --ocr_error_batch_size=2",
            ),
            (
                "1.10.2",
                Device::Cuda,
                "0.25",
                "--layout_batch_size=3 --detection_batch_size=3 --recognition_batch_size=12 \
                 --table_rec_batch_size=4 --equation_batch_size=8 --ocr_error_batch_size=4",
            ),
            (
                "1.8.5",
                Device::Mps,
                "1",
                "--layout_batch_size=6 --detection_batch_size=4 --recognition_batch_size=16 \
                 --table_rec_batch_size=6 --equation_batch_size=6 --ocr_error_batch_size=4",
            ),
            (
                "1.6.2",
                Device::Cpu,
                "0.1",
                "layout_batch_size=1 detection_batch_size=1 recognition_batch_size=3 \
                 table_rec_batch_size=1 texify_batch_size=1 ocr_error_batch_size=1",
            ),
            (
                "1.0.0",
                Device::Cuda,
                "1",
                "batch_size=6 detection_batch_size=4 recognition_batch_size=32 \
                 table_rec_batch_size=6 detector_batch_size=4",
            ),
            (
                "0.3.10",
                Device::Cpu,
                "0.5",
                "LAYOUT_BATCH_SIZE=6 DETECTOR_BATCH_SIZE=4 RECOGNITION_BATCH_SIZE=32 \
                 ORDER_BATCH_SIZE=6 TEXIFY_BATCH_SIZE=2 TABLE_REC_BATCH_SIZE=3",
            ),
            (
                "2.0.0",
                Device::Cpu,
                "0.5",
                "FAST_LAYOUT_SERVER_MAX_BATCH=4 OCR_ERROR_SERVER_MAX_BATCH=32 \
                 OCR_ERROR_BATCH_SIZE=4 SURYA_INFERENCE_PARALLEL=4",
            ),
        ];
        for (version, device, multiplier, expected) in cases {
            assert_eq!(
                shown(version, device, multiplier),
                expected,
                "{version} x {multiplier}"
            );
        }
    }

    #[test]
    fn multipliers_are_positive_numbers() {
        for text in ["0", "-1", "nan", "inf", "65", "", "half", "1e-400"] {
            assert!(text.parse::<Multiplier>().is_err(), "{text}");
        }
        for text in ["0.001", "1", "64", " 0.5 "] {
            assert!(text.parse::<Multiplier>().is_ok(), "{text}");
        }
    }
}
