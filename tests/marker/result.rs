//! What a conversion in chunks, killed and interrupted on the way, leaves.

use std::collections::BTreeSet;
use std::path::Path;

use integration_tests::harness::MarkerEnvironment;
use serde_json::{Value, json};

use super::comparison::differences;
use super::conversion::{Conversion, LIMIT_BYTES, conversion};
use super::reference::reference;
use super::support::{Files, STEM, environment, files, pages_of};

const CHUNKS: [&str; 4] = ["1-10", "11-20", "21-30", "31-36"];
const PAGES: u64 = 36;
/// marker with its libraries and ten rendered pages: less was not measured.
const LEAST_PEAK: u64 = 700 << 20;

fn metadata(files: &Files) -> Value {
    let text = &files[Path::new(&format!("{STEM}_meta.json"))];
    serde_json::from_slice(text).expect("metadata is JSON")
}

fn text(files: &Files) -> String {
    let text = files[Path::new(&format!("{STEM}.md"))].clone();
    String::from_utf8(text).expect("text is UTF-8")
}

/// The files of the document converted in one piece.
fn whole(environment: &MarkerEnvironment) -> Files {
    files(&reference(environment))
}

fn list<'a>(metadata: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    metadata[key].as_array_mut().expect(key)
}

/// The conversion; `None` where it cannot be had.
fn converted() -> Option<&'static Conversion> {
    Some(conversion(&environment()?))
}

#[test]
fn no_finished_chunk_is_converted_twice() {
    let Some(conversion) = converted() else {
        return;
    };
    let [at_kill, at_interrupt, at_end] = &conversion.journals;
    let first = pages_of(at_kill, "done");
    let second = pages_of(at_interrupt, "done");
    let all = pages_of(at_end, "done");
    assert!(
        second.starts_with(&first) && all.starts_with(&second),
        "{first:?} {second:?} {all:?}"
    );
    assert_eq!(all, CHUNKS, "each chunk is done once, in order");
    let started_later = pages_of(&at_end[at_kill.len()..], "started");
    assert!(
        first.iter().all(|pages| !started_later.contains(pages)),
        "{started_later:?}"
    );
}

#[test]
fn an_interrupted_run_says_so() {
    let Some(conversion) = converted() else {
        return;
    };
    assert_eq!(
        conversion.interrupted_code, 130,
        "{}",
        conversion.interrupted_stderr
    );
}

#[test]
fn every_chunk_stayed_below_the_limit() {
    let Some(conversion) = converted() else {
        return;
    };
    for record in &conversion.journals[2] {
        if let Some(peak) = record["peak_bytes"].as_u64() {
            // A group charged with page cache can have been at its limit.
            assert!((LEAST_PEAK..=LIMIT_BYTES).contains(&peak), "{record}");
        }
    }
}

#[test]
fn every_page_is_covered_once() {
    let Some(conversion) = converted() else {
        return;
    };
    let metadata = metadata(&conversion.result);
    let pages: Vec<u64> = metadata["page_stats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|page| page["page_id"].as_u64().unwrap())
        .collect();
    assert_eq!(pages, (0..PAGES).collect::<Vec<_>>());
}

#[test]
fn the_metadata_is_that_of_the_whole_but_for_the_anchors() {
    let Some(environment) = environment() else {
        return;
    };
    let chunked = metadata(&conversion(&environment).result);
    let whole = metadata(&whole(&environment));
    assert_eq!(without_anchors(chunked), without_anchors(whole));
}

/// marker counts a page's anchors as blocks of type `Reference`; a run sees
/// only links from its own pages.
fn without_anchors(mut metadata: Value) -> Value {
    for page in list(&mut metadata, "page_stats") {
        let counts = list(page, "block_counts");
        counts.retain(|count| count[0] != "Reference");
        // Most frequent first, equals in order of appearance: anchors between
        // them may have changed the order of equals in no other way.
        counts.sort_by_key(|count| count[0].to_string());
    }
    metadata
}

#[test]
fn the_text_is_that_of_the_whole() {
    let Some(environment) = environment() else {
        return;
    };
    let chunked = text(&conversion(&environment).result);
    let whole = text(&whole(&environment));
    let found = differences(&whole, &chunked, CHUNKS.len() - 1);
    assert_eq!(found, [""; 0], "{} differences", found.len());
    assert!(
        chunked.len() > 50_000,
        "{} bytes are not the text of 36 pages",
        chunked.len()
    );
}

#[test]
fn the_images_are_those_of_the_whole() {
    let Some(environment) = environment() else {
        return;
    };
    let result = &conversion(&environment).result;
    let (mut chunked, mut whole) = (result.clone(), whole(&environment));
    for name in [format!("{STEM}.md"), format!("{STEM}_meta.json")] {
        assert!(chunked.remove(Path::new(&name)).is_some());
        assert!(whole.remove(Path::new(&name)).is_some());
    }
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&chunked), names(&whole));
    assert!(chunked == whole, "an image's bytes differ");
    let text = text(result);
    let referenced: BTreeSet<&str> = text
        .split("![](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(referenced.len() as u64 >= PAGES, "{referenced:?}");
    for name in referenced {
        assert!(
            result.contains_key(Path::new(name)),
            "{name} is referenced and absent"
        );
    }
}

#[test]
fn every_link_that_works_in_the_whole_works() {
    let Some(environment) = environment() else {
        return;
    };
    assert_eq!(
        dangling(&text(&whole(&environment))),
        BTreeSet::new(),
        "of the reference"
    );
    let text = text(&conversion(&environment).result);
    assert_eq!(dangling(&text), BTreeSet::new());
    let anchors: Vec<&str> = anchors(&text).collect();
    let distinct: BTreeSet<&str> = anchors.iter().copied().collect();
    assert_eq!(anchors.len(), distinct.len(), "an anchor is there twice");
}

/// Targets of links inside the document that have no anchor.
fn dangling(text: &str) -> BTreeSet<&str> {
    let anchors: BTreeSet<&str> = anchors(text).collect();
    let targets = text
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !anchors.contains(target)).collect()
}

fn anchors(text: &str) -> impl Iterator<Item = &str> {
    text.split("<span id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
}

#[test]
fn the_output_folder_holds_the_result_and_our_own_folder_only() {
    let Some(conversion) = converted() else {
        return;
    };
    let foreign: Vec<_> = conversion
        .output_names
        .iter()
        .filter(|name| *name != STEM && !name.to_string_lossy().starts_with(".memcap-"))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

/// The suite's own check of its sample.
#[test]
fn the_reference_is_a_document_worth_comparing() {
    let Some(environment) = environment() else {
        return;
    };
    let whole = metadata(&whole(&environment));
    let stats = whole["page_stats"].as_array().unwrap();
    assert!(
        stats
            .iter()
            .all(|page| page["text_extraction_method"] == json!("pdftext"))
    );
    assert!(whole["table_of_contents"].as_array().unwrap().len() > 20);
}
