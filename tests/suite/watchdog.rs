//! What a watchdog sees of each family of jobs, with leases and without: who
//! goes over is ended, who does not is left alone, and the report says how far
//! it went. `docs/design/watchdog.md` says why.
//!
//! The ledger is the truth. Where nothing but the machine's load decides how
//! far a job comes before the keeper has its turn, that is no check here but a
//! figure of the benchmark.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::path::Path;
use std::sync::RwLock;

use integration_tests::harness::{Account, Finished, Mechanism, Scene, Setting};
use integration_tests::job::{EXIT_REFUSED, Ledger};

const MIB: u64 = 1 << 20;

const LIMIT: u64 = 512 * MIB;
const LIMIT_WORD: &str = "512M";

/// What the job's processes hold beside what they write down, and what they
/// touch between two lines of their ledger.
const JOB_OVERHEAD: u64 = 16 * MIB;

/// How far a job that is held to 100 MiB/s may come, in percent of the limit:
/// the keeper would have to be without its turn for more than a second.
const SLOW_SLACK_PERCENT: u64 = 50;

/// What one processor touches in a second, in small pages (measured).
const TOUCHED_PER_SECOND: u64 = 2765 * MIB;

/// Held where a check changes how much shared memory the machine has, exclusively where
/// it depends on nobody else doing so.
static SHARED_OF_THE_MACHINE: RwLock<()> = RwLock::new(());

/// Where files are shared memory.
const TMPFS: &str = "/dev/shm";

/// Makes one test per account, policy and check.
macro_rules! each_watchdog {
    ($($check:ident),+ $(,)?) => {
        each_watchdog!(@setting root, Root, Leases::Off, $($check)+);
        each_watchdog!(@setting root_leases, Root, Leases::On, $($check)+);
        each_watchdog!(@setting ordinary, Ordinary, Leases::Off, $($check)+);
        each_watchdog!(@setting ordinary_leases, Ordinary, Leases::On, $($check)+);
    };
    (@setting $name:ident, $account:ident, $leases:expr, $($check:ident)+) => {
        mod $name {
            use super::{Account, Leases, Mechanism, Scene, Setting};

            $(
                #[test]
                fn $check() {
                    let account = Account::$account;
                    let mechanism = Mechanism::Watchdog;
                    if let Some(scene) = Scene::open(Setting { account, mechanism }) {
                        super::$check(&scene, $leases);
                    }
                }
            )+
        }
    };
}

each_watchdog!(
    forks_that_rewrite_what_they_inherited_are_ended,
    forks_that_inherit_are_left_alone,
    shared_memory_counts_once,
    shared_memory_that_grows_is_ended,
    who_outlives_those_that_shared_with_it_is_ended,
    files_in_memory_count_while_they_are_mapped,
    files_in_memory_that_nobody_maps_count_while_they_are_open,
    shared_memory_that_others_have_filled_counts,
    one_memory_of_two_counts_once,
    who_may_not_be_looked_into_is_not_taken_for_twice_as_large,
    who_may_not_be_looked_into_is_ended_all_the_same,
    a_hundred_threads_within_the_limit_are_left_alone,
    threads_over_the_limit,
    huge_pages_over_the_limit,
    many_mappings_touched_late,
    many_mappings_touched_in_part,
    nobody_comes_farther_than_the_trace_explains,
);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leases {
    On,
    Off,
}

impl Leases {
    fn word(self) -> &'static str {
        match self {
            Leases::On => "--lease",
            Leases::Off => "--no-lease",
        }
    }
}

fn forks_that_rewrite_what_they_inherited_are_ended(scene: &Scene, leases: Leases) {
    // The sum over the members is 900 MiB from the fork on; what is there is
    // 300 MiB first and 900 in the end.
    let words = ["rewrite", "300M", "--rate", "100M", "--hold", "20"];
    let (finished, ledger) = run(scene, leases, &words);
    let touched = ledger.total().unwrap();
    assert_ended(scene, &finished, touched);
    assert!(touched > 300 * MIB, "ended before anything was rewritten");
    let bound = LIMIT + LIMIT * SLOW_SLACK_PERCENT / 100;
    assert!(touched <= bound, "touched {touched}\n{finished}");
}

