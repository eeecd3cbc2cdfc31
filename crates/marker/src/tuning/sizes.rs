//! Batch sizes as levers.

use super::batch::stages;
use super::lever::{Lever, LeverKind, PassedAs, SetBy, no};
use super::{Target, TuningRequest};
use crate::version::Family;

/// How the size of the stage is called that decides part of the memory.
pub(super) const LAYOUT: &str = "batch size: layout";

/// One lever for each stage whose batches can be sized, and what else takes
/// part in their size.
pub(super) fn levers(request: &TuningRequest, target: &Target<'_>) -> Vec<Lever> {
    let mut levers: Vec<Lever> = stages(target.version, target.device)
        .into_iter()
        .map(|stage| {
            let name = format!("batch size: {}", stage.name);
            let own = stage.default.to_string();
            let lever = Lever::of_marker(LeverKind::BatchSize, name, own, stage.passed_as);
            match (from_environment(&lever, target), request.multiplier) {
                (Some(lever), _) => lever,
                (None, Some(multiplier)) => lever.set(multiplier.apply(stage.default).to_string()),
                (None, None) => lever,
            }
        })
        .collect();
    match target.version.family() {
        Family::BeforePageRanges => levers.push(multiplier(request)),
        Family::Servers => levers.push(client_size()),
        Family::ConfigFile | Family::Flags => {}
    }
    levers
}

/// The size that the user's environment names; it wins over the multiplier,
/// being the more exact of the two wishes.
fn from_environment(lever: &Lever, target: &Target<'_>) -> Option<Lever> {
    let PassedAs::Environment(name) = &lever.passed_as else {
        return None;
    };
    let value = target.world.variable(name)?.to_string_lossy().into_owned();
    Some(Lever {
        value,
        set_by: SetBy::Environment,
        ..lever.clone()
    })
}

/// Of 0.2 and 0.3, by which marker multiplies every size, also one from the
/// environment. Its own 2 is included in the sizes above.
fn multiplier(request: &TuningRequest) -> Lever {
    let lever = Lever::of_marker(
        LeverKind::BatchSize,
        "batch multiplier",
        "2",
        PassedAs::Flag("--batch_multiplier".to_owned()),
    );
    match request.multiplier {
        Some(_) => lever.set("1"),
        None => lever,
    }
}

/// Of 2.0: the last option of its kind that is left there.
fn client_size() -> Lever {
    let option = PassedAs::Flag("--ocr_error_batch_size".to_owned());
    Lever::of_marker(
        LeverKind::BatchSize,
        "batch size: ocr error client",
        "",
        option,
    )
    .with(no("the server decides, and marker 2 drops this option"))
}
