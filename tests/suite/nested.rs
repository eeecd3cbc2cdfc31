//! No rung leaves an outer limit: memcap inside a limited group, and memcap
//! inside memcap.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::fs;
use std::path::{Path, PathBuf};

use integration_tests::harness::{
    Account, Finished, Mechanism, PATIENCE, Running, Scene, Setting, poll_until, wait_until,
};
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// What fits below 300 MiB: an eighth is left free, less than 64 MiB.
const EIGHTH_LESS: u64 = 300 * MIB / 8 * 7;

/// v1 memory, where this machine has it; the watchdog beside it is asked for by
/// name.
const SETTING: Setting = Setting {
    account: Account::Root,
    mechanism: Mechanism::CgroupV1,
};

#[test]
fn a_request_above_the_outer_limit_is_clamped_and_the_job_stays_inside() {
    let Some((group, scene)) = limited(300 * MIB) else {
        return;
    };
    for mechanism in ["cgroup-v1", "watchdog"] {
        let finished = inside(&scene, &group, mechanism, "1G", "cat /proc/self/cgroup");
        finished.expect_code(0);
        assert_eq!(number(&scene, "/requested_bytes"), 1024 * MIB, "{finished}");
        assert_eq!(number(&scene, "/limit_bytes"), EIGHTH_LESS, "{finished}");
        let below = format!("/{}", group.name());
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        let line = text.lines().find(|line| line.contains(":memory:"));
        assert!(line.unwrap().contains(&below), "{mechanism}: {finished}");
    }
    scene.assert_nothing_left();
}

#[test]
fn a_small_outer_limit_is_not_eaten_by_the_margin() {
    let Some((group, scene)) = limited(128 * MIB) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    for mechanism in ["cgroup-v1", "watchdog"] {
        let fits = inside(&scene, &group, mechanism, "100M", &format!("{hog} 85M"));
        fits.expect_code(0);
        assert_eq!(number(&scene, "/limit_bytes"), 100 * MIB, "{fits}");
        let job = format!("{hog} 125M --hold 30");
        let ended = inside(&scene, &group, mechanism, "max", &job);
        ended.expect_code(137);
        assert_eq!(number(&scene, "/limit_bytes"), 112 * MIB, "{ended}");
        // The margin is enough for our verdict to come first, unless a busy
        // machine lets a sampled job run on.
        if mechanism == "cgroup-v1" {
            assert_eq!(verdict(&scene), "memory-limit", "{ended}");
        }
    }
    scene.assert_nothing_left();
}

#[test]
fn our_limit_is_told_from_the_outer_one() {
    let Some((group, scene)) = limited(300 * MIB) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    for mechanism in ["cgroup-v1", "watchdog"] {
        let job = format!("{hog} 200M --hold 30");
        let finished = inside(&scene, &group, mechanism, "64M", &job);
        finished.expect_code(137);
        assert_eq!(verdict(&scene), "memory-limit", "{mechanism}: {finished}");
    }
    // A neighbour that the kernel spares leaves less than the job was granted.
    let script = format!(
        "echo $$ >{}/cgroup.procs; echo -1000 >/proc/self/oom_score_adj; exec {hog} 180M --hold 50",
        group.path.display()
    );
    let neighbour = scene.plain().shell(&script).start();
    wait_until("the neighbour has its memory", || {
        group.usage() >= 180 * MIB
    });
    for mechanism in ["cgroup-v1", "watchdog"] {
        let job = format!("{hog} 190M --hold 30");
        let finished = inside(&scene, &group, mechanism, "200M", &job);
        finished.expect_code(137);
        assert_eq!(verdict(&scene), "outer-limit", "{mechanism}: {finished}");
    }
    neighbour.signal(nix::sys::signal::Signal::SIGKILL);
    drop(neighbour.wait());
    scene.assert_nothing_left();
}

#[test]
fn a_limit_reached_by_read_files_is_not_taken_for_the_one_that_killed() {
    let Some((group, scene)) = limited(300 * MIB) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    let (file, read, met) = (scene.word("file"), scene.word("read"), scene.word("met"));
    let job = format!(
        "sh -c 'head -c 250M /dev/zero >{file}; rm {file}; touch {read}; \
         until test -e {met}; do sleep 0.05; done; exec {hog} 190M --hold 30'"
    );
    let running = inside_started(&scene, &group, "cgroup-v1", "200M", &job);
    wait_until("the job is at its limit by a file", || {
        Path::new(&read).exists()
    });
    let script = format!(
        "echo $$ >{}/cgroup.procs; echo -1000 >/proc/self/oom_score_adj; exec {hog} 180M --hold 50",
        group.path.display()
    );
    let neighbour = scene.plain().shell(&script).start();
    wait_until("the neighbour has its memory", || {
        group.anonymous() >= 180 * MIB
    });
    fs::write(&met, "").unwrap();
    let finished = running.wait();
    finished.expect_code(137);
    assert_eq!(verdict(&scene), "outer-limit", "{finished}");
    neighbour.signal(nix::sys::signal::Signal::SIGKILL);
    drop(neighbour.wait());
    scene.assert_nothing_left();
}