fn forks_that_inherit_are_left_alone(scene: &Scene, leases: Leases) {
    let words = ["inherit", "300M", "--hold", "2"];
    let (finished, _) = run(scene, leases, &words);
    assert_within(scene, &finished, 300 * MIB);
}

fn shared_memory_counts_once(scene: &Scene, leases: Leases) {
    let _noise = SHARED_OF_THE_MACHINE.read();
    let words = ["shared", "300M", "--count", "4", "--hold", "2"];
    let (finished, _) = run(scene, leases, &words);
    assert_within(scene, &finished, 300 * MIB);
}

fn shared_memory_that_grows_is_ended(scene: &Scene, leases: Leases) {
    let _noise = SHARED_OF_THE_MACHINE.read();
    let words = ["shared", "1G", "--count", "3", "--hold", "20"];
    let (finished, ledger) = run(scene, leases, &words);
    // They all touch the same: the one that is farthest has touched all of it.
    let touched = ledger.read().unwrap().into_iter().max().unwrap();
    assert_ended(scene, &finished, touched);
}

fn who_outlives_those_that_shared_with_it_is_ended(scene: &Scene, leases: Leases) {
    let _noise = SHARED_OF_THE_MACHINE.read();
    // Counted four times for a second, and once from then on.
    let outlive = |bytes| {
        [
            "outlive", bytes, "--count", "3", "--rate", "100M", "--hold", "1",
        ]
    };
    let (finished, _) = run(scene, leases, &outlive("200M"));
    assert_within(scene, &finished, 400 * MIB);
    let (finished, ledger) = run(scene, leases, &outlive("300M"));
    if leases == Leases::On {
        // 300 MiB of its own were refused when it mapped them.
        finished.expect_code(EXIT_REFUSED);
        return scene.assert_nothing_left();
    }
    assert_ended_in_time(scene, &finished, &ledger);
}

fn files_in_memory_count_while_they_are_mapped(scene: &Scene, leases: Leases) {
    let _noise = SHARED_OF_THE_MACHINE.read();
    if !has_tmpfs() {
        return;
    }
    let words = ["mapped-file", "1G", "--folder", TMPFS, "--hold", "20"];
    let (finished, ledger) = run(scene, leases, &words);
    assert_ended(scene, &finished, ledger.total().unwrap());
    let words = ["mapped-file", "200M", "--folder", TMPFS, "--hold", "1.2"];
    let (finished, _) = run(scene, leases, &words);
    finished.expect_code(0);
}

fn files_in_memory_that_nobody_maps_count_while_they_are_open(scene: &Scene, leases: Leases) {
    let _noise = SHARED_OF_THE_MACHINE.read();
    if !has_tmpfs() {
        return;
    }
    // No process shows these pages.
    let words = |bytes| ["written-file", bytes, "--folder", TMPFS, "--hold", "1.2"];
    let (finished, _) = run(scene, leases, &words("300M"));
    assert_within(scene, &finished, 300 * MIB);
    let words = [&words("1G")[..], &["--rate", "200M"]].concat();
    let (finished, ledger) = run(scene, leases, &words);
    assert_ended_in_time(scene, &finished, &ledger);
    assert!(tells_of_files(&finished), "{finished}");
}

fn tells_of_files(finished: &Finished) -> bool {
    let notes = finished.report().get("/notes").cloned().unwrap_or_default();
    notes.to_string().contains("counted that no process showed")
}

fn shared_memory_that_others_have_filled_counts(scene: &Scene, leases: Leases) {
    // An ordinary user is told by the machine's figure alone.
    let _quiet = match scene.setting().account {
        Account::Ordinary => Err(SHARED_OF_THE_MACHINE.write()),
        Account::Root => Ok(SHARED_OF_THE_MACHINE.read()),
    };
    let words = |bytes| {
        [
            "filled", bytes, "--count", "8", "--rate", "200M", "--hold", "1",
        ]
    };
    let (finished, _) = run(scene, leases, &words("400M"));
    // Less than 4 MiB is not looked for.
    assert_within(scene, &finished, 396 * MIB);
    let (finished, ledger) = run(scene, leases, &words("1G"));
    assert_ended_in_time(scene, &finished, &ledger);
}

