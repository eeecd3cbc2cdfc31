//! What is typed and what is printed: mistakes are told with what to write
//! instead, sizes mean the same for every option, and output that cannot be
//! written is a failure.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;

use integration_tests::harness::{Account, Finished, Mechanism, Scene, Setting};

/// memcap's own failures.
const EXIT_INTERNAL: i32 = 125;

/// The command line is the same for everybody.
fn scene() -> Option<Scene> {
    Scene::open(Setting {
        account: Account::Ordinary,
        mechanism: Mechanism::Watchdog,
    })
}

/// memcap with `words`, as `"$@"` of a shell script.
fn through(scene: &Scene, script: &str, words: &[&str]) -> Finished {
    let memcap = scene.memcap().words()[0].clone();
    let mut arguments: Vec<OsString> = ["-c", script, "sh"].map(OsString::from).into();
    arguments.push(memcap);
    arguments.extend(words.iter().map(OsString::from));
    scene.plain().command("sh", &arguments).run()
}

#[test]
fn a_mistake_is_told_with_what_to_write_instead() {
    let Some(scene) = scene() else { return };
    let cases: [(&[&str], i32, &str, &str); 27] = [
        (&["run"], 125, "--memory", "memcap run --help"),
        (&["run", "--bogus"], 125, "--bogus", "memcap run --help"),
        (&["run", "--memroy"], 125, "--memroy", "'--memory'"),
        (&["run", "-m"], 125, "a value is required", "run --help"),
        (&["run", "-m", "-5G", "true"], 125, "`-5G`", "512M"),
        (
            &["run", "-m", "1G", "--time", "-1", "true"],
            125,
            "`-1`",
            "90s",
        ),
        (
            &["run", "-m", "1G", "--cpu=-1s", "true"],
            125,
            "`-1s`",
            "90s",
        ),
        (
            &["run", "-m", "1G", "--swap", "0%", "true"],
            125,
            "`0%`",
            "75%",
        ),
        (
            &["run", "-m", "1G", "--soft", "x", "true"],
            125,
            "`x`",
            "75%",
        ),
        (
            &["run", "-m", "1G", "--keep-free", "100%", "true"],
            125,
            "available",
            "smaller",
        ),
        (
            &["run", "-m", "64M", "no-such-program"],
            127,
            "`no-such-program` was not started",
            "PATH",
        ),
        (
            &["run", "-m", "64M", "ls -l"],
            127,
            "`ls -l` was not started",
            "one word",
        ),
        (&["run", "-m", "64M", "cd"], 127, "`cd`", "sh -c 'cd"),
        (
            &["run", "-m", "64M", "--processes", "0", "true"],
            125,
            "zero processes",
            "such as 64",
        ),
        (
            &["run", "-m", "64M", "--processes", "many", "true"],
            125,
            "--processes: `many`",
            "such as 64",
        ),
        (
            &["run", "-m", "64M", "--time", "0", "true"],
            125,
            "zero",
            "90s",
        ),
        (
            &["run", "-m", "64M", "--grace", "soon", "true"],
            125,
            "--grace: `soon`",
            "500ms",
        ),
        (
            &["run", "-m", "64M", "--mechanism", "magic", "true"],
            125,
            "`magic`",
            "cgroup-v2",
        ),
        (
            &["run", "-m", "64M", "--refusal-exit", "0", "true"],
            125,
            "--refusal-exit: `0` is no exit code of a failure",
            "from 1 to 255",
        ),
        (
            &["run", "-m", "64M", "--refusal-exit", "256", "true"],
            125,
            "--refusal-exit: `256`",
            "from 1 to 255",
        ),
        (&["run", "-m", "64M", "/"], 126, "`/` was not started", "sh"),
        (
            &["run", "-m", "64M", "--report", "/nowhere/r", "true"],
            125,
            "`/nowhere/r`: No such file or directory (os error 2)",
            "written",
        ),
        (
            &["doctor", "--host", "/nowhere"],
            125,
            "`/nowhere`",
            "--save",
        ),
        (
            &["doctor", "--save", "/nowhere/saved"],
            125,
            "`/nowhere/saved`",
            "new folder",
        ),
        (&["bogus"], 2, "'bogus'", "memcap --help"),
        (&["doctor", "--bogus"], 2, "--bogus", "memcap doctor --help"),
        (&["marker", "--bogus"], 2, "--bogus", "memcap marker --help"),
    ];
    for (words, code, message, hint) in cases {
        let finished = through(&scene, "exec \"$@\"", words);
        finished.expect_code(code);
        let text = finished.stderr_text();
        let lines: Vec<&str> = text.lines().collect();
        let [error, advice] = lines[..] else {
            panic!("{words:?}: {finished}")
        };
        assert!(
            error.starts_with("memcap: error: "),
            "{words:?}: {finished}"
        );
        assert!(error.contains(message), "{words:?}: {finished}");
        assert!(advice.starts_with("  hint: "), "{words:?}: {finished}");
        assert!(advice.contains(hint), "{words:?}: {finished}");
    }
}