#[test]
fn an_orphan_may_share_with_somebody_else_than_who_adopted_it() {
    let setting = Setting {
        account: Account::Root,
        mechanism: Mechanism::Watchdog,
    };
    let Some(scene) = Scene::open(setting) else {
        return;
    };
    let memcap = integration_tests::harness::memcap_binary();
    let families = scene.job("families").display().to_string();
    // The keeper of the inner one adopts, and holds little itself.
    let words = ["run", "--memory", "440M", "--mechanism", "watchdog", "--"];
    let words = words
        .into_iter()
        .chain([&*families, "orphans", "300M", "--hold", "1"]);
    let finished = scene.memcap().memory("512M").command(&memcap, words).run();
    finished.expect_code(0).expect_verdict("finished");
    let peak = finished.report().number("/peak_bytes");
    assert!((300 * MIB..400 * MIB).contains(&peak), "{finished}");
    scene.assert_nothing_left();
}

#[test]
fn the_limit_of_a_memcap_inside_a_job_is_its_own_affair() {
    let Some(scene) = Scene::open(SETTING) else {
        return;
    };
    let inner = scene.word("inner.json");
    let hog = scene.job("hog").display().to_string();
    let memcap = integration_tests::harness::memcap_binary();
    for mechanism in ["cgroup-v1", "watchdog"] {
        let words = [
            "run",
            "--memory",
            "1G",
            "--report",
            &inner,
            "--mechanism",
            mechanism,
            "--",
            &hog,
            "900M",
            "--hold",
            "30",
        ];
        let finished = scene.memcap().memory("300M").command(&memcap, words).run();
        // The job of the outer one is the inner one, which says 137 by itself.
        finished.expect_code(137).expect_verdict("finished");
        let report: Value = serde_json::from_slice(&fs::read(&inner).unwrap()).unwrap();
        assert_eq!(report["verdict"]["kind"], "memory-limit", "{report}");
        assert_eq!(report["limit_bytes"], EIGHTH_LESS, "{report}");
        assert!(report["peak_bytes"].as_u64() <= Some(300 * MIB), "{report}");
    }
    scene.assert_nothing_left();
}

/// A group of the job's own, to be entered by what the script starts; `limit` is for a
/// line that limits it.
fn script_in_a_group(limit: &str, job: &str) -> String {
    format!(
        "g=/sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' /proc/self/cgroup)/own; \
         mkdir $g; {limit} (echo 0 >$g/cgroup.procs; exec {job})"
    )
}

#[test]
fn a_kill_by_our_limit_in_a_group_of_the_jobs_own_is_a_kill_by_our_limit() {
    let Some(scene) = Scene::open(SETTING) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    let bounded = "echo 1G >$g/memory.limit_in_bytes;";
    for limit in ["", bounded] {
        let script = script_in_a_group(limit, &format!("{hog} 200M"));
        // Ended with the tree, or, if it was quicker, by itself.
        let script = format!("{script}; exit 0");
        let words = ["-c", &script];
        let finished = scene.memcap().memory("64M").command("sh", words).run();
        finished.expect_code(137);
        let report = finished.report();
        let told = report.text("/verdict/kind");
        assert!(
            ["memory-limit", "partial-kill"].contains(&told),
            "{finished}"
        );
        // The tree is ended soon, whoever goes on in it.
        let script = script_in_a_group(limit, &format!("{hog} 200M"));
        let script = format!("{script} & exec sleep 600");
        let words = ["-c", &script];
        let finished = scene.memcap().memory("64M").command("sh", words).run();
        finished
            .expect_code(137)
            .expect_verdict("memory-limit by kernel");
    }
    scene.assert_nothing_left();
}

