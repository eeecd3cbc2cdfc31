//! What a limit is trusted for: a trial before the first run, which later ones
//! remember, and which no strange file can stand in for.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use integration_tests::each_setting;
use integration_tests::harness::{Finished, Scene};

each_setting!(
    the_first_run_tries_the_limit_and_the_next_remembers,
    fresh_tries_again,
    the_plan_says_which,
    a_strange_file_proves_nothing,
    a_strange_file_is_replaced_and_not_written_through,
    what_cannot_be_kept_fails_no_run,
);

fn run(scene: &Scene, options: &[&str]) -> Finished {
    let mut memcap = scene.memcap().memory("64M");
    for option in options {
        memcap = memcap.option(*option);
    }
    let finished = memcap.command("true", [""; 0]).run();
    finished.expect_code(0);
    finished.expect_verdict("finished");
    scene.assert_nothing_left();
    finished
}

/// Nothing to prove, nothing to remember: where no group holds the limit there is
/// no proof.
fn expect_kind(scene: &Scene, finished: &Finished, kind: &str) {
    let exact = scene.setting().mechanism.is_exact();
    let report = finished.report();
    let told = report.text("/proof_kind");
    assert_eq!(told, if exact { kind } else { "" }, "{finished}");
    let proof = report.text("/proof");
    let words = match kind {
        "fresh" => "a trial before: 2 MiB touched under a limit of 1 MiB: met ",
        "cached" => "an earlier trial: 2 MiB touched under a limit of 1 MiB: met ",
        _ => "",
    };
    if exact {
        assert!(proof.contains("read back"), "{finished}");
        assert!(proof.contains(words), "{finished}");
        assert!(proof.contains("nobody killed"), "{finished}");
    }
    assert!(exact || !file(scene).exists(), "there is nothing to keep");
}

fn file(scene: &Scene) -> PathBuf {
    scene.session().join("memcap/proofs.json")
}

fn the_first_run_tries_the_limit_and_the_next_remembers(scene: &Scene) {
    expect_kind(scene, &run(scene, &[]), "fresh");
    for _ in 0..2 {
        expect_kind(scene, &run(scene, &[]), "cached");
    }
    if scene.setting().mechanism.is_exact() {
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(file(scene)), 0o600);
        assert_eq!(mode(scene.session().join("memcap")), 0o700);
    }
}

fn fresh_tries_again(scene: &Scene) {
    run(scene, &[]);
    expect_kind(scene, &run(scene, &["--fresh"]), "fresh");
    expect_kind(scene, &run(scene, &[]), "cached");
}

fn the_plan_says_which(scene: &Scene) {
    let line = |options: &[&str]| {
        let mut memcap = scene.memcap().memory("64M").option("--explain");
        for option in options {
            memcap = memcap.option(*option);
        }
        let finished = memcap.run();
        finished.expect_code(0);
        let kind = finished.report().text("/plan/proof/kind").to_owned();
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("proof "));
        (kind, line.unwrap_or_default().to_owned())
    };
    let before = line(&[]);
    if !scene.setting().mechanism.is_exact() {
        assert_eq!(before, (String::new(), String::new()));
        return;
    }
    assert_eq!(before.0, "fresh");
    assert!(before.1.contains("before it starts"), "{}", before.1);
    assert!(!file(scene).exists(), "a plan tries nothing");
    run(scene, &[]);
    let after = line(&[]);
    assert_eq!(after.0, "cached");
    assert!(
        after.1.contains("an earlier trial since boot: "),
        "{}",
        after.1
    );
    assert_eq!(line(&["--fresh"]).0, "fresh");
}

fn a_strange_file_proves_nothing(scene: &Scene) {
    run(scene, &[]);
    if !scene.setting().mechanism.is_exact() {
        return;
    }
    let good = fs::read_to_string(file(scene)).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other_boot = good.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
    let other_layout = good.replace("cgroup / ", "cgroup /elsewhere ");
    let other_layout = other_layout.replace("cgroup2 / ", "cgroup2 /elsewhere ");
    let half = good[..good.len() / 2].to_owned();
    assert!(other_boot != good && other_layout != good);
    for text in [String::new(), "{}".into(), half, other_boot, other_layout] {
        fs::write(file(scene), &text).unwrap();
        expect_kind(scene, &run(scene, &[]), "fresh");
        expect_kind(scene, &run(scene, &[]), "cached");
    }
    // Another could have written it.
    fs::set_permissions(file(scene), fs::Permissions::from_mode(0o666)).unwrap();
    expect_kind(scene, &run(scene, &[]), "fresh");
    expect_kind(scene, &run(scene, &[]), "cached");
}

fn a_strange_file_is_replaced_and_not_written_through(scene: &Scene) {
    run(scene, &[]);
    if !scene.setting().mechanism.is_exact() {
        return;
    }
    let elsewhere = scene.path("elsewhere.json");
    fs::copy(file(scene), &elsewhere).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    fs::remove_file(file(scene)).unwrap();
    symlink(&elsewhere, file(scene)).unwrap();
    expect_kind(scene, &run(scene, &[]), "fresh");
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    expect_kind(scene, &run(scene, &[]), "cached");
}

fn what_cannot_be_kept_fails_no_run(scene: &Scene) {
    // Read-only, and nothing at all, for want of another folder.
    for folder in ["/proc", "relative", "/nonexistent"] {
        for _ in 0..2 {
            let finished = scene
                .memcap()
                .memory("64M")
                .variable("XDG_RUNTIME_DIR", folder)
                .variable("HOME", folder)
                .command("true", [""; 0])
                .run();
            finished.expect_code(0);
            expect_kind(scene, &finished, "fresh");
        }
    }
    // Whoever may write no file is not ended for trying to.
    let words = scene.memcap().words();
    let memcap = words[0].display();
    let mechanism = scene.setting().mechanism.name();
    let line = format!("ulimit -f 0; exec {memcap} run -q -m 64M --mechanism {mechanism} -- true");
    let finished = scene.plain().shell(&line).run();
    finished.expect_code(0);
    assert!(finished.stderr.is_empty(), "{finished}");
    assert!(!file(scene).exists());
    scene.assert_nothing_left();
}
