//! What becomes of a conversion in which everything goes wrong, with a scripted
//! marker: memory, crashes, hangs, kills of the worker and of memcap itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use memcap_linux::ByteSize;

use super::*;
use crate::chunks::Chunking;
use crate::drive::Drive;
use crate::journal::{self, Record};
use crate::plan::{Request, plan};
use crate::recovery::Effort;
use crate::runner::Ending;
use crate::testing::stop::{self, Moment};
use crate::testing::{FakeMarker, Machine, Scene};
use crate::work_folder::PREFIX;

/// Plans and runs.
fn convert(
    machine: &Machine,
    request: &Request,
    marker: &FakeMarker,
) -> Result<Outcome, ConversionError> {
    let mut runner = marker.clone();
    let plan = plan(request, &machine.world(), &mut runner).unwrap();
    plan.run(&mut runner, &mut |_| ())
}

/// Chunks of eight pages that may take a minute.
fn request(machine: &Machine, pages: u32, drive: Drive) -> Request {
    Request {
        chunking: Chunking::Fixed(8.try_into().unwrap()),
        chunk_time: Some(Duration::from_secs(60)),
        drive,
        ..machine.request("book.pdf", pages)
    }
}

/// Page 3 never fits, 6 fits in batches of one, 10 at half the resolution; 12
/// crashes, 14 hangs; and more than five pages are too many.
pub(super) fn adverse() -> FakeMarker {
    FakeMarker {
        max_pages: 5,
        too_large: vec![2],
        heavy: vec![(5, Effort::SmallBatches), (9, Effort::LowResolution)],
        poison: vec![11],
        endless: vec![13],
        ..FakeMarker::new()
    }
}

/// Contents by path below the folder of the result.
pub(super) fn result(machine: &Machine) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = machine.output().join("book");
    let entries = fs::read_dir(&folder).unwrap().flatten();
    entries
        .map(|entry| (entry.file_name().into(), fs::read(entry.path()).unwrap()))
        .collect()
}

pub(super) fn records(machine: &Machine) -> Vec<Record> {
    let folders = fs::read_dir(machine.output()).unwrap().flatten();
    let work = folders.map(|entry| entry.path()).find(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(PREFIX)
    });
    work.map_or_else(Vec::new, |folder| {
        journal::read(&folder.join("journal")).unwrap()
    })
}

/// The pages of every chunk that was ever finished.
pub(super) fn finished(machine: &Machine) -> Vec<u32> {
    let mut pages: Vec<u32> = records(machine)
        .iter()
        .flat_map(|record| match record {
            Record::Done { pages, .. } => pages.iter().collect(),
            _ => Vec::new(),
        })
        .collect();
    pages.sort_unstable();
    pages
}

#[test]
fn everything_that_can_be_converted_is() {
    for drive in [Drive::Fresh, Drive::Warm] {
        let machine = Machine::new();
        let outcome = convert(&machine, &request(&machine, 14, drive), &adverse()).unwrap();
        assert_eq!(outcome.status, Status::Partial);
        assert_eq!(outcome.missing.to_string(), "3,12,14");
        assert_eq!(outcome.low_resolution.to_string(), "10");
        let because: Vec<_> = outcome
            .placeholders
            .iter()
            .map(|placeholder| (placeholder.pages.to_string(), placeholder.because.as_str()))
            .collect();
        let expected = [
            ("3", "marker reached its memory limit"),
            ("12", "marker ended with exit code 1: KeyError: 'page'"),
            ("14", "marker took longer than its time limit"),
        ];
        for (pages, words) in expected {
            assert!(
                because.contains(&(pages.to_owned(), words)),
                "{drive:?} {because:?}"
            );
        }
        let efforts: Vec<_> = records(&machine)
            .iter()
            .filter_map(|record| match record {
                Record::Done { pages, effort, .. } if *effort != Effort::Usual => {
                    Some((pages.to_string(), *effort))
                }
                _ => None,
            })
            .collect();
        let expected = [
            ("6".to_owned(), Effort::SmallBatches),
            ("10".to_owned(), Effort::LowResolution),
        ];
        assert_eq!(efforts, expected, "{drive:?}");
    }
}

