//! Nothing is left running, and no cgroup behind: not after success, a breach,
//! Ctrl-C, a time limit, or the death of memcap or its keeper.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::time::Duration;

use integration_tests::each_setting;
use integration_tests::harness::{
    Mechanism, Process, Running, Scene, memcap_groups, poll_until, wait_until,
};
use integration_tests::job::hold;
use nix::sys::signal::Signal;

const MIB: u64 = 1 << 20;

/// Longer than any of these runs may take, far shorter than the jobs hold.
const SOON: Duration = Duration::from_secs(15);

each_setting!(
    after_success,
    after_a_failure_of_the_job,
    after_a_breach,
    after_ctrl_c,
    after_a_termination_request,
    after_a_time_limit_that_the_job_ignores,
    grace_is_bounded_in_bytes,
    after_memcap_is_killed,
    after_memcap_is_killed_at_any_moment,
    after_memcap_is_killed_over_the_limit,
    the_limit_holds_while_memcap_is_stopped,
    the_limit_holds_when_the_keeper_is_stopped,
    after_memcap_is_killed_while_both_are_stopped,
    after_the_keeper_is_killed,
    after_the_keeper_is_killed_at_any_moment,
    after_the_keeper_was_stopped_at_any_moment,
    the_next_run_sweeps_what_two_kills_left,
    the_next_run_sweeps_what_two_kills_left_at_any_moment,
);

fn after_success(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("200M")
        .job("daemonize", ["--child"])
        .run();
    finished.expect_code(0).expect_verdict("finished");
    assert!(finished.wall < SOON, "{finished}");
    let left = finished
        .report()
        .get("/left_running")
        .and_then(|left| left.as_array());
    assert!(left.is_none_or(Vec::is_empty), "{finished}");
    scene.assert_nothing_left();
}

