//! Whole conversions by an early marker, as scripted, and what is said of
//! versions.

use std::fs;
use std::num::NonZeroU32;

use super::{Outcome, Status};
use crate::chunks::Chunking;
use crate::plan::{Request, plan};
use crate::testing::{EarlyMarker, Machine};

fn convert(machine: &Machine, request: &Request, marker: &mut EarlyMarker) -> Outcome {
    let plan = plan(request, &machine.world(), marker).unwrap();
    plan.run(marker, &mut |_| ()).unwrap()
}

fn in_tens(request: Request) -> Request {
    Request {
        chunking: Chunking::Fixed(NonZeroU32::new(10).unwrap()),
        ..request
    }
}

#[test]
fn chunks_are_stretches_and_their_texts_and_pictures_are_joined() {
    let machine = Machine::new();
    let mut request = in_tens(machine.request("book.pdf", 26));
    request.pages = Some("1-3,7-26".parse().unwrap());
    let mut marker = EarlyMarker::of_version("0.3.10");
    let outcome = convert(&machine, &request, &mut marker);
    assert_eq!(outcome.status, Status::Complete);
    assert_eq!(marker.runs, ["1-3", "7-13", "14-23", "24-26"]);
    let text = fs::read_to_string(machine.output().join("book/book.md")).unwrap();
    assert!(text.starts_with("Text of page 1.") && text.contains("Text of page 26."));
    assert!(machine.output().join("book/25_image_0.png").is_file());
}

#[test]
fn memory_failures_are_halved_into_stretches() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 10));
    let mut marker = EarlyMarker::of_version("0.2.12");
    marker.max_pages = 5;
    assert_eq!(
        convert(&machine, &request, &mut marker).status,
        Status::Complete
    );
    assert_eq!(marker.runs, ["1-10", "1-5", "6-10"]);
}

#[test]
fn releases_without_a_first_page_convert_all_at_once() {
    let machine = Machine::new();
    let request = in_tens(machine.request("part.one.pdf", 12));
    let mut marker = EarlyMarker::of_version("0.2.4");
    let outcome = convert(&machine, &request, &mut marker);
    assert_eq!((outcome.status, marker.runs.len()), (Status::Complete, 1));
    assert!(machine.output().join("part.one/part.one.md").is_file());

    let mut middle = request;
    middle.pages = Some("3-5".parse().unwrap());
    let error = plan(&middle, &machine.world(), &mut marker).unwrap_err();
    assert_eq!(
        error.to_string(),
        "marker 0.2.4 converts pages from the first on alone"
    );
    assert!(error.hint().is_some());
}

#[test]
fn an_unknown_version_is_treated_like_the_nearest_and_says_so() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 3);
    let said = |version: &str| {
        let mut marker = EarlyMarker::of_version(version);
        let plan = plan(&request, &machine.world(), &mut marker).unwrap();
        plan.warnings.join("\n")
    };
    assert!(said("1.11.0").contains("marker 1.11.0 is not known here; it is treated like 1.10.2"));
    assert!(said("3.0.1").contains("it is treated like 2.0.0"));
    assert!(said("1.9.3").contains("tests run 1.10 and 2.0 only"));
    assert!(said("0.2.4").contains("cannot convert a document in parts"));
    assert!(!said("1.10.2").contains("marker 1.10.2"));
}

#[test]
fn a_plan_shows_options_for_marker_without_their_secrets() {
    let machine = Machine::new();
    let mut request = machine.request("book.pdf", 3);
    let words = "--use_llm --gemini_api_key hunter2 --openai_api_key=hunter2 --layout_batch_size 2";
    request.marker_args = words.split(' ').map(Into::into).collect();
    let mut marker = EarlyMarker::of_version("1.10.2");
    let plan = plan(&request, &machine.world(), &mut marker).unwrap();
    let shown = serde_json::to_string(&plan).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(
        plan.marker_options,
        [
            "--use_llm",
            "--gemini_api_key",
            "…hidden…",
            "--openai_api_key=…hidden…"
        ]
    );
}
