//! Many documents in one command: one bad file does not stop the rest, nothing
//! is done twice, and what became of each is told.

use std::fs;
use std::os::unix::fs::symlink;

use integration_tests::harness::{PATIENCE, poll_until};
use memcap_marker::runner::Ending;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::pretend::{check, folder, json, marker, scene};

const REPORT_SCHEMA: &str = include_str!("../../docs/marker-report.schema.json");

fn statuses(report: &Value) -> Vec<&str> {
    let documents = report["documents"].as_array().expect("documents");
    let statuses = documents.iter().map(|document| &document["status"]);
    statuses
        .map(|status| status.as_str().expect("a word"))
        .collect()
}

#[test]
fn the_schema_knows_every_ending_of_an_attempt() {
    let schema: Value = serde_json::from_str(REPORT_SCHEMA).expect("a schema");
    let known = schema["$defs"]["ending"]["enum"].as_array().expect("words");
    let reason = String::new();
    let endings = [
        Ending::Finished { exit_code: 0 },
        Ending::Signaled { signal: 1 },
        Ending::MemoryLimit,
        Ending::OuterLimit,
        Ending::MachineOom,
        Ending::KilledByOther,
        Ending::PartialKill,
        Ending::RefusedAllocation,
        Ending::TimeLimit,
        Ending::Requeued,
        Ending::Interrupted,
        Ending::NotStarted { reason },
        Ending::Unexplained,
    ];
    for ending in &endings {
        assert!(known.contains(&ending.kind().into()), "{ending:?}");
    }
    assert_eq!(known.len(), endings.len());
}

#[test]
fn a_folder_is_converted_and_one_bad_file_does_not_stop_the_rest() {
    let scene = scene();
    let documents = [("c.pdf", 3), ("bad.pdf", 0), ("a.pdf", 1), ("b.txt", 0)];
    let input = folder(&scene, &documents);
    fs::create_dir(input.join("more")).expect("a folder");
    symlink("loop.pdf", input.join("loop.pdf")).expect("a link");
    symlink("a.pdf", input.join("z.pdf")).expect("a link");
    let words = ["in", "-o", "out", "--memory", "2G", "--report", "r.json"];
    let finished = marker(&scene, &words).run();
    finished.expect_code(3);
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    assert_eq!(statuses(&report), ["complete", "failed", "complete"]);
    assert_eq!(report["verdict"], "partial");
    let attempts = &report["documents"][0]["attempts"];
    assert_eq!(
        (&attempts[0]["pages"], &attempts[0]["then"]),
        (&"1".into(), &"kept".into())
    );
    assert!(
        report["documents"][1]["error"]
            .as_str()
            .is_some_and(|text| text.contains("no"))
    );
    let skipped = report["skipped"].as_array().expect("a list");
    assert_eq!(skipped.len(), 4, "{skipped:?}");
    let results = String::from_utf8_lossy(&finished.stdout);
    let expected = ["a", "c"].map(|name| scene.word(&format!("out/{name}")) + "\n");
    assert_eq!(results, expected.concat());
    let told = finished.stderr_text();
    for words in [
        "skipped: in/b.txt: not a kind of file that marker converts",
        "skipped: in/more: a folder",
        "skipped: in/z.pdf: the same file as `in/a.pdf`",
        "bad.pdf: ",
        "2 documents complete, 2 failed",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }

    let again = marker(&scene, &words).run();
    again.expect_code(3);
    let report = json(&scene.path("r.json"));
    assert_eq!(
        statuses(&report),
        ["already-done", "failed", "already-done"]
    );
    assert_eq!(report["documents"][0]["attempts"], Value::Array(Vec::new()));
    assert_eq!(report["most_at_once"], 0);
    scene.assert_nothing_left();
}

