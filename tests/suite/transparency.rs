//! A job under memcap sees what it would see without, and its status, its
//! streams and its signals are its own.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::ffi::OsString;
use std::path::Path;

use integration_tests::each_setting;
use integration_tests::harness::{Finished, Invocation, Requirement, Scene, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

/// More than any pipe or buffer on the way holds.
const STREAM_BYTES: usize = 10_000_000;

each_setting!(
    exit_codes_pass,
    signals_become_128_and_the_number,
    a_kill_from_elsewhere_is_named,
    a_termination_request_reaches_the_job,
    other_signals_reach_the_job,
    an_unknown_command_is_127,
    a_file_that_cannot_run_is_126,
    streams_pass_byte_by_byte,
    a_closed_pipe_ends_the_job_and_not_more,
    surroundings_are_the_jobs_own,
    dispositions_of_signals_are_the_jobs_own,
    what_the_caller_ignores_or_blocks_stays_so,
    a_hangup_is_ignored_under_nohup,
    closed_streams_stay_closed,
    descriptors_of_the_caller_pass,
    limits_and_umask_of_the_caller_pass,
    stray_children_do_not_change_the_status,
    the_terminal_passes,
    ctrl_c_on_a_terminal_ends_both,
);

fn exit_codes_pass(scene: &Scene) {
    for code in [
        0, 1, 2, 3, 42, 64, 100, 124, 125, 126, 127, 128, 130, 137, 143, 254, 255,
    ] {
        let finished = scene
            .memcap()
            .memory("64M")
            .job("exit-with", [code.to_string()])
            .run();
        finished.expect_code(code).expect_verdict("finished");
        assert_eq!(
            finished.report().number("/job/exit_code"),
            u64::from(code.unsigned_abs())
        );
        assert!(finished.report().get("/job/signal").is_none(), "{finished}");
    }
    scene.assert_nothing_left();
}

fn signals_become_128_and_the_number(scene: &Scene) {
    for signal in [1, 2, 3, 6, 8, 10, 11, 13, 14, 15] {
        let words = ["--signal".to_owned(), signal.to_string()];
        let finished = scene.memcap().memory("64M").job("exit-with", words).run();
        finished
            .expect_code(128 + signal)
            .expect_verdict("signaled");
        assert_eq!(
            finished.report().number("/job/signal"),
            u64::from(signal.unsigned_abs())
        );
        assert!(
            finished.report().get("/job/exit_code").is_none(),
            "{finished}"
        );
    }
}

fn a_kill_from_elsewhere_is_named(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("64M")
        .job("exit-with", ["--signal", "9"])
        .run();
    finished.expect_code(137).expect_verdict("killed-by-other");
    assert_eq!(finished.report().number("/job/signal"), 9);
}

fn a_termination_request_reaches_the_job(scene: &Scene) {
    let script = "trap 'echo asked; exit 23' TERM; echo ready; while :; do sleep 0.05; done";
    let finished = signalled(scene, script, Signal::SIGTERM);
    assert_eq!(finished.stdout, b"ready\nasked\n", "{finished}");
    // The job ended by itself, in its own way.
    finished.expect_code(23);
}

fn other_signals_reach_the_job(scene: &Scene) {
    for (signal, name) in [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGALRM, "ALRM"),
        (Signal::SIGVTALRM, "VTALRM"),
        (Signal::SIGPROF, "PROF"),
        (Signal::SIGXCPU, "XCPU"),
        (Signal::SIGIO, "IO"),
        (Signal::SIGPWR, "PWR"),
    ] {
        let script = format!(
            "trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done"
        );
        let finished = signalled(scene, &script, signal);
        assert_eq!(
            finished.stdout,
            format!("ready\ngot {name}\n").as_bytes(),
            "{finished}"
        );
        finished.expect_code(5);
    }
}