#[test]
fn a_kill_at_any_moment_costs_no_finished_chunk_and_changes_nothing() {
    let undisturbed = Machine::new();
    let marker = adverse();
    let outcome = convert(
        &undisturbed,
        &request(&undisturbed, 14, Drive::Fresh),
        &marker,
    )
    .unwrap();
    let whole = result(&undisturbed);
    let finished_once = finished(&undisturbed);
    let runs = marker.runs().len();
    let records = records(&undisturbed);
    assert!(records.len() > 30, "{records:?}");
    for moment in moments(&records) {
        let machine = Machine::new();
        let request = request(&machine, 14, Drive::Fresh);
        let (first, second) = (adverse(), adverse());
        stop::at(Some(moment));
        let killed = convert(&machine, &request, &first);
        stop::at(None);
        assert!(
            matches!(killed, Err(ConversionError::Journal(_))),
            "{moment:?}"
        );
        let resumed = convert(&machine, &request, &second).unwrap();
        assert!(result(&machine) == whole, "{moment:?}");
        assert_eq!(resumed.missing, outcome.missing, "{moment:?}");
        assert_eq!(resumed.low_resolution, outcome.low_resolution, "{moment:?}");
        assert_eq!(finished(&machine), finished_once, "{moment:?}");
        // One attempt is lost, and what is left may be cut otherwise.
        let together = [first.runs(), second.runs()];
        assert!(
            together.concat().len() <= runs + 3,
            "{moment:?}: {together:?} for {runs}"
        );
    }
}

/// Behind every record, and before those that follow something done.
pub(super) fn moments(records: &[Record]) -> Vec<Moment> {
    // Behind the last one it has come to its end.
    let behind = (1..records.len()).map(Moment::Behind);
    let before = records
        .iter()
        .enumerate()
        .filter(|(_, record)| match record {
            Record::Done { .. } | Record::Publishing { .. } | Record::Published { .. } => true,
            Record::Opened { .. }
            | Record::Started { .. }
            | Record::Failed { .. }
            | Record::GaveUp { .. }
            | Record::Discarded { .. } => false,
        })
        .map(|(index, _)| Moment::Before(index + 1));
    behind.chain(before).collect()
}

#[test]
fn a_worker_that_is_killed_from_outside_is_started_again() {
    for drive in [Drive::Fresh, Drive::Warm] {
        let machine = Machine::new();
        let leaked = "resource_tracker: There appear to be 1 leaked semaphore objects";
        let scenes = [Scene::Converts, Scene::Ends(Ending::KilledByOther, leaked)];
        let marker = FakeMarker::with_scenes(scenes);
        let outcome = convert(&machine, &request(&machine, 20, drive), &marker).unwrap();
        assert_eq!(outcome.status, Status::Complete);
        assert_eq!(marker.runs(), ["1-8", "9-16", "9-16", "17-20"], "{drive:?}");
    }
}

#[test]
fn failures_of_memory_are_void_under_a_larger_limit() {
    let machine = Machine::new();
    let small = request(&machine, 8, Drive::Fresh);
    let marker = FakeMarker {
        too_large: vec![2],
        ..FakeMarker::new()
    };
    // Killed when page 3 has been given up: Opened, then six attempts at it.
    stop::at(Some(Moment::Behind(16)));
    let killed = convert(&machine, &small, &marker);
    stop::at(None);
    assert!(killed.is_err());
    let gave_up = |record: &Record| matches!(record, Record::GaveUp { .. });
    assert!(
        records(&machine).iter().any(gave_up),
        "{:?}",
        records(&machine)
    );
    let large = Request {
        memory: ByteSize::from_gib(12),
        ..small
    };
    let marker = FakeMarker::new();
    let outcome = convert(&machine, &large, &marker).unwrap();
    assert_eq!(outcome.status, Status::Complete);
    assert!(
        marker.runs().iter().any(|pages| pages.starts_with('3')),
        "{:?}",
        marker.runs()
    );
}

#[test]
fn what_chunks_take_cuts_the_rest_anew() {
    // A marker that takes twice as much for a page as the constants say, and
    // one that takes half.
    let heavy: fn(&PageSet) -> u64 = |pages| 1100 + 60 * pages.len() as u64;
    let light: fn(&PageSet) -> u64 = |pages| 900 + 15 * pages.len() as u64;
    for (takes, largest) in [(heavy, 20..=32), (light, 60..=144)] {
        let machine = Machine::new();
        let request = Request {
            memory: ByteSize::from_gib(3),
            ..machine.request("book.pdf", 300)
        };
        let marker = FakeMarker {
            takes: Some(takes),
            ..FakeMarker::new()
        };
        let mut runner = marker.clone();
        let plan = plan(&request, &machine.world(), &mut runner).unwrap();
        let mut cuts = Vec::new();
        let outcome = plan.run(&mut runner, &mut |event| {
            if let Event::Recut { chunks } = event {
                cuts.push(chunks.len());
            }
        });
        assert_eq!(outcome.unwrap().status, Status::Complete);
        assert!(!cuts.is_empty());
        let longest = records(&machine)
            .iter()
            .filter_map(|record| match record {
                Record::Done { pages, .. } => Some(pages.len()),
                _ => None,
            })
            .skip(1)
            .max()
            .unwrap();
        assert!(largest.contains(&longest), "{longest} {:?}", marker.runs());
    }
}
