//! C9 to C15, each where it is at work and where it only looks so.

use memcap_probe::Mechanism;
use memcap_probe::diagnosis::Weight;
use memcap_probe::trial::Verdict;

use super::builder::{Captured, UNLIMITED_V1, V2_MOUNT, group};
use super::findings::{codes, codes_after, finding, tried};
use super::v1;
use super::v2::{ALL, TYPE, UNLIMITED};

const GIB: (&str, &str) = ("memory.max", "1073741824\n");
const SWAPS: &str = "Filename\tType\tSize\tUsed\tPriority\n/swap\tfile\t4194304\t0\t-2\n";

/// A root shell in a service whose group has these files.
fn service(files: &[(&str, &str)]) -> Captured {
    let mut all = vec![TYPE];
    all.extend_from_slice(files);
    Captured::new()
        .mounts(V2_MOUNT)
        .groups("0::/job\n")
        .v2(&group(""), ALL, ALL, "", &[])
        .v2(&group("job"), ALL, ALL, "", &all)
}

#[test]
fn c9_a_limit_that_leaves_swap_open_on_a_machine_with_swap() {
    let open = service(&[
        GIB,
        ("memory.swap.max", "max\n"),
        ("memory.swap.current", "4096\n"),
    ])
    .put("proc/swaps", SWAPS);
    assert_eq!(codes(&open), ["C9", "C12"]);
    let found = finding(&open, "C9");
    assert!(
        found.seen.contains("4 GiB of swap, of which it uses 4 KiB"),
        "{found:?}"
    );
    assert!(found.fix.join("\n").contains("MemorySwapMax=0"));
    let wsl = service(&[GIB, ("memory.swap.max", "max\n")])
        .put("proc/swaps", SWAPS)
        .kernel("6.6.87.2-microsoft-standard-WSL2");
    assert!(finding(&wsl, "C9").fix.join("\n").contains("swap=0"));
    let on_v1 = v1::hybrid()
        .v1("sys/fs/cgroup/memory/api", "1073741824\n")
        .put(
            "sys/fs/cgroup/memory/api/memory.memsw.limit_in_bytes",
            UNLIMITED_V1,
        )
        .put("proc/swaps", SWAPS);
    assert_eq!(codes(&on_v1), ["C3", "C9", "C12"]);
}

