//! Conversions with a scripted marker.

mod failures;
mod heap;
mod kinds;
mod resumption;
mod secrets;
mod surroundings;
mod whole;
mod worker;

use std::fs;
use std::path::PathBuf;

use super::{ConversionError, Event, Outcome};
use crate::chunks::Chunking;
use crate::plan::{Request, plan};
use crate::runner::Ending;
use crate::testing::{FakeMarker, Machine, Scene};
use crate::work_folder::PREFIX;

/// Plans and runs; the events in words.
pub(super) fn convert(
    machine: &Machine,
    request: &Request,
    runner: &mut FakeMarker,
) -> (Result<Outcome, ConversionError>, Vec<String>) {
    let plan = plan(request, &machine.world(), runner).unwrap();
    let mut events = Vec::new();
    let outcome = plan.run(runner, &mut |event| events.extend(words(&event)));
    (outcome, events)
}

fn words(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Resumed { kept, discarded } => Some(format!("kept {kept} discarded {discarded}")),
        Event::ChunkStarted { .. }
        | Event::ChunkStopped { .. }
        | Event::Usage { .. }
        | Event::Merged(_) => None,
        Event::ChunkDone { pages, .. } => Some(format!("done {pages}")),
        Event::ChunkFailed { pages, report, .. } => {
            Some(format!("failed {pages} {}", report.ending.kind()))
        }
        Event::ChunkRequeued { pages, .. } => Some(format!("requeued {pages}")),
        Event::Recut { chunks } => Some(format!("recut {}", chunks.len())),
        Event::Merging { chunks } => Some(format!("merging {chunks}")),
        Event::Published { .. } => Some("published".to_owned()),
    }
}

/// Ten pages a chunk.
pub(super) fn in_tens(request: Request) -> Request {
    Request {
        chunking: Chunking::Fixed(10.try_into().unwrap()),
        ..request
    }
}

pub(super) fn text(machine: &Machine, stem: &str) -> String {
    fs::read_to_string(machine.output().join(stem).join(format!("{stem}.md"))).unwrap()
}

/// The text that a conversion of these pages at once would give.
pub(super) fn expected_text(pages: impl IntoIterator<Item = u32>) -> String {
    expected_text_without(pages, 0, "")
}

/// As [`expected_text`], but for page `lost`, of which it is said why.
fn expected_text_without(pages: impl IntoIterator<Item = u32>, lost: u32, because: &str) -> String {
    let page = |page| {
        let index = page - 1;
        if page == lost {
            return format!(
                "> <span id=\"page-{index}-0\"></span>**Page {page} could not be converted**: \
                 {because}"
            );
        }
        format!("Text of page {page}.\n\n![](_page_{index}_Picture_0.jpeg)")
    };
    pages.into_iter().map(page).collect::<Vec<_>>().join("\n\n")
}

pub(super) fn work_folder(machine: &Machine) -> PathBuf {
    fs::read_dir(machine.output())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(PREFIX)
        })
        .unwrap()
}

pub(super) fn interrupted() -> Scene {
    Scene::Ends(Ending::Interrupted, "")
}
