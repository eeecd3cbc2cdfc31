//! Every release of marker-pdf is asked in its own way: golden command lines,
//! and what the parser of each release makes of them.
//!
//! The parsers are the releases' own (`scripts/marker-parsers` unpacks them,
//! `scripts/marker/parse.py` says what of them is real). A real conversion is
//! tested for 1.10.2 and 2.0.0 elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use integration_tests::harness::{MarkerParsers, Requirement};
use memcap_marker::{
    Device, DocumentKind, Effort, Family, LeverKind, Orders, OutputFormat, PageSet, PassedAs,
    Paths, Target, Tuning, TuningRequest, Version, World, arguments, tune,
};
use serde_json::{Value, json};

const RELEASES: &str = include_str!("../../scripts/marker/releases.txt");

fn releases() -> impl Iterator<Item = &'static str> {
    RELEASES.lines().filter(|line| !line.starts_with('#'))
}

/// The settings of a release on the processor.
fn settings(release: &str, request: &TuningRequest) -> Tuning {
    let world = World::new([], "/");
    let target = Target {
        version: release.parse().expect("a version"),
        device: Device::Cpu,
        nvidia: false,
        torch: None,
        python: Path::new("/venv/bin/python"),
        is_pdf: true,
        world: &world,
    };
    tune(request, &target)
}

fn half() -> TuningRequest {
    TuningRequest {
        multiplier: "0.5".parse().ok(),
        threads: 4.try_into().ok(),
        ..TuningRequest::default()
    }
}

/// One run as memcap would have it.
struct Run {
    version: Version,
    settings: Tuning,
    pages: PageSet,
    args: Vec<OsString>,
}

impl Run {
    /// Over these pages, with the file for `--config_json` at `config`.
    fn new(release: &str, settings: Tuning, format: OutputFormat, config: &Path) -> Run {
        let version: Version = release.parse().expect("a version");
        let first = if version < Version::new(0, 2, 12) {
            0
        } else {
            10
        };
        let pages = PageSet::from_pages(first..first + 20);
        let paths = Paths {
            input: "/in/book.pdf".into(),
            output: "/srv/running".into(),
            stdout: "/srv/out".into(),
            stderr: "/srv/err".into(),
            config: config.to_owned(),
        };
        let orders = Orders {
            version,
            kind: DocumentKind::Pdf,
            format,
            settings: &settings,
            marker_args: &[],
        };
        let args = arguments(&orders, &pages, &paths);
        Run {
            version,
            settings,
            pages,
            args,
        }
    }

    fn words(&self) -> Vec<&str> {
        let words = self.args.iter().map(|word| word.to_str().expect("UTF-8"));
        words.collect()
    }

    /// Variables that marker or surya must know by name: others are of the
    /// libraries below.
    fn variables(&self) -> Vec<String> {
        let of_marker = self.settings.levers.iter().filter(|lever| {
            matches!(
                lever.kind,
                LeverKind::BatchSize
                    | LeverKind::Resolution
                    | LeverKind::TextWorkers
                    | LeverKind::Models
            )
        });
        of_marker
            .filter_map(|lever| match &lever.passed_as {
                PassedAs::Environment(name) => Some(name.clone()),
                PassedAs::Flag(_) | PassedAs::Switch(_) | PassedAs::ConfigFile(_) => None,
            })
            .collect()
    }
}

/// For people: words, the file, the variables.
fn shown(run: &Run) -> String {
    let mut text = format!("marker_single {}\n", run.words().join(" "));
    if let Some(config) = run.settings.config() {
        text.push_str(&format!("    config.json: {config}\n"));
    }
    let variables = run.settings.variables();
    let set = variables.iter().map(|(name, value)| {
        let value = value.as_ref().expect("nothing is removed");
        format!("{}={}", name.display(), value.display())
    });
    text.push_str(&format!("    {}\n", set.collect::<Vec<_>>().join(" ")));
    text
}

#[test]
fn the_command_lines_of_every_release() {
    let config = Path::new("/srv/config.json");
    let mut text = String::new();
    for release in releases() {
        let markdown = OutputFormat::Markdown;
        let run = Run::new(release, settings(release, &half()), markdown, config);
        text.push_str(&format!("## {release}\n{}", shown(&run)));
    }
    insta::assert_snapshot!(text);
}

/// The parsers; `None` (and `skipped: reason`) without them.
fn parsers() -> Option<MarkerParsers> {
    Requirement::MarkerParsers
        .is_met()
        .then(MarkerParsers::find)
        .flatten()
}

