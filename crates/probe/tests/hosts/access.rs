//! C6 to C8, each where it is at work and where it only looks so.

use memcap_probe::diagnosis::Weight;
use memcap_probe::facts::Sockets;
use memcap_probe::{Fact, Mechanism};

use super::builder::{Captured, V2_MOUNT, group};
use super::findings::{codes, finding};
use super::v2::{self, ALL, TYPE, UNLIMITED};

const WSL: &str = "6.6.87.2-microsoft-standard-WSL2";

/// Systemd runs, and these answers are on record.
fn with_systemd(captured: Captured, answer: &Fact<std::path::PathBuf>) -> Captured {
    captured
        .put("run/systemd/system/x", "")
        .observed(|observed| observed.sockets = Some(Sockets::all(answer)))
}

fn nobody_answers() -> Fact<std::path::PathBuf> {
    Fact::absent("failed to connect to /run/user/1000/systemd/private: No such file or directory")
}

#[test]
fn c6_a_session_that_is_not_ours_is_told_apart() {
    assert_eq!(codes(&v2::undelegated()), ["C6"]);
    let found = finding(&v2::undelegated(), "C6");
    assert!(
        found.seen.contains(" /sys/fs/cgroup/user.slice/"),
        "{found:?}"
    );
    assert_eq!(found.weight, Weight::Blocks);
    let with_scope = v2::undelegated().observed(|observed| {
        observed.scope = Some(Fact::present(
            serde_json::from_value(serde_json::json!({
                "instance": "user",
                "address": {"socket": "/run/user/1000/bus", "is_bus": true, "owner": 1000},
                "slice": "app.slice",
                "parent": "/sys/fs/cgroup/user.slice/app.slice",
                "ceilings": []
            }))
            .expect("a place"),
        ));
    });
    assert!(codes(&with_scope.put("run/systemd/system/x", "")).is_empty());
}

#[test]
fn c7_a_user_without_a_manager_is_told_how_to_have_one() {
    let captured = with_systemd(v2::undelegated(), &nobody_answers());
    assert_eq!(codes(&captured), ["C6", "C7"]);
    let found = finding(&captured, "C7");
    assert!(found.seen.contains("/run/user/1000/systemd/private"));
    assert!(found.fix.join("\n").contains("enable-linger"), "{found:?}");
    let on_wsl = with_systemd(v2::undelegated(), &nobody_answers()).kernel(WSL);
    let fix = finding(&on_wsl, "C7").fix.join("\n");
    assert!(fix.contains("wsl --update"), "{fix}");
}

#[test]
fn c7_wsl_without_systemd_is_told_where_to_turn_it_on() {
    let wsl = || v2::undelegated().kernel(WSL);
    assert_eq!(codes(&wsl()), ["C6", "C7"]);
    let fix = finding(&wsl(), "C7").fix.join("\n");
    assert!(fix.contains("systemd=true"), "{fix}");
    let asked = wsl().put("etc/wsl.conf", "[boot]\nsystemd=true\n");
    let found = finding(&asked, "C7");
    assert!(found.seen.contains("asks for systemd"), "{found:?}");
}

#[test]
fn c7_is_silent_where_it_is_not_certain_or_not_the_reason() {
    // Not on record, slow to answer, and no systemd on an ordinary machine.
    let unknown = v2::undelegated().put("run/systemd/system/x", "");
    assert_eq!(codes(&unknown), ["C6"]);
    let slow = with_systemd(
        v2::undelegated(),
        &Fact::unknown_since("no answer over /run/user/1000/bus within 3 s"),
    );
    assert_eq!(codes(&slow), ["C6"]);
    assert_eq!(codes(&v2::undelegated()), ["C6"]);
    // Root of the machine needs no manager.
    let root = Captured::new()
        .mounts(V2_MOUNT)
        .groups("0::/\n")
        .v2(&group(""), ALL, "\n", "1\n", &[])
        .kernel(WSL);
    assert!(codes(&root).is_empty());
}

