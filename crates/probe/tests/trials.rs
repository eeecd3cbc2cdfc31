//! Real trials on this machine, as it is.
//!
//! What the machine does not have is reported as `skipped: reason`; a facility
//! named in `MEMCAP_REQUIRE` (`cgroup-v1`, `cgroup-v2`) makes that a failure.
//! This program is started again by the trials as their child, so it has no
//! test harness around its `main`. A word on the command line chooses cases by
//! name.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use memcap_linux::cgroup::GroupName;
use memcap_probe::trial::{
    Aid, AidTrial, AidVerdict, ContainmentVerdict, HOG_ARGUMENT, HarmlessTrial, MechanismTrial,
    Standing, Trials, Verdict, facts_only, hog_main, run_all, try_v1, try_v2,
};
use memcap_probe::{Host, Mechanism, Roots, examine};

enum Outcome {
    Passed,
    Skipped {
        facility: &'static str,
        reason: String,
    },
}

/// A failed assertion panics; a facility that is absent is told.
type Case = fn(&Seen) -> Outcome;

const CASES: &[(&str, Case)] = &[
    ("control_finishes", control_finishes),
    ("cgroup_v1_is_enforced", cgroup_v1_is_enforced),
    ("cgroup_v2_is_enforced", cgroup_v2_is_enforced),
    ("watchdog_ends_its_child", watchdog_ends_its_child),
    ("rlimit_refuses", rlimit_refuses),
    ("containment_follows_and_ends", containment_follows_and_ends),
    ("systemd_is_enforced", systemd_is_enforced),
    (
        "a_lease_on_a_running_child_refuses",
        a_lease_on_a_running_child_refuses,
    ),
    (
        "a_pressure_trigger_is_accepted_or_told",
        a_pressure_trigger_is_accepted_or_told,
    ),
    (
        "swap_absorbs_what_a_limit_leaves_open",
        swap_absorbs_what_a_limit_leaves_open,
    ),
    (
        "a_limit_is_met_without_a_kill",
        a_limit_is_met_without_a_kill,
    ),
    (
        "a_place_without_limits_proves_nothing",
        a_place_without_limits_proves_nothing,
    ),
    ("no_group_stays", no_group_stays),
    ("a_missing_program_is_told", a_missing_program_is_told),
    ("low_memory_forbids_trials", low_memory_forbids_trials),
    ("examine_joins_everything", examine_joins_everything),
];

/// All trials, made once.
struct Seen {
    host: Host,
    trials: Trials,
}

impl Seen {
    fn of(&self, mechanism: Mechanism) -> &MechanismTrial {
        let found = self
            .trials
            .mechanisms
            .iter()
            .find(|trial| trial.mechanism == mechanism);
        found.expect("every mechanism is listed")
    }
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((first, rest)) = args.split_first()
        && first == HOG_ARGUMENT
    {
        return hog_main(rest);
    }
    let wanted = args
        .iter()
        .filter_map(|arg| arg.to_str())
        .find(|arg| !arg.starts_with('-'));
    let mut host = Host::observe(&Roots::default());
    host.ask_systemd(&Roots::default());
    let trials = run_all(&host, &this_program());
    let seen = Seen { host, trials };
    let mut failures = 0;
    for (name, case) in CASES
        .iter()
        .filter(|(name, _)| name.contains(wanted.unwrap_or("")))
    {
        // A panic has printed its message already.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&seen)));
        let (line, failed) = judge(outcome.ok());
        failures += usize::from(failed);
        say(&format!("test {name} ... {line}"));
    }
    say(&format!("{failures} failed"));
    ExitCode::from(u8::from(failures > 0))
}

fn judge(outcome: Option<Outcome>) -> (String, bool) {
    match outcome {
        Some(Outcome::Passed) => ("ok".to_owned(), false),
        Some(Outcome::Skipped { facility, reason }) => {
            let required = std::env::var("MEMCAP_REQUIRE").unwrap_or_default();
            let failed = required.split(',').any(|name| name.trim() == facility);
            let line = format!("skipped: {reason}");
            (
                if failed {
                    format!("FAILED ({facility} is required), {line}")
                } else {
                    line
                },
                failed,
            )
        }
        None => ("FAILED".to_owned(), true),
    }
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output");
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("a path to ourselves")
}

fn control_finishes(seen: &Seen) -> Outcome {
    let control = seen.trials.control.as_ref().expect("trials were made");
    assert!(control.passed, "{}", control.seen);
    Outcome::Passed
}

