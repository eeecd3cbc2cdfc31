//! Conversions with a scripted marker.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;

use super::*;
use crate::chunks::Chunking;
use crate::drive::Drive;
use crate::format::OutputFormat;
use crate::password::Password;
use crate::plan::{Request, plan};
use crate::publish::PublishError;
use crate::runner::Ending;
use crate::testing::{FakeMarker, Machine, Scene};
use crate::work_folder::{PREFIX, WorkFolderError};

/// Plans and runs; the events in words.
pub(super) fn convert(
    machine: &Machine,
    request: &Request,
    runner: &mut FakeMarker,
) -> (Result<Outcome, ConversionError>, Vec<String>) {
    let plan = plan(request, &machine.world(), runner).unwrap();
    let mut events = Vec::new();
    let outcome = plan.run(runner, &mut |event| events.extend(words(&event)));
    (outcome, events)
}

fn words(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Resumed { kept, discarded } => Some(format!("kept {kept} discarded {discarded}")),
        Event::ChunkStarted { .. } | Event::Usage(_) | Event::Merged(_) => None,
        Event::ChunkDone { pages, .. } => Some(format!("done {pages}")),
        Event::ChunkFailed { pages, report, .. } => {
            Some(format!("failed {pages} {}", report.ending.kind()))
        }
        Event::ChunkRequeued { pages, .. } => Some(format!("requeued {pages}")),
        Event::Recut { chunks } => Some(format!("recut {}", chunks.len())),
        Event::Merging { chunks } => Some(format!("merging {chunks}")),
        Event::Published { .. } => Some("published".to_owned()),
    }
}

/// Ten pages a chunk.
pub(super) fn in_tens(request: Request) -> Request {
    Request {
        chunking: Chunking::Fixed(10.try_into().unwrap()),
        ..request
    }
}

pub(super) fn text(machine: &Machine, stem: &str) -> String {
    fs::read_to_string(machine.output().join(stem).join(format!("{stem}.md"))).unwrap()
}

/// The text that a conversion of these pages at once would give.
pub(super) fn expected_text(pages: impl IntoIterator<Item = u32>) -> String {
    expected_text_without(pages, 0, "")
}

/// As [`expected_text`], but for page `lost`, of which it is said why.
fn expected_text_without(pages: impl IntoIterator<Item = u32>, lost: u32, because: &str) -> String {
    let page = |page| {
        let index = page - 1;
        if page == lost {
            return format!(
                "> <span id=\"page-{index}-0\"></span>**Page {page} could not be converted**: \
                 {because}"
            );
        }
        format!("Text of page {page}.\n\n![](_page_{index}_Picture_0.jpeg)")
    };
    pages.into_iter().map(page).collect::<Vec<_>>().join("\n\n")
}

pub(super) fn work_folder(machine: &Machine) -> PathBuf {
    fs::read_dir(machine.output())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(PREFIX)
        })
        .unwrap()
}

pub(super) fn interrupted() -> Scene {
    Scene::Ends(Ending::Interrupted, "")
}

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

#[test]
fn a_conversion_goes_on_where_it_was_stopped() {
    for converted in 0..=2 {
        let machine = Machine::new();
        let request = in_tens(machine.request("book.pdf", 26));
        let scenes = std::iter::repeat_n(Scene::Converts, converted).chain([interrupted()]);
        let mut first = FakeMarker::with_scenes(scenes);
        let (outcome, _) = convert(&machine, &request, &mut first);
        assert_eq!(outcome.unwrap().status, Status::Interrupted);
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

#[test]
fn running_out_of_memory_halves_the_chunk() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 40));
    let mut runner = FakeMarker {
        max_pages: 5,
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(
        runner.runs(),
        [
            "1-10", "1-5", "6-10", "11-20", "11-15", "16-20", // A pattern shows.
            "21-25", "26-30", "31-35", "36-40"
        ]
    );
    assert_eq!(text(&machine, "book"), expected_text(1..=40));
}

