//! `--soft`: a tree above its soft limit is held back, and whatever happens to
//! memcap meanwhile, nobody stays frozen.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::path::PathBuf;

use integration_tests::each_setting;
use integration_tests::harness::{
    Account, Finished, Invocation, Mechanism, Requirement, Running, Scene, wait_until,
};
use nix::sys::signal::Signal;

each_setting!(
    a_tree_above_its_soft_limit_is_held_back_and_gets_on,
    a_tree_below_its_soft_limit_is_left_alone,
    a_tree_that_stands_still_is_ended_when_asked,
    a_frozen_tree_hears_that_its_time_is_over,
    a_tree_with_a_soft_limit_is_still_ended_at_its_limit,
    nobody_stays_frozen_after_kill_9_of_memcap,
    nobody_stays_frozen_after_kill_9_of_the_keeper,
    nobody_stays_frozen_after_kill_9_of_both,
    a_stopped_memcap_freezes_nobody_for_good,
    what_cannot_be_frozen_is_refused_by_name,
    odd_soft_limits_are_refused_before_the_start,
);

fn a_tree_above_its_soft_limit_is_held_back_and_gets_on(scene: &Scene) {
    if !freezes(scene) {
        return;
    }
    let finished = soft(scene).job("hog", ["100M", "--hold", "1"]).run();
    finished.expect_code(0).expect_verdict("finished");
    // At least one freeze of a fifth of the period.
    assert!(throttled_seconds(&finished) >= 0.02, "{finished}");
    scene.assert_nothing_left();
}

fn a_tree_below_its_soft_limit_is_left_alone(scene: &Scene) {
    if !freezes(scene) {
        return;
    }
    let finished = soft(scene).job("hog", ["10M", "--hold", "0.3"]).run();
    finished.expect_code(0).expect_verdict("finished");
    assert!(throttled_seconds(&finished) < 1e-9, "{finished}");
    scene.assert_nothing_left();
}

fn a_tree_that_stands_still_is_ended_when_asked(scene: &Scene) {
    if !is_possible(scene) {
        return;
    }
    // Below memory.high it would need to give something back, and cannot.
    let finished = soft(scene)
        .option("--stall=1s")
        .job("hog", ["200M", "--hold", "40"])
        .run();
    finished.expect_code(124).expect_verdict("stalled");
    scene.assert_nothing_left();
}

fn a_frozen_tree_hears_that_its_time_is_over(scene: &Scene) {
    if !freezes(scene) {
        return;
    }
    let hog = scene.job("hog").display().to_string();
    let script = format!("trap 'exit 6' TERM; {hog} 200M --hold 40 & wait");
    let finished = soft(scene)
        .option("--time=1s")
        .option("--grace=30s")
        .shell(&script)
        .run();
    finished.expect_code(124).expect_verdict("time-limit");
    assert_eq!(finished.report().number("/job/exit_code"), 6, "{finished}");
    scene.assert_nothing_left();
}

fn a_tree_with_a_soft_limit_is_still_ended_at_its_limit(scene: &Scene) {
    if !freezes(scene) {
        return;
    }
    let finished = soft(scene).job("hog", ["1G", "--hold", "40"]).run();
    finished.expect_code(137);
    let judge = scene.setting().mechanism.judge().unwrap_or_default();
    finished.expect_verdict(&format!("memory-limit by {judge}"));
    scene.assert_nothing_left();
}

fn nobody_stays_frozen_after_kill_9_of_memcap(scene: &Scene) {
    let Some(running) = start_frozen(scene) else {
        return;
    };
    running.kill();
    scene.assert_nothing_left_soon();
}

fn nobody_stays_frozen_after_kill_9_of_the_keeper(scene: &Scene) {
    let Some(running) = start_frozen(scene) else {
        return;
    };
    running.keeper().signal(Signal::SIGKILL);
    let finished = running.wait();
    finished.expect_code(125).expect_verdict("internal-error");
    scene.assert_nothing_left();
}

