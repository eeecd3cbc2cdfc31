//! Conversions that share a total with others, and chunks that are converted at
//! the same time, with a scripted marker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use memcap_linux::ByteSize;

use super::recovery_tests::{adverse, finished, moments, records, result};
use super::tests::{convert, in_tens};
use super::*;
use crate::chunks::Chunking;
use crate::drive::Drive;
use crate::journal::Record;
use crate::many::Jobs;
use crate::plan::{Request, plan};
use crate::runner::{Ending, RunnerError, Session, Step, StepReport, Usage, Watch};
use crate::testing::stop;
use crate::testing::{FakeMarker, Machine, Scene};

#[test]
fn a_step_says_what_it_is_expected_to_take() {
    for drive in [Drive::Fresh, Drive::Warm] {
        let machine = Machine::new();
        let request = Request {
            drive,
            ..in_tens(machine.request("book.pdf", 26))
        };
        let mut marker = FakeMarker::new();
        let planned = plan(&request, &machine.world(), &mut marker).unwrap();
        convert(&machine, &request, &mut marker).0.unwrap();
        let told: Vec<_> = marker.steps().iter().map(|step| step.estimate).collect();
        // Later ones are corrected by what was seen.
        assert_eq!(told[0], Some(planned.chunks[0].estimate), "{drive:?}");
        assert!(told.iter().all(Option::is_some), "{drive:?} {told:?}");
    }
}

#[test]
fn what_a_worker_is_expected_to_take_changes_with_its_chunks() {
    let machine = Machine::new();
    let request = Request {
        drive: Drive::Warm,
        ..in_tens(machine.request("book.pdf", 26))
    };
    let mut marker = FakeMarker::new();
    let mut estimates = Vec::new();
    plan(&request, &machine.world(), &mut marker)
        .unwrap()
        .run(&mut marker, &mut |event| {
            if let Event::ChunkStarted { estimate, .. } = event {
                estimates.push(estimate);
            }
        })
        .unwrap();
    assert_eq!(estimates.len(), 3);
    assert_eq!(marker.expected(), estimates[1..]);
}

/// Eight pages a chunk, two workers.
fn by_two(request: Request, drive: Drive) -> Request {
    Request {
        chunking: Chunking::Fixed(8.try_into().unwrap()),
        chunk_time: Some(Duration::from_secs(60)),
        workers: "2".parse().unwrap(),
        memory: ByteSize::from_gib(16),
        drive,
        ..request
    }
}

/// Plans and runs with a marker for each worker; whatever happens is told.
fn run(
    machine: &Machine,
    request: &Request,
    marker: &FakeMarker,
    worker: &MakeRunner<'_>,
) -> (Result<Outcome, ConversionError>, Vec<String>) {
    let mut runner = marker.clone();
    let plan = plan(request, &machine.world(), &mut runner).unwrap();
    assert_eq!(plan.workers.get(), 2, "{:?}", plan.chosen);
    let mut told = Vec::new();
    let outcome = plan.run_together(&mut runner, worker, &mut |event| match event {
        Event::ChunkStarted { pages, .. } => told.push(format!("started {pages}")),
        Event::ChunkDone { pages, .. } => told.push(format!("done {pages}")),
        Event::ChunkRequeued { pages, .. } => told.push(format!("requeued {pages}")),
        Event::Usage { pages, .. } => assert!(told.contains(&format!("started {pages}"))),
        _ => {}
    });
    (outcome, told)
}

fn run_by_two(
    machine: &Machine,
    request: &Request,
    marker: &FakeMarker,
) -> (Result<Outcome, ConversionError>, Vec<String>) {
    run(machine, request, marker, &|| Ok(Box::new(marker.clone())))
}

