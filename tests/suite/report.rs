//! What memcap says: the report, the last line on stderr, and its refusals,
//! each before anything starts.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use integration_tests::each_setting;
use integration_tests::harness::{Account, Finished, Mechanism, Scene, Setting};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// memcap's own failures, wrong usage included.
const EXIT_INTERNAL: i32 = 125;

each_setting!(
    every_field_is_there,
    a_time_limit_is_reported,
    the_last_line_tells_mechanism_peak_and_verdict,
    quiet_is_quiet,
    a_limit_above_the_ceiling_is_clamped_and_said,
    the_requested_and_the_real_limit_are_recorded,
    a_report_that_cannot_be_written_is_refused,
    a_run_that_does_not_start_is_reported,
    an_old_report_is_replaced,
    memory_over_time_and_the_largest_processes_are_told,
    a_run_is_drawn,
    a_plot_that_cannot_be_written_is_refused,
    a_redacted_report_has_no_command_lines,
    usage_errors_are_refused_before_the_start,
);

fn every_field_is_there(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("100M")
        .job("hog", ["30M", "--hold", "0.3"])
        .run();
    finished.expect_code(0).expect_verdict("finished");
    let report = finished.report();
    assert!(report.number("/schema_version") >= 1, "{finished}");
    let mechanism = scene.setting().mechanism;
    assert_eq!(report.text("/mechanism"), mechanism.name());
    assert_eq!(report.text("/guarantee"), mechanism.guarantee());
    assert!(
        ["cgroup-v2", "keeper"].contains(&report.text("/containment")),
        "{finished}"
    );
    assert_eq!(report.number("/requested_bytes"), 100 * MIB);
    assert_eq!(report.number("/limit_bytes"), 100 * MIB);
    let peak = report.number("/peak_bytes");
    assert!((30 * MIB..100 * MIB).contains(&peak), "{finished}");
    let source = if mechanism.is_exact() {
        "kernel"
    } else {
        "sampled"
    };
    assert_eq!(report.text("/peak_source"), source);
    assert_eq!(report.number("/overshoot_bytes"), 0);
    assert_eq!(report.number("/job/exit_code"), 0);
    assert_eq!(report.number("/exit_code"), 0);
    let seconds = report
        .get("/wall_seconds")
        .and_then(Value::as_f64)
        .unwrap_or_default();
    assert!(
        seconds >= 0.3 && seconds <= finished.wall.as_secs_f64(),
        "{finished}"
    );
    let left = report.get("/left_running").and_then(Value::as_array);
    assert!(left.is_none_or(Vec::is_empty), "{finished}");
}

fn memory_over_time_and_the_largest_processes_are_told(scene: &Scene) {
    // Held long enough for an emulated machine, where looks are dear and so rare.
    let words = ["2", "60M", "--rate", "100M", "--hold", "2.5"];
    let finished = scene.memcap().memory("500M").job("tree", words).run();
    finished.expect_code(0).expect_verdict("finished");
    let report = finished.report();
    let points = report.get("/timeline/points").and_then(Value::as_array);
    let points = points.unwrap();
    assert!(points.len() > 10, "{finished}");
    let at = |point: &Value, index: usize| point[index].as_f64().unwrap();
    assert!(
        points.is_sorted_by(|a, b| at(a, 0) < at(b, 0)),
        "{finished}"
    );
    let largest = points.iter().map(|point| at(point, 2)).fold(0.0, f64::max);
    // It grew over half a second and held; the samples have seen it do so.
    assert!(at(&points[0], 1) < 60e6, "{finished}");
    assert!(largest >= 110e6, "{finished}");
    let peak = report.get("/peak_bytes").and_then(Value::as_f64).unwrap();
    assert!(largest <= peak, "{finished}");

    let processes = report.get("/processes/largest").and_then(Value::as_array);
    let large = processes.unwrap().iter().filter(|process| {
        process["name"] == "tree" && process["peak_bytes"].as_u64().unwrap() >= 50 * MIB
    });
    assert_eq!(large.count(), 2, "{finished}");
    let command = report.text("/processes/largest/0/command");
    assert!(command.contains("--rate 100M"), "{finished}");
    let last = report.get("/timeline/events").and_then(Value::as_array);
    assert_eq!(last.unwrap().last().unwrap()["what"], "ended", "{finished}");
}

