//! Trees that are hard to end are ended: by the keeper where memcap is asked
//! to stop, where the main process ends first, and where memcap is killed.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::time::Duration;

use integration_tests::each_setting;
use integration_tests::harness::{
    Account, Finished, Mechanism, OuterGroup, Process, Scene, Setting, wait_until,
};
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

#[test]
fn a_job_that_leaves_its_group_is_told() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::CgroupV1,
    };
    let (Some(scene), Some(elsewhere)) = (Scene::open(setting), OuterGroup::make()) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    let group = elsewhere.path().display();
    let script = format!("echo $$ >{group}/cgroup.procs && exec {hog} 200M --hold 2.5");
    let finished = scene.memcap().memory("64M").shell(&script).run();
    finished.expect_code(0).expect_verdict("finished");
    let report = finished.report();
    assert_eq!(report.text("/guarantee"), "none", "{finished}");
    let notes = report
        .get("/notes")
        .cloned()
        .unwrap_or_default()
        .to_string();
    assert!(notes.contains("left the group of the limit"), "{finished}");
    scene.assert_nothing_left();

    // It is still a part of the tree: it ends with it.
    let daemon = format!("echo $$ >{group}/cgroup.procs && exec {hog} 1M --hold 40");
    let script = format!("setsid sh -c '{daemon}' & sleep 1; exit 0");
    let finished = scene.memcap().memory("64M").shell(&script).run();
    finished.expect_code(0).expect_verdict("finished");
    assert!(finished.wall < SOON, "{finished}");
    assert_eq!(finished.report().text("/guarantee"), "none", "{finished}");
    scene.assert_nothing_left();
}

/// Nobody would have looked meanwhile by the clock alone: the looks come early, and
/// then once a second.
#[test]
fn who_is_born_outside_the_directory_that_follows_the_tree_counts() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::Watchdog,
    };
    let (Some(scene), Some(elsewhere)) = (Scene::open(setting), OuterGroup::make_v2_directory())
    else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    let group = elsewhere.path().display();
    let script = format!("echo 0 >{group}/cgroup.procs && {hog} 200M --hold 20; exit 0");
    let finished = scene.memcap().memory("64M").shell(&script).run();
    finished
        .expect_code(137)
        .expect_verdict("memory-limit by watchdog");
    scene.assert_nothing_left();
}

#[test]
fn few_descriptors_are_no_reason_to_lose_sight_of_a_tree() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::Watchdog,
    };
    let Some(scene) = Scene::open(setting) else {
        return;
    };
    let report = scene.word("report.json");
    let memcap = integration_tests::harness::memcap_binary();
    for (memory, code) in [("1G", 0), ("200M", 137)] {
        let script = format!(
            "ulimit -Sn 64; exec {} run --memory {memory} --mechanism watchdog --report {report} \
             -- {} 200 2M --hold 1.5",
            memcap.display(),
            scene.job("tree").display()
        );
        let finished = scene.plain().shell(&script).run();
        finished.expect_code(code);
        let text = std::fs::read_to_string(&report).unwrap();
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        let peak = told["peak_bytes"].as_u64();
        assert!(peak >= Some(200 << 20), "{finished}\n{text}");
        assert_eq!(told["left_running"], serde_json::json!([]), "{text}");
    }
    scene.assert_nothing_left();
}

#[test]
fn a_job_that_leaves_its_group_for_a_moment_is_told() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::CgroupV1,
    };
    let (Some(scene), Some(elsewhere)) = (Scene::open(setting), OuterGroup::make()) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    let group = elsewhere.path().display();
    for way in ["cgroup.procs", "tasks", "new/cgroup.procs"] {
        // It removes the group of its own again, from outside of it.
        let script = format!(
            "sleep 0.2; mkdir {group}/new && echo $$ >{group}/{way} && {hog} 100M --hold 0.1
             code=$?; echo $$ >{group}/tasks && rmdir {group}/new; exit $code"
        );
        let finished = scene.memcap().memory("64M").shell(&script).run();
        finished.expect_code(0).expect_verdict("finished");
        let guarantee = finished.report().text("/guarantee");
        assert_eq!(guarantee, "none", "{way}: {finished}");
    }
    scene.assert_nothing_left();
}

