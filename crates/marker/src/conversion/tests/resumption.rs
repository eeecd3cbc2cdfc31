//! What an earlier run has left, and what is done with it.

use std::fs;

use memcap_linux::ByteSize;

use super::super::Status;
use super::{convert, expected_text, in_tens, interrupted, text, work_folder};
use crate::chunks::Chunking;
use crate::plan::Request;
use crate::testing::{FakeMarker, Machine, Scene};

#[test]
fn a_conversion_goes_on_where_it_was_stopped() {
    for converted in 0..=2 {
        let machine = Machine::new();
        let request = in_tens(machine.request("book.pdf", 26));
        let scenes = std::iter::repeat_n(Scene::Converts, converted).chain([interrupted()]);
        let mut first = FakeMarker::with_scenes(scenes);
        let (outcome, _) = convert(&machine, &request, &mut first);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.status, Status::Interrupted);
        assert!(outcome.peak.is_some(), "of the run that was stopped");
        assert!(!machine.output().join("book").exists());

        let mut second = FakeMarker::new();
        let (outcome, _) = convert(&machine, &request, &mut second);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.status, Status::Complete);
        assert_eq!(
            (outcome.chunks_kept, outcome.chunks_run),
            (converted, 3 - converted)
        );
        assert_eq!(second.runs(), ["1-10", "11-20", "21-26"][converted..]);
        assert_eq!(text(&machine, "book"), expected_text(1..=26));
    }
}

#[test]
fn a_killed_program_loses_at_most_the_running_chunk() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 26));
    let mut first = FakeMarker::with_scenes([Scene::Converts, interrupted()]);
    convert(&machine, &request, &mut first).0.unwrap();
    // A kill in the middle of a chunk leaves its half-written result; a kill
    // in the middle of a line leaves that.
    let work = work_folder(&machine);
    fs::create_dir_all(work.join("running/book")).unwrap();
    fs::write(work.join("running/book/book.md"), "half").unwrap();
    let mut journal = fs::read(work.join("journal")).unwrap();
    journal.extend(b"{\"event\":\"done\",\"pages\":\"11-2");
    fs::write(work.join("journal"), journal).unwrap();

    let mut second = FakeMarker::new();
    let (outcome, events) = convert(&machine, &request, &mut second);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(events[0], "kept 1-10 discarded ");
    assert_eq!(second.runs(), ["11-20", "21-26"]);
    assert_eq!(text(&machine, "book"), expected_text(1..=26));
}

#[test]
fn a_kill_between_merge_and_journal_is_no_foreign_result() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 12));
    convert(&machine, &request, &mut FakeMarker::new())
        .0
        .unwrap();
    // As if the last line had never been written.
    let journal = work_folder(&machine).join("journal");
    let content = fs::read_to_string(&journal).unwrap();
    let published = content.trim_end().rfind('\n').unwrap();
    fs::write(&journal, &content[..=published]).unwrap();
    let (outcome, _) = convert(&machine, &request, &mut FakeMarker::new());
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(text(&machine, "book"), expected_text(1..=12));
}

#[test]
fn a_finished_conversion_is_not_repeated() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 26));
    convert(&machine, &request, &mut FakeMarker::new())
        .0
        .unwrap();
    // Other limits and sizes give the same result.
    let other = Request {
        memory: ByteSize::from_gib(6),
        chunking: Chunking::Fit,
        ..request
    };
    let mut runner = FakeMarker::new();
    let (outcome, _) = convert(&machine, &other, &mut runner);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.status, Status::AlreadyDone);
    for name in ["chunks", "logs"] {
        assert!(!work_folder(&machine).join(name).exists(), "{name}");
    }
    assert_eq!(outcome.result, Some(machine.output().join("book")));
    assert!(runner.runs().is_empty());

    fs::remove_dir_all(machine.output().join("book")).unwrap();
    let (outcome, _) = convert(&machine, &other, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(runner.runs(), ["1-26"]);
}

#[test]
fn a_chunk_whose_files_were_changed_is_made_again() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 26));
    let scenes = [Scene::Converts, Scene::Converts, interrupted()];
    convert(&machine, &request, &mut FakeMarker::with_scenes(scenes))
        .0
        .unwrap();
    let chunk = work_folder(&machine).join("chunks/pages-00011-00020/book");
    fs::write(chunk.join("book.md"), "tampered").unwrap();
    let mut second = FakeMarker::new();
    let (outcome, events) = convert(&machine, &request, &mut second);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(events[0], "kept 1-10 discarded 11-20");
    assert_eq!(text(&machine, "book"), expected_text(1..=26));
}

#[test]
fn other_settings_and_documents_have_folders_of_their_own() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 26));
    let scenes = || FakeMarker::with_scenes([Scene::Converts, interrupted()]);
    convert(&machine, &request, &mut scenes()).0.unwrap();
    let ocr = Request {
        marker_args: vec!["--force_ocr".into()],
        ..request.clone()
    };
    let (_, events) = convert(&machine, &ocr, &mut scenes());
    assert_eq!(events, ["done 1-10"]);
    let changed = in_tens(machine.request("book.pdf", 27));
    let (_, events) = convert(&machine, &changed, &mut scenes());
    assert_eq!(events, ["done 1-10"]);
    let folders = fs::read_dir(machine.output()).unwrap().count();
    assert_eq!(folders, 3);
}