#[test]
fn c9_is_silent_where_nothing_can_go_to_swap() {
    let closed = service(&[GIB, ("memory.swap.max", "0\n")]).put("proc/swaps", SWAPS);
    assert_eq!(codes(&closed), ["C12"]);
    let no_swap = service(&[GIB, ("memory.swap.max", "max\n")])
        .put("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
    assert_eq!(codes(&no_swap), ["C12"]);
    let unknown = service(&[GIB]).put("proc/swaps", SWAPS);
    assert_eq!(codes(&unknown), ["C12"]);
}

#[test]
fn c9_a_trial_that_ended_in_swap_tells_it_too() {
    let free = service(&[UNLIMITED]);
    let absorbed = tried(&free, Mechanism::CgroupV2, Verdict::SwapAbsorbs);
    assert_eq!(codes_after(&free, &absorbed), ["C9"]);
    let held = tried(&free, Mechanism::CgroupV2, Verdict::Enforced);
    assert!(codes_after(&free, &held).is_empty());
}

/// Slices of uid 1000 with this limit on the user's slice.
pub fn slices(own: &str, limit: &str) -> Captured {
    let slice = "user.slice/user-1000.slice";
    Captured::new()
        .mounts(V2_MOUNT)
        .groups(&format!("0::/{own}\n"))
        .v2(&group(""), ALL, ALL, "", &[])
        .v2(&group("user.slice"), ALL, ALL, "", &[TYPE, UNLIMITED])
        .v2(&group(slice), ALL, ALL, "", &[TYPE, ("memory.max", limit)])
}

#[test]
fn c10_a_limit_on_the_users_slice_does_not_hold_for_a_shell_outside() {
    let outside = slices("", "1073741824\n");
    assert_eq!(codes(&outside), ["C10"]);
    let found = finding(&outside, "C10");
    assert!(
        found
            .seen
            .starts_with("/sys/fs/cgroup/user.slice/user-1000.slice has memory.max")
            && found.seen.ends_with("we are in /sys/fs/cgroup"),
        "{found:?}"
    );
    let inside = slices("user.slice/user-1000.slice", "1073741824\n");
    assert_eq!(codes(&inside), ["C12"]);
    assert!(codes(&slices("", "max\n")).is_empty());
    let anothers = slices("", "1073741824\n").observed(|observed| observed.uid = Some(1001));
    assert!(codes(&anothers).is_empty());
}

#[test]
fn c11_a_threshold_alone_only_slows_down() {
    let high = ("memory.high", "536870912\n");
    let slowed = service(&[
        UNLIMITED,
        high,
        ("memory.events", "low 0\nhigh 812\nmax 0\n"),
    ]);
    assert_eq!(codes(&slowed), ["C11"]);
    assert!(finding(&slowed, "C11").seen.contains("exceeded 812 times"));
    assert_eq!(
        codes(&service(&[GIB, high])),
        ["C12"],
        "a limit is above it"
    );
    assert!(codes(&service(&[UNLIMITED, ("memory.high", "max\n")])).is_empty());
}

#[test]
fn c12_a_limit_around_us_is_mentioned() {
    let captured = v1::hybrid().v1("sys/fs/cgroup/memory/api", "1073741824\n");
    assert_eq!(codes(&captured), ["C3", "C12"]);
    let killed = service(&[GIB, ("memory.events", "oom_kill 3\n")]);
    assert!(
        finding(&killed, "C12")
            .seen
            .ends_with("took 3 processes in it")
    );
    let above_the_machine = service(&[("memory.max", "1099511627776\n")]);
    assert!(
        codes(&above_the_machine).is_empty(),
        "the machine is smaller"
    );
}

#[test]
fn c12_a_machine_that_ran_out_is_told_from_a_group() {
    let taken = |kills| move |seen: &mut memcap_probe::Observed| seen.machine_kills = Some(kills);
    let free = || service(&[UNLIMITED]);
    assert!(codes(&free()).is_empty());
    assert!(codes(&free().observed(taken(0))).is_empty());
    let ran_out = free().observed(taken(2));
    assert_eq!(codes(&ran_out), ["C12"]);
    let found = finding(&ran_out, "C12");
    assert_eq!(
        found.seen,
        "by the kernel's log the machine's own OOM killer took 2 processes"
    );
    assert!(found.fix.join("\n").contains("--keep-free"));
    let in_wsl = ran_out.kernel("6.6.87.2-microsoft-standard-WSL2");
    assert!(finding(&in_wsl, "C12").fix.join("\n").contains("memory="));
    let limited = service(&[GIB]).observed(taken(1));
    assert_eq!(codes(&limited), ["C12"]);
    assert!(finding(&limited, "C12").seen.ends_with("took 1 process"));
}

#[test]
fn c13_an_exempt_shell_and_a_partial_kill() {
    let exempt = |adjustment| service(&[UNLIMITED]).put("proc/self/oom_score_adj", adjustment);
    assert_eq!(codes(&exempt("-1000\n")), ["C13"]);
    assert!(codes(&exempt("-999\n")).is_empty());
    let partial = |as_one, kills| {
        service(&[
            GIB,
            ("memory.oom.group", as_one),
            ("memory.events.local", kills),
        ])
    };
    let found = partial("0\n", "oom_kill 2\n");
    assert_eq!(codes(&found), ["C12", "C13"]);
    assert_eq!(finding(&found, "C13").weight, Weight::Weakens);
    assert_eq!(codes(&partial("1\n", "oom_kill 2\n")), ["C12"]);
    assert_eq!(codes(&partial("0\n", "oom_kill 0\n")), ["C12"]);
}

/// Two members with this much resident each, in pages.
pub fn members(pages: &str, current: &str) -> Captured {
    let statm = format!("999999 {pages} 10 1 0 5 0\n");
    service(&[GIB, ("memory.current", current)])
        .put(&format!("{}/cgroup.procs", group("job")), "500\n501\n")
        .put("proc/500/statm", &statm)
        .put("proc/501/statm", &statm)
}

#[test]
fn c14_resident_sets_that_add_up_to_more_than_is_charged() {
    let shared = members("200000", "900000000\n");
    assert_eq!(codes(&shared), ["C12", "C14"]);
    assert!(finding(&shared, "C14").means.contains("RES"));
    assert_eq!(codes(&members("20000", "900000000\n")), ["C12"]);
    assert_eq!(
        codes(&members("200000", "1073745920\n")),
        ["C12"],
        "it is above"
    );
}

#[test]
fn c15_is_said_only_after_everything_else_is_excluded() {
    let free = service(&[UNLIMITED]);
    let ignored = tried(&free, Mechanism::CgroupV2, Verdict::NotEnforced);
    assert_eq!(codes_after(&free, &ignored), ["C15"]);
    let mut no_control = ignored.clone();
    if let Some(control) = &mut no_control.control {
        control.passed = false;
    }
    assert!(codes_after(&free, &no_control).is_empty());
    let sampled = tried(&free, Mechanism::Watchdog, Verdict::NotEnforced);
    assert!(
        codes_after(&free, &sampled).is_empty(),
        "that is not the kernel"
    );
    let absorbed = tried(&free, Mechanism::CgroupV2, Verdict::SwapAbsorbs);
    assert_eq!(codes_after(&free, &absorbed), ["C9"]);
}