fn after_a_failure_of_the_job(scene: &Scene) {
    let words = ["--child", "--exit", "41"];
    let finished = scene.memcap().memory("200M").job("daemonize", words).run();
    finished.expect_code(41).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn after_a_breach(scene: &Scene) {
    let script = format!(
        "{} --child && exec {} 1G",
        scene.job("daemonize").display(),
        scene.job("hog").display()
    );
    let finished = scene.memcap().memory("200M").shell(&script).run();
    finished.expect_code(137);
    scene.assert_nothing_left();
}

fn after_ctrl_c(scene: &Scene) {
    let running = start_daemons(scene);
    running.signal_group(Signal::SIGINT);
    let finished = running.wait();
    finished.expect_code(130);
    assert!(finished.wall < SOON, "{finished}");
    scene.assert_nothing_left();
}

fn after_a_termination_request(scene: &Scene) {
    let running = start_daemons(scene);
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    finished.expect_code(143);
    assert!(finished.wall < SOON, "{finished}");
    scene.assert_nothing_left();
}

fn after_a_time_limit_that_the_job_ignores(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("200M")
        .option("--time")
        .option("500ms")
        .option("--grace")
        .option("300ms")
        .job("stubborn", ["--hold", "40"])
        .run();
    finished.expect_code(124).expect_verdict("time-limit");
    assert!(finished.wall >= Duration::from_millis(800), "{finished}");
    assert!(finished.wall < SOON, "{finished}");
    scene.assert_nothing_left();
}

fn grace_is_bounded_in_bytes(scene: &Scene) {
    let limit = 128 * MIB;
    let ledger = scene.ledger("ledger");
    let finished = scene
        .memcap()
        .memory("128M")
        .option("--time")
        .option("300ms")
        .option("--grace")
        .option("20s")
        .job("stubborn", ["--catch", "--progress", &scene.word("ledger")])
        .run();
    // Both limits were hit; either verdict is true, and both exit codes say so.
    assert!([124, 137].contains(&finished.code()), "{finished}");
    assert!(finished.wall < SOON, "{finished}");
    let touched = ledger.total().unwrap();
    let bound = match scene.setting().mechanism {
        Mechanism::CgroupV1 | Mechanism::CgroupV2 | Mechanism::Systemd => limit,
        Mechanism::Watchdog | Mechanism::Rlimit => limit * 2,
    };
    assert!(touched <= bound, "touched {touched}\n{finished}");
    scene.assert_nothing_left();
}

fn after_memcap_is_killed(scene: &Scene) {
    let running = start_daemons(scene);
    running.kill();
    running.wait().expect_code(137);
    scene.assert_nothing_left_soon();
}

fn after_memcap_is_killed_at_any_moment(scene: &Scene) {
    // From before its first instruction until long after the job's: with every
    // step of the keeper's setting up in between.
    let moments = (0..20).chain([32, 64]).map(Duration::from_millis);
    for moment in moments {
        let running = scene
            .memcap()
            .memory("200M")
            .job("daemonize", ["--child", "--stay"])
            .start();
        hold(moment);
        running.kill();
        running.wait().expect_code(137);
        scene.assert_nothing_left_soon();
    }
}

fn after_memcap_is_killed_over_the_limit(scene: &Scene) {
    let ledger = scene.ledger("ledger");
    let words = ["4G", "--in-child", "--progress", &scene.word("ledger")];
    let running = scene.memcap().memory("300M").job("hog", words).start();
    wait_until("200 MiB touched", || ledger.total().unwrap() > 200 * MIB);
    running.kill();
    running.wait();
    scene.assert_nothing_left_soon();
    let touched = ledger.total().unwrap();
    assert!(touched < 600 * MIB, "touched {touched}");
}

fn the_limit_holds_while_memcap_is_stopped(scene: &Scene) {
    let limit = 256 * MIB;
    let ledger = scene.ledger("ledger");
    let words = ["2G", "--rate", "300M", "--progress", &scene.word("ledger")];
    let running = scene.memcap().memory("256M").job("hog", words).start();
    wait_until("50 MiB touched", || ledger.total().unwrap() > 50 * MIB);
    running.signal(Signal::SIGSTOP);
    wait_until("the job is ended without memcap", || {
        !scene
            .processes()
            .iter()
            .any(|process| process.name == "hog")
    });
    let touched = ledger.total().unwrap();
    running.signal(Signal::SIGCONT);
    let finished = running.wait();
    finished.expect_code(137);
    assert!(
        finished.report().verdict().starts_with("memory-limit"),
        "{finished}"
    );
    let bound = if scene.setting().mechanism.is_exact() {
        limit
    } else {
        limit * 5 / 4
    };
    assert!(touched <= bound, "touched {touched}\n{finished}");
    scene.assert_nothing_left();
}

fn the_limit_holds_when_the_keeper_is_stopped(scene: &Scene) {
    let limit = 64 * MIB;
    let ledger = scene.ledger("ledger");
    let words = ["2G", "--rate", "20M", "--progress", &scene.word("ledger")];
    let running = scene.memcap().memory("64M").job("hog", words).start();
    for mib in [10, 30] {
        wait_until("some of it is touched", || {
            ledger.total().unwrap() > mib * MIB
        });
        running.keeper().signal(Signal::SIGSTOP);
    }
    let finished = running.wait();
    finished.expect_code(137);
    let verdict = finished.report().verdict();
    assert!(verdict.starts_with("memory-limit"), "{finished}");
    let touched = ledger.total().unwrap();
    // At 20 MiB/s: within less than a second of having been stopped.
    assert!(touched <= limit * 5 / 4, "touched {touched}\n{finished}");
    scene.assert_nothing_left();
}

fn after_memcap_is_killed_while_both_are_stopped(scene: &Scene) {
    let running = start_fleeing(scene);
    let keeper = running.keeper();
    // Stopped itself, memcap cannot continue its keeper; killed, never.
    running.signal(Signal::SIGSTOP);
    wait_until("memcap is stopped", || is_stopped(running.pid()));
    keeper.signal(Signal::SIGSTOP);
    wait_until("the keeper is stopped", || is_stopped(keeper.pid));
    running.kill();
    running.wait().expect_code(137);
    scene.assert_nothing_left_soon();
}

fn is_stopped(pid: i32) -> bool {
    Process::of(pid).is_some_and(|process| process.is_stopped())
}

fn after_the_keeper_is_killed(scene: &Scene) {
    let running = start_daemons(scene);
    let job = scene
        .processes()
        .into_iter()
        .find(|process| process.name == "daemonize" && process.parent == running.keeper().pid);
    let job = job.expect("the job is the keeper's child");
    running.keeper().signal(Signal::SIGKILL);
    let finished = running.wait();
    assert_ne!(finished.code(), 0, "{finished}");
    assert!(finished.wall < SOON, "{finished}");
    if finished.has_report() && finished.report().text("/containment") == "cgroup-v2" {
        scene.assert_nothing_left_soon();
    } else {
        // Without a cgroup only the kernel's parent-death signal remains: the
        // job itself ends, and what fled from it is named in the report.
        let gone = poll_until(SOON, || {
            (!scene
                .processes()
                .iter()
                .any(|process| process.pid == job.pid))
            .then_some(())
        });
        assert!(gone.is_some(), "the job outlived its keeper\n{finished}");
    }
}

fn the_next_run_sweeps_what_two_kills_left(scene: &Scene) {
    let running = start_daemons(scene);
    let (memcap, keeper) = (running.pid(), running.keeper());
    running.signal(Signal::SIGSTOP);
    keeper.signal(Signal::SIGKILL);
    running.kill();
    running.wait().expect_code(137);
    wait_until("the keeper has ended", || {
        Process::of(keeper.pid).is_none_or(|process| process.is_dead())
    });

    let next = scene.memcap().memory("200M").job("exit-with", ["0"]).run();
    next.expect_code(0);
    let mut left = memcap_groups();
    left.retain(|group| [memcap, keeper.pid].contains(&group.owner));
    assert!(left.is_empty(), "not swept: {left:?}\n{next}");
}

/// From the keeper's first instructions until long after the job's.
fn moments() -> impl Iterator<Item = Duration> {
    [0, 1, 2, 3, 4, 5, 7, 10, 14, 20, 40]
        .into_iter()
        .map(Duration::from_millis)
}

fn after_the_keeper_is_killed_at_any_moment(scene: &Scene) {
    for moment in moments() {
        let running = start_fleeing(scene);
        let keeper = running.keeper();
        hold(moment);
        keeper.signal(Signal::SIGKILL);
        let finished = running.wait();
        assert_ne!(finished.code(), 0, "{finished}");
        scene.assert_nothing_left_soon();
    }
}

fn after_the_keeper_was_stopped_at_any_moment(scene: &Scene) {
    for moment in moments() {
        let running = start_fleeing(scene);
        let keeper = running.keeper();
        hold(moment);
        keeper.signal(Signal::SIGSTOP);
        running.kill();
        keeper.signal(Signal::SIGCONT);
        running.wait().expect_code(137);
        scene.assert_nothing_left_soon();
    }
}

fn the_next_run_sweeps_what_two_kills_left_at_any_moment(scene: &Scene) {
    let mut owners = Vec::new();
    for moment in moments() {
        let running = start_fleeing(scene);
        let keeper = running.keeper();
        hold(moment);
        running.signal(Signal::SIGSTOP);
        keeper.signal(Signal::SIGKILL);
        running.kill();
        running.wait().expect_code(137);
        wait_until("the keeper has ended", || {
            Process::of(keeper.pid).is_none_or(|process| process.is_dead())
        });
        owners.push(keeper.pid);
    }
    let next = scene.memcap().memory("200M").job("exit-with", ["0"]).run();
    next.expect_code(0);
    let mut left = memcap_groups();
    left.retain(|group| owners.contains(&group.owner));
    assert!(left.is_empty(), "not swept: {left:?}\n{next}");
}

fn start_fleeing(scene: &Scene) -> Running<'_> {
    start_silent(scene, "--child --stay")
}

/// `daemonize` without our pipes, on whose end a check would wait where it
/// outlives both memcap and keeper.
fn start_silent<'scene>(scene: &'scene Scene, words: &str) -> Running<'scene> {
    let program = scene.job("daemonize").display().to_string();
    let script = format!("exec {program} {words} >/dev/null 2>&1");
    scene.memcap().memory("200M").shell(&script).start()
}

/// A run whose job stays, with a daemon and a plain child, all of them there.
fn start_daemons(scene: &Scene) -> Running<'_> {
    let words = format!("--child --stay --pidfile {}", scene.word("pids"));
    let running = start_silent(scene, &words);
    wait_until("the daemons are there", || {
        let pids = std::fs::read_to_string(scene.path("pids")).unwrap_or_default();
        pids.lines().count() == 2
    });
    running.keeper();
    // The control of every "no cgroup left": while it runs, it is found.
    let expected = scene.setting().mechanism.is_exact();
    assert!(
        !expected || !scene.cgroups().is_empty(),
        "the cgroup of {} is not found",
        running.pid()
    );
    running
}