#[test]
fn a_kill_by_a_limit_of_the_jobs_own_below_ours_is_its_own_affair() {
    let Some(scene) = Scene::open(SETTING) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    let bounded = "for f in limit memsw.limit; do echo 48M >$g/memory.${f}_in_bytes; done;";
    let killed = script_in_a_group(bounded, &format!("{hog} 200M"));
    for script in [
        // Nobody is killed.
        script_in_a_group("", "true"),
        format!("{killed}; test $? = 137"),
        // Long enough for looks at it, before and after.
        format!("sleep 1.2; {killed}; test $? = 137 && sleep 2.2"),
    ] {
        let words = ["-c", &script];
        let finished = scene.memcap().memory("64M").command("sh", words).run();
        finished.expect_code(0).expect_verdict("finished");
        let notes = finished.report().get("/notes").and_then(Value::as_array);
        assert_eq!(notes.map(Vec::len), Some(0), "{finished}");
    }
    // It excuses no kill by our limit that comes after a look.
    let script = format!(
        "{killed}; sleep 2.5; (echo 0 >$g/cgroup.procs; exec {hog} 40M --hold 600) & \
         {hog} 30M --hold 600; exit 0"
    );
    let words = ["-c", &script];
    let finished = scene.memcap().memory("64M").command("sh", words).run();
    finished.expect_code(137);
    scene.assert_nothing_left();
}

#[test]
fn a_memcap_inside_a_job_that_loses_its_job_to_our_limit_is_told() {
    let Some(scene) = Scene::open(SETTING) else {
        return;
    };
    let hog = scene.job("hog").display().to_string();
    let memcap = integration_tests::harness::memcap_binary();
    let inner = format!("{} run --memory 170M --mechanism", memcap.display());
    for mechanism in ["cgroup-v1", "watchdog"] {
        // A neighbour leaves less than the inner one was granted.
        let script = format!(
            "{hog} 60M --hold 600 & {inner} {mechanism} -- {hog} 160M --hold 600; wait; exit 0"
        );
        let words = ["-c", &script];
        let finished = scene.memcap().memory("200M").command("sh", words).run();
        finished.expect_code(137);
        let report = finished.report();
        let told = report.text("/verdict/kind");
        assert_eq!(told, "memory-limit", "{mechanism}: {finished}");
    }
    scene.assert_nothing_left();
}

/// A v1 memory group with a limit, below the test's own.
struct LimitedGroup {
    path: PathBuf,
}

impl LimitedGroup {
    fn create(scene: &Scene, limit: u64) -> LimitedGroup {
        let memberships = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = memberships
            .lines()
            .find_map(|line| line.split_once(":memory:"))
            .map(|(_, path)| path.trim_start_matches('/').to_owned());
        let folder = scene.path("");
        let name = folder.file_name().unwrap().display().to_string();
        let path = Path::new("/sys/fs/cgroup/memory")
            .join(own.unwrap())
            .join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("memory.limit_in_bytes"), limit.to_string()).unwrap();
        LimitedGroup { path }
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap().display().to_string()
    }

    fn usage(&self) -> u64 {
        let text = fs::read_to_string(self.path.join("memory.usage_in_bytes")).unwrap();
        text.trim().parse().unwrap()
    }

    /// What is in it and no file, in bytes.
    fn anonymous(&self) -> u64 {
        let text = fs::read_to_string(self.path.join("memory.stat")).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("total_rss "));
        line.unwrap().parse().unwrap()
    }
}

impl Drop for LimitedGroup {
    fn drop(&mut self) {
        // A killed process holds its group until it is gone.
        poll_until(PATIENCE / 4, || fs::remove_dir(&self.path).ok());
    }
}

/// A scene with a limited group in it. The scene goes first and ends whoever is
/// in the group.
fn limited(limit: u64) -> Option<(LimitedGroup, Scene)> {
    let scene = Scene::open(SETTING)?;
    let group = LimitedGroup::create(&scene, limit);
    Some((group, scene))
}

/// Runs memcap with a shell's `job` inside `group`.
fn inside(
    scene: &Scene,
    group: &LimitedGroup,
    mechanism: &str,
    memory: &str,
    job: &str,
) -> Finished {
    inside_started(scene, group, mechanism, memory, job).wait()
}

fn inside_started<'scene>(
    scene: &'scene Scene,
    group: &LimitedGroup,
    mechanism: &str,
    memory: &str,
    job: &str,
) -> Running<'scene> {
    let script = format!(
        "echo $$ >{}/cgroup.procs; exec {} run --memory {memory} --mechanism {mechanism} \
         --report {} -- {job}",
        group.path.display(),
        integration_tests::harness::memcap_binary().display(),
        scene.word("report.json"),
    );
    scene.plain().shell(&script).start()
}

fn report(scene: &Scene) -> Value {
    serde_json::from_slice(&fs::read(scene.path("report.json")).unwrap()).unwrap()
}

fn number(scene: &Scene, pointer: &str) -> u64 {
    report(scene)
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap()
}

fn verdict(scene: &Scene) -> String {
    let report = report(scene);
    report["verdict"]["kind"].as_str().unwrap().to_owned()
}
