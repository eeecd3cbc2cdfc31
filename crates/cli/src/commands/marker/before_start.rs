//! What is told before anything is converted.

use memcap_marker::many::Skipped;
use memcap_marker::{Effect, Plan, SetBy};

use super::display::words::counted;
use crate::render::{printable, say, warning};

/// Entries that are named one by one.
const MOST_SKIPPED: usize = 10;

/// The settings of one document in two lines, and what will have no effect.
/// Nothing where nothing is left to convert: the end says so.
pub(super) fn one(plan: &Plan) {
    if plan.chunks.is_empty() {
        return;
    }
    let done = match plan.done.len() {
        0 => String::new(),
        done => format!(", {done} done already"),
    };
    say(&format!(
        "memcap: {} in {}{done}; limit {}; marker {}",
        counted(plan.pages.len(), "page"),
        counted(plan.chunks.len(), "chunk"),
        plan.limit,
        plan.marker.version
    ));
    for lever in &plan.settings.levers {
        // What marker leaves alone by itself nobody has asked for.
        if let Effect::No { because } = &lever.effect
            && lever.set_by != SetBy::Marker
        {
            say(&format!(
                "memcap: ignored: {} {}: {because}",
                lever.name, lever.value
            ));
        }
    }
    for text in &plan.warnings {
        warning(&printable(text));
    }
}

/// What is not converted.
pub(super) fn skipped(skipped: &[Skipped]) {
    for one in skipped.iter().take(MOST_SKIPPED) {
        let path = printable(&one.path.display().to_string());
        say(&format!("memcap: skipped: {path}: {}", one.because));
    }
    if skipped.len() > MOST_SKIPPED {
        let more = skipped.len() - MOST_SKIPPED;
        say(&format!("memcap: skipped: {more} more"));
    }
}
