//! The job programs and the harness do what the other suites rely on. Nothing
//! here runs memcap: these are the controls.

use std::fs;
use std::time::Duration;

use integration_tests::harness::{Account, Mechanism, Scene, Setting, wait_until};
use nix::sys::signal::Signal;

const MIB: u64 = 1 << 20;

fn scene(account: Account) -> Option<Scene> {
    Scene::open(Setting {
        account,
        mechanism: Mechanism::Watchdog,
    })
}

fn own_scene() -> Scene {
    scene(Account::Ordinary).expect("an ordinary user is always possible")
}

#[test]
fn the_hog_touches_what_it_says() {
    let scene = own_scene();
    let ledger = scene.ledger("ledger");
    let words = ["20M", "--progress", &scene.word("ledger")];
    scene.plain().job("hog", words).run().expect_code(0);
    assert_eq!(ledger.total().unwrap(), 20 * MIB);
}

#[test]
fn the_hog_ends_with_7_where_memory_is_refused() {
    let scene = own_scene();
    let hog = scene.job("hog").display().to_string();
    let finished = scene
        .plain()
        .shell(&format!("ulimit -d 50000; exec {hog} 100M"))
        .run();
    finished.expect_code(7);
    assert!(
        finished.stderr_text().contains("memory refused after"),
        "{finished}"
    );
}

#[test]
fn the_hogs_parent_ends_with_3_where_the_allocator_is_killed() {
    let scene = own_scene();
    let ledger = scene.ledger("ledger");
    let words = [
        "5M",
        "--in-child",
        "--hold",
        "30",
        "--progress",
        &scene.word("ledger"),
    ];
    let running = scene.plain().job("hog", words).start();
    wait_until("5 MiB touched", || ledger.total().unwrap() == 5 * MIB);
    let processes = scene.processes();
    let allocator = processes
        .iter()
        .find(|process| process.parent == running.pid());
    allocator
        .expect("the allocator is a child")
        .signal(Signal::SIGKILL);
    running.wait().expect_code(3);
}

#[test]
fn the_tree_ends_with_4_where_one_child_is_killed() {
    let scene = own_scene();
    let ledger = scene.ledger("ledger");
    let words = [
        "3",
        "2M",
        "--hold",
        "30",
        "--progress",
        &scene.word("ledger"),
    ];
    let running = scene.plain().job("tree", words).start();
    wait_until("three times 2 MiB touched", || {
        ledger.total().unwrap() == 6 * MIB
    });
    for process in scene
        .processes()
        .iter()
        .filter(|process| process.parent == running.pid())
    {
        process.signal(Signal::SIGKILL);
    }
    running.wait().expect_code(4);
    scene.plain().job("tree", ["3", "2M"]).run().expect_code(0);
}

#[test]
fn daemons_flee_and_are_found_and_ended_all_the_same() {
    let scene = own_scene();
    let words = ["--child", "--exit", "9", "--pidfile", &scene.word("pids")];
    scene.plain().job("daemonize", words).run().expect_code(9);
    let pids = fs::read_to_string(scene.path("pids")).unwrap();
    let mut expected: Vec<i32> = pids.lines().map(|line| line.parse().unwrap()).collect();
    let mut found: Vec<i32> = scene
        .processes()
        .iter()
        .map(|process| process.pid)
        .collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);

    drop(scene);
    for pid in expected {
        assert!(!is_alive(pid), "{pid} outlived its scene");
    }
}

#[test]
#[should_panic(expected = "left running")]
fn survivors_are_an_error() {
    let scene = own_scene();
    scene.plain().job("daemonize", [""; 0]).run().expect_code(0);
    scene.assert_nothing_left();
}

#[test]
fn the_stubborn_ignore_what_they_are_asked() {
    let scene = own_scene();
    let words = ["--ready", &scene.word("ready")];
    let mut running = scene.plain().job("stubborn", words).start();
    wait_until("the job is ready", || scene.path("ready").exists());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        running.signal(signal);
    }
    assert!(!running.has_ended());
    running.signal(Signal::SIGKILL);
    running.wait().expect_code(137);
}

#[test]
fn the_catching_go_on_for_a_second() {
    let scene = own_scene();
    let ledger = scene.ledger("ledger");
    let ready = scene.word("ready");
    let words = [
        "--catch",
        "--ready",
        &ready,
        "--progress",
        &scene.word("ledger"),
    ];
    let running = scene.plain().job("stubborn", words).start();
    wait_until("the job is ready", || scene.path("ready").exists());
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    finished.expect_code(5);
    assert!(finished.wall >= Duration::from_secs(1), "{finished}");
    assert!(ledger.total().unwrap() > 0);
}

#[test]
fn ends_are_as_asked_for() {
    let scene = own_scene();
    for code in [0, 1, 42, 255] {
        scene
            .plain()
            .job("exit-with", [code.to_string()])
            .run()
            .expect_code(code);
    }
    for signal in [1, 9, 11, 15] {
        let words = ["--signal".to_owned(), signal.to_string()];
        scene
            .plain()
            .job("exit-with", words)
            .run()
            .expect_code(128 + signal);
    }
}

#[test]
fn the_ordinary_user_has_no_privilege() {
    let Some(scene) = scene(Account::Ordinary) else {
        return;
    };
    let finished = scene.plain().job("report-env", [""; 0]).run();
    let report: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(
        report["privileges"]["CapEff"], "0000000000000000",
        "{finished}"
    );
    assert_ne!(
        report["privileges"]["Uid"]
            .as_str()
            .unwrap()
            .split_whitespace()
            .next(),
        Some("0")
    );
}

#[test]
fn misspelled_arguments_are_refused_with_64() {
    let scene = own_scene();
    scene.plain().job("hog", ["12Q"]).run().expect_code(64);
    scene
        .plain()
        .job("hog", ["1M", "--fast"])
        .run()
        .expect_code(64);
    scene.plain().job("tree", ["1"]).run().expect_code(64);
}

fn is_alive(pid: i32) -> bool {
    integration_tests::harness::Process::of(pid).is_some_and(|process| !process.is_dead())
}
