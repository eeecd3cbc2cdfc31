//! What stands where the result belongs, what changes meanwhile, and strange
//! names.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::super::{ConversionError, Event, Status};
use super::{convert, expected_text, in_tens, text};
use crate::plan::plan;
use crate::publish::PublishError;
use crate::testing::{FakeMarker, Machine};
use crate::work_folder::WorkFolderError;

#[test]
fn foreign_files_are_refused_before_the_work() {
    let machine = Machine::new();
    let mut request = machine.request("book.pdf", 3);
    let book = machine.output().join("book");
    fs::create_dir_all(&book).unwrap();
    fs::write(book.join("book.md"), "mine").unwrap();
    let mut runner = FakeMarker::new();
    let refused = plan(&request, &machine.world(), &mut runner).unwrap_err();
    assert!(
        refused.to_string().contains("book/book.md` exists"),
        "{refused}"
    );
    assert!(runner.runs().is_empty());
    assert_eq!(fs::read_to_string(book.join("book.md")).unwrap(), "mine");

    request.force = true;
    convert(&machine, &request, &mut runner).0.unwrap();
    assert_eq!(text(&machine, "book"), expected_text(1..=3));
}

#[test]
fn a_file_that_appears_meanwhile_is_not_overwritten() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 3);
    let plan = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    let book = machine.output().join("book");
    let picture = book.join("_page_1_Picture_0.jpeg");
    let outcome = plan.run(&mut FakeMarker::new(), &mut |event| {
        if let Event::Merging { .. } = event {
            fs::create_dir_all(&book).unwrap();
            fs::write(&picture, "mine").unwrap();
        }
    });
    let foreign = matches!(
        outcome,
        Err(ConversionError::Publish(PublishError::Foreign { .. }))
    );
    assert!(foreign, "{outcome:?}");
    assert_eq!(fs::read_to_string(&picture).unwrap(), "mine");
    // The work is kept.
    fs::remove_file(&picture).unwrap();
    let mut second = FakeMarker::new();
    assert_eq!(
        convert(&machine, &request, &mut second).0.unwrap().status,
        Status::Complete
    );
    assert!(second.runs().is_empty());
}

#[test]
fn an_output_that_is_no_folder_is_refused_before_the_work() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 3);
    fs::write(machine.output(), "a file").unwrap();
    let mut runner = FakeMarker::new();
    let plan = plan(&request, &machine.world(), &mut runner);
    if let Ok(plan) = plan {
        let outcome = plan.run(&mut runner, &mut |_| ());
        assert!(
            matches!(outcome, Err(ConversionError::WorkFolder(_))),
            "{outcome:?}"
        );
    }
    assert!(runner.runs().is_empty());
}

#[test]
fn a_document_that_changes_is_noticed() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 26));
    let plan = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    let mut runner = FakeMarker::new();
    let outcome = plan.run(&mut runner, &mut |event| {
        if let Event::ChunkDone { .. } = event {
            fs::write(machine.path().join("book.pdf"), "%PDF-1.4 other").unwrap();
        }
    });
    assert!(matches!(
        outcome,
        Err(ConversionError::DocumentChanged { .. })
    ));
    assert_eq!(runner.runs(), ["1-10"]);
}

#[test]
fn two_conversions_of_one_document_exclude_each_other() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 3);
    let plan = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    let mut refused = None;
    plan.run(&mut FakeMarker::new(), &mut |event| {
        if let Event::ChunkStarted { .. } = event {
            refused = plan.run(&mut FakeMarker::new(), &mut |_| ()).err();
        }
    })
    .unwrap();
    let refused = refused.unwrap();
    assert!(matches!(
        refused,
        ConversionError::WorkFolder(WorkFolderError::Busy { .. })
    ));
}

#[test]
fn strange_names_are_names() {
    let names: [&[u8]; 6] = [
        b"--help.pdf",
        b"a b.pdf",
        b"two\nlines.pdf",
        b"caf\xe9.pdf",
        b"..pdf",
        b"a.b.pdf",
    ];
    for name in names {
        let machine = Machine::new();
        let name = OsStr::from_bytes(name);
        let request = machine.request(name, 12);
        let mut runner = FakeMarker::new();
        if name == "..pdf" {
            // The paper marker cuts names in a simpler way than Python does.
            let plan = plan(&request, &machine.world(), &mut runner).unwrap();
            assert_eq!(plan.result, machine.output().join("..pdf"));
            continue;
        }
        let (outcome, _) = convert(&machine, &in_tens(request.clone()), &mut runner);
        assert_eq!(outcome.unwrap().status, Status::Complete, "{name:?}");
        let stem = OsStr::from_bytes(name.as_bytes().strip_suffix(b".pdf").unwrap());
        let mut file = stem.to_owned();
        file.push(".md");
        let text = fs::read_to_string(machine.output().join(stem).join(file)).unwrap();
        assert_eq!(text, expected_text(1..=12), "{name:?}");
        let (outcome, _) = convert(&machine, &request, &mut runner);
        assert_eq!(outcome.unwrap().status, Status::AlreadyDone, "{name:?}");
    }
}
