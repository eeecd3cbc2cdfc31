//! What is made of a page: its resolution, its text, its images.

use super::lever::{Lever, LeverKind, OFF, ON, PassedAs, SetBy};
use super::{Target, TuningRequest};
use crate::version::{Family, Version};

/// In the order in which they cut memory.
pub(super) fn levers(request: &TuningRequest, target: &Target<'_>) -> Vec<Lever> {
    let mut levers = resolutions(target);
    levers.extend(text_workers(request, target));
    levers.extend(content(target.version));
    levers
}

/// 1.3.0 gives its options defaults that overwrite what the configuration file
/// says, so there an option must say it. 1.3.1 mended that.
const DEFAULTS_OVERWRITE: Version = Version::new(1, 3, 0);

/// How an attribute of marker's classes is set that every release has as an
/// option since there are options for attributes.
fn attribute(version: Version, name: &str) -> PassedAs {
    match version.family() {
        Family::ConfigFile if version != DEFAULTS_OVERWRITE => {
            PassedAs::ConfigFile(name.to_owned())
        }
        Family::BeforePageRanges | Family::ConfigFile | Family::Flags | Family::Servers => {
            PassedAs::Flag(format!("--{name}"))
        }
    }
}

/// How so many processes that extract text are asked for, with the value;
/// `None` where there is always one.
pub(super) fn workers(version: Version, count: u32) -> Option<(PassedAs, String)> {
    let count_of = |passed_as| Some((passed_as, count.to_string()));
    match version.family() {
        Family::BeforePageRanges if version < Version::new(0, 2, 9) => None,
        Family::BeforePageRanges => {
            count_of(PassedAs::Environment("PDFTEXT_CPU_WORKERS".to_owned()))
        }
        Family::ConfigFile | Family::Flags | Family::Servers
            if count == 1 && version != DEFAULTS_OVERWRITE =>
        {
            let switch = PassedAs::Switch("--disable_multiprocessing".to_owned());
            Some((switch, ON.to_owned()))
        }
        Family::ConfigFile | Family::Flags | Family::Servers => {
            count_of(attribute(version, "pdftext_workers"))
        }
    }
}

/// Since 1.0 each page is kept at both resolutions (2.0 renders the high one
/// only where it is needed); before, each model had one of its own.
fn resolutions(target: &Target<'_>) -> Vec<Lever> {
    let family = target.version.family();
    let rows: Vec<(&str, &str, PassedAs)> = match family {
        Family::BeforePageRanges => {
            let ocr = if target.version < Version::new(0, 3, 0) {
                "96"
            } else {
                "192"
            };
            let mut rows = vec![
                ("detection", "96", "SURYA_DETECTOR_DPI"),
                ("recognition", ocr, "SURYA_OCR_DPI"),
                ("layout", "96", "SURYA_LAYOUT_DPI"),
                ("order", "96", "SURYA_ORDER_DPI"),
            ];
            if target.version >= Version::new(0, 3, 0) {
                rows.push(("tables", "192", "SURYA_TABLE_DPI"));
            }
            rows.into_iter()
                .map(|(name, value, key)| (name, value, PassedAs::Environment(key.to_owned())))
                .collect()
        }
        Family::ConfigFile | Family::Flags | Family::Servers => vec![
            ("low", "96", attribute(target.version, "lowres_image_dpi")),
            (
                "high",
                "192",
                attribute(target.version, "highres_image_dpi"),
            ),
        ],
    };
    rows.into_iter()
        .map(|(name, value, passed_as)| {
            let name = format!("resolution: {name}");
            from_environment(
                Lever::of_marker(LeverKind::Resolution, name, value, passed_as),
                target,
            )
        })
        .collect()
}

fn from_environment(lever: Lever, target: &Target<'_>) -> Lever {
    let PassedAs::Environment(name) = &lever.passed_as else {
        return lever;
    };
    match target.world.variable(name) {
        Some(value) => Lever {
            value: value.to_string_lossy().into_owned(),
            set_by: SetBy::Environment,
            ..lever
        },
        None => lever,
    }
}

/// Marker's own number is 4; from 20 pages on it starts one process for ten
/// pages, each of 200 to 315 MiB. Before 0.2.9 there is but one.
fn text_workers(request: &TuningRequest, target: &Target<'_>) -> Option<Lever> {
    let count = request.text_workers.map_or(1, |workers| workers.get());
    let (passed_as, value) = workers(target.version, count)?;
    let name = match &passed_as {
        PassedAs::Switch(_) => "text extraction in one process",
        PassedAs::Flag(_) | PassedAs::ConfigFile(_) | PassedAs::Environment(_) => {
            "text extraction workers"
        }
    };
    let lever = Lever::of_marker(LeverKind::TextWorkers, name, "4", passed_as).set(value);
    Some(lever)
}

/// What can be left out, at the cost of the result.
fn content(version: Version) -> Vec<Lever> {
    let switch = |name: &str, option: &str| {
        let passed_as = PassedAs::Switch(option.to_owned());
        Lever::of_marker(LeverKind::Content, name, OFF, passed_as)
    };
    let mut levers = Vec::new();
    if version >= Version::new(1, 1, 0) {
        levers.push(switch("images left out", "--disable_image_extraction"));
    }
    if version >= Version::new(1, 3, 0) {
        levers.push(switch("no text recognition", "--disable_ocr"));
    }
    levers
}