#[test]
fn help_says_what_sizes_and_exit_codes_mean() {
    let Some(scene) = scene() else { return };
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--help"], &["Examples:", "memcap doctor "]),
        (&["run", "--help"], &["powers of 1024", "137 ", "Examples:"]),
        (&["run", "-h"], &["powers of 1024", "137 ", "Examples:"]),
        (&["doctor", "--help"], &["exit code is 0 when"]),
        (&["marker", "--help"], &["exit code is 0 when", "Examples:"]),
    ];
    for (words, told) in cases {
        let finished = through(&scene, "exec \"$@\"", words);
        finished.expect_code(0);
        let text = String::from_utf8_lossy(&finished.stdout).replace('\n', " ");
        for part in told {
            assert!(text.contains(part), "{words:?}: {text}");
        }
        let widest = String::from_utf8_lossy(&finished.stdout);
        let widest = widest.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{words:?}");
    }
}

#[test]
fn a_report_names_the_file_that_was_asked_for_alone() {
    let Some(scene) = scene() else { return };
    std::fs::create_dir(scene.path("closed-folder")).expect("made");
    let mode = PermissionsExt::from_mode(0o555);
    std::fs::set_permissions(scene.path("closed-folder"), mode).expect("changed");
    let report = scene.word("closed-folder/report");
    let words = ["run", "-m", "64M", "--report", &report, "true"];
    let finished = through(&scene, "exec \"$@\"", &words);
    finished.expect_code(EXIT_INTERNAL);
    let text = finished.stderr_text();
    assert!(text.contains("Permission denied (os error 13)\n"), "{text}");
    for redirection in [">&-", "</dev/null 3</dev/null"] {
        let place = if redirection == ">&-" {
            "-"
        } else {
            "/dev/fd/3"
        };
        let words = ["run", "-m", "64M", "--report", place, "true"];
        let finished = through(&scene, &format!("exec \"$@\" {redirection}"), &words);
        finished.expect_code(EXIT_INTERNAL);
        assert!(finished.stderr_text().contains("failed to write `"));
    }
}

#[test]
fn a_file_that_may_not_grow_ends_the_job_and_not_memcap() {
    let Some(scene) = scene() else { return };
    std::fs::write(scene.path("log"), "").expect("made");
    std::fs::set_permissions(scene.path("log"), PermissionsExt::from_mode(0o666)).unwrap();
    let here = |words: &[&str]| {
        let script = format!(
            "ulimit -f 0; exec \"$@\" 2>'{}'",
            scene.path("log").display()
        );
        through(&scene, &script, words)
    };
    here(&["run", "-m", "64M", "sh", "-c", "exit 3"]).expect_code(3);
    let report = scene.word("report");
    here(&["run", "-m", "64M", "--report", &report, "true"]).expect_code(EXIT_INTERNAL);
    let signal = 128 + nix::sys::signal::Signal::SIGXFSZ as i32;
    here(&["run", "-m", "64M", "sh", "-c", "echo beyond >&2"]).expect_code(signal);
}

#[test]
fn too_few_processes_are_told_with_what_to_do() {
    let Some(scene) = scene() else { return };
    let finished = through(
        &scene,
        "exec prlimit --nproc=1 \"$@\"",
        &["run", "-m", "64M", "true"],
    );
    finished.expect_code(EXIT_INTERNAL);
    assert!(finished.stderr_text().contains("ulimit -u"), "{finished}");
}

#[test]
fn a_folder_that_may_not_be_entered_is_told() {
    let Some(scene) = scene() else { return };
    std::fs::create_dir(scene.path("locked")).expect("made");
    let mode = PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(scene.path("locked"), mode).expect("changed");
    let program = scene.word("locked/program");
    let finished = through(&scene, "exec \"$@\"", &["run", "-m", "64M", &program]);
    finished.expect_code(126);
    let text = finished.stderr_text();
    assert!(text.contains("may not be entered"), "{text}");
    assert!(text.contains("the right to enter it"), "{text}");
}

#[test]
fn a_report_to_a_stream_is_behind_the_output_of_the_job() {
    let Some(scene) = scene() else { return };
    let output = scene.path("output");
    for stream in ["stdout", "stderr", "fd/1"] {
        let script = format!(
            "exec \"$@\" --report /dev/{stream} --memory 64M -q -- sh -c 'echo begun; echo begun >&2' \
             >{0} 2>&1",
            output.display()
        );
        through(&scene, &script, &["run"]).expect_code(0);
        let text = std::fs::read_to_string(&output).unwrap();
        let report = text.strip_prefix("begun\nbegun\n");
        let report =
            report.and_then(|report| serde_json::from_str::<serde_json::Value>(report).ok());
        assert!(report.is_some(), "{stream}: {text}");
    }
    let words = ["run", "-m", "64M", "-q", "--report", "-", "true"];
    let finished = through(&scene, "exec \"$@\"", &words);
    let report = serde_json::from_slice::<serde_json::Value>(&finished.stdout);
    assert!(report.is_ok(), "{finished}");
    let finished = through(
        &scene,
        "exec \"$@\" >/dev/null",
        &["run", "-m", "64M", "--report", "/dev/full", "true"],
    );
    finished.expect_code(EXIT_INTERNAL);
    let text = finished.stderr_text();
    assert!(text.contains("failed to write `/dev/full`"), "{finished}");
}