fn one_memory_of_two_counts_once(scene: &Scene, leases: Leases) {
    let words = |bytes| ["one-memory", bytes, "--rate", "100M", "--hold", "0.5"];
    let (finished, _) = run(scene, leases, &words("400M"));
    assert_within(scene, &finished, 400 * MIB);
    let (finished, ledger) = run(scene, leases, &words("660M"));
    if leases == Leases::On {
        finished.expect_code(EXIT_REFUSED);
        return scene.assert_nothing_left();
    }
    assert_ended_in_time(scene, &finished, &ledger);
}

fn who_may_not_be_looked_into_is_not_taken_for_twice_as_large(scene: &Scene, leases: Leases) {
    let words = ["inherit", "300M", "--opaque", "--hold", "2"];
    let (finished, _) = run(scene, leases, &words);
    assert_within(scene, &finished, 300 * MIB);
}

fn who_may_not_be_looked_into_is_ended_all_the_same(scene: &Scene, leases: Leases) {
    let words = [
        "rewrite", "300M", "--opaque", "--rate", "100M", "--hold", "20",
    ];
    let (finished, ledger) = run(scene, leases, &words);
    assert_ended_in_time(scene, &finished, &ledger);
}

fn a_hundred_threads_within_the_limit_are_left_alone(scene: &Scene, leases: Leases) {
    let words = ["threads", "100M", "--count", "100", "--hold", "0.3"];
    let (finished, _) = run(scene, leases, &words);
    assert_within(scene, &finished, 100 * MIB);
}

fn threads_over_the_limit(scene: &Scene, leases: Leases) {
    let words = ["threads", "1G", "--count", "100", "--hold", "20"];
    let (finished, ledger) = run(scene, leases, &words);
    let touched = ledger.total().unwrap();
    if leases == Leases::Off {
        return assert_ended(scene, &finished, touched);
    }
    // The kernel holds what is mapped to the limit and the slack of the last
    // look, at any load: each thread's stack, and the 256 KiB that it is about
    // to touch. Which of both ends the job is open.
    let slack = 100 * (64 + 256) * 1024;
    assert!(touched <= LIMIT + slack, "touched {touched}\n{finished}");
    match finished.report().verdict().as_str() {
        "finished" => finished.expect_code(EXIT_REFUSED),
        _ => finished.expect_verdict("memory-limit by watchdog"),
    };
    scene.assert_nothing_left();
}

fn huge_pages_over_the_limit(scene: &Scene, leases: Leases) {
    let words = ["huge", "1G", "--hold", "20"];
    assert_ended_or_refused(scene, leases, &words);
}

fn many_mappings_touched_late(scene: &Scene, leases: Leases) {
    // Fifteen times 200 MiB.
    let words = ["maps", "3000M", "--count", "15", "--hold", "20"];
    assert_ended_or_refused(scene, leases, &words);
}

fn many_mappings_touched_in_part(scene: &Scene, leases: Leases) {
    // 480 MiB mapped, which no lease refuses, and all of it touched: 30 % of it
    // is slack when the looks begin, and none of it a reason to end the job.
    let words = ["maps", "480M", "--count", "15", "--hold", "0.3"];
    let (finished, _) = run(scene, leases, &words);
    assert_within(scene, &finished, 480 * MIB);
}

fn nobody_comes_farther_than_the_trace_explains(scene: &Scene, leases: Leases) {
    let _noise = SHARED_OF_THE_MACHINE.read();
    // Leases do not bind copies nor shared memory.
    let ways: [&[&str]; 3] = [
        &["rewrite", "300M"],
        &["shared", "1G"],
        &[
            "rewrite",
            "200M",
            "--count",
            "40",
            "--writers",
            "6",
            "--reserve",
            "64G",
        ],
    ];
    for way in ways {
        let ledger = scene.ledger("ledger");
        let (trace, progress) = (scene.word("trace"), scene.word("ledger"));
        let invocation = scene.memcap().memory(LIMIT_WORD).option(leases.word());
        let invocation = invocation.option("--trace").option(&trace);
        let words = [way, &["--hold", "20", "--progress", &progress]].concat();
        let finished = invocation.job("families", words).run();
        let slots = ledger.read().unwrap();
        let touched = match way[0] {
            "shared" => slots.into_iter().max().unwrap(),
            _ => slots.into_iter().sum(),
        };
        assert_ended(scene, &finished, touched);

        let over = touched.saturating_sub(LIMIT);
        let explained = explained(&std::fs::read_to_string(&trace).unwrap());
        assert!(
            over <= explained + JOB_OVERHEAD,
            "{over} over, {explained} explained\n{finished}"
        );
    }
}

