//! Trees that are hard to end are ended: by the keeper where memcap is asked
//! to stop, where the main process ends first, and where memcap is killed.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::time::Duration;

use integration_tests::each_setting;
use integration_tests::harness::{Scene, wait_until};
use nix::sys::signal::Signal;

/// Longer than any of these runs may take, shorter than the jobs hold.
const SOON: Duration = Duration::from_secs(30);

each_setting!(
    a_storm_of_replaced_children,
    chains_of_orphans,
    zombies_that_nobody_collects,
    stopped_children,
    a_thousand_processes,
    a_process_whose_first_thread_has_ended,
    a_parent_that_waits_in_vfork,
    memory_shared_by_vfork_counts_once,
    memory_behind_an_ended_first_thread_counts,
    ten_thousand_short_lived_processes,
);

fn a_storm_of_replaced_children(scene: &Scene) {
    is_ended(scene, &["storm", "--count", "300"]);
}

fn chains_of_orphans(scene: &Scene) {
    is_ended(scene, &["chain", "--count", "4"]);
}

fn zombies_that_nobody_collects(scene: &Scene) {
    is_ended(scene, &["zombies", "--count", "300"]);
}

fn stopped_children(scene: &Scene) {
    is_ended(scene, &["stopped", "--count", "50"]);
}

fn a_thousand_processes(scene: &Scene) {
    is_ended(scene, &["crowd", "--count", "1000"]);
}

fn a_process_whose_first_thread_has_ended(scene: &Scene) {
    is_ended(scene, &["threads"]);
}

fn a_parent_that_waits_in_vfork(scene: &Scene) {
    is_ended(scene, &["vfork"]);
}

fn memory_shared_by_vfork_counts_once(scene: &Scene) {
    let words = ["vfork", "--bytes", "150M", "--hold", "0.5"];
    let script = format!("{} {}", scene.job("evade").display(), words.join(" "));
    let finished = scene.memcap().memory("256M").shell(&script).run();
    finished.expect_code(0).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn memory_behind_an_ended_first_thread_counts(scene: &Scene) {
    let words = ["threads", "--bytes", "1G", "--hold", "20"];
    let finished = scene.memcap().memory("128M").job("evade", words).run();
    finished.expect_code(137);
    assert!(
        finished.report().verdict().starts_with("memory-limit"),
        "{finished}"
    );
    assert!(finished.wall < SOON, "{finished}");
    scene.assert_nothing_left();
}

fn ten_thousand_short_lived_processes(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("200M")
        .job("tree", ["10000", "0M", "--at-once", "20"])
        .run();
    finished.expect_code(0).expect_verdict("finished");
    scene.assert_nothing_left();
}

/// Runs `evade` three times, and ends it in each way there is.
fn is_ended(scene: &Scene, words: &[&str]) {
    // The main process ends by itself, with success.
    let ready = scene.word("ready");
    let arguments = [words, &["--ready", &ready]].concat();
    let start = |end: &[&str]| {
        drop(std::fs::remove_file(&ready));
        let words = [&arguments, end].concat();
        scene.memcap().memory("1G").job("evade", words).start()
    };
    let finished = start(&["--end"]).wait();
    finished.expect_code(0).expect_verdict("finished");
    assert!(finished.wall < SOON, "{finished}");
    let left = finished.report().get("/left_running").unwrap();
    assert_eq!(left.as_array().map(Vec::len), Some(0), "{finished}");
    scene.assert_nothing_left();

    // memcap is asked to end it.
    let running = start(&[]);
    wait_until("the daemon is ready", || scene.path("ready").exists());
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    finished.expect_code(143).expect_verdict("interrupted");
    assert!(finished.wall < SOON, "{finished}");
    scene.assert_nothing_left();

    // memcap is killed.
    let running = start(&[]);
    wait_until("the daemon is ready", || scene.path("ready").exists());
    running.keeper();
    running.kill();
    running.wait().expect_code(137);
    scene.assert_nothing_left_soon();
}
