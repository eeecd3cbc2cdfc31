//! Several runs of a marker that grows, in one total that does not hold them all
//! at once.

use std::fs;
use std::path::PathBuf;

use integration_tests::harness::{
    Finished, Invocation, PATIENCE, Requirement, Scene, poll_until, sample_pdf,
};
use memcap_linux::ByteSize;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::pretend::{LETTER, check, folder, json, marker, pdf_of, scene};
use super::support::{STEM, environment, files, finish, journal, memcap, pages_of, words};

const REPORT_SCHEMA: &str = include_str!("../../docs/marker-report.schema.json");
const EVENTS_SCHEMA: &str = include_str!("../../docs/marker-events.schema.json");

/// What all may take together. The pretended models are small, so that a
/// document of six pages is expected to take a little more than half of it.
const TOTAL_MIB: u64 = 1300;

/// A checkpoint of one MiB, where marker's models are looked for.
fn models(scene: &Scene) -> PathBuf {
    let folder = scene.path("models");
    fs::create_dir_all(&folder).expect("a folder");
    let header = r#"{"w": {"dtype": "F32", "shape": [262144], "data_offsets": [0, 1048576]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    fs::write(folder.join("model.safetensors"), file).expect("a file");
    folder
}

/// Converts two documents at a time by a marker that grows to `take`.
fn convert_two(scene: &Scene, take: &str) -> Value {
    folder(scene, &[("a.pdf", 6), ("b.pdf", 6)]);
    let total = format!("{TOTAL_MIB}M");
    let words = [
        "in", "-o", "out", "--memory", &total, "--jobs", "2", "--report", "r.json",
    ];
    let finished = marker(scene, &words)
        .variable("MODEL_CACHE_DIR", models(scene))
        .variable("PRETEND_TAKE", take)
        .run();
    finished.expect_code(0);
    scene.assert_nothing_left();
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    let peak = report["peak_bytes"].as_u64().expect("a number");
    assert!(peak <= TOTAL_MIB << 20, "{report:#}");
    report
}

/// What followed each attempt of both documents.
fn what_followed(report: &Value) -> Vec<&str> {
    let documents = report["documents"].as_array().expect("documents");
    let attempts = documents.iter().flat_map(|document| {
        assert_eq!(document["status"], "complete", "{document:#}");
        document["attempts"].as_array().expect("attempts")
    });
    let mut then: Vec<&str> = attempts
        .map(|attempt| attempt["then"].as_str().expect("a word"))
        .collect();
    then.sort_unstable();
    then
}

#[test]
fn who_is_expected_not_to_fit_waits_and_is_not_ended() {
    if !Requirement::CgroupV2Dir.is_met() {
        return;
    }
    let scene = scene();
    // No more than expected of each, and more than the total of both.
    let report = convert_two(&scene, "680M");
    let estimate = report["documents"][0]["attempts"][0]["estimate_bytes"].as_u64();
    assert!(estimate > Some(680 << 20), "{report:#}");
    assert_eq!(what_followed(&report), ["kept", "kept"], "{report:#}");
}

#[test]
fn whoever_waits_or_makes_room_is_converted_later_and_has_not_failed() {
    let scene = scene();
    // More than is expected of each. Whether the younger one is stopped in time or
    // has to be ended is up to which of them grows faster.
    let report = convert_two(&scene, "850M");
    let followed = what_followed(&report);
    assert_eq!(followed[..2], ["kept", "kept"], "{report:#}");
    assert!(
        followed[2..].iter().all(|then| *then == "requeued"),
        "{report:#}"
    );
}