fn nobody_stays_frozen_after_kill_9_of_both(scene: &Scene) {
    let Some(running) = start_frozen(scene) else {
        return;
    };
    let keeper = running.keeper();
    // It must not come to the rescue between the two.
    running.signal(Signal::SIGSTOP);
    keeper.signal(Signal::SIGKILL);
    running.kill();
    running.wait().expect_code(137);
    // What both leave is ended by the next start.
    let next = scene.memcap().memory("64M").job("exit-with", ["0"]).run();
    next.expect_code(0);
    scene.assert_nothing_left_soon();
}

fn a_stopped_memcap_freezes_nobody_for_good(scene: &Scene) {
    if !freezes(scene) {
        return;
    }
    let running = soft(scene).job("hog", ["100M", "--hold", "2"]).start();
    wait_until_frozen(&running);
    running.signal(Signal::SIGSTOP);
    // Frozen for good, it would not come to its end.
    let job_ended = || {
        let processes = scene.processes();
        processes.iter().all(|process| process.name != "hog")
    };
    wait_until("the job has ended", job_ended);
    running.signal(Signal::SIGCONT);
    running.wait().expect_code(0).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn what_cannot_be_frozen_is_refused_by_name(scene: &Scene) {
    if is_possible(scene) {
        return;
    }
    let started = scene.path("started");
    let finished = soft(scene).command("touch", [&started]).run();
    finished.expect_code(125);
    let text = finished.stderr_text();
    assert!(
        text.contains("a soft limit cannot be held here"),
        "{finished}"
    );
    assert!(text.contains("--soft"), "{finished}");
    assert!(!started.exists(), "{finished}");
    scene.assert_nothing_left();
}

fn odd_soft_limits_are_refused_before_the_start(scene: &Scene) {
    let started = scene.path("started");
    for (options, complaint) in [
        (["--soft=256M", "--quiet"], "soft limit of 256 MiB"),
        (["--soft=0", "--quiet"], "soft limit of 0 B"),
        (["--soft=-1M", "--quiet"], "-1M"),
        (["--soft=150%", "--quiet"], "150%"),
        (["--stall=1s", "--quiet"], "without a soft limit"),
        (["--soft=64M", "--stall=0s"], "stall deadline of zero"),
    ] {
        let [first, second] = options;
        let finished = scene
            .memcap()
            .memory("256M")
            .option(first)
            .option(second)
            .command("touch", [&started])
            .run();
        finished.expect_code(125);
        let text = finished.stderr_text();
        assert!(text.contains(complaint), "{options:?}: {finished}");
        assert!(text.contains("hint:"), "{options:?}: {finished}");
        assert!(!started.exists(), "{options:?}: {finished}");
    }
}

fn soft(scene: &Scene) -> Invocation<'_> {
    scene.memcap().memory("256M").option("--soft=40M")
}

/// Whether a soft limit can be held in this setting.
fn is_possible(scene: &Scene) -> bool {
    scene.setting().account == Account::Root && Requirement::CgroupV2Dir.missing().is_none()
}

/// Whether it is held by freezes. `memory.high` is looked at on other kernels
/// (tests/vm), and freezes nobody.
fn freezes(scene: &Scene) -> bool {
    is_possible(scene) && scene.setting().mechanism != Mechanism::CgroupV2
}

/// A run whose job is frozen at this moment, or was a moment ago.
fn start_frozen(scene: &Scene) -> Option<Running<'_>> {
    if !freezes(scene) {
        return None;
    }
    let running = soft(scene).job("hog", ["240M", "--hold", "60"]).start();
    wait_until_frozen(&running);
    Some(running)
}

fn wait_until_frozen(running: &Running<'_>) {
    let keeper = running.keeper();
    let directory = || -> Option<PathBuf> {
        let groups = integration_tests::harness::memcap_groups();
        let mut own = groups.into_iter().filter(|group| group.owner == keeper.pid);
        own.find(|group| group.path.join("cgroup.freeze").exists())
            .map(|group| group.path)
    };
    let is_frozen = || {
        let frozen = directory().map(|path| std::fs::read_to_string(path.join("cgroup.freeze")));
        matches!(frozen, Some(Ok(text)) if text.trim() == "1")
    };
    wait_until("the job is frozen", is_frozen);
}

#[track_caller]
fn throttled_seconds(finished: &Finished) -> f64 {
    let seconds = finished.report().get("/throttled_seconds");
    seconds.and_then(serde_json::Value::as_f64).unwrap()
}
