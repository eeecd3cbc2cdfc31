//! What a hostile neighbour, a broken marker or a moved folder may bring, with a
//! scripted marker.

use std::os::unix::fs::symlink;

use super::tests::{convert, expected_text, in_tens, interrupted, text, work_folder};
use super::*;
use crate::plan::{Request, plan};
use crate::testing::{FakeMarker, Machine, Scene};
use crate::work_folder::WorkFolderError;

/// Ten pages of 26 are converted; then the user stops it.
fn begun(machine: &Machine) -> Request {
    let request = in_tens(machine.request("book.pdf", 26));
    let mut runner = FakeMarker::with_scenes([Scene::Converts, interrupted()]);
    convert(machine, &request, &mut runner).0.unwrap();
    request
}

#[test]
fn a_chunk_that_became_a_link_is_made_again_and_the_target_stays() {
    let machine = Machine::new();
    let request = begun(&machine);
    let chunk = work_folder(&machine).join("chunks/pages-00001-00010");
    let elsewhere = machine.path().join("elsewhere");
    std::fs::rename(&chunk, &elsewhere).unwrap();
    std::fs::write(elsewhere.join("book/book.md"), "theirs").unwrap();
    symlink(&elsewhere, &chunk).unwrap();
    let (outcome, events) = convert(&machine, &request, &mut FakeMarker::new());
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(events[0], "kept  discarded 1-10");
    assert_eq!(text(&machine, "book"), expected_text(1..=26));
    let theirs = std::fs::read_to_string(elsewhere.join("book/book.md")).unwrap();
    assert_eq!(theirs, "theirs");
}

#[test]
fn a_journal_that_is_a_link_is_not_written() {
    for hard in [false, true] {
        let machine = Machine::new();
        let request = begun(&machine);
        let journal = work_folder(&machine).join("journal");
        let elsewhere = machine.path().join("elsewhere");
        std::fs::write(&elsewhere, "mine").unwrap();
        std::fs::remove_file(&journal).unwrap();
        match hard {
            true => std::fs::hard_link(&elsewhere, &journal).unwrap(),
            false => symlink(&elsewhere, &journal).unwrap(),
        }
        let (outcome, _) = convert(&machine, &request, &mut FakeMarker::new());
        assert!(
            matches!(outcome, Err(ConversionError::Journal(_))),
            "{outcome:?}"
        );
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "mine");
    }
}

#[test]
fn a_work_folder_that_is_replaced_during_a_run_ends_it() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 26));
    let plan = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    let elsewhere = machine.path().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("running/precious")).unwrap();
    let outcome = plan.run(&mut FakeMarker::new(), &mut |event| {
        if let Event::ChunkDone { .. } = event
            && !elsewhere.join("moved").exists()
        {
            let folder = work_folder(&machine);
            std::fs::rename(&folder, elsewhere.join("moved")).unwrap();
            symlink(&elsewhere, &folder).unwrap();
        }
    });
    let replaced = matches!(
        outcome,
        Err(ConversionError::WorkFolder(
            WorkFolderError::Replaced { .. }
        ))
    );
    assert!(replaced, "{outcome:?}");
    assert!(elsewhere.join("running/precious").exists());
    assert!(!machine.output().join("book").exists());
}

#[test]
fn a_link_among_marker_s_files_is_not_taken_into_a_result() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 3);
    let plan = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    let outcome = plan.run(&mut FakeMarker::new(), &mut |event| {
        if let Event::Merging { .. } = event {
            let chunk = work_folder(&machine).join("chunks/pages-00001-00003/book");
            symlink("/etc/passwd", chunk.join("_page_9_Picture_0.jpeg")).unwrap();
        }
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error, ConversionError::Merge(_)), "{error}");
    assert!(!machine.output().join("book").exists());
}

