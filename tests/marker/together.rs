//! Several runs of a marker that grows, in one total that does not hold them all
//! at once.

use std::fs;

use integration_tests::harness::{Requirement, Scene};
use serde_json::Value;

use super::pretend::{check, folder, json, marker, scene};

const REPORT_SCHEMA: &str = include_str!("../../docs/marker-report.schema.json");

/// What all may take together. The pretended models are small, so that a
/// document of two pages is expected to take about 690 MiB.
const TOTAL_MIB: u64 = 1300;

/// A checkpoint of one MiB, where marker's models are looked for.
fn models(scene: &Scene) -> std::path::PathBuf {
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
    folder(scene, &[("a.pdf", 2), ("b.pdf", 2)]);
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
    assert!(peak > 690 << 20, "both were under way: {report:#}");
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
    assert_eq!(what_followed(&report), ["kept", "kept"], "{report:#}");
}

#[test]
fn who_makes_room_is_converted_later_and_has_not_failed() {
    let scene = scene();
    // More than is expected of each, so nobody can tell in time.
    let report = convert_two(&scene, "850M");
    let followed = what_followed(&report);
    assert_eq!(followed[..2], ["kept", "kept"], "{report:#}");
    assert!(followed.len() > 2, "nobody made room: {report:#}");
    assert!(
        followed[2..].iter().all(|then| *then == "requeued"),
        "{report:#}"
    );
}
