//! The supervisor as a library: handles, streams, events, many jobs at once,
//! and hosts of every kind. Jobs kept by a process and by a thread alike.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use integration_tests::harness::{
    Account, Finished, Mechanism as Rung, Process, Scene, Setting, example_binary, memcap_binary,
    memcap_groups, wait_until,
};
use memcap_supervisor::{
    Event, Handle, Job, Limits, Mechanism, MechanismChoice, Request, Stream, Supervisor,
    VerdictKind,
};
use nix::sys::signal::Signal;

/// By a process, and by a thread of ours.
fn both() -> [Supervisor; 2] {
    [
        Supervisor::new().keeper(memcap_binary()),
        Supervisor::in_process(),
    ]
}

fn limits(memory: &str) -> Limits {
    let limits = Limits::memory(memory.parse().expect("a size")).expect("a limit");
    // Should a job hang, its verdict tells.
    limits.time(Duration::from_secs(120)).expect("a time")
}

fn shell(script: &str) -> Request {
    let job = Job::new("sh").args(["-c", script]).stdout(Stream::Piped);
    Request::new(job, limits("256M"))
}

fn watchdog(request: Request) -> Request {
    request.mechanism(MechanismChoice::Only(Mechanism::Watchdog))
}

fn first_line(handle: &mut Handle) -> String {
    let mut line = String::new();
    let stdout = handle.stdout().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    line.trim().to_owned()
}

fn is_alive(pid: i32) -> bool {
    Process::of(pid).is_some_and(|process| !process.is_dead())
}