#[test]
fn whoever_is_ended_to_make_room_has_not_failed_and_loses_no_page() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 6), ("b.pdf", 6)]);
    let total = format!("{TOTAL_MIB}M");
    // With a time for each chunk nobody is frozen to wait: one has to be ended.
    let words = [
        "in",
        "-o",
        "out",
        "--memory",
        &total,
        "--jobs",
        "2",
        "--chunk-time",
        "10m",
        "--report",
        "r.json",
        "--json-events",
    ];
    let finished = marker(&scene, &words)
        .variable("MODEL_CACHE_DIR", models(&scene))
        .variable("PRETEND_MEET", scene.path("meet"))
        .variable("PRETEND_TAKE", "850M")
        .run();
    finished.expect_code(0);
    scene.assert_nothing_left();
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    assert!(report["peak_bytes"].as_u64() <= Some(TOTAL_MIB << 20));
    let followed = what_followed(&report);
    assert_eq!(followed[..2], ["kept", "kept"], "{report:#}");
    assert!(followed.len() > 2, "nobody made room: {report:#}");
    assert!(
        followed[2..].iter().all(|then| *then == "requeued"),
        "{report:#}"
    );
    let events = events(&finished);
    let count = |word: &str| {
        events
            .iter()
            .filter(|event| event.starts_with(word))
            .count()
    };
    assert_eq!(count("chunk-requeued "), followed.len() - 2, "{events:?}");
    assert_eq!(count("chunk-failed "), 0, "{events:?}");
    for name in ["a", "b"] {
        let text = fs::read_to_string(scene.path(&format!("out/{name}/{name}.md")));
        let text = text.expect("a result");
        for page in 1..=6 {
            let words = format!("The words of page {page} ");
            assert_eq!(text.matches(&words).count(), 1, "{name}: {text}");
        }
    }
}

/// One document whose chunks are converted two at a time.
struct Chunks {
    /// Of its pages, in points.
    sizes: Vec<(u32, u32)>,
    /// Pages in a chunk.
    pages: u32,
    /// What two chunks may take together.
    total: &'static str,
    /// What a chunk grows to: less than is expected of it, and more than half of the
    /// total.
    take: &'static str,
    /// The page from which on they do.
    from: u32,
    /// How marker is run for them.
    drive: &'static str,
}

impl Chunks {
    /// Converts it; its attempts, and the events in words.
    fn convert(&self, scene: &Scene) -> (Vec<Value>, Vec<String>) {
        fs::write(scene.path("book.pdf"), pdf_of(&self.sizes)).expect("a document");
        let pages = self.pages.to_string();
        let words = [
            "book.pdf",
            "-o",
            "out",
            "--memory",
            self.total,
            "--jobs",
            "2",
            "--chunk-size",
            &pages,
            "--drive",
            self.drive,
            "--report",
            "r.json",
            "--json-events",
        ];
        let finished = marker(scene, &words)
            .variable("MODEL_CACHE_DIR", models(scene))
            .variable("PRETEND_STAY", "1")
            .variable("PRETEND_TAKE", self.take)
            .variable("PRETEND_TAKE_FROM", self.from.to_string())
            .run();
        finished.expect_code(0);
        scene.assert_nothing_left();
        let report = json(&scene.path("r.json"));
        check(REPORT_SCHEMA, &report);
        let document = &report["documents"][0];
        assert_eq!(document["plan"]["workers"], 2, "{report:#}");
        assert_eq!(report["most_at_once"], 2, "{report:#}");
        let total: ByteSize = self.total.parse().expect("a size");
        let peak = report["peak_bytes"].as_u64().expect("a number");
        assert!(peak <= total.bytes(), "{report:#}");
        let attempts = document["attempts"].as_array().expect("attempts");
        (attempts.clone(), events(&finished))
    }

    /// Insists that no attempt was ended, though the last two did not fit beside each
    /// other.
    fn assert_one_waited(&self, attempts: &[Value]) {
        assert!(
            attempts.iter().all(|attempt| attempt["then"] == "kept"),
            "{attempts:#?}"
        );
        let estimates = attempts.iter().rev().take(2).map(|attempt| {
            let estimate = attempt["estimate_bytes"].as_u64().expect("a number");
            let take: ByteSize = self.take.parse().expect("a size");
            assert!(estimate > take.bytes(), "{attempts:#?}");
            take.bytes()
        });
        let total: ByteSize = self.total.parse().expect("a size");
        let sum: u64 = estimates.sum();
        assert!(sum > total.bytes(), "they fit beside each other");
    }
}

