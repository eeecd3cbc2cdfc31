use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::drive::Drive;
use crate::many::{Tally, Verdict};
use crate::runner::{Ending, RunnerError, Session, Step, StepReport, Watch};
use crate::testing::{FakeMarker, Machine, Scene};

type Make<'a> = dyn Fn() -> FakeMarker + Sync + 'a;

fn run(jobs: usize, requests: &[Request], machine: &Machine, make: &Make<'_>) -> Vec<String> {
    let make_runner = || Ok(Box::new(make()) as Box<dyn Runner>);
    let pool = Pool {
        jobs: NonZeroUsize::new(jobs).unwrap(),
        runner: &make_runner,
        worker: &make_runner,
        is_stopped: &|| false,
        tries_all: false,
    };
    let results = convert_all(requests, &machine.world(), &pool, &mut |_, _| {});
    results.iter().map(told).collect()
}

fn told(result: &DocumentResult) -> String {
    let name = result.document.file_name().unwrap().to_string_lossy();
    let end = match &result.end {
        End::Ran(outcome) => format!("{:?}", outcome.status),
        End::Failed(failure) => failure.to_string(),
        End::NotBegun => "not begun".to_owned(),
        End::Pointless => "pointless".to_owned(),
    };
    format!("{name}: {end}")
}

#[test]
fn one_bad_document_does_not_stop_the_rest() {
    let machine = Machine::new();
    let mut requests = vec![
        machine.request("a.pdf", 3),
        machine.request("bad.pdf", 1),
        machine.request("c.pdf", 2),
    ];
    std::fs::write(&requests[1].document, "no PDF").unwrap();
    for jobs in [1, 2, 5] {
        let ended = run(jobs, &requests, &machine, &FakeMarker::new);
        assert!(ended[0].starts_with("a.pdf: "), "{ended:?}");
        assert!(ended[1].contains("bad.pdf` is not a PDF"), "{ended:?}");
        assert!(ended[2].starts_with("c.pdf: "), "{ended:?}");
        let expected = if jobs == 1 { "Complete" } else { "AlreadyDone" };
        assert!(ended[0].ends_with(expected), "{ended:?}");
    }
    requests.truncate(1);
    assert_eq!(
        run(1, &requests, &machine, &FakeMarker::new),
        ["a.pdf: AlreadyDone"]
    );
}

#[test]
fn what_concerns_all_is_tried_once() {
    let machine = Machine::new();
    let requests = ["a.pdf", "b.pdf", "c.pdf"].map(|name| machine.request(name, 1));
    let ended = run(1, &requests, &machine, &FakeMarker::not_installed);
    assert!(ended[0].contains("marker"), "{ended:?}");
    assert_eq!(ended[1..], ["b.pdf: pointless", "c.pdf: pointless"]);
    let refuses = || {
        let usage = Ending::Finished { exit_code: 2 };
        FakeMarker::with_scenes([Scene::Ends(usage, "Error: No such option '--x'.")])
    };
    let ended = run(1, &requests, &machine, &refuses);
    assert!(ended[0].contains("No such option"), "{ended:?}");
    assert_eq!(ended[1..], ["b.pdf: pointless", "c.pdf: pointless"]);
}

#[test]
fn events_carry_the_document_they_belong_to() {
    let machine = Machine::new();
    let requests = ["a.pdf", "b.pdf"].map(|name| machine.request(name, 1));
    let make_runner = || Ok(Box::new(FakeMarker::new()) as Box<dyn Runner>);
    let pool = Pool {
        jobs: NonZeroUsize::MIN,
        runner: &make_runner,
        worker: &make_runner,
        is_stopped: &|| false,
        tries_all: false,
    };
    let mut seen = Vec::new();
    let results = convert_all(&requests, &machine.world(), &pool, &mut |index, event| {
        seen.push(match event {
            DocumentEvent::Begun(_) => format!("{index} begun"),
            DocumentEvent::Planned(plan) => format!("{index} planned {}", plan.pages),
            DocumentEvent::Conversion(Event::ChunkDone { pages, .. }) => {
                format!("{index} done {pages}")
            }
            DocumentEvent::Conversion(_) => return,
            DocumentEvent::Ended(result) => format!("{index} {}", result.is_complete()),
        });
    });
    let of = |index: usize| {
        [
            format!("{index} begun"),
            format!("{index} planned 1"),
            format!("{index} done 1"),
            format!("{index} true"),
        ]
    };
    assert_eq!(seen, [of(0), of(1)].concat());
    assert_eq!(results[0].attempts.records.len(), 1);
    assert_eq!(Tally::of(&results, &[]).verdict(), Verdict::Complete);
}

/// Stops as a user would, in the middle of the second run of marker.
struct Stops<'a> {
    marker: FakeMarker,
    runs: &'a AtomicUsize,
    stopped: &'a AtomicBool,
}

impl Runner for Stops<'static> {
    fn run(&mut self, step: &Step, watch: &mut Watch<'_>) -> Result<StepReport, RunnerError> {
        let mut report = self.marker.run(step, watch)?;
        if step.args.iter().any(|arg| arg == "--output_dir") {
            self.stopped.store(
                self.runs.fetch_add(1, Ordering::SeqCst) == 1,
                Ordering::SeqCst,
            );
        }
        if self.stopped.load(Ordering::SeqCst) {
            report.ending = Ending::Interrupted;
        }
        Ok(report)
    }

    fn start(&mut self, step: &Step) -> Result<Box<dyn Session>, RunnerError> {
        self.marker.start(step)
    }
}

#[test]
fn a_stop_keeps_what_is_done_and_begins_nothing_new() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static STOPPED: AtomicBool = AtomicBool::new(false);
    let machine = Machine::new();
    let requests = ["a.pdf", "b.pdf", "c.pdf"].map(|name| Request {
        drive: Drive::Fresh,
        ..machine.request(name, 1)
    });
    let make_runner = || {
        Ok(Box::new(Stops {
            marker: FakeMarker::new(),
            runs: &RUNS,
            stopped: &STOPPED,
        }) as Box<dyn Runner>)
    };
    let pool = Pool {
        jobs: NonZeroUsize::MIN,
        runner: &make_runner,
        worker: &make_runner,
        is_stopped: &|| STOPPED.load(Ordering::SeqCst),
        tries_all: false,
    };
    let results = convert_all(&requests, &machine.world(), &pool, &mut |_, _| {});
    let ended: Vec<String> = results.iter().map(told).collect();
    assert_eq!(
        ended,
        ["a.pdf: Complete", "b.pdf: Interrupted", "c.pdf: not begun"]
    );
    assert_eq!(Tally::of(&results, &[]).verdict(), Verdict::Interrupted);
    let again = run(1, &requests, &machine, &FakeMarker::new);
    assert_eq!(
        again,
        ["a.pdf: AlreadyDone", "b.pdf: Complete", "c.pdf: Complete"]
    );
}