/// Whoever starts something beside the job writes to the same groups.
#[test]
fn what_others_move_weakens_nothing() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::CgroupV1,
    };
    let (Some(scene), Some(elsewhere)) = (Scene::open(setting), OuterGroup::make()) else {
        return;
    };
    let job = scene.memcap().memory("64M").shell("sleep 1").start();
    let group = elsewhere.path().display();
    let mover = format!("for i in 1 2 3 4 5 6; do echo $$ >{group}/tasks; sleep 0.1; done");
    scene.plain().shell(&mover).run().expect_code(0);
    let finished = job.wait();
    finished.expect_code(0).expect_verdict("finished");
    let guarantee = finished.report().text("/guarantee");
    assert_eq!(guarantee, "tree-exact", "{finished}");
    scene.assert_nothing_left();
}

#[test]
fn a_job_that_raises_its_limit_is_told() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::CgroupV1,
    };
    let Some(scene) = Scene::open(setting) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    let raise = "mount=$(awk '$3 == \"cgroup\" && $4 ~ /memory/ { print $2; exit }' /proc/mounts)
        group=$mount$(sed -n 's/.*:memory://p' /proc/self/cgroup)
        echo -1 >$group/memory.memsw.limit_in_bytes
        echo -1 >$group/memory.limit_in_bytes || exit 9";
    let script = format!("{raise}\nexec {hog} 200M");
    let finished = scene.memcap().memory("64M").shell(&script).run();
    finished.expect_code(0).expect_verdict("finished");
    let report = finished.report();
    assert_eq!(report.text("/guarantee"), "none", "{finished}");
    let notes = report.get("/notes").cloned().unwrap_or_default();
    let notes = notes.to_string();
    assert!(notes.contains("was raised from 64 MiB to"), "{finished}");
    scene.assert_nothing_left();
}

#[test]
fn a_job_that_would_wait_at_its_limit_for_ever_ends_there() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::CgroupV1,
    };
    let Some(scene) = Scene::open(setting) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    let own = "group=$(awk '$3 == \"cgroup\" && $4 ~ /memory/ { print $2; exit }' /proc/mounts)\
               $(sed -n 's/.*:memory://p' /proc/self/cgroup)";
    let switch_off = format!("{own}\necho 1 >$group/memory.oom_control || exit 9");
    let script = format!("{switch_off}\nexec {hog} 200M");
    let finished = scene.memcap().memory("64M").shell(&script).run();
    finished
        .expect_code(137)
        .expect_verdict("memory-limit by kernel");
    let report = finished.report();
    assert_eq!(report.text("/guarantee"), "tree-exact", "{finished}");
    let notes = report.get("/notes").cloned().unwrap_or_default();
    assert!(
        notes.to_string().contains("oom_control was set to 1"),
        "{finished}"
    );
    // A new group takes the setting over from the one above it.
    let around = scene.memcap().memory("300M");
    let memcap = integration_tests::harness::memcap_binary();
    let inner = format!(
        "{} run --memory 64M --mechanism cgroup-v1 -- {hog} 200M",
        memcap.display()
    );
    let script = format!("{switch_off}\n{inner}\ntest $? = 137");
    let finished = around.shell(&script).run();
    finished.expect_code(0).expect_verdict("finished");
    scene.assert_nothing_left();
}