/// A distribution's own group, as WSL 2.9.8 makes it.
fn isolated(own: &str) -> Captured {
    let distribution = "wsl-user/distro-280";
    Captured::new()
        .kernel("6.18.40.1-microsoft-standard-WSL2")
        .mounts(V2_MOUNT)
        .groups(&format!("0::/{own}\n"))
        .v2(&group(""), ALL, ALL, "", &[])
        .v2(
            &group("wsl-user"),
            ALL,
            ALL,
            "",
            &[TYPE, ("memory.max", "17146314752\n")],
        )
        .v2(&group(distribution), ALL, ALL, "", &[TYPE, UNLIMITED])
        .v2(&group(own), ALL, "\n", "300\n301\n", &[TYPE, UNLIMITED])
}

#[test]
fn c8_a_group_for_each_distribution_is_noted() {
    let own = "wsl-user/distro-280/non-systemd";
    let root = isolated(own).put("run/systemd/system/x", "");
    assert_eq!(codes(&root), ["C8", "C12"]);
    let found = finding(&root, "C8");
    assert_eq!(found.weight, Weight::Note);
    assert!(found.seen.contains(own), "{found:?}");
    assert!(found.fix.join("\n").contains("isolateDistroCgroup=false"));
    let outer = finding(&root, "C12");
    assert!(outer.fix.join("\n").contains("`memory=`"), "{outer:?}");
    assert!(outer.seen.starts_with("/sys/fs/cgroup/wsl-user/memory.max"));
}

#[test]
fn c8_without_systemd_it_is_what_blocks() {
    let own = "wsl-user/distro-280";
    let user = isolated(own)
        .lock(&group(own))
        .lock(&group("wsl-user"))
        .lock(&group(""));
    assert_eq!(codes(&user), ["C6", "C7", "C8", "C12"]);
    let found = finding(&user, "C8");
    assert_eq!(found.weight, Weight::Blocks);
    assert!(found.fix.join("\n").contains("systemd=true"));
    assert!(
        found.meanwhile.contains(Mechanism::Watchdog.name()) || found.meanwhile.contains("watches")
    );
}

#[test]
fn c8_is_silent_in_a_group_that_only_sounds_alike() {
    assert!(codes(&isolated("wsl-users/distro-280")).is_empty());
}

#[test]
fn a_unit_that_is_not_delegated_is_systemds_affair() {
    let scope = group("app.slice/run-1.scope");
    let alone = |limit: &str, undelegated: bool| {
        Captured::new()
            .mounts(V2_MOUNT)
            .groups("0::/app.slice/run-1.scope\n")
            .v2(&group(""), "memory\n", "memory\n", "", &[])
            .v2(&group("app.slice"), "memory\n", "memory\n", "", &[TYPE])
            .v2(
                &scope,
                "memory\n",
                "\n",
                "77\n",
                &[TYPE, ("memory.max", limit)],
            )
            .observed(|observed| {
                observed.pid = Some(77);
                if undelegated {
                    observed.undelegated = vec!["/sys/fs/cgroup/app.slice/run-1.scope".into()];
                }
            })
    };
    let base = |captured: &Captured| {
        let place = captured.host().cgroup_v2;
        let base = place.value().expect("a place").memory_base.clone();
        base.map(|base| captured.roots().shown(&base.dir))
    };
    let delegated = alone("536870912\n", false);
    assert_eq!(
        base(&delegated),
        Fact::present("/sys/fs/cgroup/app.slice/run-1.scope".into())
    );
    let unlimited = alone("max\n", true);
    assert_eq!(
        base(&unlimited),
        Fact::present("/sys/fs/cgroup/app.slice".into()),
        "beside the unit"
    );
    assert!(codes(&unlimited).is_empty());
    let limited = alone("536870912\n", true);
    let because = base(&limited);
    let because = because.because().expect("no place");
    assert!(
        because.contains("without Delegate=") && because.contains("must not be left"),
        "{because}"
    );
    assert_eq!(codes(&limited), ["C6", "C12"]);
    let fix = finding(&limited, "C6").fix.join("\n");
    assert!(fix.contains("Delegate=yes"), "{fix}");
}