/// Runs `script` and sends `signal` to memcap alone once it has said `ready`.
fn signalled(scene: &Scene, script: &str, signal: Signal) -> Finished {
    let ready = scene.path("ready");
    drop(std::fs::remove_file(&ready));
    let script = script.replace(
        "echo ready;",
        &format!("echo ready; : > {};", ready.display()),
    );
    let running = scene.memcap().memory("64M").shell(&script).start();
    wait_until("the job is ready", || ready.exists());
    running.signal(signal);
    running.wait()
}

fn an_unknown_command_is_127(scene: &Scene) {
    for program in ["no-such-command-anywhere", "/no/such/file"] {
        let finished = scene.memcap().memory("64M").command(program, [""; 0]).run();
        finished.expect_code(127).expect_verdict("not-started");
        assert!(finished.stderr_text().contains(program), "{finished}");
        assert!(finished.stdout.is_empty());
    }
    scene.assert_nothing_left();
}

fn a_file_that_cannot_run_is_126(scene: &Scene) {
    std::fs::write(scene.path("plain"), "no program\n").unwrap();
    for path in [scene.word("plain"), scene.word(".")] {
        let finished = scene.memcap().memory("64M").command(path, [""; 0]).run();
        finished.expect_code(126).expect_verdict("not-started");
    }
    scene.assert_nothing_left();
}

fn streams_pass_byte_by_byte(scene: &Scene) {
    let bytes = noise(STREAM_BYTES);
    std::fs::write(scene.path("input"), &bytes).unwrap();
    let run = |script: &str| {
        let invocation = scene.memcap().option("--quiet").memory("64M");
        invocation.input(scene.path("input")).shell(script).run()
    };
    let finished = run("cat");
    finished.expect_code(0);
    assert!(
        finished.stdout == bytes,
        "stdout differs: {} bytes",
        finished.stdout.len()
    );
    assert!(finished.stderr.is_empty(), "{finished}");

    let finished = run("cat >&2");
    finished.expect_code(0);
    assert!(
        finished.stderr == bytes,
        "stderr differs: {} bytes",
        finished.stderr.len()
    );
    assert!(finished.stdout.is_empty());
}

fn a_closed_pipe_ends_the_job_and_not_more(scene: &Scene) {
    let words = scene
        .memcap()
        .option("--quiet")
        .memory("64M")
        .command("yes", [""; 0])
        .words();
    let line: Vec<String> = words
        .iter()
        .map(|word| quoted(&word.to_string_lossy()))
        .collect();
    // `yes` dies by SIGPIPE as it does without memcap; `head` is content.
    let script = format!("{{ {}; echo $? >&2; }} | head -n 1", line.join(" "));
    let finished = scene.plain().shell(&script).run();
    finished.expect_code(0);
    assert_eq!(finished.stdout, b"y\n");
    assert_eq!(finished.stderr_text(), "141\n", "{finished}");
}

