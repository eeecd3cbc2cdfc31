//! A marker that is kept for many chunks, and one that has servers.

use std::time::Duration;

use super::super::Status;
use super::{convert, expected_text, in_tens, interrupted, text, work_folder};
use crate::drive::Drive;
use crate::plan::Request;
use crate::runner::Ending;
use crate::testing::{FakeMarker, Machine, Scene};

/// In chunks of ten, by a worker or without.
fn driven(machine: &Machine, pages: u32, drive: Drive) -> Request {
    Request {
        drive,
        chunk_time: Some(Duration::from_millis(10)),
        ..in_tens(machine.request("book.pdf", pages))
    }
}

#[test]
fn a_worker_converts_one_chunk_or_many() {
    let cases = [
        (Drive::Auto, 26, 1),
        (Drive::Auto, 9, 1),
        (Drive::Warm, 9, 1),
        (Drive::Fresh, 26, 0),
        (Drive::Fresh, 9, 0),
    ];
    for (drive, pages, workers) in cases {
        let machine = Machine::new();
        let mut runner = FakeMarker::new();
        let request = driven(&machine, pages, drive);
        let (outcome, _) = convert(&machine, &request, &mut runner);
        assert_eq!(outcome.unwrap().status, Status::Complete);
        assert_eq!(runner.workers(), workers, "{drive:?} {pages}");
        assert_eq!(text(&machine, "book"), expected_text(1..=pages));
    }
}

#[test]
fn a_marker_that_cannot_be_kept_is_driven_fresh() {
    let machine = Machine::new();
    let mut old = FakeMarker::of_version("1.1.0");
    let request = driven(&machine, 26, Drive::Warm);
    convert(&machine, &request, &mut old).0.unwrap();
    assert_eq!((old.workers(), old.runs().len()), (0, 3));

    // One that turns out to is asked once.
    let machine = Machine::new();
    let mut odd = FakeMarker {
        is_unsupported: true,
        ..FakeMarker::new()
    };
    let request = driven(&machine, 26, Drive::Warm);
    convert(&machine, &request, &mut odd).0.unwrap();
    assert_eq!((odd.workers(), odd.runs().len()), (1, 3));
    assert_eq!(text(&machine, "book"), expected_text(1..=26));
}

#[test]
fn marker_s_servers_have_a_home_of_their_own() {
    for drive in [Drive::Fresh, Drive::Warm] {
        let machine = Machine::new();
        let mut runner = FakeMarker::of_version("2.0.0");
        let request = driven(&machine, 20, drive);
        convert(&machine, &request, &mut runner).0.unwrap();
        let home = work_folder(&machine).join("home");
        for step in runner.steps().iter() {
            assert!(
                step.env
                    .contains(&("HOME".into(), Some(home.clone().into())))
            );
        }
        assert!(!home.exists(), "it goes with the rest");
    }
    let machine = Machine::new();
    let mut runner = FakeMarker::new();
    convert(&machine, &driven(&machine, 20, Drive::Warm), &mut runner)
        .0
        .unwrap();
    let names = runner.steps()[0].env.clone();
    assert!(names.iter().all(|(name, _)| name != "HOME"), "{names:?}");
}

#[test]
fn where_marker_has_servers_a_worker_watches_over_them_in_every_drive() {
    // Drive, pages, workers.
    let cases = [
        (Drive::Fresh, 26, 3),
        (Drive::Fresh, 9, 1),
        (Drive::Auto, 9, 1),
        (Drive::Auto, 26, 1),
        (Drive::Warm, 26, 1),
    ];
    for (drive, pages, workers) in cases {
        let machine = Machine::new();
        let mut runner = FakeMarker::of_version("2.0.0");
        let request = driven(&machine, pages, drive);
        convert(&machine, &request, &mut runner).0.unwrap();
        assert_eq!(runner.workers(), workers, "{drive:?} {pages}");
        assert_eq!(text(&machine, "book"), expected_text(1..=pages));
    }
}

#[test]
fn a_worker_that_grows_is_replaced() {
    let machine = Machine::new();
    let mut runner = FakeMarker {
        floors: vec![900, 1000, 1100, 1200],
        ..FakeMarker::new()
    };
    let request = driven(&machine, 70, Drive::Warm);
    convert(&machine, &request, &mut runner).0.unwrap();
    // Three chunks each: 1100 is more than 15 % above 900.
    assert_eq!((runner.workers(), runner.runs().len()), (3, 7));
}

#[test]
fn whatever_a_worker_meets_recovery_goes_on_with_a_new_one() {
    let finished = |exit_code| Ending::Finished { exit_code };
    let cases = [
        (Scene::Ends(Ending::MemoryLimit, ""), "memory-limit", 4),
        (
            Scene::Says("memory", "MemoryError"),
            "refused-allocation",
            4,
        ),
        (Scene::Ends(Ending::PartialKill, ""), "partial-kill", 4),
        (Scene::Says("crash", "KeyError: 1"), "finished", 3),
        (Scene::Ends(finished(0), ""), "finished", 3),
        (Scene::Ends(Ending::KilledByOther, ""), "killed-by-other", 3),
        (Scene::Hangs, "time-limit", 3),
    ];
    for (scene, ending, runs) in cases {
        let machine = Machine::new();
        let mut runner = FakeMarker::with_scenes([Scene::Converts, scene]);
        let request = driven(&machine, 20, Drive::Warm);
        let (outcome, events) = convert(&machine, &request, &mut runner);
        assert_eq!(outcome.unwrap().status, Status::Complete, "{ending}");
        assert_eq!(events[1], format!("failed 11-20 {ending}"));
        assert_eq!(
            (runner.workers(), runner.runs().len()),
            (2, runs),
            "{ending}"
        );
        assert_eq!(text(&machine, "book"), expected_text(1..=20));
    }
}

#[test]
fn a_worker_is_interrupted_and_makes_room_like_any_run() {
    let machine = Machine::new();
    let request = driven(&machine, 26, Drive::Warm);
    let requeued = Scene::Ends(Ending::Requeued, "");
    let mut runner = FakeMarker::with_scenes([requeued, Scene::Converts, interrupted()]);
    let (outcome, events) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Interrupted);
    assert_eq!(events, ["requeued 1-10", "done 1-10"]);
    assert_eq!(runner.workers(), 2);

    let usage = Scene::Says("usage", "Error: No such option '--force_orc'.\n");
    let (outcome, _) = convert(&machine, &request, &mut FakeMarker::with_scenes([usage]));
    let message = "marker ended with exit code 2: Error: No such option '--force_orc'.";
    assert_eq!(outcome.unwrap_err().to_string(), message);
}
