//! What the diagnosis says of captured hosts, and that it keeps silent
//! otherwise.

use memcap_probe::diagnosis::Finding;
use memcap_probe::examine;

use super::builder::{Captured, V2_MOUNT, group};
use super::{v1, v2};

fn findings(captured: &Captured) -> Vec<Finding> {
    examine(&captured.roots(), None).findings
}

fn codes(captured: &Captured) -> Vec<String> {
    findings(captured)
        .into_iter()
        .map(|finding| finding.code)
        .collect()
}

#[test]
fn memory_on_v1_is_named_with_its_mount() {
    let found = findings(&v1::hybrid());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, "C3");
    assert!(
        found[0].seen.ends_with("/sys/fs/cgroup/memory"),
        "{}",
        found[0].seen
    );
}

#[test]
fn the_remedy_for_v1_follows_the_kind_of_linux() {
    let wsl = |captured: Captured| {
        captured.put(
            "proc/sys/kernel/osrelease",
            "5.15.153.1-microsoft-standard-WSL2\n",
        )
    };
    let asked = "[automount]\ncgroups = v1\n";
    let cases = [
        (v1::hybrid(), "without v1"),
        (
            v1::hybrid().put("run/systemd/system/x", ""),
            "unified_cgroup_hierarchy",
        ),
        (wsl(v1::hybrid()), "wsl --update"),
        (wsl(v1::hybrid()).put("etc/wsl.conf", asked), "wsl.conf"),
    ];
    for (captured, word) in cases {
        let fix = findings(&captured).remove(0).fix.join("\n");
        assert!(fix.contains(word), "{word} in {fix}");
    }
}

#[test]
fn a_new_wsl_kernel_with_v1_asked_for_hides_memory_from_systemd() {
    let captured = v2::hybrid_without_v1_memory()
        .put(
            "proc/sys/kernel/osrelease",
            "6.18.40.1-microsoft-standard-WSL2\n",
        )
        .put("etc/wsl.conf", "[automount]\ncgroups=v1\n");
    assert_eq!(codes(&captured), ["C4"]);
    assert!(codes(&v2::hybrid_without_v1_memory()).is_empty());
}

#[test]
fn a_controller_turned_off_at_boot_is_named() {
    let captured = Captured::new()
        .mounts(V2_MOUNT)
        .groups("0::/\n")
        .v2(&group(""), "cpu pids\n", "\n", "1\n", &[])
        .put("proc/cmdline", "root=/dev/vda cgroup_disable=memory\n");
    assert_eq!(codes(&captured), ["C2"]);
}

#[test]
fn the_first_group_that_keeps_memory_to_itself_is_named() {
    let captured = Captured::new()
        .mounts(V2_MOUNT)
        .groups("0::/a/b/c\n")
        .v2(&group(""), "memory pids\n", "memory pids\n", "", &[])
        .v2(
            &group("a"),
            "memory pids\n",
            "pids\n",
            "",
            &[("cgroup.type", "domain\n")],
        )
        .v2(
            &group("a/b"),
            "pids\n",
            "pids\n",
            "",
            &[("cgroup.type", "domain\n")],
        )
        .v2(
            &group("a/b/c"),
            "pids\n",
            "\n",
            "5\n",
            &[("cgroup.type", "domain\n")],
        )
        .lock(&group("a/b/c"))
        .lock(&group("a/b"))
        .lock(&group("a"))
        .lock(&group(""));
    let found = findings(&captured);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, "C5");
    let stop = captured.at(&group("a")).display().to_string();
    assert!(found[0].seen.starts_with(&stop), "{}", found[0].seen);
    assert!(found[0].fix[0].ends_with(&format!("{stop}/cgroup.subtree_control")));
}

#[test]
fn a_session_that_is_not_ours_is_told_apart() {
    assert_eq!(codes(&v2::undelegated()), ["C6"]);
}

#[test]
fn containers_and_the_first_subsystem_are_named() {
    let docker = Captured::new()
        .mounts("29 22 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n")
        .groups("0::/\n")
        .v2(
            &group(""),
            "memory\n",
            "\n",
            "1\n",
            &[("cgroup.type", "domain\n")],
        );
    assert_eq!(codes(&docker), ["C0"]);
    let privileged = v1::hybrid().put(".dockerenv", "");
    assert_eq!(codes(&privileged), ["C3"], "it may make groups");
    let wsl1 = Captured::new().put("proc/sys/kernel/osrelease", "4.4.0-19041-Microsoft\n");
    assert_eq!(codes(&wsl1), ["C1"]);
}

#[test]
fn a_limit_around_us_is_mentioned() {
    let captured = v1::hybrid().v1("sys/fs/cgroup/memory/api", "1073741824\n");
    assert_eq!(codes(&captured), ["C3", "C12"]);
}