fn a_run_is_drawn(scene: &Scene) {
    let drawn = |name: &str| std::fs::read_to_string(scene.path(name)).unwrap();
    let run = |name: &str| {
        let option = scene.word(name);
        scene
            .memcap()
            .memory("100M")
            .option("--plot")
            .option(option)
    };
    let over = run("over.svg").job("hog", ["1G", "--rate", "400M"]).run();
    over.expect_code(137);
    for part in ["<svg", "limit 100 MiB", "memory limit reached", "polyline"] {
        assert!(drawn("over.svg").contains(part), "{part}\n{over}");
    }
    // A program that is not there has no memory to draw, and says so.
    let missing = run("missing.svg").command("no-such-program", [""; 0]).run();
    missing.expect_code(127);
    assert!(drawn("missing.svg").contains("not-started"), "{missing}");
}

fn a_plot_that_cannot_be_written_is_refused(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("100M")
        .option("--plot")
        .option(scene.word("no-folder/plot.svg"))
        .shell("touch started")
        .run();
    finished.expect_code(EXIT_INTERNAL);
    let said = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(said.contains("no-folder/plot.svg"), "{finished}");
    assert!(!scene.path("started").exists(), "{finished}");
}

fn a_redacted_report_has_no_command_lines(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("100M")
        .option("--redact")
        .shell("sleep 0.2; : my-secret-word")
        .run();
    finished.expect_code(0);
    let report = finished.report();
    assert!(!report.to_string().contains("my-secret-word"), "{finished}");
    assert_eq!(report.text("/request/command/0"), "sh", "{finished}");
    assert!(report.get("/processes/largest/0/name").is_some());
}

fn a_time_limit_is_reported(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("100M")
        .option("--time")
        .option("300ms")
        .job("hog", ["10M", "--hold", "30"])
        .run();
    finished.expect_code(124).expect_verdict("time-limit");
    assert!(finished.wall < Duration::from_secs(15), "{finished}");
    assert!(
        finished.report().number("/peak_bytes") >= 10 * MIB,
        "{finished}"
    );
}

fn the_last_line_tells_mechanism_peak_and_verdict(scene: &Scene) {
    let finished = scene.memcap().memory("100M").job("exit-with", ["0"]).run();
    let text = finished.stderr_text();
    let last = text.lines().last().unwrap_or_default();
    assert!(
        last.contains(scene.setting().mechanism.name()),
        "{finished}"
    );
    assert!(last.contains("peak"), "{finished}");
    assert!(last.contains("finished"), "{finished}");
    assert!(finished.stdout.is_empty(), "{finished}");

    let finished = scene.memcap().memory("64M").job("hog", ["1G"]).run();
    let text = finished.stderr_text();
    let last = text.lines().last().unwrap_or_default();
    assert!(last.contains("memory"), "{finished}");
    assert!(last.contains("64 MiB"), "{finished}");
}

fn quiet_is_quiet(scene: &Scene) {
    for words in [["exit-with", "0"], ["hog", "1G"]] {
        let [job, argument] = words;
        let finished = scene
            .memcap()
            .option("--quiet")
            .memory("64M")
            .job(job, [argument])
            .run();
        assert!(finished.stderr.is_empty(), "{finished}");
        assert!(finished.has_report());
    }
}

fn a_limit_above_the_ceiling_is_clamped_and_said(scene: &Scene) {
    let finished = scene.memcap().memory("100T").job("exit-with", ["0"]).run();
    finished.expect_code(0).expect_verdict("finished");
    let text = finished.stderr_text();
    assert!(text.contains("warning:"), "{finished}");
    let report = finished.report();
    assert_eq!(report.number("/requested_bytes"), 100 << 40, "{finished}");
    // No machine has more, and the margin below its end is 64 MiB at least.
    assert!(report.number("/limit_bytes") < 100 << 40, "{finished}");
    assert!(
        report.number("/limit_bytes") + 64 * MIB <= machine_bytes(),
        "{finished}"
    );
}

fn the_requested_and_the_real_limit_are_recorded(scene: &Scene) {
    // Not a whole number of pages: what the kernel made of it is the limit.
    let finished = scene
        .memcap()
        .memory("100000001")
        .job("exit-with", ["0"])
        .run();
    finished.expect_code(0);
    let report = finished.report();
    assert_eq!(report.number("/requested_bytes"), 100_000_001, "{finished}");
    let limit = report.number("/limit_bytes");
    assert!(
        (100_000_001 - 65_536..=100_000_001).contains(&limit),
        "{finished}"
    );
}

