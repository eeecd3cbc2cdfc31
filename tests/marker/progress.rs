//! What is seen while documents are converted: on a terminal, in a log, and by
//! other programs.

use std::collections::BTreeSet;
use std::fs;

use integration_tests::harness::Requirement;
use serde_json::Value;

use super::pretend::{check, folder, marker, marker_through, scene};

const EVENTS_SCHEMA: &str = include_str!("../../docs/marker-events.schema.json");

/// The events, each held against the schema.
fn events(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("an object a line");
    let events: Vec<Value> = text.lines().map(parse).collect();
    events.iter().for_each(|event| check(EVENTS_SCHEMA, event));
    events
}

#[test]
fn the_schema_describes_each_event_once() {
    let schema: Value = serde_json::from_str(EVENTS_SCHEMA).expect("a schema");
    let described = schema["oneOf"].as_array().expect("a list");
    let names: Vec<&str> = described
        .iter()
        .map(|event| event["properties"]["event"]["const"].as_str())
        .map(|name| name.expect("a name"))
        .collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let kinds = events.iter().map(|event| event["event"].as_str());
    let kinds = kinds.map(|kind| kind.expect("a word"));
    kinds.filter(|kind| *kind != "usage").collect()
}

#[test]
fn other_programs_are_told_in_json() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 4), ("bad.pdf", 0)]);
    let words = [
        "in",
        "-o",
        "out",
        "--memory",
        "2G",
        "--chunk-size",
        "2",
        "--json-events",
    ];
    let finished = marker(&scene, &words).variable("PRETEND_POISON", "4").run();
    finished.expect_code(3);
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    let events = events(&text);
    assert_eq!(
        kinds(&events),
        [
            "started",
            "document-begun",
            "document-planned",
            "chunk-started",
            "chunk-done",
            "chunk-started",
            "chunk-failed",
            "chunk-started",
            "chunk-failed",
            "chunk-started",
            "chunk-done",
            // The page by itself, then once more at half the resolution.
            "chunk-started",
            "chunk-failed",
            "chunk-started",
            "chunk-failed",
            "merging",
            "merged",
            "published",
            "document-ended",
            "document-begun",
            "document-ended",
            "ended",
        ]
    );
    let last = &events[events.len() - 1];
    assert_eq!(
        (&last["exit_code"], &last["verdict"]),
        (&3.into(), &"partial".into())
    );
    scene.assert_nothing_left();
}

#[test]
fn another_descriptor_leaves_standard_output_to_the_results() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 1)]);
    let words = ["in/a.pdf", "-o", "out", "--memory", "2G", "--json-events=3"];
    let line = marker(&scene, &words).line();
    let line = format!("{line} 3>events.jsonl");
    let shell = scene.plain().shell(&line).directory(scene.path("."));
    let finished = shell.run();
    finished.expect_code(0);
    let result = scene.word("out/a") + "\n";
    assert_eq!(String::from_utf8_lossy(&finished.stdout), result);
    let text = fs::read_to_string(scene.path("events.jsonl")).expect("events");
    assert_eq!(kinds(&events(&text)).last(), Some(&"ended"));

    let closed = marker(&scene, &words).run();
    closed.expect_code(2);
    assert!(closed.stderr_text().contains("3>events.jsonl"), "{closed}");
    scene.assert_nothing_left();
}

#[test]
fn events_go_to_a_socket_too() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 1)]);
    let words = ["in/a.pdf", "-o", "out", "--memory", "2G"];
    // What Node.js gives a child as a pipe is a pair of sockets.
    let script = "import socket, subprocess, sys\n\
                  ours, theirs = socket.socketpair()\n\
                  number = theirs.fileno()\n\
                  command = sys.argv[1:] + [f'--json-events={number}']\n\
                  code = subprocess.run(command, pass_fds=[number]).returncode\n\
                  theirs.close()\n\
                  sys.stderr.write(ours.makefile().read())\n\
                  sys.exit(code)";
    let finished = marker_through(&scene, &["python3", "-c", script], &words).run();
    finished.expect_code(0);
    let stderr = finished.stderr_text();
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with('{'))
        .collect();
    assert_eq!(kinds(&events(&lines.join("\n"))).last(), Some(&"ended"));
    scene.assert_nothing_left();
}

