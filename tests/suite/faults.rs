//! Hosts and callers at their worst: each fault is a clear error before the
//! start, or a stated fallback, and no job is ever left running unlimited.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use integration_tests::each_setting;
use integration_tests::harness::{
    Account, Finished, Mechanism, PATIENCE, Requirement, Running, Scene, Setting, memcap_groups,
    poll_until,
};
use serde_json::Value;

/// memcap's own failures.
const EXIT_INTERNAL: i32 = 125;

each_setting!(
    a_limit_below_the_need_is_a_memory_verdict,
    what_cannot_be_executed_is_named,
    two_megabytes_of_arguments_arrive,
    few_descriptors_are_enough_or_refused,
);

fn a_limit_below_the_need_is_a_memory_verdict(scene: &Scene) {
    // It stays: what grows and ends between two looks is not seen.
    let job = scene.memcap().memory("1M");
    let finished = job.job("hog", ["50M", "--hold", "30"]).run();
    finished.expect_code(137);
    let verdict = finished.report().text("/verdict/kind");
    assert_eq!(verdict, "memory-limit", "{finished}");
    scene.assert_nothing_left();
}

fn what_cannot_be_executed_is_named(scene: &Scene) {
    let script = |name: &str, text: &str, mode: u32| {
        let path = scene.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        scene.word(name)
    };
    let cases = [
        (script("plain", "text", 0o644), 126, "no execute permission"),
        (scene.word(""), 126, "is a directory"),
        (
            script("orphan", "#!/no/such/interpreter\n", 0o755),
            127,
            "/no/such/interpreter",
        ),
        (scene.word("absent"), 127, "No such file"),
    ];
    for (program, code, named) in cases {
        let finished = scene
            .memcap()
            .memory("64M")
            .command(&program, [""; 0])
            .run();
        finished.expect_code(code).expect_verdict("not-started");
        assert!(
            finished.stderr_text().contains(named),
            "{named}: {finished}"
        );
        let evidence = finished.report().get("/verdict/evidence").unwrap();
        assert!(evidence.to_string().contains(named), "{named}: {finished}");
    }
}

fn two_megabytes_of_arguments_arrive(scene: &Scene) {
    // Below what a single word may have (128 KiB), and what all may (2 MiB
    // with an 8 MiB stack).
    let words = vec!["x".repeat(100_000); 18];
    let mut arguments = vec!["-c".to_owned(), "echo $#".to_owned(), "sh".to_owned()];
    arguments.extend(words);
    let finished = scene
        .memcap()
        .memory("64M")
        .option("--redact")
        .command("sh", &arguments)
        .run();
    finished.expect_code(0);
    assert_eq!(finished.stdout, b"18\n");
}

fn few_descriptors_are_enough_or_refused(scene: &Scene) {
    for limit in [4, 6, 7, 8, 9, 10, 12, 14, 17, 20] {
        let run = scene.memcap().memory("64M").job("hog", ["1G"]);
        let finished = through(
            scene,
            &format!("ulimit -n {limit}; exec \"$@\""),
            &run.words(),
        );
        assert_held_or_refused(scene, &finished);
        let text = finished.stderr_text();
        let is_lacking = text.contains("Too many open files");
        let is_told = text.contains("hint: allow more open files: ulimit -n");
        assert_eq!(is_lacking, is_told, "{limit}: {finished}");
    }
}

#[test]
fn a_hidden_proc_is_refused_or_replaced_by_a_limit_on_each_process() {
    let Some(scene) = as_root() else { return };
    for mechanism in ["auto", "watchdog"] {
        let run = scene.memcap().mechanism(mechanism).memory("64M");
        let finished = in_namespace(
            &scene,
            "mount -t proc -o hidepid=2 proc /proc && \
             exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"",
            &run.job("hog", ["1G"]).words(),
        );
        assert_held_or_refused(&scene, &finished);
    }
}

#[test]
fn without_proc_nothing_runs_unlimited() {
    let Some(scene) = as_root() else { return };
    let run = scene.memcap().mechanism("auto").memory("64M");
    let words = run.job("hog", ["1G"]).words();
    let finished = in_namespace(&scene, "mount -t tmpfs none /proc && exec \"$@\"", &words);
    assert_held_or_refused(&scene, &finished);
}

