//! Whole conversions in which nothing goes wrong.

use std::fs;

use memcap_linux::ByteSize;

use super::super::{PageSet, Status};
use super::{convert, expected_text, in_tens, text, work_folder};
use crate::drive::Drive;
use crate::testing::{FakeMarker, Machine};

#[test]
fn every_chunk_is_converted_once_and_joined() {
    let machine = Machine::new();
    let mut runner = FakeMarker::new();
    let request = in_tens(machine.request("book.pdf", 26));
    let (outcome, events) = convert(&machine, &request, &mut runner);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.status, Status::Complete);
    assert_eq!(outcome.converted, PageSet::all(26));
    assert_eq!((outcome.chunks_run, outcome.chunks_kept), (3, 0));
    assert_eq!(runner.runs(), ["1-10", "11-20", "21-26"]);
    assert_eq!(
        events,
        [
            "done 1-10",
            "done 11-20",
            "done 21-26",
            "merging 3",
            "published"
        ]
    );
    assert_eq!(text(&machine, "book"), expected_text(1..=26));
    assert!(
        machine
            .output()
            .join("book/_page_25_Picture_0.jpeg")
            .exists()
    );
    // What stays in the work folder is no second copy of the result.
    let mut left: Vec<_> = fs::read_dir(work_folder(&machine))
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["journal", "lock", "version"]);
}

#[test]
fn chosen_pages_may_have_gaps() {
    let machine = Machine::new();
    let mut request = in_tens(machine.request("book.pdf", 40));
    request.pages = Some("1-3,7,20-".parse().unwrap());
    let mut runner = FakeMarker::new();
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(runner.runs(), ["1-3,7,20-25", "26-35", "36-40"]);
    let pages = (1..=3).chain([7]).chain(20..=40);
    assert_eq!(text(&machine, "book"), expected_text(pages));
}

#[test]
fn the_command_line_is_marker_s() {
    let machine = Machine::new();
    let mut runner = FakeMarker::new();
    let mut request = machine.request("book.pdf", 3);
    request.tuning.multiplier = Some("0.5".parse().unwrap());
    request.pages = Some("2-".parse().unwrap());
    request.drive = Drive::Fresh;
    request.marker_args = vec!["--force_ocr".into()];
    convert(&machine, &request, &mut runner).0.unwrap();
    let step = &runner.steps()[0];
    assert_eq!(step.program, machine.path().join("bin/marker_single"));
    assert_eq!(step.memory, ByteSize::from_gib(8));
    let args: Vec<_> = step.args.iter().map(|arg| arg.to_str().unwrap()).collect();
    let running = work_folder(&machine).join("running");
    let document = machine.path().join("book.pdf");
    let (running, document) = (running.to_str().unwrap(), document.to_str().unwrap());
    let expected = format!(
        "--output_dir {running} --output_format markdown --page_range 1-2 \
         --disable_multiprocessing --layout_batch_size 3 --detection_batch_size 2 --recognition_batch_size 16 \
         --table_rec_batch_size 3 --equation_batch_size 3 --ocr_error_batch_size 2 \
         --force_ocr {document}"
    );
    assert_eq!(args.join(" "), expected);
}
