//! The limits beside memory: CPU time of the tree, number of processes, swap,
//! the machine's reserve, and the exit code of a refusal.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use integration_tests::each_setting;
use memcap_linux::ByteSize;
use std::sync::{Mutex, PoisonError};

use integration_tests::harness::{Finished, Mechanism, Requirement, Scene, available_memory};

/// memcap's own failures, wrong usage included.
const EXIT_INTERNAL: i32 = 125;

each_setting!(
    a_busy_job_is_ended_after_its_cpu_time,
    cpu_time_of_short_lived_children_counts,
    cpu_time_of_a_daemon_counts,
    an_idle_job_uses_no_cpu_time,
    a_job_that_ignores_sigterm_is_killed_after_the_grace,
    too_many_processes_end_the_tree,
    processes_that_end_make_room_for_others,
    too_many_threads_end_the_tree,
    a_tree_that_eats_the_reserve_is_ended,
    a_reserve_that_stays_is_not_noticed,
    a_reserve_that_is_not_there_is_refused_before_the_start,
    a_refusal_has_an_exit_code_where_leases_are_given,
    a_failure_far_from_the_limit_is_no_refusal,
    odd_limits_are_refused_before_the_start,
);

fn a_busy_job_is_ended_after_its_cpu_time(scene: &Scene) {
    let finished = with(scene, "--cpu", "300ms")
        .shell("while :; do :; done")
        .run();
    finished.expect_code(124).expect_verdict("cpu-limit");
    assert_used(&finished, 0.3);
    scene.assert_nothing_left();
}

fn cpu_time_of_short_lived_children_counts(scene: &Scene) {
    // None of them lives long enough to be seen.
    let finished = with(scene, "--cpu", "300ms")
        .shell("while :; do /bin/true; done")
        .run();
    finished.expect_code(124).expect_verdict("cpu-limit");
    assert_used(&finished, 0.3);
    scene.assert_nothing_left();
}

fn cpu_time_of_a_daemon_counts(scene: &Scene) {
    let script = "setsid sh -c 'while :; do :; done' & sleep 40";
    let finished = with(scene, "--cpu", "300ms").shell(script).run();
    finished.expect_code(124).expect_verdict("cpu-limit");
    scene.assert_nothing_left();
}

