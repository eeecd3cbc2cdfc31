//! C0 to C5, each where it is at work and where it only looks so.

use memcap_probe::diagnosis::Weight;

use super::builder::{Captured, V2_MOUNT, group};
use super::findings::{codes, finding};
use super::v2::{ALL, TYPE};
use super::{v1, v2};

const OLD_WSL: &str = "5.15.153.1-microsoft-standard-WSL2";
const NEW_WSL: &str = "6.18.40.1-microsoft-standard-WSL2";
const ASKS_FOR_V1: &str = "[automount]\ncgroups = v1\n";

/// The root of a cgroup namespace, mounted like this.
fn namespace(options: &str) -> Captured {
    Captured::new()
        .mounts(&format!(
            "29 22 0:26 / /sys/fs/cgroup {options} - cgroup2 cgroup2 rw\n"
        ))
        .groups("0::/\n")
        .v2(&group(""), "memory\n", "\n", "1\n", &[TYPE])
}

#[test]
fn c0_a_container_leaves_limits_to_whoever_started_it() {
    let marked = |mark: &str, text: &str| namespace("ro").put(mark, text);
    let cases = [
        (namespace("ro"), "docker run"),
        (namespace("rw"), "docker run"),
        (marked(".dockerenv", ""), "docker run"),
        (marked("run/.containerenv", ""), "podman run"),
        (
            marked("var/run/secrets/kubernetes.io/token", ""),
            "resources.limits.memory",
        ),
        (marked("run/systemd/container", "lxc\n"), "lxc config"),
        (
            marked("run/systemd/container", "systemd-nspawn\n"),
            "systemd-nspawn@",
        ),
    ];
    for (captured, word) in cases {
        assert_eq!(codes(&captured), ["C0"]);
        let found = finding(&captured, "C0");
        assert_eq!(found.weight, Weight::Blocks);
        assert!(found.fix.join("\n").contains(word), "{found:?}");
    }
}

#[test]
fn c0_is_silent_where_the_container_may_make_groups() {
    assert_eq!(codes(&v1::hybrid().put(".dockerenv", "")), ["C3"]);
    let wsl = v2::undelegated().put("run/systemd/container", "wsl\n");
    assert_eq!(
        codes(&wsl),
        ["C6"],
        "systemd's word for WSL is no container"
    );
}

