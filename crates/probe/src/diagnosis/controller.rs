//! C0 to C5: where the memory controller is, and why it does not reach us.

use super::known::Known;
use super::{Finding, Weight, finding};
use crate::Mechanism;
use crate::facts::{CgroupMount, ContainerKind, Era, Layout, MemoryController, Platform, WslConf};

/// C0: limits belong to whoever started the container.
pub(super) fn in_a_container(known: &Known<'_>) -> Option<Finding> {
    let container = known.facts.container.value()?;
    if known.has_exact_limit() {
        return None;
    }
    if let Some(mount) = known.v2_mount().filter(|mount| mount.is_outside()) {
        return an_old_mount(known, mount);
    }
    let fix: &[&str] = match container.kind {
        ContainerKind::Docker | ContainerKind::Other => &[
            "limit the container as a whole when you start it, swap included:",
            "docker run --memory=8g --memory-swap=8g ...",
        ],
        ContainerKind::Podman => &[
            "limit the container as a whole when you start it, swap included:",
            "podman run --memory=8g --memory-swap=8g ...",
            "or let memcap make limits inside it:",
            "podman run --security-opt unmask=/sys/fs/cgroup ...",
        ],
        ContainerKind::Kubernetes => {
            &["set resources.limits.memory of the container in the pod's specification"]
        }
        ContainerKind::Lxc => &[
            "on the container's host: lxc config set NAME limits.memory 8GiB",
            "lxc config set NAME limits.memory.swap false",
        ],
        ContainerKind::Nspawn => &[
            "on the container's host: systemctl set-property \\",
            "    systemd-nspawn@NAME.service MemoryMax=8G MemorySwapMax=0",
        ],
    };
    let means = "this is a container, in which we may not set limits ourselves";
    finding(
        known,
        "C0",
        Weight::Blocks,
        (container.told_by.clone(), means),
        fix.iter().copied(),
    )
}

/// C0 where only a mount of our own is missing.
fn an_old_mount(known: &Known<'_>, mount: &CgroupMount) -> Option<Finding> {
    let dir = mount.mount_point.display();
    let seen = format!("{dir} shows a place outside our cgroup namespace");
    let means = "groups can be made there, but nothing from this namespace can enter them";
    let fix = [
        "as root, in a mount namespace of our own, mount it anew:".to_owned(),
        format!("umount {dir} && mount -t cgroup2 cgroup2 {dir}"),
    ];
    finding(known, "C0", Weight::Blocks, (seen, means), fix)
}

/// C1: there is no Linux kernel.
pub(super) fn first_subsystem(known: &Known<'_>) -> Option<Finding> {
    if known.facts.platform != Platform::Wsl1 {
        return None;
    }
    let seen = format!("the kernel calls itself {}", known.release());
    let means = "this is WSL1: its control groups are an emulation that limits no memory";
    let fix = ["in Windows: wsl --set-version <distribution> 2"];
    finding(known, "C1", known.weight(), (seen, means), fix)
}

/// C2: the kernel has no memory controller, or it was turned off.
pub(super) fn turned_off(known: &Known<'_>) -> Option<Finding> {
    let boot = &known.facts.boot;
    if !known.facts.memory_controller.is_absent() {
        return None;
    }
    let is_wsl = known.is_wsl2();
    let (seen, fix): (_, &[&str]) = if boot.lacks_memory() {
        let fix: &[&str] = if is_wsl {
            &[
                "remove the line `kernel=` under [wsl2] in %UserProfile%\\.wslconfig, or",
                "build that kernel with CONFIG_MEMCG=y; then in Windows: wsl --shutdown",
            ]
        } else {
            &["use a kernel that was built with CONFIG_MEMCG=y"]
        };
        ("the kernel was built without CONFIG_MEMCG", fix)
    } else if boot.disables_memory() {
        let fix: &[&str] = if is_wsl {
            &[
                "remove cgroup_disable=memory from kernelCommandLine under [wsl2] in",
                "%UserProfile%\\.wslconfig, then in Windows: wsl --shutdown",
            ]
        } else {
            &[
                "remove cgroup_disable=memory from the boot loader's kernel command line,",
                "then reboot",
            ]
        };
        ("/proc/cmdline has cgroup_disable=memory", fix)
    } else {
        return None;
    };
    let means = "this kernel has no memory controller, neither for v1 nor for v2";
    finding(
        known,
        "C2",
        known.weight(),
        (seen, means),
        fix.iter().copied(),
    )
}