/// Whoever has left is looked for a few milliseconds after the start, and once it has
/// left, for some milliseconds; the main process ends before, meanwhile and after.
#[test]
fn a_main_process_that_ends_while_others_are_looked_for_is_noticed() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::CgroupV1,
    };
    let (Some(scene), Some(elsewhere)) = (Scene::open(setting), OuterGroup::make()) else {
        return;
    };
    let group = elsewhere.path().display();
    let daemon = format!("echo $$ >{group}/cgroup.procs && exec sleep 40");
    for milliseconds in 0..30 {
        let script = format!("setsid sh -c '{daemon}' & sleep 0.{milliseconds:03}; exit 0");
        let finished = scene.memcap().memory("64M").shell(&script).run();
        finished.expect_code(0).expect_verdict("finished");
        assert!(finished.wall < SOON, "{milliseconds} ms: {finished}");
    }
    scene.assert_nothing_left();
}

/// In uninterruptible sleep no signal is heard, SIGKILL neither; v1's freezer brings a
/// process there and back.
#[test]
fn a_process_that_cannot_die_is_named_and_memcap_ends() {
    const FREEZER: &str = "/sys/fs/cgroup/freezer";
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::Watchdog,
    };
    let Some(scene) = Scene::open(setting) else {
        return;
    };
    let group = std::path::Path::new(FREEZER).join(format!("test-{}", std::process::id()));
    if let Err(error) = std::fs::create_dir(&group) {
        eprintln!("skipped: no group in {FREEZER}: {error}");
        return;
    }
    let script = format!(
        "exec >{0}/out 2>&1 </dev/null; echo $$ >{1}/cgroup.procs
         echo FROZEN >{1}/freezer.state; sleep 100",
        scene.word("").trim_end_matches('/'),
        group.display()
    );
    let invocation = scene
        .memcap()
        .memory("64M")
        .option("--time")
        .option("500ms");
    let finished = invocation.shell(&script).run();
    let named = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
    std::fs::write(group.join("freezer.state"), "THAWED").unwrap();
    wait_until("what was killed dies", || {
        std::fs::remove_dir(&group).is_ok()
    });
    finished.expect_code(124).expect_verdict("time-limit");
    assert!(finished.wall < SOON, "{finished}");
    let listed = finished.report().number("/left_running/0/pid");
    assert_eq!(listed.to_string(), named.trim(), "{finished}");
    // What could not be removed is swept.
    scene
        .memcap()
        .memory("64M")
        .shell("true")
        .run()
        .expect_code(0);
    scene.assert_nothing_left();
}

#[test]
fn a_process_of_another_user_is_listed() {
    let setting = Setting {
        account: Account::Ordinary,
        mechanism: Mechanism::Watchdog,
    };
    if !integration_tests::harness::Requirement::Root.is_met() {
        return;
    }
    let Some(scene) = Scene::open(setting) else {
        return;
    };
    // A setuid program alone still has our uid as its real one, and may be
    // killed; one that becomes root for good may not.
    let program = scene.path("rooted");
    let copied = std::process::Command::new("install")
        .args(["-o", "0", "-m", "4755"])
        .args(["/usr/bin/setpriv".into(), program.clone()])
        .status();
    assert!(copied.unwrap().success());
    let ready = scene.word("ready");
    let script = format!(
        "{} --reuid 0 {} --hold 30 --ready {ready} &
         while [ ! -e {ready} ]; do sleep 0.02; done; exit 0",
        program.display(),
        scene.job("stubborn").display()
    );
    let finished = scene.memcap().memory("64M").shell(&script).run();
    finished.expect_code(0).expect_verdict("finished");
    assert!(finished.wall < SOON, "{finished}");
    let pid = finished.report().number("/left_running/0/pid");
    let left = Process::of(i32::try_from(pid).unwrap()).unwrap();
    assert_eq!(left.name, "stubborn");
    let command = finished.report().text("/left_running/0/command");
    assert!(command.ends_with(&format!("--ready {ready}")), "{finished}");
    left.signal(Signal::SIGKILL);
}

#[test]
fn a_child_of_another_user_is_ended_by_root() {
    for mechanism in [Mechanism::CgroupV1, Mechanism::Watchdog] {
        let setting = Setting {
            account: Account::Root,
            mechanism,
        };
        let Some(scene) = Scene::open(setting) else {
            return;
        };
        let script = "setpriv --reuid 65534 --clear-groups sleep 40 & exit 0";
        let finished = scene.memcap().memory("64M").shell(script).run();
        finished.expect_code(0).expect_verdict("finished");
        assert!(finished.wall < SOON, "{finished}");
        scene.assert_nothing_left();
    }
}

