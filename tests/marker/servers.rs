//! The servers of marker 2: a run has its own, keeps them from chunk to chunk,
//! and takes them with it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use integration_tests::harness::{
    MarkerEnvironment, Process, Requirement, Running, Scene, poll_until, sample_pdf,
};
use nix::sys::signal::Signal;

use super::support::{STEM, finish, journal, memcap, pages_of, scene, words};

/// Room for marker, its two servers and a few pages.
const LIMIT: &str = "6G";
/// Until servers have started and a chunk is done on two busy cores.
const PATIENCE: Duration = Duration::from_secs(600);

fn environment() -> Option<MarkerEnvironment> {
    Requirement::MarkerServers
        .is_met()
        .then(MarkerEnvironment::find_servers)
        .flatten()
}

/// Four chunks of two pages each.
fn arguments(environment: &MarkerEnvironment, output: &Path) -> Vec<OsString> {
    pages(environment, output, "1-8")
}

/// Chunks of two pages each.
fn pages(environment: &MarkerEnvironment, output: &Path, pages: &str) -> Vec<OsString> {
    words([
        &"marker",
        &sample_pdf(),
        &"-o",
        &output,
        &"--memory",
        &LIMIT,
        &"--pages",
        &pages,
        &"--chunk-size",
        &"2",
        &"--python",
        &environment.python(),
    ])
}

/// The servers that the scene's processes run, by pid.
fn servers(scene: &Scene) -> BTreeSet<i32> {
    let is_server = |process: &Process| {
        let command = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("surya.")
    };
    let processes = scene.processes();
    let servers = processes.iter().filter(|process| is_server(process));
    servers.map(|process| process.pid).collect()
}

fn done_reaches(running: &mut Running<'_>, output: &Path, count: usize) {
    let reached = poll_until(PATIENCE, || {
        let reached = pages_of(&journal(output), "done").len() >= count;
        (reached || running.has_ended()).then_some(reached)
    });
    assert_eq!(reached, Some(true), "{count} chunks done");
}

#[test]
fn a_run_has_servers_of_its_own_which_end_with_it() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    let (home, output) = (scene.path("home"), scene.path("out"));
    // A server of an earlier run, as marker would find it.
    let state = home.join(".cache/datalab/surya");
    fs::create_dir_all(&state).expect("a folder");
    let mut earlier = std::process::Command::new("sh")
        .args(["-c", "read forever # surya.fast_layout.server"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("sh starts");
    let record = format!(r#"{{"port": 1, "pid": {}}}"#, earlier.id());
    fs::write(state.join("fast_layout_server.json"), &record).expect("a file");

    let words = arguments(&environment, &output);
    let start = || {
        memcap(&scene, &environment, &words)
            .variable("HOME", &home)
            .start()
    };
    let mut killed = start();
    done_reaches(&mut killed, &output, 1);
    assert!(!servers(&scene).is_empty(), "servers run in the scene");
    killed.signal(Signal::SIGKILL);
    finish(killed);
    scene.assert_nothing_left_soon();

    let mut last = start();
    let found = || Some(servers(&scene)).filter(|found| !found.is_empty());
    let first = poll_until(PATIENCE, found).expect("servers run in the scene");
    done_reaches(&mut last, &output, 2);
    let later = servers(&scene);
    let finished = finish(last);
    finished.expect_code(0);
    scene.assert_nothing_left();
    assert!(first.is_subset(&later), "kept: {first:?} {later:?}");

    // What was there before was told, and is as it was.
    let told = finished.stderr_text();
    assert!(
        told.contains(&format!("fast_layout (pid {})", earlier.id())),
        "{told}"
    );
    assert_eq!(earlier.try_wait().expect("it is our child"), None);
    assert_eq!(
        fs::read_to_string(state.join("fast_layout_server.json")).ok(),
        Some(record)
    );
    let names: Vec<OsString> = fs::read_dir(&state)
        .expect("the folder is there")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(
        names,
        ["fast_layout_server.json"],
        "marker has written nothing there"
    );
    drop(earlier.stdin.take());
    earlier.wait().expect("it ends");
    assert!(output.join(STEM).join(format!("{STEM}.md")).is_file());
}

#[test]
fn a_server_that_dies_at_its_start_is_not_waited_for() {
    let Some(environment) = environment() else {
        return;
    };
    for drive in ["warm", "fresh"] {
        let scene = scene();
        let output = scene.path("out");
        let mut words = pages(&environment, &output, "1");
        words.extend(["--drive", drive].map(OsString::from));
        // Longer than the test waits: whoever waited for the server would not end.
        let finished = finish(
            memcap(&scene, &environment, &words)
                .variable("HOME", scene.path("home"))
                .variable("FAST_LAYOUT_MODEL_CHECKPOINT", "/no/such/checkpoint")
                .variable("FAST_LAYOUT_SERVER_STARTUP_TIMEOUT", "86400")
                .start(),
        );
        finished.expect_code(4);
        let told = finished.stderr_text();
        let why = "fast_layout_server ended while it started, with exit code 1: ";
        assert!(told.contains(why), "{drive}: {told}");
        scene.assert_nothing_left();
    }
}

#[test]
fn a_page_that_needs_llama_cpp_is_told_before_the_start() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    let output = scene.path("out");
    let mut words = arguments(&environment, &output);
    words.insert(1, "plan".into());
    let planned = finish(
        memcap(&scene, &environment, &words)
            .variable("LLAMA_CPP_BINARY", "/no/such/llama-server")
            .start(),
    );
    planned.expect_code(0);
    let told = String::from_utf8_lossy(&planned.stdout).into_owned() + &planned.stderr_text();
    assert!(told.contains("no llama-server was found"), "{told}");
}
