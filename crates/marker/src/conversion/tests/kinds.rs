//! Kinds of documents, formats of the result.

use std::fs;

use memcap_linux::ByteSize;

use super::super::Status;
use super::{convert, in_tens};
use crate::format::OutputFormat;
use crate::plan::{Request, plan};
use crate::testing::{FakeMarker, Machine};

#[test]
fn every_format_is_joined_and_shows_what_is_missing() {
    for format in OutputFormat::ALL {
        let machine = Machine::new();
        let request = Request {
            format,
            ..in_tens(machine.request("book.pdf", 25))
        };
        let mut runner = FakeMarker {
            too_large: vec![11],
            ..FakeMarker::new()
        };
        let (outcome, _) = convert(&machine, &request, &mut runner);
        assert_eq!(outcome.unwrap().status, Status::Partial, "{format}");
        let name = format!("book/book.{}", format.extension());
        let text = fs::read_to_string(machine.output().join(name)).unwrap();
        let words = text.split(|c: char| !c.is_alphanumeric() && c != ' ');
        let found: Vec<String> = words
            .filter_map(|words| {
                words
                    .strip_prefix("Text of page ")
                    .or(words.strip_prefix("Page "))
            })
            .map(str::to_owned)
            .collect();
        let expected = (1..=25).map(|page| match page {
            12 => "12 could not be converted".to_owned(),
            page => page.to_string(),
        });
        assert_eq!(found, expected.collect::<Vec<_>>(), "{format}");
        if matches!(format, OutputFormat::Json | OutputFormat::Chunks) {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let list = value["children"].as_array().or(value["blocks"].as_array());
            assert_eq!(list.unwrap().len(), 25, "{format}");
        }
        let (again, _) = convert(&machine, &request, &mut FakeMarker::new());
        assert_eq!(again.unwrap().status, Status::Complete, "{format}");
    }
}

#[test]
fn what_is_no_pdf_is_converted_in_one_piece() {
    for (name, format) in [
        ("a.png", OutputFormat::Markdown),
        ("b.png", OutputFormat::Json),
    ] {
        let machine = Machine::new();
        let document = machine.path().join(name);
        fs::write(&document, b"\x89PNG\r\n").unwrap();
        let request = Request {
            format,
            ..Request::new(document, machine.output(), ByteSize::from_gib(8))
        };
        let mut runner = FakeMarker::new();
        let (outcome, _) = convert(&machine, &request, &mut runner);
        assert_eq!(outcome.unwrap().status, Status::Complete, "{name}");
        let step = runner.steps()[0].clone();
        let args: Vec<_> = step.args.iter().collect();
        assert!(!args.contains(&&"--page_range".into()), "{args:?}");
        let stem = name.split('.').next().unwrap();
        let file = format!("{stem}/{stem}.{}", format.extension());
        let text = fs::read_to_string(machine.output().join(file)).unwrap();
        assert_eq!(text.matches("Text of page ").count(), 3, "{name}");
        let (outcome, _) = convert(&machine, &request, &mut runner);
        assert_eq!(outcome.unwrap().status, Status::AlreadyDone, "{name}");

        let chosen = Request {
            pages: Some("1".parse().unwrap()),
            ..request
        };
        let refused = plan(&chosen, &machine.world(), &mut runner).unwrap_err();
        let message = "is an image: pages can be chosen of a PDF only";
        assert!(refused.to_string().ends_with(message), "{refused}");
    }
}

#[test]
fn what_the_installed_marker_does_not_take_is_refused() {
    let machine = Machine::new();
    let document = machine.path().join("a.html");
    fs::write(&document, "<html><body>x").unwrap();
    let request = Request::new(document, machine.output(), ByteSize::from_gib(8));
    let mut old = FakeMarker::of_version("1.5.5");
    let refused = plan(&request, &machine.world(), &mut old).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "marker 1.5.5 cannot convert an HTML page"
    );
    let plan = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    assert!(
        plan.warnings
            .iter()
            .any(|text| text.contains("marker-pdf[full]"))
    );
}

#[test]
fn a_format_that_the_installed_marker_does_not_write_is_refused() {
    let machine = Machine::new();
    let request = Request {
        format: OutputFormat::Chunks,
        ..machine.request("book.pdf", 3)
    };
    let mut runner = FakeMarker::of_version("1.7.5");
    let refused = plan(&request, &machine.world(), &mut runner).unwrap_err();
    assert_eq!(refused.to_string(), "marker 1.7.5 does not write chunks");
    assert!(refused.hint().unwrap().contains("1.8.0"));
}