/// Enforced with evidence, or not available for a stated reason.
fn enforced_or_absent(trial: &MechanismTrial, facility: &'static str) -> Outcome {
    if trial.verdict == Verdict::NotAvailable {
        let reason = trial.because.clone().expect("a reason");
        assert!(!reason.is_empty());
        return Outcome::Skipped { facility, reason };
    }
    assert_eq!(trial.verdict, Verdict::Enforced, "{trial:?}");
    assert_eq!(trial.because, None);
    let seen = trial.seen.as_deref().expect("evidence");
    assert!(
        seen.starts_with("killed at ") && seen.contains("oom_kill "),
        "{seen}"
    );
    Outcome::Passed
}

fn cgroup_v1_is_enforced(seen: &Seen) -> Outcome {
    enforced_or_absent(seen.of(Mechanism::CgroupV1), "cgroup-v1")
}

fn cgroup_v2_is_enforced(seen: &Seen) -> Outcome {
    enforced_or_absent(seen.of(Mechanism::CgroupV2), "cgroup-v2")
}

fn watchdog_ends_its_child(seen: &Seen) -> Outcome {
    let trial = seen.of(Mechanism::Watchdog);
    assert_eq!(trial.verdict, Verdict::Enforced, "{trial:?}");
    Outcome::Passed
}

fn rlimit_refuses(seen: &Seen) -> Outcome {
    let trial = seen.of(Mechanism::Rlimit);
    assert_eq!(trial.verdict, Verdict::Enforced, "{trial:?}");
    assert!(
        trial
            .seen
            .as_deref()
            .is_some_and(|seen| seen.starts_with("refused at "))
    );
    Outcome::Passed
}

fn containment_follows_and_ends(seen: &Seen) -> Outcome {
    let trial = &seen.trials.containment;
    if trial.verdict == ContainmentVerdict::NotAvailable {
        let reason = trial.because.clone().expect("a reason");
        return Outcome::Skipped {
            facility: "cgroup-v2-containment",
            reason,
        };
    }
    assert_ne!(trial.verdict, ContainmentVerdict::Fails, "{trial:?}");
    assert_ne!(trial.verdict, ContainmentVerdict::NotTried, "{trial:?}");
    let seen = trial.seen.as_deref().expect("evidence");
    assert!(
        seen.starts_with("2 processes followed, an orphan among them"),
        "{seen}"
    );
    Outcome::Passed
}

fn systemd_is_enforced(seen: &Seen) -> Outcome {
    let trial = seen.of(Mechanism::Systemd);
    if trial.verdict == Verdict::NotAvailable {
        let reason = trial.because.clone().expect("a reason");
        return Outcome::Skipped {
            facility: "systemd",
            reason,
        };
    }
    assert_eq!(trial.verdict, Verdict::Enforced, "{trial:?}");
    Outcome::Passed
}

fn aid(seen: &Seen, aid: Aid) -> &AidTrial {
    let found = seen.trials.aids.iter().find(|trial| trial.aid == aid);
    found.expect("every aid is listed")
}

fn a_lease_on_a_running_child_refuses(seen: &Seen) -> Outcome {
    let trial = aid(seen, Aid::Lease);
    assert_eq!(trial.verdict, AidVerdict::Works, "{trial:?}");
    let line = trial.seen.as_deref().expect("evidence");
    assert!(line.ends_with("of 96 MiB touched, then refused"), "{line}");
    Outcome::Passed
}

fn a_pressure_trigger_is_accepted_or_told(seen: &Seen) -> Outcome {
    let trial = aid(seen, Aid::PressureTrigger);
    if trial.verdict == AidVerdict::NotAvailable {
        let reason = trial.because.clone().expect("a reason");
        assert!(reason.starts_with("/proc/pressure/memory: "), "{reason}");
        return Outcome::Skipped {
            facility: "psi",
            reason,
        };
    }
    assert_eq!(trial.verdict, AidVerdict::Works, "{trial:?}");
    Outcome::Passed
}

fn swap_absorbs_what_a_limit_leaves_open(seen: &Seen) -> Outcome {
    let trial = aid(seen, Aid::LimitWithoutSwap);
    if trial.verdict == AidVerdict::NotAvailable {
        let reason = trial.because.clone().expect("a reason");
        return Outcome::Skipped {
            facility: "swap",
            reason,
        };
    }
    assert_eq!(trial.verdict, AidVerdict::SwapAbsorbs, "{trial:?}");
    let line = trial.seen.as_deref().expect("evidence");
    assert!(line.starts_with("touched 48 of 48 MiB"), "{line}");
    Outcome::Passed
}