#[test]
fn groups_of_others_are_left_alone() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::CgroupV1,
    };
    let (Some(scene), Some(base)) = (Scene::open(setting), OuterGroup::make()) else {
        return;
    };
    // A living owner, this test; and names that are nearly ours.
    let alive = memcap_linux::cgroup::GroupName::for_this_process(0).unwrap();
    let text = alive.to_string();
    let ours = format!("memcap-{}", text.split('-').nth(1).unwrap());
    let boot = text.split('-').nth(4).unwrap();
    let strangers = [
        text.clone(),
        "memcap-runner".to_owned(),
        format!("{ours}-1-1-{boot}"),
        format!("{ours}-01-1-{boot}-0"),
        format!("memcap-1-1-1-{boot}-0"),
    ];
    // The pid of this test, given to it after an owner of that pid had died.
    let recycled = format!("{ours}-{}-1-{boot}-0", std::process::id());
    for name in strangers.iter().chain([&recycled]) {
        std::fs::create_dir(base.path().join(name)).unwrap();
    }
    let run = || scene.memcap().memory("64M").job("exit-with", ["0"]).start();
    base.enter(run).wait().expect_code(0);
    let there = |name: &String| base.path().join(name).exists();
    let kept: Vec<&String> = strangers.iter().filter(|name| there(name)).collect();
    let swept = !there(&recycled);
    for name in strangers.iter().chain([&recycled]) {
        drop(std::fs::remove_dir(base.path().join(name)));
    }
    assert_eq!(kept.len(), strangers.len(), "kept {kept:?}");
    assert!(swept, "{recycled} stays");
}

/// What a job did to its keeper, under the watchdog of an ordinary user, whose keeper
/// is the job's own user's.
fn besieged(way: &str, bytes: &str, judge: impl FnOnce(&Finished)) {
    let setting = Setting {
        account: Account::Ordinary,
        mechanism: Mechanism::Watchdog,
    };
    let Some(scene) = Scene::open(setting) else {
        return;
    };
    let words = [way, "--bytes", bytes];
    let finished = scene.memcap().memory("256M").job("besiege", words).run();
    judge(&finished);
    scene.assert_nothing_left();
}

fn notes(finished: &Finished) -> String {
    let notes = finished.report().get("/notes").cloned();
    notes.unwrap_or_default().to_string()
}

#[test]
fn a_job_may_not_halt_its_keeper_by_ptrace() {
    besieged("trace", "600M", |finished| {
        finished.expect_code(3).expect_verdict("finished");
        assert_eq!(finished.report().text("/guarantee"), "tree-sampled");
    });
}

#[test]
fn a_keeper_that_is_stopped_again_and_again_holds_the_limit_and_tells() {
    besieged("stop", "600M", |finished| {
        finished.expect_code(137);
        let verdict = finished.report().verdict();
        assert!(verdict.starts_with("memory-limit"), "{finished}");
        let notes = notes(finished);
        assert!(notes.contains("stopped the keeper"), "{finished}");
    });
}

#[test]
fn a_keeper_that_could_not_look_for_seconds_guarantees_nothing() {
    besieged("starve", "100M", |finished| {
        finished.expect_code(0).expect_verdict("finished");
        assert_eq!(finished.report().text("/guarantee"), "none", "{finished}");
        let notes = notes(finished);
        assert!(notes.contains("the keeper could not look"), "{finished}");
    });
}

#[test]
fn a_keeper_that_is_killed_by_a_limit_of_its_own_guarantees_nothing() {
    besieged("exhaust", "0M", |finished| {
        finished.expect_code(125).expect_verdict("internal-error");
        assert_eq!(finished.report().text("/guarantee"), "none", "{finished}");
    });
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
