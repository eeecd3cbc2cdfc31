//! Environment variables that decide what marker writes, and not only how long
//! it takes or how much memory. Pure.

use crate::version::{Family, Version};
use crate::weights::CHECKPOINT_SUFFIX;

/// Other pictures, other bounds for what counts as text (`settings.py` of marker
/// and of surya 0.17). A version that reads one of them not is told apart for
/// nothing, which costs a conversion and no truth.
const ALWAYS: [&str; 12] = [
    "OUTPUT_IMAGE_FORMAT",
    "FLATTEN_PDF",
    "IMAGE_DPI",
    "IMAGE_DPI_HIGHRES",
    "DETECTOR_TEXT_THRESHOLD",
    "DETECTOR_BLANK_THRESHOLD",
    "DETECTOR_BOX_Y_EXPAND_MARGIN",
    "DETECTOR_IMAGE_CHUNK_HEIGHT",
    "FOUNDATION_MAX_TOKENS",
    "FOUNDATION_MULTI_TOKEN_MIN_CONFIDENCE",
    "LAYOUT_MAX_BOXES",
    "TABLE_REC_MAX_BOXES",
];

/// Marker 0.2 and 0.3 take most of their settings from nowhere else
/// (`marker/settings.py` of 0.2.17 and 0.3.10).
const EARLY: [&str; 30] = [
    "EXTRACT_IMAGES",
    "PAGINATE_OUTPUT",
    "PAGE_SEPARATOR",
    "DEFAULT_LANG",
    "INVALID_CHARS",
    "OCR_ENGINE",
    "OCR_ALL_PAGES",
    "TESSERACT_TIMEOUT",
    "TESSDATA_PREFIX",
    "SURYA_DETECTOR_DPI",
    "SURYA_OCR_DPI",
    "SURYA_LAYOUT_DPI",
    "SURYA_ORDER_DPI",
    "SURYA_TABLE_DPI",
    "TEXIFY_DPI",
    "TEXIFY_MODEL_MAX",
    "TEXIFY_TOKEN_BUFFER",
    "TEXIFY_MODEL_NAME",
    "BAD_SPAN_TYPES",
    "BBOX_INTERSECTION_THRESH",
    "TABLE_INTERSECTION_THRESH",
    "DEFAULT_BLOCK_TYPE",
    "ORDER_MAX_BBOXES",
    "EDITOR_MAX_LENGTH",
    "EDITOR_MODEL_NAME",
    "ENABLE_EDITOR_MODEL",
    "EDITOR_CUTOFF_THRESH",
    "HEADING_LEVEL_COUNT",
    "HEADING_MERGE_THRESHOLD",
    "HEADING_DEFAULT_LEVEL",
];

/// Whether this version's result depends on the variable. Marker's settings are
/// read without regard to the letters' case.
pub fn decides(name: &str, version: Version) -> bool {
    let name = name.to_ascii_uppercase();
    let early = match version.family() {
        Family::BeforePageRanges => EARLY.contains(&name.as_str()),
        Family::ConfigFile | Family::Flags | Family::Servers => false,
    };
    early || name.ends_with(CHECKPOINT_SUFFIX) || ALWAYS.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_versions_have_most_of_their_settings_in_the_environment() {
        let [early, flags] = [Version::new(0, 3, 10), Version::new(1, 10, 2)];
        // Name, for 0.3.10, for 1.10.2.
        let cases = [
            ("OCR_ALL_PAGES", true, false),
            ("PAGINATE_OUTPUT", true, false),
            ("extract_images", true, false),
            ("OCR_ENGINE", true, false),
            ("SURYA_OCR_DPI", true, false),
            ("LAYOUT_MODEL_CHECKPOINT", true, true),
            ("OUTPUT_IMAGE_FORMAT", true, true),
            ("DETECTOR_TEXT_THRESHOLD", true, true),
            ("RECOGNITION_BATCH_SIZE", false, false),
            ("OMP_NUM_THREADS", false, false),
            ("TORCH_DEVICE", false, false),
        ];
        for (name, for_early, for_flags) in cases {
            let decided = (decides(name, early), decides(name, flags));
            assert_eq!(decided, (for_early, for_flags), "{name}");
        }
    }
}