#[test]
fn a_report_into_a_pipe_does_not_wait_for_a_reader() {
    let Some(scene) = scene() else { return };
    let pipe = scene.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    std::fs::set_permissions(&pipe, PermissionsExt::from_mode(0o666)).unwrap();
    let words = ["run", "-m", "64M", "-q", "--report", "pipe", "true"];
    let finished = through(&scene, "exec \"$@\"", &words);
    finished.expect_code(EXIT_INTERNAL);
    let text = finished.stderr_text();
    assert!(text.contains("start its reader first"), "{finished}");
    // One that is there gets it all.
    let script = "cat pipe >got & until \"$@\"; do :; done; wait";
    through(&scene, script, &words).expect_code(0);
    let got = std::fs::read(scene.path("got")).unwrap();
    let report = serde_json::from_slice::<serde_json::Value>(&got);
    assert!(report.is_ok(), "{}", String::from_utf8_lossy(&got));
}

const PRINTING: [&[&str]; 6] = [
    &["--help"],
    &["--version"],
    &["run", "--help"],
    &["run", "-m", "64M", "--explain"],
    &["doctor", "--help"],
    &["doctor", "--no-trials"],
];

#[test]
fn what_cannot_be_printed_is_a_failure() {
    let Some(scene) = scene() else { return };
    for words in PRINTING {
        let finished = through(&scene, "exec \"$@\" >/dev/full", words);
        finished.expect_code(EXIT_INTERNAL);
        let text = finished.stderr_text();
        assert!(text.contains("No space left"), "{words:?}: {finished}");
        assert!(text.contains("hint:"), "{words:?}: {finished}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let Some(scene) = scene() else { return };
    nix::unistd::mkfifo(
        &scene.path("closed"),
        nix::sys::stat::Mode::from_bits_truncate(0o666),
    )
    .unwrap();
    std::fs::set_permissions(scene.path("closed"), PermissionsExt::from_mode(0o666)).unwrap();
    // Only when the reader has closed the pipe does memcap start.
    let script = "{ read -r _ <closed; \"$@\"; echo $? >code; } | { exec <&-; echo >closed; }";
    for words in PRINTING {
        let finished = through(&scene, script, words);
        assert_eq!(finished.stderr_text(), "", "{words:?}");
        let code = std::fs::read_to_string(scene.path("code")).unwrap();
        // `doctor` says by its code what it found.
        assert!(["0\n", "1\n"].contains(&code.as_str()), "{words:?}: {code}");
    }
}

#[test]
fn who_asks_for_all_there_is_is_not_warned() {
    let Some(scene) = scene() else { return };
    let finished = scene.memcap().memory("max").command("true", [""; 0]).run();
    finished.expect_code(0);
    assert!(!finished.stderr_text().contains("warning"), "{finished}");
    // What fits is still recorded, with what it fits into.
    let report = finished.report();
    let limit = report.number("/limit_bytes");
    assert!(
        limit < report.number("/clamped/ceiling_bytes"),
        "{finished}"
    );
    let asked = scene.memcap().memory("100%").command("true", [""; 0]).run();
    assert!(asked.stderr_text().contains("warning"), "{asked}");
    let plan = scene.memcap().memory("max").option("--explain").run();
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(text.contains("as much as fits below"), "{plan}");
}

#[test]
fn a_share_means_the_same_for_every_size() {
    let Some(scene) = scene() else { return };
    let plan = |option: &str| {
        let run = scene.memcap().memory("50%").option(option);
        let finished = run.option("--explain").run();
        finished.expect_code(0);
        finished.report().clone()
    };
    let half = plan("--quiet").number("/plan/limit_bytes");
    let swap = plan("--swap=50%");
    assert_eq!(swap.text("/plan/beside/0/limit"), "swap");
    assert_eq!(swap.number("/plan/beside/0/bytes"), half);
    let free = plan("--keep-free=1%");
    assert_eq!(free.text("/plan/beside/1/limit"), "keep-free");
    assert!(free.number("/plan/beside/1/bytes") >= half / 50);
    // Where it can be held at all, as a share of the same.
    let soft = scene.memcap().memory("50%").option("--soft=50%");
    let refused = soft.option("--explain").run();
    refused.expect_code(EXIT_INTERNAL);
    let said = refused.stderr_text();
    assert!(
        said.contains("is not below the limit") || said.contains("cannot be held here"),
        "{refused}"
    );
}

#[test]
fn a_small_stack_is_enough() {
    let Some(scene) = scene() else { return };
    let words = [
        "run",
        "-m",
        "64M",
        "--mechanism",
        "watchdog",
        "--",
        "sh",
        "-c",
        "ulimit -s",
    ];
    for kibibytes in ["64", "256"] {
        let script = format!("ulimit -s {kibibytes}; exec \"$@\"");
        let finished = through(&scene, &script, &words);
        finished.expect_code(0);
        // The caller's limit is the job's.
        let said = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert_eq!(said.trim(), kibibytes, "{finished}");
    }
    scene.assert_nothing_left();
}
