use std::num::NonZeroU32;

use super::*;
use crate::tuning::Multiplier;

fn parsed(line: &str, variables: &[(&str, &str)]) -> Result<DropIn, DropInError> {
    let world = World::new(
        variables
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
        "/",
    );
    parse(line.split_whitespace().map(OsString::from), &world)
}

fn size(pages: u32) -> NonZeroU32 {
    NonZeroU32::new(pages).unwrap()
}

#[test]
fn the_originals_examples_are_understood() {
    let line = "marker_single input.pdf output/ --batch-multiplier 0.25 --chunk-size 25 \
                --auto-chunk --pytorch-config max_split_size_mb:64";
    let request = parsed(line, &[]).unwrap();
    assert_eq!(request.document, PathBuf::from("input.pdf"));
    assert_eq!(request.output, PathBuf::from("output/"));
    assert_eq!(request.tuning.multiplier, Some("0.25".parse().unwrap()));
    assert_eq!(
        request.tuning.allocator.as_deref(),
        Some("max_split_size_mb:64")
    );
    assert_eq!(
        request.chunking,
        Chunking::FixedAbove {
            bytes: AUTO_CHUNK_ABOVE,
            pages: size(25)
        }
    );

    let usual = parsed("marker_single input.pdf output/", &[]).unwrap();
    assert_eq!(usual.tuning.multiplier, Some(Multiplier::HALF));
    assert_eq!(usual.tuning.threads, NonZeroU32::new(4));
    assert_eq!((usual.chunking, usual.memory), (Chunking::Fit, None));
}

#[test]
fn options_win_over_the_environment() {
    let variables = [
        ("MARKER_BATCH_MULTIPLIER", "0.1"),
        ("MARKER_AUTO_CHUNK", "true"),
        ("MARKER_CHUNK_SIZE", "50"),
    ];
    let from_environment = parsed("marker_single a b", &variables).unwrap();
    assert_eq!(
        from_environment.tuning.multiplier,
        Some("0.1".parse().unwrap())
    );
    let above = Chunking::FixedAbove {
        bytes: AUTO_CHUNK_ABOVE,
        pages: size(50),
    };
    assert_eq!(from_environment.chunking, above);

    let line = "marker_single a b --no-auto-chunk --chunk_size=7 --batch_multiplier=1";
    let from_options = parsed(line, &variables).unwrap();
    assert_eq!(from_options.chunking, Chunking::Fixed(size(7)));
    assert_eq!(from_options.tuning.multiplier, Some("1".parse().unwrap()));
}

#[test]
fn what_belongs_to_marker_is_handed_on() {
    let request = parsed(
        "marker_single a b --memory 8G --pages 1-3 -- --force_ocr",
        &[],
    )
    .unwrap();
    assert_eq!(request.marker_args, ["--force_ocr"]);
    assert_eq!(request.memory, Some("8G".parse().unwrap()));
    assert_eq!(request.pages, Some("1-3".parse().unwrap()));
}

#[test]
fn mistakes_are_named() {
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
    );
    let cases: [Case; 13] = [
        ("", &[], "the command `marker_single` is missing"),
        (
            "marker_server in out",
            &[],
            "`marker_server` is not a command of this form",
        ),
        ("marker_single", &[], "the PDF file is missing"),
        ("marker_single a", &[], "the output folder is missing"),
        ("marker_single a b c", &[], "`c` is one argument too many"),
        (
            "marker_single a b --force_ocr",
            &[],
            "unknown option `--force_ocr`",
        ),
        (
            "marker_single a b --chunk-size",
            &[],
            "`--chunk-size` needs a value",
        ),
        (
            "marker_single a b --chunk-size 0",
            &[],
            "`0` is no value for --chunk-size",
        ),
        (
            "marker_single a b --auto-chunk=1",
            &[],
            "`--auto-chunk` takes no value",
        ),
        (
            "marker_single a b --batch-multiplier -1",
            &[],
            "`-1` is not a batch multiplier",
        ),
        (
            "marker_single a b --memory 8X",
            &[],
            "unknown unit `X` in `8X`",
        ),
        (
            "marker_single a b",
            &[("MARKER_CHUNK_SIZE", "many")],
            "`many` is no value for MARKER_CHUNK_SIZE",
        ),
        (
            "marker_single a b",
            &[("MARKER_AUTO_CHUNK", "perhaps")],
            "`perhaps` is no value for MARKER_AUTO_CHUNK",
        ),
    ];
    for (line, variables, message) in cases {
        let error = parsed(line, variables).unwrap_err();
        assert_eq!(error.to_string(), message, "{line}");
        assert!(!error.hint().is_empty());
    }
}

/// Word for word what the documentation of the original shows.
#[test]
fn every_example_is_understood_word_for_word() {
    let line =
        "marker_single input.pdf output/ --batch-multiplier 0.25 --chunk-size 25 --auto-chunk";
    assert_eq!(parsed(line, &[]).unwrap().jobs, Jobs::One);
    let words = [
        "marker_single",
        "input.pdf",
        "output/",
        "--pytorch-config",
        "max_split_size_mb:128,garbage_collection_threshold:0.6",
    ];
    let allocator = parse(words.map(OsString::from), &World::new([], "/")).unwrap();
    assert_eq!(
        allocator.tuning.allocator.as_deref(),
        Some("max_split_size_mb:128,garbage_collection_threshold:0.6")
    );
    let variables = [
        ("MARKER_BATCH_MULTIPLIER", "0.5"),
        ("MARKER_AUTO_CHUNK", "true"),
        ("MARKER_CHUNK_SIZE", "25"),
    ];
    let environment = parsed("marker_single input.pdf output/", &variables).unwrap();
    assert_eq!(environment.tuning.multiplier, Some(Multiplier::HALF));
}

#[test]
fn the_defaults_are_the_originals() {
    let usual = parsed("marker_single a b", &[]).unwrap();
    assert_eq!(
        usual.tuning,
        TuningRequest {
            multiplier: Some(Multiplier::HALF),
            threads: NonZeroU32::new(4),
            allocator: Some("max_split_size_mb:128,garbage_collection_threshold:0.6".into()),
            ..TuningRequest::default()
        }
    );
    assert_eq!(
        (usual.chunking, usual.memory, usual.force),
        (Chunking::Fit, None, false)
    );
}

#[test]
fn a_folder_is_converted_by_the_folder_command() {
    let folder = parsed("marker papers/ out --workers 3 --preset minimal", &[]).unwrap();
    assert_eq!(folder.document, PathBuf::from("papers/"));
    assert_eq!(folder.jobs, Jobs::Exactly(3.try_into().unwrap()));
    assert_eq!(folder.tuning.multiplier, Some("0.1".parse().unwrap()));
}

#[test]
fn the_places_may_be_named_as_the_newer_marker_names_them() {
    let named = parsed(
        "marker_single a.pdf --output_dir out --output_format html",
        &[],
    )
    .unwrap();
    assert_eq!(named.output, PathBuf::from("out"));
    assert_eq!(named.format, OutputFormat::Html);
    let error = parsed("marker_single --output_dir out", &[]).unwrap_err();
    assert_eq!(error.to_string(), "the PDF file is missing");
}

#[test]
fn unknown_options_say_what_to_write() {
    for (option, hint) in [
        ("--force_ocr", "behind `--`: … -- --force_ocr"),
        ("--page_range", "--pages 1-20"),
        ("--config_json", "options of their own"),
    ] {
        let error = parsed(&format!("marker_single a b {option}"), &[]).unwrap_err();
        assert!(error.hint().contains(hint), "{}", error.hint());
    }
}
