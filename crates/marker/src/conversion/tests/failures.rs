//! Runs that reach their limit, crash or make room.

use memcap_linux::ByteSize;

use super::super::{ConversionError, Status};
use super::{convert, expected_text, expected_text_without, in_tens, interrupted, text};
use crate::plan::Request;
use crate::runner::Ending;
use crate::testing::{FakeMarker, Machine, Scene};

#[test]
fn running_out_of_memory_halves_the_chunk() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 40));
    let mut runner = FakeMarker {
        max_pages: 5,
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(
        runner.runs(),
        [
            "1-10", "1-5", "6-10", "11-20", "11-15", "16-20", // A pattern shows.
            "21-25", "26-30", "31-35", "36-40"
        ]
    );
    assert_eq!(text(&machine, "book"), expected_text(1..=40));
}

#[test]
fn what_is_known_to_be_too_large_is_not_tried_again() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 10));
    let memory = Scene::Ends(Ending::MemoryLimit, "");
    convert(
        &machine,
        &request,
        &mut FakeMarker::with_scenes([memory, interrupted()]),
    )
    .0
    .unwrap();
    let mut second = FakeMarker::new();
    convert(&machine, &request, &mut second).0.unwrap();
    assert_eq!(second.runs(), ["1-5", "6-10"]);
}

#[test]
fn what_did_not_fit_into_a_total_is_known_not_to_fit_into_less() {
    let machine = Machine::new();
    let shared = Request {
        memory: ByteSize::from_gib(4),
        total: Some(ByteSize::from_gib(8)),
        ..in_tens(machine.request("book.pdf", 10))
    };
    let memory = Scene::Ends(Ending::MemoryLimit, "");
    let mut first = FakeMarker::with_scenes([memory, interrupted()]);
    convert(&machine, &shared, &mut first).0.unwrap();
    assert_eq!(first.steps()[0].memory, ByteSize::from_gib(8));
    let alone = Request {
        memory: ByteSize::from_gib(6),
        total: None,
        ..shared
    };
    let mut second = FakeMarker::new();
    convert(&machine, &alone, &mut second).0.unwrap();
    assert_eq!(second.runs(), ["1-5", "6-10"]);
}

#[test]
fn a_page_that_never_fits_is_reported_and_the_rest_is_converted() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 12));
    let mut runner = FakeMarker {
        too_large: vec![2],
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    let outcome = outcome.unwrap();
    assert_eq!(
        (outcome.status, outcome.missing.to_string()),
        (Status::Partial, "3".into())
    );
    let expected = expected_text_without(1..=12, 3, "marker reached its memory limit");
    assert_eq!(text(&machine, "book"), expected);
    let placeholder = &outcome.placeholders[0];
    assert_eq!(placeholder.pages.to_string(), "3");
    assert_eq!(placeholder.because, "marker reached its memory limit");

    // With room for it, the next run converts this page alone.
    let more = Request {
        memory: ByteSize::from_gib(12),
        ..request
    };
    let mut second = FakeMarker::new();
    let (outcome, _) = convert(&machine, &more, &mut second);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(second.runs(), ["3"]);
    assert_eq!(text(&machine, "book"), expected_text(1..=12));
}

#[test]
fn a_limit_under_which_nothing_fits_is_given_up_early() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 100));
    let mut runner = FakeMarker {
        max_pages: 0,
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert!(matches!(
        outcome,
        Err(ConversionError::LimitTooSmall { .. })
    ));
    // The first two pages with all their efforts; the second shows that no page
    // fits, and is not expected to with usual batches.
    let runs = ["1-10", "1-5", "1-3", "1-2", "1", "1", "1", "2", "2", "2"];
    assert_eq!(runner.runs(), runs);
}

#[test]
fn a_crash_is_tried_once_more() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 5);
    let crash = Scene::Ends(Ending::Signaled { signal: 11 }, "");
    let mut runner = FakeMarker::with_scenes([crash]);
    let (outcome, events) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(
        events,
        ["failed 1-5 signaled", "done 1-5", "merging 1", "published"]
    );
}

#[test]
fn a_chunk_that_had_to_make_room_is_no_failure() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 20));
    let requeued = || Scene::Ends(Ending::Requeued, "");
    let mut runner = FakeMarker::with_scenes([requeued(), requeued()]);
    let (outcome, events) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(runner.runs(), ["1-10", "1-10", "1-10", "11-20"]);
    let twice = ["requeued 1-10", "requeued 1-10"];
    assert_eq!(events[..2], twice);
    assert_eq!(events[2..4], ["done 1-10", "done 11-20"]);
}

#[test]
fn a_page_that_crashes_marker_is_isolated() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 8);
    let mut runner = FakeMarker {
        poison: vec![2],
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().missing.to_string(), "3");
    // At last at half the resolution.
    let runs = ["1-8", "1-8", "1-4", "5-8", "1-2", "3-4", "3", "3", "4"];
    assert_eq!(runner.runs(), runs);
    let because = "marker ended with exit code 1: KeyError: 'page'";
    let expected = expected_text_without(1..=8, 3, because);
    assert_eq!(text(&machine, "book"), expected);
}

#[test]
fn a_marker_that_always_fails_is_given_up_early() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 100);
    let mut runner = FakeMarker {
        poison: (0..100).collect(),
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    let error = outcome.unwrap_err();
    let message = "marker fails on all pages alike: it ended with exit code 1: KeyError: 'page'";
    assert_eq!(error.to_string(), message);
    assert!(error.hint().unwrap().contains("logs/pages-"));
    assert_eq!(runner.runs().len(), 4);

    let usage = Ending::Finished { exit_code: 2 };
    let scene = Scene::Ends(usage, "Error: No such option '--force_orc'.\n");
    let (outcome, _) = convert(&machine, &request, &mut FakeMarker::with_scenes([scene]));
    let message = "marker ended with exit code 2: Error: No such option '--force_orc'.";
    assert_eq!(outcome.unwrap_err().to_string(), message);
}
