//! What the settings become where an attempt may cost less. Pure.
//!
//! The result of small batches is the same; half the resolution is a loss that
//! a report must name. Names are those of the published wheels: `*_image_dpi`
//! of marker 1.x and 2.0 (96 and 192), `SURYA_*_DPI` of the settings of 0.2 and
//! 0.3.

use super::batch::stages;
use super::{Effect, Lever, PassedAs, Tuning};
use crate::device::Device;
use crate::recovery::Effort;
use crate::version::{Family, Version};

impl Tuning {
    /// The settings for an attempt of this effort.
    pub fn at(&self, effort: Effort, version: Version, device: Device) -> Tuning {
        let mut levers = self.levers.clone();
        let changes = match effort {
            Effort::Usual => Vec::new(),
            Effort::SmallBatches => single_items(version, device),
            Effort::LowResolution => {
                let mut changes = single_items(version, device);
                changes.extend(half_resolution(version));
                changes
            }
        };
        for change in changes {
            match levers
                .iter_mut()
                .find(|lever| lever.passed_as == change.passed_as)
            {
                Some(lever) => *lever = change,
                None => levers.push(change),
            }
        }
        Tuning { levers }
    }
}

/// Every stage that has batches takes one item at a time.
fn single_items(version: Version, device: Device) -> Vec<Lever> {
    let mut levers: Vec<Lever> = stages(version, device)
        .into_iter()
        .map(|stage| lever(format!("batch size: {}", stage.name), 1, stage.passed_as))
        .collect();
    match version.family() {
        Family::BeforePageRanges => {
            let multiplier = PassedAs::Flag("--batch_multiplier".to_owned());
            levers.push(lever("batch multiplier".to_owned(), 1, multiplier));
        }
        Family::ConfigFile | Family::Flags | Family::Servers => {}
    }
    levers
}

fn half_resolution(version: Version) -> Vec<Lever> {
    let usual: &[(&str, u32)] = match version.family() {
        Family::BeforePageRanges => &[
            ("SURYA_DETECTOR_DPI", 96),
            ("SURYA_LAYOUT_DPI", 96),
            ("SURYA_ORDER_DPI", 96),
            ("SURYA_OCR_DPI", 192),
            ("SURYA_TABLE_DPI", 192),
        ],
        Family::ConfigFile | Family::Flags | Family::Servers => {
            &[("lowres_image_dpi", 96), ("highres_image_dpi", 192)]
        }
    };
    usual
        .iter()
        .map(|(key, dpi)| {
            let passed_as = match version.family() {
                Family::BeforePageRanges => PassedAs::Environment((*key).to_owned()),
                Family::ConfigFile => PassedAs::ConfigFile((*key).to_owned()),
                Family::Flags | Family::Servers => PassedAs::Flag(format!("--{key}")),
            };
            lever("resolution".to_owned(), dpi / 2, passed_as)
        })
        .collect()
}

fn lever(name: String, value: u32, passed_as: PassedAs) -> Lever {
    Lever {
        name,
        value: value.to_string(),
        passed_as,
        effect: Effect::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: &str, effort: Effort) -> String {
        let multiplied = Lever {
            name: "batch size: layout".to_owned(),
            value: "3".to_owned(),
            passed_as: PassedAs::Flag("--layout_batch_size".to_owned()),
            effect: Effect::Yes,
        };
        let settings = Tuning {
            levers: vec![multiplied],
        };
        settings
            .at(effort, version.parse().unwrap(), Device::Cpu)
            .levers
            .iter()
            .map(|lever| format!("{}={}", lever.passed_as, lever.value))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn less_effort_is_passed_as_the_release_takes_it() {
        assert_eq!(at("1.10.2", Effort::Usual), "--layout_batch_size=3");
        assert_eq!(
            at("1.10.2", Effort::SmallBatches),
            "--layout_batch_size=1 --detection_batch_size=1 --recognition_batch_size=1 \
             --table_rec_batch_size=1 --equation_batch_size=1 --ocr_error_batch_size=1"
        );
        let low = |version| at(version, Effort::LowResolution);
        assert!(low("1.10.2").ends_with("--lowres_image_dpi=48 --highres_image_dpi=96"));
        assert!(low("1.2.7").ends_with(" lowres_image_dpi=48 highres_image_dpi=96"));
        assert!(low("2.0.0").contains("FAST_LAYOUT_SERVER_MAX_BATCH=1"));
        assert!(low("2.0.0").ends_with("--lowres_image_dpi=48 --highres_image_dpi=96"));
        assert!(low("0.3.10").contains("--batch_multiplier=1 SURYA_DETECTOR_DPI=48"));
        assert!(low("0.3.10").ends_with("SURYA_OCR_DPI=96 SURYA_TABLE_DPI=96"));
    }
}