/// What a release says about itself, then about each question.
fn ask(parsers: &MarkerParsers, release: &str, questions: &[Value]) -> (Value, Vec<Value>) {
    let mut child = Command::new(parsers.python())
        .arg("-I")
        .arg(parsers.program())
        .arg(parsers.release(release))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines: Vec<String> = questions.iter().map(Value::to_string).collect();
    let mut input = child.stdin.take().expect("piped");
    // The answers to a handful of questions fit into a pipe.
    input.write_all(lines.join("\n").as_bytes()).expect("read");
    drop(input);
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{release}: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut answers = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let itself = answers.next().expect("a first line");
    let answers: Vec<Value> = answers.collect();
    assert_eq!(answers.len(), questions.len(), "{release}");
    (itself, answers)
}

/// All that memcap may write for a release, with the file it needs in
/// `folder`.
fn runs(release: &str, folder: &Path) -> Vec<Run> {
    let version: Version = release.parse().expect("a version");
    let markdown = OutputFormat::Markdown;
    let run = |name: &str, settings: Tuning, format: OutputFormat| {
        let config = folder.join(format!("{release}-{name}.json"));
        if let Some(content) = settings.config() {
            std::fs::write(&config, content.to_string()).expect("written");
        }
        Run::new(release, settings, format, &config)
    };
    let usual = settings(release, &half());
    let several = TuningRequest {
        text_workers: 3.try_into().ok(),
        ..TuningRequest::default()
    };
    let mut runs = vec![
        run(
            "plain",
            settings(release, &TuningRequest::default()),
            markdown,
        ),
        run("half", usual.clone(), markdown),
        run("small", usual.at(Effort::SmallBatches), markdown),
        run("low", usual.at(Effort::LowResolution), markdown),
        run("workers", settings(release, &several), markdown),
    ];
    let formats = OutputFormat::ALL.into_iter();
    let written = formats.filter(|format| version >= format.since());
    runs.extend(written.map(|format| run(format.word(), usual.clone(), format)));
    runs
}

fn question(run: &Run) -> Value {
    json!({"args": run.words(), "variables": run.variables()})
}

/// Whether the parser understood what was meant.
fn check(release: &str, run: &Run, answer: &Value) {
    let line = format!("{release}: {}", shown(run));
    assert_eq!(answer["error"], Value::Null, "{line}");
    assert_eq!(answer["unheard"], json!([]), "{line}");
    assert_eq!(answer["unread"], json!([]), "{line}");
    let values = &answer["values"];
    let first = run.pages.first().expect("pages");
    match run.version.family() {
        Family::BeforePageRanges => {
            assert_eq!(values["filename"], "/in/book.pdf", "{line}");
            assert_eq!(values["max_pages"], run.pages.len(), "{line}");
            if first > 0 {
                assert_eq!(values["start_page"], first, "{line}");
            }
        }
        Family::ConfigFile | Family::Flags | Family::Servers => {
            let pages: Vec<u32> = run.pages.iter().collect();
            assert_eq!(values["fpath"], "/in/book.pdf", "{line}");
            assert_eq!(values["output_dir"], "/srv/running", "{line}");
            assert_eq!(values["page_range"], json!(pages), "{line}");
        }
    }
    for lever in run.settings.levers.iter().filter(|lever| lever.is_passed()) {
        let name = match &lever.passed_as {
            PassedAs::Flag(word) => word.trim_start_matches("--"),
            PassedAs::ConfigFile(key) => key,
            PassedAs::Switch(_) => {
                assert_eq!(values["pdftext_workers"], 1, "{line}");
                continue;
            }
            PassedAs::Environment(_) => continue,
        };
        let value: u32 = lever.value.parse().expect("a number");
        assert_eq!(values[name], value, "{name} of {line}");
    }
}

#[test]
fn every_release_understands_its_command_lines() {
    let Some(parsers) = parsers() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    for release in releases() {
        let runs = runs(release, folder.path());
        let questions: Vec<Value> = runs.iter().map(question).collect();
        let (_, answers) = ask(&parsers, release, &questions);
        for (run, answer) in runs.iter().zip(&answers) {
            check(release, run, answer);
        }
    }
}