/// How many chunks were under way at each moment of a journal, at most.
fn most_under_way(records: &[Record]) -> usize {
    let mut open = Vec::new();
    let mut most = 0;
    for record in records {
        match record {
            Record::Started { pages, .. } => open.push(pages.clone()),
            Record::Done { pages, .. } | Record::Failed { pages, .. } => {
                open.retain(|other| other != pages);
            }
            Record::Opened { .. } => open.clear(),
            Record::GaveUp { .. }
            | Record::Discarded { .. }
            | Record::Publishing { .. }
            | Record::Published { .. } => {}
        }
        most = most.max(open.len());
    }
    most
}

#[test]
fn two_workers_make_what_one_makes() {
    for drive in [Drive::Fresh, Drive::Warm] {
        let alone = Machine::new();
        let request = by_two(alone.request("book.pdf", 45), drive);
        let one = Request {
            workers: Jobs::One,
            ..request
        };
        let marker = FakeMarker::new();
        convert(&alone, &one, &mut marker.clone()).0.unwrap();

        let machine = Machine::new();
        let request = by_two(machine.request("book.pdf", 45), drive);
        let together = FakeMarker::new();
        let (outcome, _) = run_by_two(&machine, &request, &together);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.status, Status::Complete);
        assert_eq!(outcome.chunks_run, 6);
        assert!(result(&machine) == result(&alone), "{drive:?}");
        let (mut runs, expected) = (together.runs(), marker.runs());
        runs.sort_by_key(|pages| expected.iter().position(|other| other == pages));
        assert_eq!(runs, expected, "{drive:?}");
        assert_eq!(most_under_way(&records(&machine)), 2);
        let memory = together.steps()[0].memory;
        assert_eq!(memory, ByteSize::from_gib(8), "each has its share");
    }
}

#[test]
fn everything_that_can_be_converted_is_by_two_workers_too() {
    for drive in [Drive::Fresh, Drive::Warm] {
        let machine = Machine::new();
        let request = by_two(machine.request("book.pdf", 14), drive);
        let outcome = run_by_two(&machine, &request, &adverse()).0.unwrap();
        assert_eq!(outcome.status, Status::Partial);
        assert_eq!(outcome.missing.to_string(), "3,12,14");
        assert_eq!(outcome.low_resolution.to_string(), "10");
        assert_eq!(outcome.placeholders.len(), 3);
    }
}

#[test]
fn a_kill_at_any_moment_with_two_under_way_costs_no_finished_chunk() {
    let undisturbed = Machine::new();
    let marker = adverse();
    let request = |machine: &Machine| by_two(machine.request("book.pdf", 14), Drive::Fresh);
    let outcome = run_by_two(&undisturbed, &request(&undisturbed), &marker).0;
    let outcome = outcome.unwrap();
    let (whole, finished_once) = (result(&undisturbed), finished(&undisturbed));
    let (runs, records_of_it) = (marker.runs().len(), records(&undisturbed));
    assert!(records_of_it.len() > 30, "{records_of_it:?}");
    let (mut killed_at, mut with_two) = (0, 0);
    let moments = moments(&records_of_it);
    for moment in &moments {
        let machine = Machine::new();
        let request = request(&machine);
        let (first, second) = (adverse(), adverse());
        stop::at(Some(*moment));
        let killed = run_by_two(&machine, &request, &first).0;
        stop::at(None);
        // Who ends first is up to the threads, and so is how much is tried.
        if let Err(error) = killed {
            assert!(matches!(error, ConversionError::Journal(_)), "{error}");
            killed_at += 1;
            with_two += usize::from(under_way_at_the_end(&records(&machine)) == 2);
        }
        let (resumed, _) = run_by_two(&machine, &request, &second);
        let resumed = resumed.unwrap();
        assert!(result(&machine) == whole, "{moment:?}");
        assert_eq!(resumed.missing, outcome.missing, "{moment:?}");
        assert_eq!(finished(&machine), finished_once, "{moment:?}");
        let together = [first.runs(), second.runs()].concat();
        assert!(
            together.len() <= runs + 10,
            "{moment:?}: {together:?} for {runs}"
        );
    }
    assert!(
        killed_at + 5 > moments.len(),
        "{killed_at} of {}",
        moments.len()
    );
    assert!(with_two > 10, "{with_two}");
}