#[test]
fn c0_a_namespace_with_the_mount_from_before_needs_a_new_one() {
    let captured = Captured::new()
        .mounts("29 22 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
        .groups("0::/\n")
        .v2(&group(""), "memory\n", "memory\n", "1\n", &[]);
    assert_eq!(codes(&captured), ["C0"]);
    let fix = finding(&captured, "C0").fix.join("\n");
    assert!(
        fix.contains("mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        "{fix}"
    );
}

#[test]
fn c16_is_said_where_nothing_is_mounted() {
    assert_eq!(codes(&Captured::new()), ["C16"]);
    let fix = finding(&Captured::new(), "C16").fix.join("\n");
    assert!(
        fix.contains("mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        "{fix}"
    );
    let inside = Captured::new().put(".dockerenv", "");
    assert_eq!(codes(&inside), ["C0", "C16"]);
    let fix = finding(&inside, "C16").fix.join("\n");
    assert!(fix.contains("have the container started"), "{fix}");
}

#[test]
fn c1_is_told_from_wsl2_by_a_capital() {
    let release = |release: &str| Captured::new().kernel(release);
    assert_eq!(codes(&release("4.4.0-19041-Microsoft")), ["C1"]);
    assert_eq!(codes(&release("4.19.128-microsoft-standard")), ["C16"]);
}

fn without_controller() -> Captured {
    Captured::new()
        .mounts(V2_MOUNT)
        .groups("0::/\n")
        .v2(&group(""), "cpu pids\n", "\n", "1\n", &[])
}

#[test]
fn c2_a_controller_that_the_kernel_lacks_or_was_told_to_leave_off() {
    let off = "root=/dev/vda cgroup_disable=pids,memory\n";
    let by_parameter = without_controller().put("proc/cmdline", off);
    assert_eq!(codes(&by_parameter), ["C2"]);
    assert!(finding(&by_parameter, "C2").seen.contains("/proc/cmdline"));
    let built_without = without_controller()
        .put("proc/config", "# CONFIG_MEMCG is not set\n")
        .kernel("6.6.87.2-microsoft-standard-WSL2");
    let fix = finding(&built_without, "C2").fix.join("\n");
    assert!(
        fix.contains("kernel=") && fix.contains(".wslconfig"),
        "{fix}"
    );

    let others = without_controller().put("proc/cmdline", "cgroup_disable=pids\n");
    assert!(codes(&others).is_empty());
    let built_with = without_controller().put("proc/config", "CONFIG_MEMCG=y\n");
    assert!(codes(&built_with).is_empty());
    // A word that did not take effect.
    assert_eq!(codes(&v1::hybrid().put("proc/cmdline", off)), ["C3"]);
}

#[test]
fn c3_memory_on_v1_is_named_with_its_mount_and_a_fix_for_this_host() {
    let systemd = |captured: Captured| captured.put("run/systemd/system/x", "");
    let cases = [
        (v1::hybrid(), "without v1"),
        (systemd(v1::hybrid()), "unified_cgroup_hierarchy=1"),
        (
            systemd(v1::hybrid()).put("proc/cmdline", "systemd.unified_cgroup_hierarchy=0\n"),
            "remove systemd.unified_cgroup_hierarchy=0",
        ),
        (v1::hybrid().put(".dockerenv", ""), "around this container"),
        (v1::hybrid().kernel(OLD_WSL), "cgroup_no_v1=all"),
        (systemd(v1::hybrid().kernel(OLD_WSL)), "wsl --update"),
        (
            v1::hybrid().kernel("6.6.87.2-microsoft-standard-WSL2"),
            "Docker's init script",
        ),
        (
            v1::hybrid()
                .kernel("6.6.87.2-microsoft-standard-WSL2")
                .put("etc/wsl.conf", ASKS_FOR_V1),
            "/etc/wsl.conf",
        ),
    ];
    for (captured, word) in cases {
        assert_eq!(codes(&captured), ["C3"], "{word}");
        let found = finding(&captured, "C3");
        assert!(found.seen.ends_with(" /sys/fs/cgroup/memory"), "{found:?}");
        assert!(found.fix.join("\n").contains(word), "{word} in {found:?}");
        assert_eq!(found.weight, Weight::Weakens, "v1 can be used");
    }
    let locked = v1::hybrid().lock("sys/fs/cgroup/memory/api/job");
    assert_eq!(finding(&locked, "C3").weight, Weight::Blocks);
}

#[test]
fn c3_a_mount_of_another_distribution_is_seen_by_its_number() {
    let cgroups = |hierarchy: u32| {
        let text =
            format!("#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t{hierarchy}\t9\t1\n");
        without_controller()
            .kernel(OLD_WSL)
            .put("proc/cgroups", &text)
    };
    assert_eq!(codes(&cgroups(4)), ["C3"]);
    let fix = finding(&cgroups(4), "C3").fix.join("\n");
    assert!(fix.contains("another distribution"), "{fix}");
    assert!(codes(&cgroups(0)).is_empty(), "bound to nothing");
}

#[test]
fn c4_v1_asked_for_where_memory_is_in_v2_only_hides_it_from_systemd() {
    let wsl = v2::hybrid_without_v1_memory()
        .kernel(NEW_WSL)
        .put("etc/wsl.conf", ASKS_FOR_V1)
        .put(
            "proc/config",
            "CONFIG_MEMCG=y\n# CONFIG_MEMCG_V1 is not set\n",
        );
    assert_eq!(codes(&wsl), ["C4"]);
    assert!(finding(&wsl, "C4").seen.contains("CONFIG_MEMCG_V1"));
    let elsewhere = v2::hybrid_without_v1_memory().put("run/systemd/system/x", "");
    assert_eq!(codes(&elsewhere), ["C4"]);

    assert!(codes(&v2::hybrid_without_v1_memory()).is_empty());
    let for_v2 = v2::hybrid_without_v1_memory()
        .kernel(NEW_WSL)
        .put("etc/wsl.conf", "[automount]\ncgroups = v2\n");
    assert!(codes(&for_v2).is_empty());
}

/// `a` keeps memory to itself.
fn kept_back(pids: &str) -> Captured {
    Captured::new()
        .mounts(V2_MOUNT)
        .groups("0::/a/b/c\n")
        .v2(&group(""), ALL, ALL, "", &[])
        .v2(&group("a"), ALL, "pids\n", pids, &[TYPE])
        .v2(&group("a/b"), "pids\n", "pids\n", "", &[TYPE])
        .v2(&group("a/b/c"), "pids\n", "\n", "5\n", &[TYPE])
        .lock(&group("a/b/c"))
        .lock(&group("a/b"))
        .lock(&group("a"))
        .lock(&group(""))
}

#[test]
fn c5_the_first_group_that_keeps_memory_to_itself_is_named() {
    let captured = kept_back("");
    assert_eq!(codes(&captured), ["C5"]);
    let found = finding(&captured, "C5");
    assert!(found.seen.starts_with("/sys/fs/cgroup/a does"), "{found:?}");
    assert_eq!(
        found.fix,
        ["as root: echo +memory > /sys/fs/cgroup/a/cgroup.subtree_control"]
    );
    let busy = finding(&kept_back("7\n"), "C5").fix.join("\n");
    assert!(busy.contains("EBUSY") && busy.contains("+memory"), "{busy}");
    let run_by_systemd = kept_back("").put("run/systemd/system/x", "");
    let fix = finding(&run_by_systemd, "C5").fix.join("\n");
    assert!(fix.contains("Delegate="), "{fix}");
}

#[test]
fn c5_is_silent_where_only_our_own_group_gives_nothing() {
    assert_eq!(codes(&v2::undelegated()), ["C6"]);
}