/// Where each stage's own size is chosen, in the releases' own words.
fn chosen_by(stage: &str) -> &'static [&'static str] {
    match stage {
        "layout" => &["LayoutBuilder.get_batch_size", "marker.layout.layout"],
        "detection" => &[
            "LineBuilder.get_detection_batch_size",
            "OcrBuilder.get_detection_batch_size",
            "marker.ocr.detection",
        ],
        "recognition" => &[
            "OcrBuilder.get_recognition_batch_size",
            "marker.ocr.recognition",
        ],
        "tables" => &[
            "TableProcessor.get_table_rec_batch_size",
            "marker.tables.table",
        ],
        "table text" => &["TableProcessor.get_detector_batch_size"],
        "equations" => &[
            "EquationProcessor.get_batch_size",
            "marker.equations.inference",
        ],
        "ocr error" => &["LineBuilder.get_ocr_error_batch_size"],
        "order" => &["marker.layout.order"],
        other => panic!("nobody chooses the size of {other}"),
    }
}

#[test]
fn batch_sizes_are_those_that_every_release_chooses() {
    let Some(parsers) = parsers() else {
        return;
    };
    let own = TuningRequest::default();
    for release in releases() {
        let version: Version = release.parse().expect("a version");
        // Servers choose for themselves there, in surya.
        if version.family() == Family::Servers {
            continue;
        }
        let (itself, _) = ask(&parsers, release, &[]);
        for (device, word) in [
            (Device::Cpu, "cpu"),
            (Device::Mps, "mps"),
            (Device::Cuda, "cuda"),
        ] {
            let believed = stage_sizes(version, device, &own);
            for (stage, size) in &believed {
                let places = chosen_by(stage);
                let chosen = places
                    .iter()
                    .find_map(|place| itself["defaults"].get(place));
                let chosen = chosen.unwrap_or_else(|| panic!("{release}: {stage} in {itself}"));
                // Marker before 1.0 multiplies all but tables by 2.
                let times = match (version.family(), stage.as_str()) {
                    (Family::BeforePageRanges, "tables") => 1,
                    (Family::BeforePageRanges, _) => 2,
                    _ => 1,
                };
                let chosen = chosen[word].as_u64().map(|size| size * times);
                assert_eq!(Some(*size), chosen, "{release}: {stage} on {word}");
            }
        }
    }
}

/// What the table has for each stage.
fn stage_sizes(version: Version, device: Device, request: &TuningRequest) -> BTreeMap<String, u64> {
    let world = World::new([], "/");
    let target = Target {
        version,
        device,
        nvidia: false,
        torch: None,
        python: Path::new("/venv/bin/python"),
        is_pdf: true,
        world: &world,
    };
    let tuning = tune(request, &target);
    let stages = tuning.levers.iter().filter_map(|lever| {
        let stage = lever.name.strip_prefix("batch size: ")?;
        Some((stage.to_owned(), lever.value.parse().ok()?))
    });
    stages.collect()
}

/// Facts that the tables rest on: what would go wrong without them. They also
/// show that the parsers refuse things.
#[test]
fn what_the_releases_refuse() {
    let Some(parsers) = parsers() else {
        return;
    };
    let one: &[&str] = &["/in/book.pdf", "--output_dir", "/out"];
    let early: &[&str] = &["/in/book.pdf", "/out"];
    let cases: [(&str, &[&str], &[&str], &str); 9] = [
        (
            "0.2.11",
            early,
            &["--start_page", "3"],
            "unrecognized arguments",
        ),
        (
            "0.3.10",
            early,
            &["--batch_multiplier", "0.5"],
            "invalid int value",
        ),
        (
            "0.3.10",
            early,
            &["--page_range", "0-3"],
            "unrecognized arguments",
        ),
        ("1.0.0", one, &["--batch_multiplier", "2"], "No such option"),
        (
            "1.2.7",
            one,
            &["--layout_batch_size", "3"],
            "No such option",
        ),
        (
            "1.3.0",
            one,
            &["--recognition_batch_size", "3"],
            "TypeError",
        ),
        ("1.7.3", one, &["--layout_batch_size", "3"], "TypeError"),
        (
            "1.10.2",
            one,
            &["--layout_batch_size", "0.5"],
            "not a valid integer",
        ),
        (
            "2.0.0",
            one,
            &["--layout_batch_size", "3"],
            "No such option",
        ),
    ];
    for (release, place, words, message) in cases {
        let args = [place, words].concat();
        let question = json!({"args": args, "variables": []});
        let (_, answers) = ask(&parsers, release, &[question]);
        let error = answers[0]["error"].as_str().unwrap_or_default();
        assert!(error.contains(message), "{release} {words:?}: {error:?}");
    }
}
