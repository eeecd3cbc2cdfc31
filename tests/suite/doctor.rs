//! `memcap doctor`: what it prints, for people and for programs, and what it
//! leaves behind.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use integration_tests::harness::{Requirement, memcap_binary, memcap_groups};
use serde_json::Value;

/// An ordinary user who owns nothing.
const NOBODY: u32 = 65534;

/// Who examines, as root can be anybody.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Ourselves,
    Nobody,
}

fn doctor(who: Who, options: &[&str]) -> Output {
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    // Nobody may not enter the folder of the build.
    let program = folder.path().join("memcap");
    // By another process: a copy that is open for writing here while a test
    // beside this one forks could not be executed.
    let copied = Command::new("cp")
        .arg(memcap_binary())
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(&program);
    command.arg("doctor").args(options).current_dir("/");
    if who == Who::Nobody {
        open_to_all(folder.path());
        command.uid(NOBODY).gid(NOBODY).env("HOME", "/");
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let output = child.wait_with_output().unwrap();
    let left = memcap_groups().into_iter().find(|group| group.owner == pid);
    assert!(left.is_none(), "{left:?} is left");
    output
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Those that this machine lets us be.
fn everybody() -> Vec<Who> {
    if Requirement::Root.is_met() {
        vec![Who::Ourselves, Who::Nobody]
    } else {
        vec![Who::Ourselves]
    }
}

fn json(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.is_empty(), "{error}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = include_str!("../../docs/doctor.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    if let Err(error) = validator.validate(&value) {
        panic!(
            "breaks the schema at `{}`: {error}\n{value:#}",
            error.instance_path()
        );
    }
    value
}

#[test]
fn json_is_as_the_schema_says() {
    for who in everybody() {
        for options in [&["--json"][..], &["--json", "--no-trials"]] {
            let output = doctor(who, options);
            let report = json(&output);
            let has_control = report.get("control").is_some();
            assert_eq!(has_control, options.len() == 1, "{report:#}");
            let is_hard = report["mechanisms"].as_array().unwrap().iter();
            let is_hard = is_hard.into_iter().any(|m| m["guarantee"] == "tree-exact");
            assert_eq!(output.status.code(), Some(i32::from(!is_hard)));
        }
    }
}

#[test]
fn text_says_the_same_within_80_columns() {
    for who in everybody() {
        let report = json(&doctor(who, &["--json"]));
        let output = doctor(who, &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        for finding in report["findings"].as_array().unwrap() {
            let code = finding["code"].as_str().unwrap();
            let told = text
                .lines()
                .any(|line| line.starts_with(&format!("{code:<4} (")));
            assert!(told, "{code} in {text}");
            for line in finding["fix"].as_array().unwrap() {
                assert!(text.contains(line.as_str().unwrap()), "{line} in {text}");
            }
        }
        for line in text.lines().filter(|line| line.contains("  ")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let best = report["best"].as_str().unwrap_or("nothing");
        assert!(
            text.contains(&format!("memcap run will use: {best}")),
            "{text}"
        );
    }
}

#[test]
fn a_saved_host_is_examined_without_a_trial() {
    let folder = tempfile::tempdir().unwrap();
    open_to_writers(folder.path());
    for (who, name) in everybody().into_iter().zip(["ours", "nobodys"]) {
        let bundle = folder.path().join(name);
        let word = bundle.to_str().unwrap();
        let saved = doctor(who, &["--json", "--save", word]);
        let original: Value = serde_json::from_slice(&saved.stdout).unwrap();
        let list = String::from_utf8(saved.stderr).unwrap();
        for file in ["/proc/self/mountinfo", "bundle.json"] {
            assert!(list.contains(file), "{list}");
        }
        let replayed = doctor(who, &["--json", "--host", word]);
        assert_eq!(replayed.status, saved.status);
        let replayed = json(&replayed);
        assert_eq!(replayed["replayed"]["has_trials"], true);
        for field in ["findings", "mechanisms", "containment", "control", "best"] {
            assert_eq!(replayed.get(field), original.get(field), "{field}");
        }
        let text = String::from_utf8(doctor(who, &["--host", word]).stdout).unwrap();
        assert!(text.contains("nothing was tried now"), "{text}");

        let again = doctor(who, &["--no-trials", "--save", word]);
        assert_eq!(again.status.code(), Some(125));
        let error = String::from_utf8(again.stderr).unwrap();
        assert!(
            error.contains("exists already") && error.contains("hint:"),
            "{error}"
        );
        assert!(again.stdout.is_empty(), "refused before it is examined");
    }
    if everybody().contains(&Who::Nobody) {
        let ours = folder.path().join("ours");
        let unread = doctor(Who::Nobody, &["--host", ours.to_str().unwrap()]);
        assert_eq!(unread.status.code(), Some(125));
        let error = String::from_utf8(unread.stderr).unwrap();
        assert!(
            error.contains("Permission denied") && error.contains("who saved"),
            "{error}"
        );
    }
    let none = doctor(Who::Ourselves, &["--host", folder.path().to_str().unwrap()]);
    assert_eq!(none.status.code(), Some(125));
    let error = String::from_utf8(none.stderr).unwrap();
    assert!(
        error.contains("is no bundle") && error.contains("hint:"),
        "{error}"
    );
}

fn open_to_writers(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o1777)).unwrap();
}

#[test]
fn causes_are_explained_by_name() {
    let list = doctor(Who::Ourselves, &["--explain", "list"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert_eq!(list.lines().count(), 17);
    for line in list.lines() {
        let code = line.split(' ').next().unwrap();
        let told = doctor(Who::Ourselves, &["--explain", &code.to_lowercase()]);
        assert_eq!(told.status.code(), Some(0));
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.starts_with(line) && told.lines().count() > 3, "{told}");
    }
    let unknown = doctor(Who::Ourselves, &["--explain", "C17"]);
    assert_eq!(unknown.status.code(), Some(2));
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        error.contains("no cause `C17`") && error.contains("hint:"),
        "{error}"
    );
}