/// C3: a controller is in one hierarchy at a time.
pub(super) fn bound_to_v1(known: &Known<'_>) -> Option<Finding> {
    let seen = match known.facts.memory_controller.value()? {
        MemoryController::V2 { .. } => return None,
        MemoryController::V1 { mount_point } => {
            format!("memory is bound to cgroup v1 at {}", mount_point.display())
        }
        MemoryController::V1OutOfSight { hierarchy } => format!(
            "memory is bound to cgroup v1 (hierarchy {hierarchy} of /proc/cgroups), which is \
             mounted out of our sight"
        ),
    };
    let fix = match known.facts.platform {
        Platform::Wsl1 => return None,
        Platform::Wsl2 => unbind_in_wsl(known),
        Platform::Linux => unbind(known),
    };
    let who = match known.enforces(Mechanism::CgroupV1) {
        true => "the kernel enforces limits by v1, as memcap does now, but only root can set them",
        false => "the kernel could enforce limits, but v1 is for root alone",
    };
    let masked = match known.facts.systemd_runs {
        true => "; for other users systemd accepts MemoryMax= and sets nothing",
        false => "",
    };
    let means = format!("{who}; v2, which others could use, has no memory controller{masked}");
    finding(
        known,
        "C3",
        known.weight(),
        (seen, means),
        fix.iter().copied(),
    )
}

