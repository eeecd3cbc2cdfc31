//! Hosts that `memcap doctor --save` has captured (`tests/vm/capture`), examined again:
//! a folder per host, its files in `bundle`, and in `report.json` the whole report.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use memcap_probe::bundle::Bundle;
use memcap_probe::{DoctorReport, replay};
use serde_json::Value;

/// A host, what a run uses there as trials showed it (nothing: no trial was made),
/// and the causes that are named, in doctor's order.
type Host = (&'static str, Option<&'static str>, &'static [&'static str]);

const HOSTS: &[Host] = &[
    (
        "container-v1-read-only",
        Some("watchdog"),
        &["C0", "C3", "C12"],
    ),
    ("container-v2", Some("watchdog"), &["C0", "C12"]),
    ("hybrid-no-v1-memory", Some("cgroup-v2"), &[]),
    ("hybrid-root", Some("cgroup-v1"), &["C3"]),
    ("machine-hybrid-nobody", Some("watchdog"), &["C0", "C3"]),
    ("machine-hybrid-root", Some("cgroup-v1"), &["C3"]),
    ("memory-disabled", Some("watchdog"), &["C2"]),
    ("namespace-old-mount", Some("watchdog"), &["C0"]),
    ("no-cgroups", Some("watchdog"), &["C16"]),
    ("systemd-hybrid-root", Some("cgroup-v1"), &["C3"]),
    ("systemd-no-manager", Some("watchdog"), &["C6", "C7"]),
    ("systemd-scope", Some("watchdog"), &["C6", "C12"]),
    ("systemd-user", Some("systemd"), &[]),
    ("v2-delegated", Some("cgroup-v2"), &[]),
    ("v2-not-granted", Some("watchdog"), &["C5"]),
    ("v2-outer", None, &["C12"]),
    ("v2-root", Some("cgroup-v2"), &[]),
    ("v2-root-5.10", Some("cgroup-v2"), &[]),
    ("v2-shared", None, &["C12", "C14"]),
    ("v2-slowed", None, &["C11"]),
    ("v2-undelegated", Some("watchdog"), &["C6"]),
    ("wsl-isolated-systemd", Some("systemd"), &["C8", "C12"]),
    (
        "wsl-isolated-user",
        Some("watchdog"),
        &["C6", "C7", "C8", "C12"],
    ),
    ("wsl-systemd-outside-slice", Some("systemd"), &["C10"]),
    ("wsl-v1", Some("cgroup-v1"), &["C3"]),
    ("wsl-v1-open-to-swap", None, &["C3", "C9", "C12"]),
    ("wsl-v1-user", Some("watchdog"), &["C3"]),
    (
        "wsl-v1-without-memory-user",
        Some("watchdog"),
        &["C4", "C6", "C7"],
    ),
    ("wsl-v2-user", Some("watchdog"), &["C6", "C7"]),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/captured")
        .join(name)
}

fn examined(name: &str) -> DoctorReport {
    let bundle = Bundle::open(&folder(name).join("bundle"));
    replay(&bundle.unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[test]
fn each_is_found_to_have_its_causes_and_its_mechanism() {
    for (name, best, causes) in HOSTS {
        let report = examined(name);
        let found: Vec<&str> = report
            .findings
            .iter()
            .map(|found| found.code.as_str())
            .collect();
        assert_eq!(found, *causes, "{name}");
        assert_eq!(report.best().map(|best| best.name()), *best, "{name}");
    }
}

/// Every fact, verdict and sentence. After a change that was meant to change them,
/// `tests/vm/capture` writes the files anew.
#[test]
fn each_has_the_whole_report_on_file() {
    for (name, _, _) in HOSTS {
        let path = folder(name).join("report.json");
        let text = std::fs::read_to_string(&path).expect("a report");
        let expected: Value = serde_json::from_str(&text).expect("JSON");
        let report = serde_json::to_value(examined(name)).expect("JSON");
        differences(name, &expected, &report);
    }
}

/// Compared field by field: a whole report is hundreds of lines.
fn differences(at: &str, expected: &Value, found: &Value) {
    if let (Value::Object(expected), Value::Object(found)) = (expected, found) {
        let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for key in keys {
            let of = |fields: &serde_json::Map<String, Value>| fields.get(key).cloned();
            let (expected, found) = (of(expected), of(found));
            let at = format!("{at}: {key}");
            differences(
                &at,
                &expected.unwrap_or_default(),
                &found.unwrap_or_default(),
            );
        }
        return;
    }
    assert_eq!(expected, found, "{at}");
}

#[test]
fn none_is_left_out() {
    let entries = std::fs::read_dir(folder("")).expect("a folder");
    let there: BTreeSet<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let known: BTreeSet<String> = HOSTS
        .iter()
        .map(|(name, _, _)| (*name).to_owned())
        .collect();
    assert_eq!(there, known);
}