#[test]
fn a_proc_of_another_pid_namespace_is_not_believed() {
    let Some(scene) = as_root() else { return };
    let words = |mechanism: &str| {
        let run = scene.memcap().mechanism(mechanism).memory("64M");
        run.job("hog", ["1G", "--hold", "1"]).words()
    };
    // A new pid namespace with the old /proc: its numbers are somebody else's.
    let script = "exec unshare --pid --fork \"$@\"";
    let refused = through(&scene, script, &words("watchdog"));
    refused.expect_code(EXIT_INTERNAL);
    let said = refused.stderr_text();
    assert!(said.contains("another pid namespace"), "{refused}");
    assert_held_or_refused(&scene, &through(&scene, script, &words("auto")));
}

#[test]
fn without_dev_null_a_job_is_limited_all_the_same() {
    let Some(scene) = as_root() else { return };
    let run = scene.memcap().mechanism("auto").memory("64M");
    let words = run.job("hog", ["1G"]).words();
    let finished = in_namespace(&scene, "mount -t tmpfs none /dev && exec \"$@\"", &words);
    finished.expect_code(137);
    assert_held_or_refused(&scene, &finished);
}

#[test]
fn a_full_disk_is_said_and_leaves_no_half_report() {
    let Some(scene) = as_root() else { return };
    let folder = scene.path("small");
    fs::create_dir(&folder).unwrap();
    let run = scene
        .memcap()
        .memory("64M")
        .report(folder.join("report.json"));
    // The disk fills while the job runs.
    let words = run
        .shell("head -c 100000 /dev/zero >small/fill; true")
        .words();
    let script =
        "mount -t tmpfs -o size=4k none small && { \"$@\"; code=$?; ls -A small; exit $code; }";
    let finished = in_namespace(&scene, script, &words);
    finished.expect_code(EXIT_INTERNAL);
    let text = finished.stderr_text();
    assert!(text.contains("report.json"), "{finished}");
    assert!(text.contains("No space left"), "{finished}");
    assert_eq!(finished.stdout, b"fill\n", "{finished}");
}

/// A job under 64 MiB that wants 1 GiB, its pid, and those of its groups that have
/// this file.
fn growing_job<'scene>(scene: &'scene Scene, with: &str) -> (Running<'scene>, i32, PathBuf) {
    let run = scene
        .memcap()
        .memory("64M")
        .report(scene.path("report.json"));
    let running = run.job("hog", ["1G", "--rate", "20M"]).start();
    let found = poll_until(PATIENCE, || {
        let processes = scene.processes();
        let hog = processes.iter().find(|process| process.name == "hog")?.pid;
        let of_hog = memcap_groups().into_iter().find(|group| {
            let members = fs::read_to_string(group.path.join("cgroup.procs"));
            let is_member =
                members.is_ok_and(|text| text.lines().any(|pid| pid == hog.to_string()));
            is_member && group.path.join(with).exists()
        });
        Some((hog, of_hog?.path))
    });
    let (pid, group) = found.expect("the job is in its groups");
    (running, pid, group)
}

fn remove(group: &Path, member: i32) {
    let above = group.parent().expect("a group above").join("cgroup.procs");
    fs::write(above, member.to_string()).unwrap();
    fs::remove_dir(group).unwrap();
}

#[test]
fn a_tree_whose_limit_somebody_removes_is_ended_and_it_is_said() {
    let Some(scene) = as_root_in_v1() else { return };
    let (running, hog, limit) = growing_job(&scene, "memory.limit_in_bytes");
    remove(&limit, hog);
    let finished = running.wait();
    finished.expect_code(EXIT_INTERNAL);
    let report = report(&scene);
    assert_eq!(report["verdict"]["kind"], "internal-error", "{report}");
    let told = report["verdict"]["evidence"][0]
        .as_str()
        .unwrap_or_default();
    assert!(told.contains("removed by somebody else"), "{report}");
    assert_eq!(report["guarantee"], "none", "{report}");
    scene.assert_nothing_left();
}