#[test]
fn what_is_known_to_be_too_large_is_not_tried_again() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 10));
    let memory = Scene::Ends(Ending::MemoryLimit, "");
    convert(
        &machine,
        &request,
        &mut FakeMarker::with_scenes([memory, interrupted()]),
    )
    .0
    .unwrap();
    let mut second = FakeMarker::new();
    convert(&machine, &request, &mut second).0.unwrap();
    assert_eq!(second.runs(), ["1-5", "6-10"]);
}

#[test]
fn a_page_that_never_fits_is_reported_and_the_rest_is_converted() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 12));
    let mut runner = FakeMarker {
        too_large: vec![2],
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    let outcome = outcome.unwrap();
    assert_eq!(
        (outcome.status, outcome.missing.to_string()),
        (Status::Partial, "3".into())
    );
    let expected = expected_text_without(1..=12, 3, "marker reached its memory limit");
    assert_eq!(text(&machine, "book"), expected);
    let placeholder = &outcome.placeholders[0];
    assert_eq!(placeholder.pages.to_string(), "3");
    assert_eq!(placeholder.because, "marker reached its memory limit");

    // With room for it, the next run converts this page alone.
    let more = Request {
        memory: ByteSize::from_gib(12),
        ..request
    };
    let mut second = FakeMarker::new();
    let (outcome, _) = convert(&machine, &more, &mut second);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(second.runs(), ["3"]);
    assert_eq!(text(&machine, "book"), expected_text(1..=12));
}

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
        let message = "pages cannot be chosen of an image, only of a PDF";
        assert_eq!(refused.to_string(), message);
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

#[test]
fn a_limit_under_which_nothing_fits_is_given_up_early() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 100));
    let mut runner = FakeMarker {
        max_pages: 0,
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert!(matches!(
        outcome,
        Err(ConversionError::LimitTooSmall { .. })
    ));
    // The first two pages with all their efforts; the second shows that no page
    // fits, and is not expected to with usual batches.
    let runs = ["1-10", "1-5", "1-3", "1-2", "1", "1", "1", "2", "2", "2"];
    assert_eq!(runner.runs(), runs);
}

#[test]
fn a_crash_is_tried_once_more() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 5);
    let crash = Scene::Ends(Ending::Signaled { signal: 11 }, "");
    let mut runner = FakeMarker::with_scenes([crash]);
    let (outcome, events) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(
        events,
        ["failed 1-5 signaled", "done 1-5", "merging 1", "published"]
    );
}

#[test]
fn a_chunk_that_had_to_make_room_is_no_failure() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 20));
    let requeued = || Scene::Ends(Ending::Requeued, "");
    let mut runner = FakeMarker::with_scenes([requeued(), requeued()]);
    let (outcome, events) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(runner.runs(), ["1-10", "1-10", "1-10", "11-20"]);
    let twice = ["requeued 1-10", "requeued 1-10"];
    assert_eq!(events[..2], twice);
    assert_eq!(events[2..4], ["done 1-10", "done 11-20"]);
}

/// In chunks of ten, by a worker or without.
fn driven(machine: &Machine, pages: u32, drive: Drive) -> Request {
    Request {
        drive,
        chunk_time: Some(Duration::from_millis(10)),
        ..in_tens(machine.request("book.pdf", pages))
    }
}

#[test]
fn a_worker_converts_many_chunks_and_does_so_where_it_pays() {
    let cases = [
        (Drive::Auto, 26, 1),
        (Drive::Auto, 9, 0),
        (Drive::Warm, 9, 1),
        (Drive::Fresh, 26, 0),
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

#[test]
fn a_page_that_crashes_marker_is_isolated() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 8);
    let mut runner = FakeMarker {
        poison: vec![2],
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().missing.to_string(), "3");
    // At last at half the resolution.
    let runs = ["1-8", "1-8", "1-4", "5-8", "1-2", "3-4", "3", "3", "4"];
    assert_eq!(runner.runs(), runs);
    let because = "marker ended with exit code 1: KeyError: 'page'";
    let expected = expected_text_without(1..=8, 3, because);
    assert_eq!(text(&machine, "book"), expected);
}