/// What a tree could touch while nobody could know that it is at its limit: as
/// fast as it was seen to grow, or as the machine allows.
fn explained(trace: &str) -> u64 {
    let last = trace.lines().next_back().unwrap();
    let end: serde_json::Value = serde_json::from_str(last).unwrap();
    let number = |name| end.pointer(name).unwrap().as_u64().unwrap();
    let processors = std::thread::available_parallelism().unwrap().get() as u64;
    let rate = number("/end/fastest").max(TOUCHED_PER_SECOND * processors);
    let bytes = u128::from(rate) * u128::from(number("/end/exposed")) / 1_000_000_000;
    u64::try_from(bytes).unwrap()
}

fn run(scene: &Scene, leases: Leases, words: &[&str]) -> (Finished, Ledger) {
    let ledger = scene.ledger("ledger");
    let path = scene.word("ledger");
    let words = words.iter().copied().chain(["--progress", &path]);
    let invocation = scene.memcap().memory(LIMIT_WORD).option(leases.word());
    (invocation.job("families", words).run(), ledger)
}

fn has_tmpfs() -> bool {
    let there = Path::new(TMPFS).is_dir();
    if !there {
        eprintln!("skipped: there is no {TMPFS}");
    }
    there
}

/// What maps more than the limit at once is refused that by a lease before it
/// has touched anything; without, nobody but the watchdog is there.
#[track_caller]
fn assert_ended_or_refused(scene: &Scene, leases: Leases, words: &[&str]) {
    let (finished, ledger) = run(scene, leases, words);
    let touched = ledger.total().unwrap();
    if leases == Leases::Off {
        return assert_ended(scene, &finished, touched);
    }
    finished
        .expect_code(EXIT_REFUSED)
        .expect_verdict("finished");
    assert_eq!(touched, 0, "{finished}");
    let report = finished.report();
    assert_eq!(report.text("/lease/refusal"), "possible", "{finished}");
    scene.assert_nothing_left();
}

/// Ended by the watchdog, with all that was `touched` in the report and no
/// more.
#[track_caller]
fn assert_ended(scene: &Scene, finished: &Finished, touched: u64) {
    finished
        .expect_code(137)
        .expect_verdict("memory-limit by watchdog");
    let report = finished.report();
    let peak = report.number("/peak_bytes");
    assert!(
        peak.abs_diff(touched) <= JOB_OVERHEAD,
        "peak {peak} of {touched} touched\n{finished}"
    );
    let stated = report.number("/overshoot_bytes");
    assert_eq!(stated, peak.saturating_sub(LIMIT), "{finished}");
    assert_eq!(report.text("/guarantee"), "tree-sampled", "{finished}");
    scene.assert_nothing_left();
}

/// As [`assert_ended`], of a job that is slow enough to be ended near its limit.
#[track_caller]
fn assert_ended_in_time(scene: &Scene, finished: &Finished, ledger: &Ledger) {
    let touched = ledger.total().unwrap();
    assert_ended(scene, finished, touched);
    let bound = LIMIT + LIMIT * SLOW_SLACK_PERCENT / 100;
    assert!(touched <= bound, "touched {touched}\n{finished}");
}

/// Left alone to its end, with at least `bytes` at its peak.
#[track_caller]
fn assert_within(scene: &Scene, finished: &Finished, bytes: u64) {
    finished.expect_code(0).expect_verdict("finished");
    let report = finished.report();
    let peak = report.number("/peak_bytes");
    assert!(peak >= bytes, "peak {peak}\n{finished}");
    assert_eq!(report.number("/overshoot_bytes"), 0, "{finished}");
    scene.assert_nothing_left();
}
