//! The supervisor as a library: handles, streams, events, many jobs at once,
//! and hosts of every kind. Jobs kept by a process and by a thread alike.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use integration_tests::harness::{
    Account, Finished, Mechanism as Rung, Process, Scene, Setting, memcap_binary, memcap_groups,
    wait_until,
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
    Scene::open(Setting {
        account: Account::Root,
        mechanism: Rung::Watchdog,
    })
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
    let Some(scene) = scene() else { return };
    let script = "setsid sleep 600 & echo $$ $!; wait";
    for (words, fled_survives) in [
        (vec!["plain", "sh", "-c", script], false),
        (vec!["plain", "--in-process", "sh", "-c", script], true),
    ] {
        let mut host = std::process::Command::new(scene.job("embedder"))
            .args(words)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(host.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let pids: Vec<i32> = line
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect();
        let [main, fled] = pids[..] else {
            panic!("{line}")
        };
        host.kill().unwrap();
        host.wait().unwrap();
        wait_until("the main process dies with its host", || !is_alive(main));
        if fled_survives {
            assert!(is_alive(fled));
            // The next start below the same place sweeps it.
            let request = shell("true");
            Supervisor::new()
                .keeper(memcap_binary())
                .run(request)
                .unwrap();
        }
        wait_until("what fled is ended", || !is_alive(fled));
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
    }
}
