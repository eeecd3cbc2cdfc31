//! One document at several settings: each is measured, a setting that fails is
//! a row, and a comparison that was interrupted goes on.

use std::fs;

use integration_tests::harness::{PATIENCE, poll_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::pretend::{folder, marker, scene};

const SETTINGS: [&str; 8] = [
    "compare",
    "in/a.pdf",
    "--memory",
    "2G",
    "--multipliers",
    "1.0,0.5",
    "--chunk-sizes",
    "fit,2",
];

fn rows(stdout: &[u8]) -> Vec<Value> {
    let comparison: Value = serde_json::from_slice(stdout).expect("JSON");
    comparison["rows"].as_array().expect("rows").clone()
}

#[test]
fn settings_are_compared_with_the_first() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 4)]);
    let words = [&SETTINGS[..], &["-o", "out", "--json"]].concat();
    let finished = marker(&scene, &words).run();
    finished.expect_code(0);
    let rows = rows(&finished.stdout);
    let told: Vec<(&str, &Value)> = rows
        .iter()
        .map(|row| (row["setting"].as_str().expect("text"), &row["similarity"]))
        .collect();
    assert_eq!(told[0], ("multiplier 1, chunks that fit", &Value::Null));
    assert_eq!(told[1].0, "multiplier 1, 2 pages a chunk");
    assert_eq!(told[1].1, 1.0);
    assert_eq!(told[2].0, "multiplier 0.5, chunks that fit");
    // One word in nine is the batch size.
    let alike = told[2].1.as_f64().expect("a number");
    assert!((0.85..0.95).contains(&alike), "{alike}");
    assert_eq!(rows[1]["measured"]["attempts"], 2);
    let diff = rows[2]["diff"].as_str().expect("a path");
    assert_eq!(diff, scene.word("out/a-multiplier-0.5-chunks-fit.diff"));
    let diff = fs::read_to_string(diff).expect("differences");
    assert!(
        diff.contains("-The words of page 1 in batches of 6."),
        "{diff}"
    );
    assert!(
        diff.contains("+The words of page 1 in batches of 3."),
        "{diff}"
    );

    let again = marker(&scene, &words).run();
    again.expect_code(0);
    let again_rows = self::rows(&again.stdout);
    for (row, first) in again_rows.iter().zip(&rows) {
        assert_eq!(row["status"], "already-done");
        assert_eq!(row["measured"], first["measured"]);
    }
    scene.assert_nothing_left();
}

#[test]
fn without_a_folder_there_is_a_table_and_nothing_stays() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 4)]);
    let place = scene.path("scratch");
    fs::create_dir(&place).expect("a folder");
    let finished = marker(&scene, &SETTINGS).variable("TMPDIR", &place).run();
    finished.expect_code(0);
    let told = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(told.contains("multiplier 0.5, 2 pages a chunk"), "{told}");
    assert!(told.contains("thrown away"), "{told}");
    let said = finished.stderr_text();
    assert!(
        said.contains("4 settings, one after the other: 16 pages"),
        "{said}"
    );
    assert_eq!(fs::read_dir(&place).expect("a folder").count(), 0);
    scene.assert_nothing_left();
}

#[test]
fn an_interrupted_comparison_goes_on() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 4)]);
    let words = [&SETTINGS[..], &["-o", "out", "--json"]].concat();
    let running = marker(&scene, &words)
        .variable("PRETEND_HOLD_BATCH", "3")
        .start();
    let begun = || {
        let folder = fs::read_dir(scene.path("out/multiplier-0.5-chunks-fit")).ok()?;
        folder.flatten().find_map(|entry| {
            let text = fs::read_to_string(entry.path().join("journal")).ok()?;
            text.contains("\"started\"").then_some(())
        })
    };
    assert!(
        poll_until(PATIENCE, begun).is_some(),
        "the third setting was not begun"
    );
    running.signal_group(Signal::SIGINT);
    let interrupted = running.wait();
    interrupted.expect_code(130);
    let statuses = |rows: &[Value]| -> Vec<String> {
        let words = rows.iter().map(|row| row["status"].as_str());
        words
            .map(|word| word.unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(
        statuses(&rows(&interrupted.stdout)),
        ["complete", "complete", "interrupted", "not-begun"]
    );
    let finished = marker(&scene, &words).run();
    finished.expect_code(0);
    let rows = rows(&finished.stdout);
    assert_eq!(
        statuses(&rows),
        ["already-done", "already-done", "complete", "complete"]
    );
    assert_eq!(rows[0]["measured"]["attempts"], 1);
    scene.assert_nothing_left();
}

#[test]
fn mistakes_are_told_before_anything_is_started() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 1)]);
    let cases: [(&[&str], &str); 4] = [
        (&["compare", "in"], "name one document"),
        (
            &["compare", "in/a.pdf", "--multipliers", "1,x"],
            "--multipliers: `x`",
        ),
        (
            &["compare", "in/a.pdf", "--chunk-sizes", "0"],
            "--chunk-sizes: `0`",
        ),
        (&["compare", "in/no.pdf"], "No such file"),
    ];
    for (words, told) in cases {
        let finished = marker(&scene, words).run();
        finished.expect_code(2);
        assert!(finished.stderr_text().contains(told), "{finished}");
    }
    scene.assert_nothing_left();
}