#[test]
fn of_two_chunks_of_a_document_that_do_not_fit_together_one_waits_and_is_not_ended() {
    if !Requirement::CgroupV2Dir.is_met() {
        return;
    }
    for drive in ["fresh", "warm"] {
        let scene = scene();
        let chunks = Chunks {
            sizes: vec![LETTER; 20],
            pages: 10,
            total: "1700M",
            take: "900M",
            from: 1,
            drive,
        };
        let (attempts, events) = chunks.convert(&scene);
        assert_eq!(attempts.len(), 2, "{attempts:#?}");
        chunks.assert_one_waited(&attempts);
        let order: Vec<&str> = events
            .iter()
            .filter_map(|event| event.strip_prefix("chunk-"))
            .filter_map(|event| event.split(' ').next())
            .collect();
        let expected = ["started", "started", "done", "done"];
        assert_eq!(order, expected, "both were under way: {events:?}");
    }
}

#[test]
fn a_worker_waits_for_what_an_elder_one_s_next_chunk_is_expected_to_take() {
    if !Requirement::CgroupV2Dir.is_met() {
        return;
    }
    let scene = scene();
    // Two chunks of small pages, then two that do not fit together. By what was expected
    // of the first ones, the younger worker would grow until it had to be ended.
    let chunks = Chunks {
        sizes: [[(300, 400); 60], [LETTER; 60]].concat(),
        pages: 30,
        total: "2400M",
        take: "1550M",
        from: 61,
        drive: "warm",
    };
    let (attempts, _) = chunks.convert(&scene);
    assert_eq!(attempts.len(), 4, "{attempts:#?}");
    chunks.assert_one_waited(&attempts);
}

/// `memcap marker WORDS…` on one document of 30 pages, in chunks of ten.
fn one_document<'scene>(scene: &'scene Scene, words: &[&str]) -> Invocation<'scene> {
    folder(scene, &[("book.pdf", 30)]);
    let usual = [
        "in/book.pdf",
        "-o",
        "out",
        "--memory",
        "4G",
        "--chunk-size",
        "10",
        "--report",
        "r.json",
    ];
    marker(scene, &[&usual[..], words].concat()).variable("MODEL_CACHE_DIR", models(scene))
}

/// The events of a run, as words: `chunk-started 1-10`.
fn events(finished: &Finished) -> Vec<String> {
    let text = String::from_utf8_lossy(&finished.stdout);
    let lines = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        check(EVENTS_SCHEMA, &event);
        let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", word("event"), word("pages"))
    });
    lines.collect()
}

#[test]
fn one_document_is_converted_by_two_workers_to_what_one_makes() {
    let alone = scene();
    one_document(&alone, &[]).run().expect_code(0);
    let scene = scene();
    let finished = one_document(&scene, &["--jobs", "2", "--json-events"])
        .variable("PRETEND_TAKE", "200M")
        .run();
    finished.expect_code(0);
    scene.assert_nothing_left();
    assert_eq!(
        files(&scene.path("out/book")),
        files(&alone.path("out/book"))
    );
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    assert_eq!(report["documents"][0]["plan"]["workers"], 2);
    assert_eq!(
        (&report["jobs"], &report["most_at_once"]),
        (&2.into(), &2.into())
    );
    assert!(
        report["peak_bytes"].is_u64(),
        "one total was held: {report:#}"
    );
    let events = events(&finished);
    let chunks: Vec<&String> = events
        .iter()
        .filter(|event| event.starts_with("chunk-"))
        .collect();
    assert_eq!(
        chunks[..2],
        ["chunk-started 1-10", "chunk-started 11-20"],
        "{events:?}"
    );
    let alone = json(&alone.path("r.json"));
    assert_eq!(alone["documents"][0]["plan"]["workers"], 1);
    assert_eq!(
        (&alone["jobs"], &alone["most_at_once"]),
        (&1.into(), &1.into())
    );
    assert!(alone["peak_bytes"].is_null(), "nothing was shared");
}

#[test]
fn an_interruption_ends_all_workers_and_keeps_what_is_done() {
    interrupted_and_resumed(1);
}

#[test]
fn whoever_interrupts_again_and_again_loses_nothing_either() {
    interrupted_and_resumed(3);
}