#[test]
fn a_limit_holds_on_when_somebody_removes_what_follows_the_tree() {
    let Some(scene) = as_root_in_v1() else { return };
    let (running, hog, follows) = growing_job(&scene, "cgroup.freeze");
    remove(&follows, hog);
    let finished = running.wait();
    finished.expect_code(137);
    let report = report(&scene);
    assert_eq!(report["verdict"]["kind"], "memory-limit", "{report}");
    assert_eq!(report["verdict"]["by"], "kernel", "{report}");
    scene.assert_nothing_left();
}

#[test]
fn memcap_refuses_to_run_setuid() {
    let Some(scene) = as_root() else { return };
    let words = scene
        .memcap()
        .memory("64M")
        .command("touch", ["started"])
        .words();
    let copy = scene.path("memcap-setuid");
    fs::copy(&words[0], &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o4755)).unwrap();
    let mut words = words;
    words[0] = copy.into();
    let script = "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let finished = through(&scene, script, &words);
    finished.expect_code(EXIT_INTERNAL);
    let text = finished.stderr_text();
    assert!(
        text.contains("setuid") && text.contains("hint:"),
        "{finished}"
    );
    assert!(!scene.path("started").exists(), "{finished}");
}

#[test]
fn a_user_without_a_process_left_is_told() {
    let Some(scene) = as_root() else { return };
    let run = scene.memcap().mechanism("watchdog").memory("64M");
    let words = run.command("touch", [scene.word("started")]).words();
    let script = "exec setpriv --reuid 65534 --regid 65534 --clear-groups prlimit --nproc=1 \"$@\"";
    let finished = through(&scene, script, &words);
    if finished.code() != 0 {
        finished.expect_code(EXIT_INTERNAL);
        assert!(finished.stderr_text().contains("error:"), "{finished}");
        assert!(!scene.path("started").exists(), "{finished}");
    }
    scene.assert_nothing_left();
}

fn as_root() -> Option<Scene> {
    Scene::open(Setting {
        account: Account::Root,
        mechanism: Mechanism::Watchdog,
    })
}

/// With a group that holds the limit and another that follows the tree.
fn as_root_in_v1() -> Option<Scene> {
    let scene = Scene::open(Setting {
        account: Account::Root,
        mechanism: Mechanism::CgroupV1,
    })?;
    Requirement::CgroupV2Dir.is_met().then_some(scene)
}

/// Runs `words` as `"$@"` of a shell script.
fn through(scene: &Scene, script: &str, words: &[OsString]) -> Finished {
    let mut arguments: Vec<OsString> = ["-c", script, "sh"].map(OsString::from).into();
    arguments.extend(words.iter().cloned());
    scene.plain().command("sh", &arguments).run()
}

/// The same where mounts are nobody else's.
fn in_namespace(scene: &Scene, script: &str, words: &[OsString]) -> Finished {
    let outer = format!("exec unshare --mount --propagation private sh -c '{script}' sh \"$@\"");
    through(scene, &outer, words)
}

fn report(scene: &Scene) -> Value {
    let text = fs::read_to_string(scene.path("report.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// A job that wants 1 GiB under 64 MiB: ended for it, refused memory by a limit
/// on each process, or never started. Never finished.
#[track_caller]
fn assert_held_or_refused(scene: &Scene, finished: &Finished) {
    let text = finished.stderr_text();
    assert!(!text.contains("panicked at crates"), "{finished}");
    assert_ne!(finished.code(), 0, "{finished}");
    let report = report(scene);
    match report["verdict"]["kind"].as_str() {
        Some("memory-limit") => {
            finished.expect_code(137);
        }
        Some("finished" | "signaled") => assert_eq!(report["mechanism"], "rlimit", "{finished}"),
        _ => {
            assert_eq!(finished.code(), EXIT_INTERNAL, "{finished}\n{report:#}");
            assert!(
                text.contains("error:") || text.contains("internal-error"),
                "{finished}"
            );
        }
    }
    drop(fs::remove_file(scene.path("report.json")));
    scene.assert_nothing_left();
}