/// Who bound it decides how it is released; see the eras in docs/doctor.md.
fn unbind_in_wsl(known: &Known<'_>) -> &'static [&'static str] {
    /// The first of WSL's own kernels that came with v2 alone.
    const V2_ALONE: (u32, u32) = (6, 6);
    let out_of_sight = matches!(
        known.facts.memory_controller.value(),
        Some(MemoryController::V1OutOfSight { .. })
    );
    if out_of_sight {
        return &[
            "another distribution, or a container, has mounted it: all share one kernel.",
            "in Windows: wsl --shutdown, then start this distribution first;",
            "in the others remove `cgroups = v1` from /etc/wsl.conf",
        ];
    }
    match known.era() {
        Some(Era::V1AskedFor) => &[
            "remove `cgroups = v1` from [automount] in /etc/wsl.conf, then",
            "in Windows: wsl --terminate <distribution>",
        ],
        _ if known.kernel().is_some_and(|version| version >= V2_ALONE) => &[
            "WSL with this kernel mounts v2 alone, so something in this distribution has",
            "mounted v1 (Docker's init script does, or a line in /etc/fstab): remove that,",
            "then in Windows: wsl --shutdown",
        ],
        _ => &[
            "in Windows: wsl --update, then wsl --shutdown. Where that cannot be done,",
            "put `kernelCommandLine = cgroup_no_v1=all` under [wsl2] in",
            "%UserProfile%\\.wslconfig, then wsl --shutdown (WSL 1.0.1 and later).",
            "systemd.unified_cgroup_hierarchy=1 alone does not help: WSL mounts first",
        ],
    }
}

fn unbind(known: &Known<'_>) -> &'static [&'static str] {
    let asked_for = [
        "systemd.unified_cgroup_hierarchy=0",
        "systemd.unified_cgroup_hierarchy=false",
    ];
    let boot = &known.facts.boot;
    if known.container().is_some() {
        &["the machine around this container must mount cgroup2 alone"]
    } else if asked_for.iter().any(|word| boot.has_word(word)) {
        &["remove systemd.unified_cgroup_hierarchy=0 from the kernel command line, reboot"]
    } else if known.facts.systemd_runs {
        &["boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line"]
    } else {
        &["whatever mounts control groups at boot must mount cgroup2 alone, without v1"]
    }
}

/// C4: systemd believes in v1 while the controller is in v2.
pub(super) fn hidden_from_systemd(known: &Known<'_>) -> Option<Finding> {
    let facts = known.facts;
    let asked = known
        .wsl()
        .and_then(|wsl| wsl.settings.value())
        .is_some_and(WslConf::asks_for_v1);
    let is_hybrid = facts.layout.value() == Some(&Layout::Hybrid);
    if !is_hybrid || !known.memory_is_on_v2() || !(asked || facts.systemd_runs) {
        return None;
    }
    let config = facts.boot.config.value();
    let without_v1 = config.is_some_and(|config| config.memory_v1 == Some(false));
    let built = match without_v1 {
        true => " (CONFIG_MEMCG_V1 is not set)",
        false => "",
    };
    let seen = match asked {
        true => format!("/etc/wsl.conf asks for v1, but this kernel has memory in v2 only{built}"),
        false => format!("v1 is mounted, but this kernel has memory in v2 only{built}"),
    };
    let means = "with v1 mounted systemd does not see the memory controller: MemoryMax= is \
                 accepted and nothing is set";
    let fix: &[&str] = match (asked, known.is_wsl2()) {
        (true, _) => &[
            "remove `cgroups = v1` from [automount] in /etc/wsl.conf, then",
            "in Windows: wsl --terminate <distribution>",
        ],
        (false, true) => &[
            "remove what mounts v1 in this distribution (an init script, /etc/fstab), then",
            "in Windows: wsl --shutdown",
        ],
        (false, false) => {
            &["boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line"]
        }
    };
    finding(
        known,
        "C4",
        known.weight(),
        (seen, means),
        fix.iter().copied(),
    )
}

/// C5: the controller is there and does not reach us.
pub(super) fn not_given_on_our_path(known: &Known<'_>) -> Option<Finding> {
    let facts = known.facts;
    let stop = facts.memory_stops_at()?;
    if !known.memory_is_on_v2() || known.v2_is_usable() {
        return None;
    }
    let dir = stop.dir.display();
    let again = match known.is_wsl2() {
        true => "then in Windows: wsl --shutdown",
        false => "and log in again",
    };
    let enable = format!("as root: echo +memory > {dir}/cgroup.subtree_control");
    let fix: Vec<&str> = if facts.systemd_runs {
        vec![
            "as root: systemctl edit user@.service, add the two lines",
            "[Service]",
            "Delegate=memory pids cpu cpuset",
            again,
        ]
    } else if stop.processes.is_some_and(|count| count > 0) && stop.dir != top(known) {
        vec![
            "it holds processes, and such a group cannot give controllers (EBUSY):",
            "have them moved into a group below it, then",
            &enable,
        ]
    } else {
        vec![&enable]
    };
    let seen = format!("{dir} does not give memory to its children");
    let means = "the memory controller does not reach the group we are in";
    let weight = match known.has_scope() {
        // memcap asks for a group of its own there.
        true => Weight::Note,
        false => known.weight(),
    };
    finding(known, "C5", weight, (seen, means), fix)
}

/// C16: nothing is mounted through which a limit could be set.
pub(super) fn nothing_mounted(known: &Known<'_>) -> Option<Finding> {
    let facts = known.facts;
    if facts.layout.value() != Some(&Layout::None) || facts.platform == Platform::Wsl1 {
        return None;
    }
    let fix: &[&str] = match known.container() {
        Some(_) => &["have the container started with control groups, or limit it as a whole"],
        None => &["as root: mount -t cgroup2 cgroup2 /sys/fs/cgroup"],
    };
    let seen = "no control group file system is mounted";
    let means = "a kernel that has the memory controller could limit a tree, but nobody can ask it";
    finding(
        known,
        "C16",
        known.weight(),
        (seen, means),
        fix.iter().copied(),
    )
}

/// The machine's root may hold processes and give controllers.
fn top(known: &Known<'_>) -> std::path::PathBuf {
    match known.facts.memory_controller.value() {
        Some(MemoryController::V2 { top }) => top.clone(),
        Some(MemoryController::V1 { .. } | MemoryController::V1OutOfSight { .. }) | None => {
            std::path::PathBuf::new()
        }
    }
}