/// Where a group with a limit can be made without making room first.
fn a_limit_is_met_without_a_kill(seen: &Seen) -> Outcome {
    let v1 = seen.host.cgroup_v1.value();
    let v1 = v1.and_then(|place| place.base.value());
    let v2 = seen.host.cgroup_v2.value();
    let v2 = v2.and_then(|place| place.memory_base.value());
    let v2 = v2.filter(|base| !base.make_room && !base.enable_memory);
    let kills = |base: &Path| {
        let read = |name| std::fs::read_to_string(base.join(name)).ok();
        let text = read("memory.events").or_else(|| read("memory.oom_control"))?;
        let line = text.lines().find(|line| line.starts_with("oom_kill "))?;
        Some(line.to_owned())
    };
    let (base, attempt): (&Path, fn(&Path) -> HarmlessTrial) = match (v2, v1) {
        (Some(base), _) => (&base.dir, try_v2),
        (None, Some(base)) => (base, try_v1),
        (None, None) => {
            return Outcome::Skipped {
                facility: "cgroups",
                reason: "no group with a limit can be made".to_owned(),
            };
        }
    };
    let before = kills(base);
    let mut durations = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        let trial = attempt(base);
        durations.push(started.elapsed());
        assert_eq!(trial.standing, Standing::Holds, "{trial:?}");
        assert!(trial.seen.ends_with("nobody killed"), "{}", trial.seen);
    }
    assert_eq!(kills(base), before, "no OOM kill is counted around it");
    durations.sort();
    say(&format!("half of them within {:?}", durations[10]));
    Outcome::Passed
}

/// A folder is no group: nothing is proved, and nothing stays there.
fn a_place_without_limits_proves_nothing(_: &Seen) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    for trial in [try_v1(folder.path()), try_v2(folder.path())] {
        assert_eq!(trial.standing, Standing::Unproven, "{trial:?}");
        assert!(trial.seen.contains("failed to write"), "{}", trial.seen);
    }
    let stays = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(stays, 0);
    Outcome::Passed
}

/// Where trials may have made groups, none of ours is left.
fn no_group_stays(seen: &Seen) -> Outcome {
    let bases = groups_around(&seen.host);
    if bases.is_empty() {
        return Outcome::Skipped {
            facility: "cgroups",
            reason: "there are no cgroups".to_owned(),
        };
    }
    let ours = std::process::id().to_string();
    for base in bases {
        let Ok(entries) = std::fs::read_dir(&base) else {
            continue;
        };
        for name in entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name())
        {
            let name = name.to_string_lossy();
            let is_ours =
                GroupName::parse(&name).is_some() && name.split('-').nth(2) == Some(ours.as_str());
            assert!(!is_ours, "{name} stays in {}", base.display());
        }
    }
    Outcome::Passed
}

fn groups_around(host: &Host) -> Vec<PathBuf> {
    let v2 = host.cgroup_v2.value().map(memcap_probe::V2Place::lineage);
    let v1 = host.cgroup_v1.value().map(memcap_probe::V1Place::lineage);
    v2.into_iter().chain(v1).flatten().collect()
}

fn a_missing_program_is_told(seen: &Seen) -> Outcome {
    let trials = run_all(&seen.host, Path::new("/nonexistent/program"));
    let control = trials.control.expect("it was tried");
    assert!(!control.passed);
    assert!(control.seen.contains("No such file"), "{}", control.seen);
    for trial in trials.mechanisms {
        assert_ne!(trial.verdict, Verdict::Enforced, "{trial:?}");
    }
    Outcome::Passed
}

fn low_memory_forbids_trials(_: &Seen) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::observe(&Roots::below(folder.path()));
    let trials = run_all(&host, &this_program());
    assert_eq!(trials.control, None, "no child was started");
    let expected = facts_only(&host, "how much memory is free is not known");
    assert_eq!(trials, expected);
    Outcome::Passed
}

fn examine_joins_everything(seen: &Seen) -> Outcome {
    let report = examine(&Roots::default(), Some(&this_program()));
    let first = seen
        .trials
        .mechanisms
        .iter()
        .find(|trial| trial.verdict == Verdict::Enforced);
    assert_eq!(report.best(), first.map(|trial| trial.mechanism));
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["mechanisms"].as_array().map(Vec::len), Some(5));
    assert_eq!(json["mechanisms"][1]["mechanism"], "systemd");
    assert_eq!(
        json["best"],
        serde_json::to_value(report.best()).expect("JSON")
    );
    Outcome::Passed
}