#[test]
fn what_cannot_be_written_is_told_at_the_end() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 1)]);
    let cases: [(&[&str], &str, &str); 3] = [
        (&[], ">/dev/full", "failed to write to standard output"),
        (
            &["--json-events"],
            ">/dev/full",
            "failed to write the events",
        ),
        (&["--json-events"], ">&-", "descriptor 1 cannot be written"),
    ];
    for (number, (words, redirection, message)) in cases.into_iter().enumerate() {
        let out = format!("out{number}");
        let usual = ["in/a.pdf", "-o", &out, "--memory", "2G"];
        let line = marker(&scene, &[&usual[..], words].concat()).line();
        let shell = scene.plain().shell(&format!("{line} {redirection}"));
        let finished = shell.directory(scene.path(".")).run();
        finished.expect_code(if redirection == ">&-" { 2 } else { 125 });
        let stderr = finished.stderr_text();
        assert!(
            stderr.contains(message) && stderr.contains("  hint: "),
            "{finished}"
        );
        assert_eq!(
            scene.path(&out).join("a/a.md").exists(),
            redirection != ">&-"
        );
    }
    scene.assert_nothing_left();
}

#[test]
fn a_log_has_whole_lines_with_times() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 9)]);
    let words = [
        "in/a.pdf",
        "-o",
        "out",
        "--memory",
        "2G",
        "--chunk-size",
        "9",
    ];
    let finished = marker(&scene, &words).variable("PRETEND_MOST", "2").run();
    finished.expect_code(0);
    let told = finished.stderr_text();
    assert!(!told.contains(['\r', '\u{1b}']), "{told}");
    for words in [
        "pages 1-9: started, about ",
        "pages 1-9: marker ended with exit code 1 (MemoryError: Unable to allocate 9.86 MiB); in \
         two parts: 1-5 and 6-9",
        "memcap: complete: 9 pages; ",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    scene.assert_nothing_left();
}

#[test]
fn a_terminal_shows_one_bar_and_an_interruption_is_answered() {
    if !Requirement::Terminal.is_met() {
        return;
    }
    let scene = scene();
    folder(&scene, &[("a.pdf", 6), ("b.pdf", 2)]);
    let words = ["in", "-o", "out", "--memory", "2G", "--chunk-size", "3"];
    let invocation = marker(&scene, &words).variable("PRETEND_HOLD", "6");
    let mut terminal = invocation.start_on_terminal();
    terminal.read_until("0 of 2 documents, 3 of 8 pages");
    terminal.read_until("a.pdf: pages 4-6");
    terminal.press(b"\x03");
    let rest = terminal.read_to_end();
    assert!(rest.contains("the same command goes on"), "{rest}");
    assert_eq!(terminal.code(), 130);
    scene.assert_nothing_left();
}

#[test]
fn a_terminal_that_cannot_draw_has_plain_lines() {
    if !Requirement::Terminal.is_met() {
        return;
    }
    let scene = scene();
    folder(&scene, &[("a.pdf", 2)]);
    let words = ["in/a.pdf", "-o", "out", "--memory", "2G"];
    let invocation = marker(&scene, &words).variable("TERM", "dumb");
    let mut terminal = invocation.start_on_terminal();
    let text = terminal.read_to_end();
    assert_eq!(terminal.code(), 0);
    assert!(
        text.contains("pages 1-2: started") && !text.contains('\u{1b}'),
        "{text:?}"
    );
    scene.assert_nothing_left();
}

#[test]
fn quiet_tells_nothing_but_where_the_results_are() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 1)]);
    let words = ["in/a.pdf", "-o", "out", "--memory", "2G", "--quiet"];
    let finished = marker(&scene, &words).run();
    finished.expect_code(0);
    let result = scene.word("out/a") + "\n";
    assert_eq!(String::from_utf8_lossy(&finished.stdout), result);
    assert_eq!(finished.stderr_text(), "", "{finished}");
    scene.assert_nothing_left();
}