#[test]
fn names_in_a_text_are_only_text() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 20));
    let odd = "![](../../../etc/passwd) ![](/etc/passwd) ![](file:///etc/passwd)";
    let mut runner = FakeMarker::with_scenes([Scene::Converts, interrupted()]);
    convert(&machine, &request, &mut runner).0.unwrap();
    let chunk = work_folder(&machine).join("chunks/pages-00001-00010");
    std::fs::write(chunk.join("book/book.md"), odd).unwrap();
    // As if marker had written it.
    let journal = work_folder(&machine).join("journal");
    let files = crate::manifest::record(&chunk).unwrap();
    let done = crate::journal::read(&journal).unwrap();
    std::fs::remove_file(&journal).unwrap();
    let (mut rewritten, _) = Journal::open(&journal).unwrap();
    for record in done {
        let record = match record {
            crate::journal::Record::Done {
                pages,
                effort,
                peak_bytes,
                wall_ms,
                ..
            } => crate::journal::Record::Done {
                pages,
                files: files.clone(),
                effort,
                peak_bytes,
                wall_ms,
            },
            other => other,
        };
        rewritten.append(&record).unwrap();
    }
    drop(rewritten);
    let (outcome, _) = convert(&machine, &request, &mut FakeMarker::new());
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(
        text(&machine, "book"),
        format!("{odd}\n\n{}", expected_text(11..=20))
    );
    let names = std::fs::read_dir(machine.output().join("book"))
        .unwrap()
        .flatten();
    let odd_names = names.filter(|entry| entry.file_name().to_string_lossy().contains("passwd"));
    assert_eq!(odd_names.count(), 0);
}

#[test]
fn the_journal_of_another_conversion_is_not_taken_up() {
    let machine = Machine::new();
    let request = begun(&machine);
    let folder = work_folder(&machine);
    let other = Request {
        marker_args: vec!["--force_ocr".into()],
        ..request
    };
    let planned = plan(&other, &machine.world(), &mut FakeMarker::new()).unwrap();
    std::fs::rename(folder, &planned.work_folder).unwrap();
    let (outcome, _) = convert(&machine, &other, &mut FakeMarker::new());
    let refused = matches!(
        outcome,
        Err(ConversionError::WorkFolder(
            WorkFolderError::OtherConversion { .. }
        ))
    );
    assert!(refused, "{outcome:?}");
}

#[test]
fn another_version_of_marker_begins_anew_and_says_so() {
    let machine = Machine::new();
    let request = begun(&machine);
    let old = work_folder(&machine);
    let mut newer = FakeMarker::of_version("1.10.1");
    let planned = plan(&request, &machine.world(), &mut newer).unwrap();
    let told = planned.warnings.iter().find(|text| text.contains("1.10.2"));
    let told = told.expect("it is said");
    assert!(
        told.contains("pages 1-10") && told.contains("kept"),
        "{told}"
    );
    let (outcome, _) = convert(&machine, &request, &mut newer);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert!(old.join("chunks/pages-00001-00010/book/book.md").exists());
    // The old version goes on where it was.
    let again = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    assert_eq!(again.done.to_string(), "1-10");
}

#[test]
fn ten_thousand_pages_are_planned_once_each() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 10_000);
    let planned = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    let pages: Vec<u32> = planned
        .chunks
        .iter()
        .flat_map(|chunk| chunk.pages.iter())
        .collect();
    assert_eq!(pages, (0..10_000).collect::<Vec<_>>());
    assert!(
        planned
            .chunks
            .iter()
            .all(|chunk| chunk.estimate <= planned.limit)
    );
}

#[test]
fn a_page_of_two_hundred_inches_stands_alone() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 9);
    let mut sizes = vec![[612, 792]; 9];
    sizes[4] = [14_400, 14_400];
    let mut runner = FakeMarker {
        document: Some(serde_json::json!({"kind": "pages", "count": 9, "sizes": sizes})),
        ..FakeMarker::new()
    };
    let planned = plan(&request, &machine.world(), &mut runner).unwrap();
    let chunks: Vec<String> = planned
        .chunks
        .iter()
        .map(|chunk| chunk.pages.to_string())
        .collect();
    assert_eq!(chunks, ["1-4", "5", "6-9"]);
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(text(&machine, "book"), expected_text(1..=9));
}

#[test]
fn a_full_disk_has_a_remedy() {
    use std::io::ErrorKind as K;
    for (kind, hinted) in [
        (K::StorageFull, true),
        (K::QuotaExceeded, true),
        (K::FileTooLarge, true),
        (K::NotFound, false),
    ] {
        let error = ConversionError::Io {
            operation: "write",
            path: "x".into(),
            source: kind.into(),
        };
        assert_eq!(error.hint().is_some(), hinted, "{kind:?}");
    }
}
