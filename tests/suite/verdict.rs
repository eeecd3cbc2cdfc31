//! Every verdict by its evidence, also where the victim is not the main process
//! or the limit is not ours. (Mistakes of the command line: the report suite.)

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use integration_tests::each_setting;
use integration_tests::harness::{
    Finished, Mechanism, OuterGroup, Process, Report, Running, Scene, wait_until,
};
use nix::sys::signal::Signal;

each_setting!(
    a_smaller_group_around_is_an_outer_limit,
    a_smaller_group_around_with_a_grandchild_as_victim,
    a_second_memcap_inside_judges_its_own_limit,
    a_kill_of_the_main_process_is_somebody_elses,
    a_kill_of_a_grandchild_is_the_jobs_affair,
    a_spared_main_process_is_a_partial_kill,
    a_crash_is_a_signal,
    a_real_time_signal_is_a_signal,
    a_time_limit,
    an_interruption,
    a_command_that_is_not_there,
    a_keeper_that_is_killed,
);

fn a_smaller_group_around_is_an_outer_limit(scene: &Scene) {
    let Some((finished, outer)) = run_in_a_smaller_group(scene, "exec ", "") else {
        return;
    };
    finished.expect_code(137).expect_verdict("outer-limit");
    assert!(evidence(&finished).contains(&outer), "{finished}");
    scene.assert_nothing_left();
}

fn a_smaller_group_around_with_a_grandchild_as_victim(scene: &Scene) {
    let Some((finished, outer)) = run_in_a_smaller_group(scene, "exec ", " --in-child") else {
        return;
    };
    if scene.setting().mechanism.is_exact() {
        finished.expect_code(137).expect_verdict("outer-limit");
    } else {
        // Nobody can tell whose kill the group around has counted: it is said.
        finished.expect_code(3).expect_verdict("finished");
        assert!(evidence(&finished).contains("1 OOM kill"), "{finished}");
    }
    assert!(evidence(&finished).contains(&outer), "{finished}");
    scene.assert_nothing_left();
}

fn a_second_memcap_inside_judges_its_own_limit(scene: &Scene) {
    let inner_report = scene.path("inner.json");
    let inner = scene.memcap().memory("128M").report(&inner_report);
    let words = inner.job("hog", ["1G"]).words();
    let (memcap, arguments) = words.split_first().unwrap();
    let finished = scene
        .memcap()
        .memory("400M")
        .command(memcap, arguments)
        .run();
    // To the outer one, the inner one is a job that ended by itself.
    finished.expect_code(137).expect_verdict("finished");
    let judge = scene.setting().mechanism.judge().unwrap_or_default();
    let inner = Report::read(&inner_report).unwrap();
    assert_eq!(inner.verdict(), format!("memory-limit by {judge}"));
    assert_eq!(inner.number("/limit_bytes"), 128 << 20);
    scene.assert_nothing_left();
}

fn a_kill_of_the_main_process_is_somebody_elses(scene: &Scene) {
    let running = scene
        .memcap()
        .memory("200M")
        .job("stubborn", ["--hold", "40"])
        .start();
    child_of(scene, running.keeper().pid, "stubborn").signal(Signal::SIGKILL);
    let finished = running.wait();
    finished.expect_code(137).expect_verdict("killed-by-other");
    scene.assert_nothing_left();
}

fn a_kill_of_a_grandchild_is_the_jobs_affair(scene: &Scene) {
    let words = ["1M", "--in-child", "--hold", "40"];
    let running = scene.memcap().memory("200M").job("hog", words).start();
    let main = child_of(scene, running.keeper().pid, "hog");
    child_of(scene, main.pid, "hog").signal(Signal::SIGKILL);
    let finished = running.wait();
    finished.expect_code(3).expect_verdict("finished");
    scene.assert_nothing_left();
}

/// The keeper is held up, and memcap, which would continue it, so that the main
/// process ends in its own way before the rest of the tree is ended.
fn a_spared_main_process_is_a_partial_kill(scene: &Scene) {
    if scene.setting().mechanism != Mechanism::CgroupV1 {
        // v2 kills the whole group, and elsewhere it is the keeper that kills.
        return;
    }
    let hog = scene.job("hog").display().to_string();
    let (running, main) = start_waiting(scene, &format!("{hog} 1G; exit 0"));
    let keeper = running.keeper();
    running.signal(Signal::SIGSTOP);
    wait_until("memcap is stopped", || is_stopped(running.pid()));
    keeper.signal(Signal::SIGSTOP);
    wait_until("the keeper is stopped", || is_stopped(keeper.pid));
    go(scene);
    wait_until("the main process has ended", || {
        Process::of(main.pid).is_none_or(|process| process.is_dead())
    });
    keeper.signal(Signal::SIGCONT);
    running.signal(Signal::SIGCONT);
    let finished = running.wait();
    finished
        .expect_code(137)
        .expect_verdict("partial-kill by kernel");
    assert_eq!(finished.report().number("/job/exit_code"), 0, "{finished}");
    scene.assert_nothing_left();
}