fn an_idle_job_uses_no_cpu_time(scene: &Scene) {
    let finished = with(scene, "--cpu", "1s").shell("sleep 1.3; exit 5").run();
    finished.expect_code(5).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn a_job_that_ignores_sigterm_is_killed_after_the_grace(scene: &Scene) {
    let finished = with(scene, "--cpu", "200ms")
        .option("--grace=100ms")
        .shell("trap '' TERM; while :; do :; done")
        .run();
    finished.expect_code(124).expect_verdict("cpu-limit");
    assert_eq!(finished.report().number("/job/signal"), 9, "{finished}");
    scene.assert_nothing_left();
}

fn too_many_processes_end_the_tree(scene: &Scene) {
    let finished = with(scene, "--processes", "8")
        .job("tree", ["20", "64K", "--hold", "30"])
        .run();
    finished.expect_code(137).expect_verdict("process-limit");
    scene.assert_nothing_left();
}

fn processes_that_end_make_room_for_others(scene: &Scene) {
    let finished = with(scene, "--processes", "8")
        .shell(
            "i=0; while [ $i -lt 40 ]; do /bin/true; i=$((i+1)); done; sleep 0.3 & sleep 0.3; wait",
        )
        .run();
    finished.expect_code(0).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn too_many_threads_end_the_tree(scene: &Scene) {
    let within = with(scene, "--processes", "20")
        .job("threads", ["8", "--hold", "0.3"])
        .run();
    within.expect_code(0).expect_verdict("finished");
    let beyond = with(scene, "--processes", "20")
        .job("threads", ["64", "--hold", "30"])
        .run();
    beyond.expect_code(137).expect_verdict("process-limit");
    scene.assert_nothing_left();
}

fn a_tree_that_eats_the_reserve_is_ended(scene: &Scene) {
    // One at a time: what is available is everybody's.
    static TURN: Mutex<()> = Mutex::new(());
    if !Requirement::SpareMemory.is_met() {
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let reserve = available_memory().saturating_sub(ByteSize::from_mib(512));
    let finished = scene
        .memcap()
        .memory("3G")
        .option(format!("--keep-free={}", reserve.bytes()))
        .job("hog", ["2G", "--hold", "30"])
        .run();
    finished
        .expect_code(137)
        .expect_verdict("memory-limit by reserve");
    let report = finished.report();
    let evidence = report.text("/verdict/evidence/0");
    assert!(
        evidence.ends_with(&format!("{reserve} is to stay free")),
        "{finished}"
    );
    scene.assert_nothing_left();
}

fn a_reserve_that_stays_is_not_noticed(scene: &Scene) {
    let finished = with(scene, "--keep-free", "1M")
        .job("hog", ["64M", "--hold", "0.3"])
        .run();
    finished.expect_code(0).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn a_reserve_that_is_not_there_is_refused_before_the_start(scene: &Scene) {
    let started = scene.path("started");
    let finished = with(scene, "--keep-free", "1000T")
        .command("touch", [&started])
        .run();
    finished.expect_code(EXIT_INTERNAL);
    let text = finished.stderr_text();
    assert!(text.contains("cannot stay free"), "{finished}");
    assert!(text.contains("hint: write a smaller"), "{finished}");
    assert!(!started.exists(), "{finished}");
}

fn a_refusal_has_an_exit_code_where_leases_are_given(scene: &Scene) {
    // Slow enough to be looked at often on its way.
    let finished = with(scene, "--refusal-exit", "99")
        .option("--lease")
        .job("hog", ["1G", "--rate", "100M"])
        .run();
    if scene.setting().mechanism == Mechanism::Watchdog {
        finished.expect_code(99).expect_verdict("finished");
        assert_eq!(finished.report().number("/exit_code"), 99, "{finished}");
        assert_eq!(finished.report().number("/job/exit_code"), 7, "{finished}");
    } else {
        // There are no leases; the kernel ends the tree.
        finished.expect_code(137);
    }
    scene.assert_nothing_left();
}

fn a_failure_far_from_the_limit_is_no_refusal(scene: &Scene) {
    let finished = with(scene, "--refusal-exit", "99")
        .option("--lease")
        .shell("sleep 0.3; exit 5")
        .run();
    finished.expect_code(5).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn odd_limits_are_refused_before_the_start(scene: &Scene) {
    let started = scene.path("started");
    for (option, word, complaint) in [
        ("--cpu", "0s", "CPU time limit of zero"),
        ("--cpu", "soon", "soon"),
        ("--processes", "0", "limit of zero processes"),
        ("--processes", "-1", "-1"),
        ("--processes", "many", "many"),
        ("--keep-free", "150%", "150%"),
        ("--keep-free", "-1M", "-1M"),
        ("--refusal-exit", "0", "no exit code"),
        ("--refusal-exit", "256", "no exit code"),
        ("--refusal-exit", "99", "without leases"),
        ("--swap", "150%", "150%"),
        ("--swap", "-1M", "-1M"),
        ("--swap", "much", "much"),
    ] {
        let finished = scene
            .memcap()
            .memory("256M")
            .option(format!("{option}={word}"))
            .command("touch", [&started])
            .run();
        finished.expect_code(EXIT_INTERNAL);
        let text = finished.stderr_text();
        assert!(text.contains(complaint), "{option} {word}: {finished}");
        assert!(text.contains("hint:"), "{option} {word}: {finished}");
        assert!(!started.exists(), "{option} {word}: {finished}");
    }
}

/// A run with room enough in memory, and one other option.
fn with<'s>(
    scene: &'s Scene,
    option: &str,
    word: &str,
) -> integration_tests::harness::Invocation<'s> {
    scene.memcap().memory("256M").option(option).option(word)
}

#[track_caller]
fn assert_used(finished: &Finished, at_least: f64) {
    let used = finished
        .report()
        .get("/cpu_seconds")
        .and_then(serde_json::Value::as_f64);
    assert!(used.unwrap() >= at_least, "{finished}");
}