fn a_report_that_cannot_be_written_is_refused(scene: &Scene) {
    for path in [
        scene.word("no/such/folder/report.json"),
        scene.word("."),
        "/proc/x".to_owned(),
    ] {
        let proof = scene.word("started");
        let finished = scene
            .memcap()
            .memory("64M")
            .report(&path)
            .command("touch", [&proof])
            .run();
        assert_refused(scene, &finished);
        assert!(finished.stderr_text().contains(&path), "{finished}");
    }
}

fn a_run_that_does_not_start_is_reported(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("64M")
        .command("/no/such/file", [""; 0])
        .run();
    finished.expect_code(127).expect_verdict("not-started");
    let report = finished.report();
    assert!(report.get("/job/exit_code").is_none(), "{finished}");
    assert!(report.number("/schema_version") >= 1);
}

fn an_old_report_is_replaced(scene: &Scene) {
    let path = scene.path("report.json");
    scene
        .memcap()
        .memory("64M")
        .job("exit-with", ["3"])
        .run()
        .expect_code(3);
    let first = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        scene.path("other.json"),
        format!("{first}{}", " ".repeat(10_000)),
    )
    .unwrap();
    let other = scene.path("other.json");
    std::fs::set_permissions(&other, Permissions::from_mode(0o666)).unwrap();
    let finished = scene
        .memcap()
        .memory("64M")
        .report(&other)
        .job("exit-with", ["4"])
        .run();
    finished.expect_code(4).expect_verdict("finished");
}

fn usage_errors_are_refused_before_the_start(scene: &Scene) {
    let proof = scene.word("started");
    for (size, complaint) in [
        ("0", "0"),
        ("8X", "unknown unit `X`"),
        ("", "size"),
        ("lots", "lots"),
        ("-5M", "-5M"),
        ("99999999T", "99999999T"),
        ("0%", "0%"),
    ] {
        let finished = scene
            .memcap()
            .option(format!("--memory={size}"))
            .command("touch", [&proof])
            .run();
        assert_refused(scene, &finished);
        assert!(
            finished.stderr_text().contains(complaint),
            "{size}: {finished}"
        );
        assert!(
            finished.stderr_text().contains("hint:"),
            "{size}: {finished}"
        );
    }
    let finished = scene
        .memcap()
        .memory("64M")
        .mechanism("magic")
        .command("touch", [&proof])
        .run();
    assert_refused(scene, &finished);
    assert!(finished.stderr_text().contains("magic"), "{finished}");

    for time in ["0", "-1s", "soon"] {
        let finished = scene
            .memcap()
            .memory("64M")
            .option(format!("--time={time}"))
            .command("touch", [&proof])
            .run();
        assert_refused(scene, &finished);
    }
}

/// memcap refused: its own code, one clear line, nothing started, nothing left.
#[track_caller]
fn assert_refused(scene: &Scene, finished: &Finished) {
    finished.expect_code(EXIT_INTERNAL);
    let text = finished.stderr_text();
    assert!(text.contains("error:"), "{finished}");
    assert!(!text.contains("panicked"), "{finished}");
    assert!(
        !scene.path("started").exists(),
        "the job was started\n{finished}"
    );
    scene.assert_nothing_left();
}

/// The memory of this machine in bytes, from /proc/meminfo.
fn machine_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("MemTotal:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[test]
fn a_mechanism_that_the_host_lacks_is_refused_by_name() {
    let setting = Setting {
        account: Account::Ordinary,
        mechanism: Mechanism::Watchdog,
    };
    let scene = Scene::open(setting).expect("an ordinary user is always possible");
    // An ordinary user cannot make a v1 group, unless somebody has given it one.
    let finished = scene
        .memcap()
        .memory("64M")
        .mechanism("cgroup-v1")
        .job("exit-with", ["0"])
        .run();
    if finished.code() != 0 {
        finished.expect_code(EXIT_INTERNAL);
        assert!(finished.stderr_text().contains("cgroup-v1"), "{finished}");
        assert!(!finished.stderr_text().contains("panicked"), "{finished}");
    }
}

#[test]
fn every_exit_code_of_a_job_passes_in_auto() {
    let setting = Setting {
        account: Account::Ordinary,
        mechanism: Mechanism::Watchdog,
    };
    let scene = Scene::open(setting).expect("an ordinary user is always possible");
    for code in 0..=255 {
        let run = scene.memcap().mechanism("auto").memory("64M");
        run.job("exit-with", [code.to_string()])
            .run()
            .expect_code(code);
    }
}
