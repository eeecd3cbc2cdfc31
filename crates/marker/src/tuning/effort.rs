//! What the settings become where an attempt may cost less. Pure.
//!
//! The result of small batches is the same; half the resolution is a loss that
//! a report must name. Names are those of the published wheels: `*_image_dpi`
//! of marker 1.x and 2.0 (96 and 192), `SURYA_*_DPI` of the settings of 0.2 and
//! 0.3.

use super::Tuning;
use super::lever::{Effect, Lever, LeverKind};
use crate::recovery::Effort;

impl Tuning {
    /// The settings for an attempt of this effort.
    pub fn at(&self, effort: Effort) -> Tuning {
        let levers = self.levers.iter().cloned();
        Tuning {
            levers: levers.map(|lever| reduced(lever, effort)).collect(),
        }
    }
}

/// The setting as this effort wants it, whoever had set it before.
fn reduced(lever: Lever, effort: Effort) -> Lever {
    match (lever.kind, effort) {
        (LeverKind::BatchSize, Effort::SmallBatches | Effort::LowResolution) => lowered(lever, "1"),
        (LeverKind::Resolution, Effort::LowResolution) => match lever.value.parse::<u32>() {
            Ok(dpi) => lowered(lever, &(dpi / 2).max(1).to_string()),
            Err(_) => lever,
        },
        (_, Effort::Usual | Effort::SmallBatches | Effort::LowResolution) => lever,
    }
}

fn lowered(lever: Lever, value: &str) -> Lever {
    match lever.effect {
        Effect::Yes => lever.set(value),
        Effect::No { .. } => lever,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::device::Device;
    use crate::environment::World;
    use crate::tuning::{Target, TuningRequest, tune};

    /// What is passed on this version.
    fn at(version: &str, effort: Effort) -> String {
        let request = TuningRequest {
            multiplier: "0.5".parse().ok(),
            ..TuningRequest::default()
        };
        let world = World::new([], "/");
        let target = Target {
            version: version.parse().unwrap(),
            device: Device::Cpu,
            nvidia: false,
            torch: None,
            python: Path::new("/python"),
            is_pdf: true,
            world: &world,
        };
        let settings = tune(&request, &target).at(effort);
        let sized = settings.levers.iter().filter(|lever| {
            lever.is_passed() && matches!(lever.kind, LeverKind::BatchSize | LeverKind::Resolution)
        });
        sized
            .map(|lever| format!("{}={}", lever.passed_as, lever.value))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn less_effort_is_passed_as_the_release_takes_it() {
        assert_eq!(
            at("1.10.2", Effort::Usual),
            "--layout_batch_size=3 --detection_batch_size=2 --recognition_batch_size=16 \
             --table_rec_batch_size=3 --equation_batch_size=3 --ocr_error_batch_size=2"
        );
        assert_eq!(
            at("1.10.2", Effort::SmallBatches),
            "--layout_batch_size=1 --detection_batch_size=1 --recognition_batch_size=1 \
             --table_rec_batch_size=1 --equation_batch_size=1 --ocr_error_batch_size=1"
        );
        let low = |version| at(version, Effort::LowResolution);
        assert!(low("1.10.2").starts_with("--lowres_image_dpi=48 --highres_image_dpi=96 "));
        assert!(low("1.2.7").starts_with("lowres_image_dpi=48 highres_image_dpi=96 "));
        assert!(low("2.0.0").contains("FAST_LAYOUT_SERVER_MAX_BATCH=1"));
        assert!(low("2.0.0").starts_with("--lowres_image_dpi=48 --highres_image_dpi=96 "));
        assert!(low("0.3.10").ends_with("--batch_multiplier=1"));
        assert!(low("0.3.10").starts_with("SURYA_DETECTOR_DPI=48 SURYA_OCR_DPI=96 "));
        assert!(low("0.3.10").contains(" SURYA_TABLE_DPI=96 "));
    }
}