/// Interrupts a conversion by two workers with so many signals, and goes on.
fn interrupted_and_resumed(signals: usize) {
    let scene = scene();
    let words = ["--jobs", "2"];
    // Both come to a page that they do not get past.
    let running = one_document(&scene, &words)
        .variable("PRETEND_HOLD", "15,25")
        .start();
    let output = scene.path("out");
    let both = || {
        let started = pages_of(&journal(&output), "started");
        (started.len() == 3).then_some(())
    };
    assert!(poll_until(PATIENCE, both).is_some(), "not all were begun");
    (0..signals).for_each(|_| running.signal_group(Signal::SIGINT));
    running.wait().expect_code(130);
    scene.assert_nothing_left();
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    let attempts = report["documents"][0]["attempts"].as_array();
    let mut then: Vec<&Value> = attempts
        .expect("attempts")
        .iter()
        .map(|attempt| &attempt["then"])
        .collect();
    then.sort_by_key(|then| then.to_string());
    assert_eq!(then, ["kept", "stopped", "stopped"], "{report:#}");
    one_document(&scene, &words).run().expect_code(0);
    let report = json(&scene.path("r.json"));
    assert_eq!(report["documents"][0]["kept"], "1-10", "{report:#}");
    assert_eq!(report["documents"][0]["status"], "complete", "{report:#}");
    scene.assert_nothing_left();
}

/// The sample under these names, in a folder.
fn samples(scene: &Scene, names: &[&str]) -> PathBuf {
    let folder = scene.path("in");
    fs::create_dir_all(&folder).expect("a folder");
    for name in names {
        fs::copy(sample_pdf(), folder.join(name)).expect("a file");
    }
    folder
}

#[test]
fn two_documents_of_the_real_marker_where_one_fits_at_a_time() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    let report = scene.path("r.json");
    let words = words([
        &"marker",
        &samples(&scene, &["a.pdf", "b.pdf"]),
        &"-o",
        &scene.path("out"),
        &"--memory",
        &"1300M",
        &"--jobs",
        &"2",
        &"--pages",
        &"1-8",
        &"--report",
        &report,
        &"--python",
        &environment.python(),
    ]);
    finish(memcap(&scene, &environment, &words).start()).expect_code(0);
    scene.assert_nothing_left();
    let report = json(&report);
    check(REPORT_SCHEMA, &report);
    let estimates: u64 = report["documents"]
        .as_array()
        .expect("documents")
        .iter()
        .map(|document| {
            document["attempts"][0]["estimate_bytes"]
                .as_u64()
                .expect("a number")
        })
        .sum();
    assert!(estimates > 1300 << 20, "they would have fitted: {report:#}");
    let peak = report["peak_bytes"].as_u64().expect("a number");
    assert!(peak <= 1300 << 20, "{report:#}");
    let followed = what_followed(&report);
    let of = |word: &str| followed.iter().filter(|then| **then == word).count();
    assert_eq!(of("kept") + of("requeued"), followed.len(), "{report:#}");
}

#[test]
fn two_warm_workers_of_the_real_marker_make_what_one_makes() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    let convert = |output: &str, more: [&str; 2]| {
        let report = scene.path("r.json");
        let words = words([
            &"marker",
            &sample_pdf(),
            &"-o",
            &scene.path(output),
            &"--memory",
            &"3G",
            &"--drive",
            &"warm",
            &"--pages",
            &"1-12",
            &"--chunk-size",
            &"4",
            &"--report",
            &report,
            &"--python",
            &environment.python(),
            &more[0],
            &more[1],
        ]);
        finish(memcap(&scene, &environment, &words).start()).expect_code(0);
        scene.assert_nothing_left();
        (files(&scene.path(output).join(STEM)), json(&report))
    };
    let (one, _) = convert("one", ["--jobs", "1"]);
    let (two, report) = convert("two", ["--jobs", "2"]);
    check(REPORT_SCHEMA, &report);
    assert_eq!(report["documents"][0]["plan"]["workers"], 2);
    let peak = report["peak_bytes"].as_u64().expect("a number");
    assert!((1000 << 20..=3 << 30).contains(&peak), "{report:#}");
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        two.keys().collect::<Vec<_>>()
    );
    for (name, content) in &one {
        assert!(two[name] == *content, "{} differs", name.display());
    }
}