#[test]
fn several_at_a_time_share_the_limit() {
    let scene = scene();
    folder(
        &scene,
        &[("a.pdf", 2), ("b.pdf", 2), ("c.pdf", 2), ("d.pdf", 2)],
    );
    let words = [
        "in", "-o", "out", "--memory", "4G", "--jobs", "3", "--report", "r.json",
    ];
    marker(&scene, &words).run().expect_code(0);
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    assert_eq!(report["jobs"], 3);
    let most = report["most_at_once"].as_u64().expect("a number");
    assert!((1..=3).contains(&most), "{report:#}");
    assert_eq!(report["limit_bytes"], 4_u64 << 30);
    for document in report["documents"].as_array().expect("documents") {
        assert_eq!(document["status"], "complete");
        assert_eq!(document["plan"]["limit_bytes"], (4_u64 << 30) / 3);
        // Each may have all that the others leave, where one total can be held.
        let total = &document["plan"]["total_bytes"];
        assert!(total.is_null() || *total == (4_u64 << 30), "{total}");
    }
    scene.assert_nothing_left();
}

#[test]
fn what_would_fail_for_all_is_tried_once_and_ends_like_one_document() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 1), ("b.pdf", 1)]);
    let words = ["in", "-o", "out", "--memory", "2G", "--report", "r.json"];
    let finished = marker(&scene, &words).variable("PRETEND_REFUSE", "1").run();
    finished.expect_code(4);
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    assert_eq!(statuses(&report), ["failed", "not-tried"]);
    assert!(
        finished.stderr_text().contains("No such option"),
        "{finished}"
    );
    scene.assert_nothing_left();
}

#[test]
fn an_interruption_keeps_everything_and_the_same_command_goes_on() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 1), ("b.pdf", 7), ("c.pdf", 1)]);
    let words = [
        "in",
        "-o",
        "out",
        "--memory",
        "2G",
        "--chunk-size",
        "3",
        "--report",
        "r.json",
    ];
    // It never gets past the last chunk of the second document.
    let running = marker(&scene, &words).variable("PRETEND_HOLD", "7").start();
    let journal = || {
        let folders = fs::read_dir(scene.path("out")).ok()?.flatten();
        let texts = folders.map(|entry| fs::read_to_string(entry.path().join("journal")));
        let texts: Vec<String> = texts.flatten().collect();
        texts
            .concat()
            .contains("\"started\",\"pages\":\"7\"")
            .then_some(())
    };
    assert!(
        poll_until(PATIENCE, journal).is_some(),
        "page 7 was not begun"
    );
    running.signal_group(Signal::SIGINT);
    let finished = running.wait();
    finished.expect_code(130);
    scene.assert_nothing_left();
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    assert_eq!(statuses(&report), ["complete", "interrupted", "not-begun"]);
    assert!(
        finished.stderr_text().contains("the same command goes on"),
        "{finished}"
    );

    marker(&scene, &words).run().expect_code(0);
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    assert_eq!(statuses(&report), ["already-done", "complete", "complete"]);
    let second = &report["documents"][1];
    assert_eq!(second["kept"], "1-6");
    assert_eq!(second["attempts"][0]["pages"], "7");
    scene.assert_nothing_left();
}

#[test]
fn pages_that_cannot_be_done_are_told_without_secrets() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 4)]);
    let words = [
        "in/a.pdf",
        "-o",
        "out",
        "--memory",
        "2G",
        "--chunk-size",
        "2",
        "--report",
        "r.json",
        "--",
        "--gemini_api_key",
        "AIza-do-not-tell",
    ];
    let finished = marker(&scene, &words).variable("PRETEND_POISON", "3").run();
    finished.expect_code(3);
    let report = json(&scene.path("r.json"));
    check(REPORT_SCHEMA, &report);
    let document = &report["documents"][0];
    assert_eq!(document["status"], "partial");
    assert_eq!(
        (&document["converted"], &document["missing"]),
        (&"1-2,4".into(), &"3".into())
    );
    assert_eq!(document["placeholders"][0]["pages"], "3");
    let text = fs::read_to_string(scene.path("r.json")).expect("a file");
    assert!(!text.contains("AIza"), "{text}");
    assert!(text.contains("a page that cannot be read"), "{text}");
    scene.assert_nothing_left();
}
