//! `memcap run --explain`: the plan is shown and nothing is started.

use integration_tests::each_setting;
use integration_tests::harness::{Mechanism, Scene};

each_setting!(
    the_plan_is_shown_and_nothing_is_started,
    no_command_is_needed,
    a_mechanism_that_does_not_work_here_is_no_plan,
);

fn the_plan_is_shown_and_nothing_is_started(scene: &Scene) {
    let started = scene.path("started");
    let finished = scene
        .memcap()
        .memory("256M")
        .option("--explain")
        .option("--cpu=90s")
        .option("--processes=8")
        .command("touch", [&started])
        .run();
    finished.expect_code(0);
    assert!(!started.exists(), "{finished}");
    assert!(finished.stderr.is_empty(), "{finished}");
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    let mechanism = scene.setting().mechanism;
    let mut expected = vec!["mechanism", "guarantee", "containment", "limit"];
    if mechanism.is_exact() {
        expected.push("proof");
    }
    expected.extend(["swap", "cpu", "processes", "nothing"]);
    assert_eq!(names, expected, "{finished}");
    for part in [mechanism.name(), mechanism.guarantee(), "256 MiB", "1m 30s"] {
        assert!(text.contains(part), "{part}: {finished}");
    }
    let report = finished.report();
    assert_eq!(report.text("/plan/mechanism"), mechanism.name());
    assert_eq!(report.number("/plan/limit_bytes"), 256 << 20);
    assert_eq!(report.number("/plan/beside/2/count"), 8);
    scene.assert_nothing_left();
}

fn no_command_is_needed(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("100T")
        .option("--explain")
        .mechanism("auto")
        .run();
    finished.expect_code(0);
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(
        text.contains("100 TiB was asked for; clamped below"),
        "{finished}"
    );
    scene.assert_nothing_left();
}

fn a_mechanism_that_does_not_work_here_is_no_plan(scene: &Scene) {
    // It does not depend on the scene's mechanism, only on the account.
    if scene.setting().mechanism != Mechanism::Watchdog {
        return;
    }
    let finished = scene
        .memcap()
        .memory("64M")
        .option("--explain")
        .option("--swap=1M")
        .mechanism("rlimit")
        .command("true", [""; 0])
        .run();
    finished.expect_code(125);
    let text = finished.stderr_text();
    assert!(
        text.contains("mechanism `rlimit` cannot be used here"),
        "{finished}"
    );
    assert!(text.contains("hint:"), "{finished}");
    assert!(finished.stdout.is_empty(), "{finished}");
    finished.expect_verdict("internal-error");
    scene.assert_nothing_left();
}