fn a_crash_is_a_signal(scene: &Scene) {
    // With a core file, where this machine writes any; in the scene's folder.
    let script = "ulimit -c unlimited; kill -SEGV $$";
    let finished = scene.memcap().memory("200M").shell(script).run();
    finished.expect_code(139).expect_verdict("signaled");
    assert_eq!(finished.report().number("/job/signal"), 11);
}

fn a_real_time_signal_is_a_signal(scene: &Scene) {
    let finished = scene.memcap().memory("100M").shell("kill -40 $$").run();
    finished.expect_code(168).expect_verdict("signaled");
    // An orphan that dies of one is not the end of the job.
    let script = "(sh -c 'kill -40 $$' &) ; sleep 0.3; exit 5";
    let finished = scene.memcap().memory("100M").shell(script).run();
    finished.expect_code(5).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn a_time_limit(scene: &Scene) {
    let run = scene.memcap().memory("200M").option("--time=300ms");
    let finished = run.shell("sleep 40").run();
    finished.expect_code(124).expect_verdict("time-limit");
    scene.assert_nothing_left();
}

fn an_interruption(scene: &Scene) {
    let (running, _) = start_waiting(scene, "exit 0");
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    finished.expect_code(143).expect_verdict("interrupted");
    scene.assert_nothing_left();
}

fn a_command_that_is_not_there(scene: &Scene) {
    let run = |command: &str| {
        scene
            .memcap()
            .memory("200M")
            .command(command, [""; 0])
            .run()
    };
    run("/nonexistent/command")
        .expect_code(127)
        .expect_verdict("not-started");
    run("/etc/passwd")
        .expect_code(126)
        .expect_verdict("not-started");
    scene.assert_nothing_left();
}

fn a_keeper_that_is_killed(scene: &Scene) {
    let (running, _) = start_waiting(scene, "exit 0");
    running.keeper().signal(Signal::SIGKILL);
    let finished = running.wait();
    finished.expect_code(125).expect_verdict("internal-error");
    scene.assert_nothing_left_soon();
}

/// Runs `hog` under a limit that its group around, made smaller once the job
/// runs, does not leave; with that group's path. `None` where v1 groups cannot
/// be made.
fn run_in_a_smaller_group(scene: &Scene, before: &str, behind: &str) -> Option<(Finished, String)> {
    if scene.setting().mechanism == Mechanism::CgroupV2 {
        // The virtual machine `v2-outer` has this.
        return None;
    }
    let outer = OuterGroup::make()?;
    let hog = scene.job("hog").display().to_string();
    let script = format!("{before}{hog} 1G{behind}");
    let (running, _) = outer.enter(|| start_waiting(scene, &script));
    outer.limit(100 << 20);
    go(scene);
    let finished = running.wait();
    Some((finished, outer.path().display().to_string()))
}

/// A job that does `script` at the word [`go`], and its main process.
fn start_waiting<'scene>(scene: &'scene Scene, script: &str) -> (Running<'scene>, Process) {
    let script = format!("echo >ready; while [ ! -e go ]; do sleep 0.02; done; {script}");
    let running = scene.memcap().memory("400M").shell(&script).start();
    wait_until("the job is ready", || scene.path("ready").exists());
    let main = child_of(scene, running.keeper().pid, "sh");
    (running, main)
}

fn is_stopped(pid: i32) -> bool {
    Process::of(pid).is_some_and(|process| process.is_stopped())
}

fn go(scene: &Scene) {
    std::fs::write(scene.path("go"), "").unwrap();
}

/// The process called `name` below `parent`.
fn child_of(scene: &Scene, parent: i32, name: &str) -> Process {
    let find = || {
        let mut all = scene.processes().into_iter();
        all.find(|process| process.parent == parent && process.name == name)
    };
    wait_until(&format!("{name} below {parent}"), || find().is_some());
    find().unwrap()
}

fn evidence(finished: &Finished) -> String {
    let lines = finished.report().get("/verdict/evidence").cloned();
    lines.unwrap_or_default().to_string()
}