#[test]
fn a_marker_that_always_fails_is_given_up_early() {
    let machine = Machine::new();
    let request = machine.request("book.pdf", 100);
    let mut runner = FakeMarker {
        poison: (0..100).collect(),
        ..FakeMarker::new()
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    let error = outcome.unwrap_err();
    let message = "marker fails on all pages alike: it ended with exit code 1: KeyError: 'page'";
    assert_eq!(error.to_string(), message);
    assert!(error.hint().unwrap().contains("logs/pages-"));
    assert_eq!(runner.runs().len(), 4);

    let usage = Ending::Finished { exit_code: 2 };
    let scene = Scene::Ends(usage, "Error: No such option '--force_orc'.\n");
    let (outcome, _) = convert(&machine, &request, &mut FakeMarker::with_scenes([scene]));
    let message = "marker ended with exit code 2: Error: No such option '--force_orc'.";
    assert_eq!(outcome.unwrap_err().to_string(), message);
}

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

#[test]
fn a_locked_document_is_opened_for_as_long_as_it_is_converted() {
    let locked = || FakeMarker {
        lock: Some("hunter2"),
        ..FakeMarker::new()
    };
    let machine = Machine::new();
    let mut request = in_tens(machine.request("book.pdf", 12));
    let refused = |request: &Request| plan(request, &machine.world(), &mut locked()).unwrap_err();
    let error = refused(&request);
    assert!(
        error.to_string().ends_with("is protected by a password"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--password-file"));
    request.password = Some(Password::new("hunter3"));
    let error = refused(&request);
    assert!(
        error
            .to_string()
            .contains("does not open with the password"),
        "{error}"
    );

    request.password = Some(Password::new("hunter2"));
    let mut runner = FakeMarker {
        lock: Some("hunter2"),
        ..FakeMarker::with_scenes([Scene::Converts, interrupted()])
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Interrupted);
    for step in runner.steps().iter() {
        let words = format!("{:?}{:?}", step.args, step.env);
        assert!(!words.contains("hunter2"), "{words}");
        let input = Path::new(step.args.last().unwrap());
        assert!(
            input.starts_with(work_folder(&machine).join("input")),
            "{input:?}"
        );
    }
    assert!(!work_folder(&machine).join("input").exists());

    // As a killed run leaves it.
    fs::create_dir(work_folder(&machine).join("input")).unwrap();
    fs::write(work_folder(&machine).join("input/document.pdf"), "open").unwrap();
    let (outcome, _) = convert(&machine, &request, &mut locked());
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(text(&machine, "book"), expected_text(1..=12));
    assert!(!work_folder(&machine).join("input").exists());
    assert!(!tree_contains(&machine.output(), b"hunter2"));
    let plan = plan(&request, &machine.world(), &mut locked()).unwrap();
    assert!(!format!("{plan:?}").contains("hunter2"));
}

#[test]
fn no_secret_is_written_down() {
    let machine = Machine::new();
    let mut request = machine.request("book.pdf", 3);
    request.marker_args = vec!["--gemini_api_key".into(), "hunter2".into()];
    let plan = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    assert!(!serde_json::to_string(&plan).unwrap().contains("hunter2"));
    let crash = Scene::Ends(Ending::Finished { exit_code: 1 }, "");
    plan.run(
        &mut FakeMarker::with_scenes([crash, interrupted()]),
        &mut |_| (),
    )
    .unwrap();
    assert!(!tree_contains(&machine.output(), b"hunter2"));
}

fn tree_contains(folder: &Path, words: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return tree_contains(&path, words);
        }
        fs::read(&path)
            .unwrap()
            .windows(words.len())
            .any(|window| window == words)
    })
}