/// Chunks whose end a killed program has not written down.
fn under_way_at_the_end(records: &[Record]) -> usize {
    let is_start = |record: &&Record| matches!(record, Record::Started { .. });
    let is_end = |record: &&Record| matches!(record, Record::Done { .. } | Record::Failed { .. });
    records.iter().filter(is_start).count() - records.iter().filter(is_end).count()
}

#[test]
fn whoever_makes_room_leaves_the_rest_to_the_others() {
    for drive in [Drive::Fresh, Drive::Warm] {
        let machine = Machine::new();
        let request = by_two(machine.request("book.pdf", 40), drive);
        let marker = FakeMarker::with_scenes([Scene::Ends(Ending::Requeued, "")]);
        let (outcome, told) = run_by_two(&machine, &request, &marker);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.status, Status::Complete);
        assert_eq!(outcome.placeholders, []);
        assert_eq!(marker.runs().len(), 6, "one of five twice");
        let requeued = told.iter().filter(|event| event.starts_with("requeued"));
        assert_eq!(requeued.count(), 1, "{told:?}");
        let failed = |record: &Record| matches!(record, Record::Failed { .. });
        assert!(!records(&machine).iter().any(failed));
    }
}

#[test]
fn an_interruption_ends_all_and_keeps_what_is_done() {
    let machine = Machine::new();
    let request = by_two(machine.request("book.pdf", 40), Drive::Fresh);
    let interrupted = || Scene::Ends(Ending::Interrupted, "");
    let scenes = [
        Scene::Converts,
        Scene::Converts,
        interrupted(),
        interrupted(),
    ];
    let (outcome, _) = run_by_two(&machine, &request, &FakeMarker::with_scenes(scenes));
    assert_eq!(outcome.unwrap().status, Status::Interrupted);
    let second = FakeMarker::new();
    let (outcome, _) = run_by_two(&machine, &request, &second);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.chunks_kept, outcome.chunks_run), (2, 3));
    assert_eq!(second.runs().len(), 3);
}

/// One that goes on until it is not wanted any more.
struct GoesOn {
    marker: FakeMarker,
    ended: Arc<AtomicBool>,
}

impl Runner for GoesOn {
    fn run(&mut self, step: &Step, watch: &mut Watch<'_>) -> Result<StepReport, RunnerError> {
        let mut report = self.marker.run(step, watch)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let usage = Usage {
                current: ByteSize::from_mib(900),
                peak: ByteSize::from_mib(900),
            };
            if watch(usage).is_break() {
                self.ended.store(true, Ordering::SeqCst);
                report.ending = Ending::Interrupted;
                break;
            }
            std::thread::yield_now();
        }
        Ok(report)
    }

    fn start(&mut self, step: &Step) -> Result<Box<dyn Session>, RunnerError> {
        self.marker.start(step)
    }
}

#[test]
fn what_is_of_no_use_any_more_is_ended() {
    let machine = Machine::new();
    let request = by_two(machine.request("book.pdf", 40), Drive::Fresh);
    let usage = Ending::Finished { exit_code: 2 };
    let refuses = FakeMarker::with_scenes([Scene::Ends(usage, "No such option")]);
    let (made, ended) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let worker = || -> Result<Box<dyn Runner>, RunnerError> {
        Ok(match made.fetch_add(1, Ordering::SeqCst) {
            0 => Box::new(GoesOn {
                marker: FakeMarker::new(),
                ended: Arc::clone(&ended),
            }),
            _ => Box::new(refuses.clone()),
        })
    };
    let (outcome, _) = run(&machine, &request, &FakeMarker::new(), &worker);
    assert!(matches!(outcome, Err(ConversionError::Refused { .. })));
    assert!(ended.load(Ordering::SeqCst), "it was let go on");
}