#[test]
fn fifty_jobs_at_once_keep_their_pipes_apart() {
    for supervisor in both() {
        let keepers: Vec<u32> = std::thread::scope(|scope| {
            let jobs: Vec<_> = (0..50)
                .map(|number| {
                    let supervisor = &supervisor;
                    scope.spawn(move || {
                        let job = Job::new("cat").stdin(Stream::Piped).stdout(Stream::Piped);
                        let request = Request::new(job, limits("256M"));
                        let request = match number % 2 {
                            0 => request,
                            _ => watchdog(request),
                        };
                        let mut handle = supervisor.spawn(request).unwrap();
                        let keeper = handle.keeper_pid();
                        let text = format!("job {number}").repeat(1000);
                        // `cat` ends when the last copy of this end is closed:
                        // one that has leaked into another job would hold it.
                        let mut stdin = handle.stdin().expect("a pipe");
                        stdin.write_all(text.as_bytes()).unwrap();
                        drop(stdin);
                        let (outcome, output) = handle.wait_with_output().unwrap();
                        assert_eq!(outcome.verdict.kind, VerdictKind::Finished, "{outcome:?}");
                        assert!(output.stdout == text.as_bytes(), "job {number}");
                        keeper
                    })
                })
                .collect();
            jobs.into_iter().map(|job| job.join().unwrap()).collect()
        });
        let groups = memcap_groups();
        let left: Vec<_> = groups
            .iter()
            // Other tests of this process may be at work in its name.
            .filter(|group| group.owner.unsigned_abs() != std::process::id())
            .filter(|group| keepers.contains(&group.owner.unsigned_abs()))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn dropping_the_handle_ends_the_tree() {
    for supervisor in both() {
        let script = "sleep 600 & echo $$ $!; wait";
        let mut handle = supervisor.spawn(watchdog(shell(script))).unwrap();
        let line = first_line(&mut handle);
        let pids: Vec<i32> = line.split(' ').map(|pid| pid.parse().unwrap()).collect();
        assert!(pids.iter().all(|pid| is_alive(*pid)));
        drop(handle);
        assert!(!pids.iter().any(|pid| is_alive(*pid)), "{pids:?}");
    }
}

#[test]
fn a_running_job_is_asked_and_not_waited_for() {
    for supervisor in both() {
        let mut handle = supervisor.spawn(shell("exec sleep 600")).unwrap();
        assert_eq!(handle.try_wait().unwrap(), None);
        let longest = Duration::from_millis(20);
        assert_eq!(handle.wait_timeout(longest).unwrap(), None);
        let sample = handle.sample().unwrap().expect("it runs");
        assert!(sample.current <= sample.peak, "{sample:?}");
        handle.stop();
        let patience = Duration::from_secs(60);
        let outcome = handle
            .wait_timeout(patience)
            .unwrap()
            .expect("it was asked to end");
        assert_eq!(outcome.verdict.kind, VerdictKind::Interrupted);
        assert_eq!(handle.sample().unwrap(), None);
        assert_eq!(
            handle.wait().unwrap().verdict.kind,
            VerdictKind::Interrupted
        );
    }
}

#[test]
fn a_stopped_keeper_is_continued_by_whoever_embeds_it() {
    let Some(scene) = scene() else { return };
    let supervisor = Supervisor::new().keeper(memcap_binary());
    let hog = Job::new(scene.job("hog")).args(["2G", "--rate", "20M"]);
    let request = watchdog(Request::new(hog, limits("64M")));
    // Nobody listens to the keeper meanwhile.
    let handle = supervisor.spawn(request).unwrap();
    let keeper = Process::of(handle.keeper_pid().cast_signed()).expect("it runs");
    keeper.signal(Signal::SIGSTOP);
    wait_until("the keeper ends the tree", || !is_alive(keeper.pid));
    let outcome = handle.wait().unwrap();
    assert_eq!(outcome.verdict.kind, VerdictKind::MemoryLimit);
    let peak = outcome.peak.expect("sampled").mib();
    assert!(peak < 80, "{outcome:?}");
}

#[test]
fn events_come_over_a_channel_while_the_handle_is_free() {
    for supervisor in both() {
        let request = shell("sleep 600").sample_every(Duration::from_millis(5));
        let mut handle = supervisor.spawn(request).unwrap();
        let mut events = handle.events();
        assert!(matches!(events.next(), Some(Event::Sample(_))));
        assert!(handle.sample().unwrap().is_some());
        handle.kill();
        assert_eq!(events.last(), Some(Event::Ended));
        assert_eq!(handle.events().next(), None, "for one taker");
        assert_eq!(
            handle.wait().unwrap().verdict.kind,
            VerdictKind::Interrupted
        );
    }
}

#[test]
fn limits_hold_in_both_and_other_children_of_the_host_live_on() {
    let Some(scene) = scene() else { return };
    let mut other = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    for supervisor in both() {
        let hog = || Job::new(scene.job("hog")).args(["200M", "--in-child"]);
        let requests = [
            Request::new(hog(), limits("64M")),
            watchdog(Request::new(hog(), limits("64M"))),
        ];
        for request in requests {
            let outcome = supervisor.run(request).unwrap();
            assert_eq!(
                outcome.verdict.kind,
                VerdictKind::MemoryLimit,
                "{outcome:?}"
            );
        }
    }
    assert_eq!(other.try_wait().unwrap(), None);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn directory_environment_and_failures_are_the_jobs_own() {
    for supervisor in both() {
        let job = Job::new("sh")
            .args(["-c", "echo $WORD in $(pwd)"])
            .env("WORD", "hello")
            .current_dir("/proc")
            .stdout(Stream::Piped);
        let request = Request::new(job, limits("256M"));
        let (_, output) = supervisor
            .spawn(request)
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(output.stdout, b"hello in /proc\n");
        let missing = Request::new(Job::new("no-such-program"), limits("256M"));
        let outcome = supervisor.run(missing).unwrap();
        assert_eq!(outcome.exit_code(), 127, "{outcome:?}");
    }
}

#[test]
fn a_program_that_is_no_keeper_is_named() {
    let error = Supervisor::new()
        .keeper("/bin/true")
        .run(shell("true"))
        .expect_err("no keeper");
    assert!(
        error.hint().is_some_and(|hint| hint.contains("hook")),
        "{error}"
    );
}

fn scene() -> Option<Scene> {
    scene_of(Account::Root)
}

fn ordinary_scene() -> Option<Scene> {
    scene_of(Account::Ordinary)
}

fn scene_of(account: Account) -> Option<Scene> {
    let mechanism = Rung::Watchdog;
    Scene::open(Setting { account, mechanism })
}

#[test]
fn hosts_of_every_kind_embed_it() {
    let Some(scene) = scene() else { return };
    let hog = scene.job("hog").display().to_string();
    for host in [
        "plain",
        "ignores-sigchld",
        "reaps-all",
        "blocks-signals",
        "forks",
    ] {
        for (words, verdict) in [
            (vec!["sh", "-c", "exit 3"], "finished"),
            (vec![hog.as_str(), "200M"], "memory-limit"),
        ] {
            let arguments = [vec![host], words].concat();
            let finished = scene.plain().job("embedder", arguments).run();
            assert_eq!(said(&finished), verdict, "{host}: {finished}");
            end(&scene);
        }
    }
    // A thread needs to be the one that reaps; else the status is lost, and said
    // to be.
    for (host, verdict) in [
        ("plain", "finished"),
        ("blocks-signals", "finished"),
        ("forks", "finished"),
        ("ignores-sigchld", "unexplained"),
    ] {
        let arguments = [host, "--in-process", "sh", "-c", "exit 3"];
        let finished = scene.plain().job("embedder", arguments).run();
        assert_eq!(said(&finished), verdict, "{host}: {finished}");
        end(&scene);
    }
}

fn said(finished: &Finished) -> String {
    String::from_utf8_lossy(&finished.stdout).trim().to_owned()
}

/// Ends the forked copies of hosts.
fn end(scene: &Scene) {
    for process in scene.processes() {
        process.signal(Signal::SIGKILL);
    }
    wait_until("the copies are gone", || scene.processes().is_empty());
}

/// What the mode without a keeper does not promise: nobody watches when the
/// host is killed. With a keeper the same tree is gone.
#[test]
fn without_a_keeper_the_death_of_the_host_is_felt() {
    // Without groups nothing can be swept, so that what is left stays.
    let Some(scene) = ordinary_scene() else {
        return;
    };
    let fled = fled_from_a_killed_host(&scene, &[]);
    wait_until("the keeper ends what fled", || !is_alive(fled));
    let fled = fled_from_a_killed_host(&scene, &["--in-process"]);
    assert!(is_alive(fled));
}

#[test]
fn what_a_killed_host_leaves_in_its_groups_is_swept_by_the_next_start() {
    let Some(scene) = scene() else { return };
    let fled = fled_from_a_killed_host(&scene, &["--in-process"]);
    // A start of any other program may have been faster.
    let next = Supervisor::new().keeper(memcap_binary());
    next.run(shell("true")).unwrap();
    wait_until("what fled is swept", || !is_alive(fled));
}

/// Starts a host whose job has a descendant in a session of its own, kills the
/// host, and waits until the job's main process has died with it. Returns the
/// descendant's pid.
fn fled_from_a_killed_host(scene: &Scene, options: &[&str]) -> i32 {
    let script = "setsid sleep 600 & echo $$ $! >pids.new; mv pids.new pids; wait";
    let words = [&["plain"], options, &["sh", "-c", script]].concat();
    let pids = scene.path("pids");
    let host = scene.plain().job("embedder", words).start();
    wait_until("the job runs", || pids.exists());
    let text = std::fs::read_to_string(&pids).expect("readable");
    std::fs::remove_file(&pids).expect("removed");
    let pids: Vec<i32> = text
        .split_whitespace()
        .map(|pid| pid.parse().expect("a pid"))
        .collect();
    let [main, fled] = pids[..] else {
        panic!("{text}")
    };
    host.signal(Signal::SIGKILL);
    wait_until("the main process dies with its host", || !is_alive(main));
    fled
}

/// Runs an example where no `memcap` is on PATH.
fn example(name: &str, words: &[&str]) -> std::process::Output {
    std::process::Command::new(example_binary(name))
        .args(words)
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("starts")
}

#[test]
fn the_job_runner_is_its_own_keeper_and_tells_each_job_apart() {
    let Some(scene) = scene() else { return };
    let hog = format!("exec {} 200M", scene.job("hog").display());
    let ran = example(
        "job_runner",
        &["256M", "exit 3", "64M", &hog, "256M", "true"],
    );
    let table = String::from_utf8_lossy(&ran.stdout);
    let told: Vec<[&str; 2]> = table
        .lines()
        .skip(1)
        // A command is cut to its column.
        .map(|line| line.split_at(36).1.split_whitespace())
        .map(|mut words| [(); 2].map(|()| words.next().unwrap_or_default()))
        .collect();
    let expected = [
        ["finished", "3"],
        ["memory-limit", "137"],
        ["finished", "0"],
    ];
    assert_eq!(told, expected, "{ran:?}");
    assert_eq!(ran.status.code(), Some(1));
    let refused = example("job_runner", &["1K", "true"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn a_total_is_kept_by_starting_jobs_again() {
    // Each of them holds 48 MiB for a moment: tail waits for a line to end.
    let job = "head -c 48M /dev/zero | tail | wc -c";
    let ran = example("budget", &["64M", job, job, job]);
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(text.matches(": finished").count(), 3, "{ran:?}");
    assert_eq!(text.matches("50331648").count(), 3, "{ran:?}");
    let refused = example("budget", &["1K", "true"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn the_other_examples_do_what_they_say() {
    let piped = example("beside_command", &[]);
    let text = String::from_utf8_lossy(&piped.stdout);
    assert!(
        text.starts_with("199998\n199999\n200000\nsort: finished"),
        "{piped:?}"
    );
    let raced = example("await_from_tokio", &[]);
    let text = String::from_utf8_lossy(&raced.stdout);
    assert!(text.ends_with("the hare: finished\n"), "{raced:?}");
}