fn surroundings_are_the_jobs_own(scene: &Scene) {
    let wrapped = scene.memcap().option("--quiet").memory("64M");
    let with = surroundings(&arranged(scene, wrapped));
    let without = surroundings(&arranged(scene, scene.plain()));
    for part in [
        "directory",
        "environment",
        "privileges",
        "nice",
        "limits",
        "signals",
    ] {
        let differences = differences(&with[part], &without[part]);
        assert!(differences.is_empty(), "{part}: {differences:?}");
    }
    assert_eq!(with["terminal"], without["terminal"]);
    let numbers = |value: &Value| -> Vec<String> {
        value["descriptors"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(numbers(&with), numbers(&without), "{with:#}\n{without:#}");
    // Without memcap the job leads the group; with it, memcap does, and the
    // job is a member of the terminal's foreground group all the same.
    assert_eq!(with["session"], without["session"]);
    assert_ne!(with["group"], with["pid"]);
}

/// The entries of two objects that are not the same, or the two values where
/// they are no objects: a failure need not show the whole environment.
fn differences(with: &Value, without: &Value) -> Vec<String> {
    let (Some(with), Some(without)) = (with.as_object(), without.as_object()) else {
        let differ = with != without;
        return differ
            .then(|| format!("{with} instead of {without}"))
            .into_iter()
            .collect();
    };
    let names: std::collections::BTreeSet<_> = with.keys().chain(without.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| with.get(*name) != without.get(*name));
    differ
        .map(|name| {
            format!(
                "{name}: {:?} instead of {:?}",
                with.get(name),
                without.get(name)
            )
        })
        .collect()
}

fn arranged(scene: &Scene, invocation: Invocation<'_>) -> Finished {
    let folder = scene.path("working folder");
    std::fs::create_dir_all(&folder).unwrap();
    invocation
        .directory(&folder)
        .variable("ODD_VALUE", "line one\nline = two ü")
        .variable("EMPTY_VALUE", "")
        .job("report-env", [""; 0])
        .run()
}

/// What `report-env` said, without what differs between any two runs.
fn surroundings(finished: &Finished) -> Value {
    finished.expect_code(0);
    let parsed = serde_json::from_slice(&finished.stdout);
    parsed.unwrap_or_else(|error| panic!("{error}\n{finished}"))
}

fn dispositions_of_signals_are_the_jobs_own(scene: &Scene) {
    // `cat` changes none, so what it shows is what it was started with:
    // SIGPIPE included, which many a runtime ignores.
    let show = |invocation: Invocation<'_>| {
        let finished = invocation.command("cat", ["/proc/self/status"]).run();
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        let signals = text
            .lines()
            .filter(|line| line.starts_with("Sig") || line.starts_with("Shd"));
        // The number of queued signals counts those of the user's other processes.
        let signals = signals.filter(|line| !line.starts_with("SigQ"));
        signals.map(str::to_owned).collect::<Vec<_>>()
    };
    let with = show(scene.memcap().option("--quiet").memory("64M"));
    let without = show(scene.plain());
    assert!(!with.is_empty());
    assert_eq!(with, without);
}

fn what_the_caller_ignores_or_blocks_stays_so(scene: &Scene) {
    if !Requirement::Coreutils.is_met() {
        return;
    }
    // Each set by env(1), which memcap replaces then.
    let arranged = [
        "--ignore-signal=PIPE",
        "--ignore-signal=HUP,INT,QUIT,TSTP,TTIN,CHLD,USR1",
        "--block-signal=TERM,USR2,CHLD",
        "--block-signal=RTMIN+3",
        "--default-signal",
    ];
    for option in arranged {
        let show = |invocation: Invocation<'_>| {
            let words = invocation.command("cat", ["/proc/self/status"]).words();
            let mut all: Vec<OsString> = vec![option.into()];
            all.extend(words);
            let finished = scene.plain().command("env", &all).run();
            let text = String::from_utf8_lossy(&finished.stdout).into_owned();
            let lines = text
                .lines()
                .filter(|line| line.starts_with("SigIgn") || line.starts_with("SigBlk"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let with = show(scene.memcap().option("--quiet").memory("64M"));
        let without = show(scene.plain());
        assert_eq!(with.len(), 2, "{option}");
        assert_eq!(with, without, "{option}");
    }
}

fn a_hangup_is_ignored_under_nohup(scene: &Scene) {
    if !Requirement::Coreutils.is_met() {
        return;
    }
    let ready = scene.path("ready");
    let job = format!(": > {}; sleep 0.5; exit 6", ready.display());
    let words = scene.memcap().memory("64M").shell(&job).words();
    let running = scene.plain().command("nohup", &words).start();
    wait_until("the job is ready", || ready.exists());
    running.signal_group(Signal::SIGHUP);
    running.wait().expect_code(6);
    drop(std::fs::remove_file(&ready));
    scene.assert_nothing_left();
}

fn closed_streams_stay_closed(scene: &Scene) {
    let seen = scene.word("seen");
    let look = format!("for n in 0 1 2; do [ -e /proc/self/fd/$n ] && printf $n >>{seen}; done");
    let words = scene.memcap().option("--quiet").memory("64M").shell(&look);
    for (closed, open) in [
        ("", "012"),
        ("<&-", "12"),
        (">&-", "02"),
        ("2>&-", "01"),
        ("<&- >&- 2>&-", ""),
    ] {
        std::fs::write(&seen, "").unwrap();
        open_to_all(&seen);
        let line = format!("{} {closed}", words.line());
        let finished = scene.plain().shell(&line).run();
        assert_eq!(std::fs::read_to_string(&seen).unwrap(), open, "{closed}");
        // The shell's last test of a descriptor is its status.
        assert!([0, 1].contains(&finished.code()), "{closed}: {finished}");
    }
    scene.assert_nothing_left();
}

fn open_to_all(path: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
}

fn descriptors_of_the_caller_pass(scene: &Scene) {
    std::fs::write(scene.path("seven"), "through descriptor seven\n").unwrap();
    let words = scene
        .memcap()
        .option("--quiet")
        .memory("64M")
        .shell("cat <&7")
        .words();
    let line: Vec<String> = words
        .iter()
        .map(|word| quoted(&word.to_string_lossy()))
        .collect();
    let script = format!("exec 7<{}; exec {}", scene.word("seven"), line.join(" "));
    let finished = scene.plain().shell(&script).run();
    finished.expect_code(0);
    assert_eq!(finished.stdout, b"through descriptor seven\n", "{finished}");
}

fn limits_and_umask_of_the_caller_pass(scene: &Scene) {
    let arrange = "ulimit -n 77; ulimit -c 0; ulimit -s 4096; ulimit -t 40; umask 027; exec ";
    let run = |invocation: Invocation<'_>| {
        let words = invocation.job("report-env", [""; 0]).words();
        let line: Vec<String> = words
            .iter()
            .map(|word| quoted(&word.to_string_lossy()))
            .collect();
        let script = format!("{arrange}{}", line.join(" "));
        surroundings(&scene.plain().shell(&script).run())
    };
    let with = run(scene.memcap().option("--quiet").memory("64M"));
    let without = run(scene.plain());
    assert_eq!(without["limits"]["nofile"][0], 77);
    assert_eq!(with["limits"], without["limits"]);
    assert_eq!(with["privileges"], without["privileges"]);
}

fn stray_children_do_not_change_the_status(scene: &Scene) {
    // Orphans that end before and after the job, with codes of their own.
    let script = "(sleep 0.05; exit 9) & (exec sleep 30) & sleep 0.15; exit 6";
    let finished = scene.memcap().memory("64M").shell(script).run();
    finished.expect_code(6).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn the_terminal_passes(scene: &Scene) {
    let invocation = scene
        .memcap()
        .option("--quiet")
        .memory("64M")
        .job("report-env", [""; 0]);
    let mut terminal = invocation.start_on_terminal();
    let text = terminal.read_to_end();
    let begin = text
        .find('{')
        .unwrap_or_else(|| panic!("no report: {text}"));
    let report: Value = serde_json::from_str(text[begin..].trim()).unwrap();
    assert_eq!(report["terminal"], serde_json::json!([true, true, true]));
    assert_eq!(terminal.code(), 0, "{text}");
}

fn ctrl_c_on_a_terminal_ends_both(scene: &Scene) {
    let ready = scene.word("ready");
    let script = format!("sleep 40 & : > {ready}; wait");
    let invocation = scene.memcap().memory("64M").shell(&script);
    let mut terminal = invocation.start_on_terminal();
    wait_until("the job is ready", || Path::new(&ready).exists());
    terminal.press(b"\x03");
    let text = terminal.read_to_end();
    assert_eq!(terminal.code(), 130, "{text}");
    scene.assert_nothing_left();
}

/// `word` for `sh`.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Bytes without a pattern, the same every time (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
