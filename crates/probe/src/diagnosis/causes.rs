//! The table of causes. Each speaks only where what it says is certain.

use super::{Finding, Known, Platform};
use crate::Mechanism;
use crate::trial::Verdict;

type Cause = fn(&Known<'_>) -> Option<Finding>;

/// In the order in which a person should read them.
pub(super) const TABLE: &[Cause] = &[
    in_a_container,
    first_subsystem,
    no_memory_controller,
    memory_bound_to_v1,
    hidden_from_systemd,
    not_given_on_our_path,
    not_ours_to_use,
    swap_not_included,
    an_outer_limit,
];

fn finding(code: &str, seen: String, means: &str, fix: &[&str]) -> Option<Finding> {
    Some(Finding {
        code: code.to_owned(),
        seen,
        means: means.to_owned(),
        fix: fix.iter().map(|line| (*line).to_owned()).collect(),
    })
}

/// C0: limits belong to whoever started the container.
fn in_a_container(known: &Known<'_>) -> Option<Finding> {
    if known.v2_is_usable() || known.v1_is_usable() {
        return None;
    }
    let seen = match (&known.signs.container_mark, &known.signs.v2_mount) {
        (Some(mark), _) => format!("{} is there", mark.display()),
        (None, Some(mount)) if known.signs.v2_read_only => {
            format!("{} is mounted read-only", mount.display())
        }
        (None, _) => return None,
    };
    finding(
        "C0",
        seen,
        "in this container we may not set limits ourselves",
        &[
            "limit the container as a whole when you start it:",
            "docker run --memory=8g --memory-swap=8g ...",
        ],
    )
}

/// C1: there is no Linux kernel.
fn first_subsystem(known: &Known<'_>) -> Option<Finding> {
    if known.signs.platform != Platform::Wsl1 {
        return None;
    }
    finding(
        "C1",
        format!("the kernel calls itself {}", known.release()),
        "this is WSL1, which has no memory control groups",
        &["in Windows: wsl --set-version <distribution> 2"],
    )
}

/// C2: the controller was turned off.
fn no_memory_controller(known: &Known<'_>) -> Option<Finding> {
    let signs = known.signs;
    if !signs.memory_disabled_at_boot || signs.memory_on_v2 || signs.memory_on_v1.is_some() {
        return None;
    }
    let fix: &[&str] = match signs.platform {
        Platform::Wsl1 | Platform::Wsl2 => &[
            "remove it from kernelCommandLine in %UserProfile%\\.wslconfig, then",
            "in Windows: wsl --shutdown",
        ],
        Platform::Linux => &["remove it from the boot loader's kernel command line, reboot"],
    };
    finding(
        "C2",
        "/proc/cmdline has cgroup_disable=memory".to_owned(),
        "the kernel's memory controller is turned off, for v1 and v2 alike",
        fix,
    )
}

/// C3: a controller is in one hierarchy at a time.
fn memory_bound_to_v1(known: &Known<'_>) -> Option<Finding> {
    let signs = known.signs;
    let mount = signs.memory_on_v1.as_ref()?;
    if signs.memory_on_v2 {
        return None;
    }
    let fix: &[&str] = match signs.platform {
        Platform::Wsl1 => return None,
        Platform::Wsl2 if signs.wsl_asks_for_v1 => &[
            "remove `cgroups = v1` from [automount] in /etc/wsl.conf, then",
            "in Windows: wsl --terminate <distribution>",
        ],
        Platform::Wsl2 => &[
            "in Windows: wsl --update, then wsl --shutdown. Where that cannot be done,",
            "put `kernelCommandLine = cgroup_no_v1=all` under [wsl2] in",
            "%UserProfile%\\.wslconfig, then wsl --shutdown",
        ],
        Platform::Linux if signs.systemd => {
            &["boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line"]
        }
        Platform::Linux => {
            &["whatever mounts control groups at boot must mount cgroup2 alone, without v1"]
        }
    };
    let means = if known.enforces(Mechanism::CgroupV1) {
        "cgroup v2 cannot limit memory here; root can use v1, as memcap does now"
    } else {
        "cgroup v2 cannot limit memory here; only root can use v1, and for other \
         users MemoryMax= is accepted and ignored"
    };
    finding(
        "C3",
        format!("memory is bound to cgroup v1 at {}", mount.display()),
        means,
        fix,
    )
}

/// C4: systemd believes in v1 while the controller is in v2.
fn hidden_from_systemd(known: &Known<'_>) -> Option<Finding> {
    let signs = known.signs;
    let asked = signs.platform == Platform::Wsl2 && signs.wsl_asks_for_v1;
    if !asked || signs.memory_on_v1.is_some() || !signs.memory_on_v2 {
        return None;
    }
    finding(
        "C4",
        "/etc/wsl.conf asks for v1, but this kernel has memory in v2 only".to_owned(),
        "systemd does not see the memory controller: MemoryMax= is accepted and ignored",
        &[
            "remove `cgroups = v1` from [automount] in /etc/wsl.conf, then",
            "in Windows: wsl --terminate <distribution>",
        ],
    )
}

/// C5: the controller is there and does not reach us.
fn not_given_on_our_path(known: &Known<'_>) -> Option<Finding> {
    let signs = known.signs;
    let stop = signs.memory_stops_at.as_ref()?;
    if !signs.memory_on_v2 || known.v2_is_usable() {
        return None;
    }
    let enable = format!(
        "as root: echo +memory > {}/cgroup.subtree_control",
        stop.display()
    );
    let fix: &[&str] = if signs.systemd {
        &[
            "as root: systemctl edit user@.service, add the two lines",
            "[Service]",
            "Delegate=memory pids cpu cpuset",
            "and log in again",
        ]
    } else {
        &[&enable]
    };
    finding(
        "C5",
        format!("{} does not give memory to its children", stop.display()),
        "the memory controller does not reach the group we are in",
        fix,
    )
}

/// C6: the controller reaches us, but the directories are another's.
fn not_ours_to_use(known: &Known<'_>) -> Option<Finding> {
    let signs = known.signs;
    let given = signs.memory_on_v2 && signs.memory_stops_at.is_none();
    if !given || known.v2_is_usable() || signs.v2_read_only || signs.own_is_writable {
        return None;
    }
    let systemd = known.host.systemd.as_ref();
    if systemd.is_some_and(|scope| scope.value().is_some()) {
        // memcap asks for a group of its own there.
        return None;
    }
    let place = known.host.cgroup_v2.value()?;
    let fix: &[&str] = if signs.systemd {
        &[
            "have your own systemd manager run, which gives memcap a group:",
            "log in, or as root: loginctl enable-linger USER",
        ]
    } else {
        &["run memcap as root, or have root give you a control group"]
    };
    finding(
        "C6",
        format!(
            "we are in {}, which is not ours to write",
            place.own.display()
        ),
        "the kernel could enforce a limit, but this user may not set one here",
        fix,
    )
}

/// C9: what exceeds the limit goes to swap.
fn swap_not_included(known: &Known<'_>) -> Option<Finding> {
    let absorbing = known
        .trials
        .mechanisms
        .iter()
        .find(|trial| trial.verdict == Verdict::SwapAbsorbs)?;
    let fix: &[&str] = match (absorbing.mechanism, known.signs.platform) {
        (_, Platform::Wsl1 | Platform::Wsl2) => &[
            "put `swap=0` under [wsl2] in %UserProfile%\\.wslconfig, then",
            "in Windows: wsl --shutdown",
        ],
        (Mechanism::CgroupV1, Platform::Linux) => {
            &["boot with swapaccount=1 on the kernel command line, or turn swap off: swapoff -a"]
        }
        (_, Platform::Linux) => &["turn swap off: swapoff -a"],
    };
    finding(
        "C9",
        format!(
            "under {} a child exceeded its limit by going to swap",
            absorbing.mechanism
        ),
        "the limit holds for memory, but not for memory and swap together",
        fix,
    )
}

/// C12: a group around us has less than the machine.
fn an_outer_limit(known: &Known<'_>) -> Option<Finding> {
    let lowest = known.host.ceilings.lowest()?;
    let file = lowest.file.as_ref()?;
    finding(
        "C12",
        format!("{} is {}", file.display(), lowest.bytes),
        "everything started here has at most that; larger limits are lowered to fit",
        &["have the limit of that group raised, or start memcap outside it"],
    )
}

impl Known<'_> {
    fn enforces(&self, mechanism: Mechanism) -> bool {
        self.trials
            .mechanisms
            .iter()
            .any(|trial| trial.mechanism == mechanism && trial.verdict == Verdict::Enforced)
    }

    fn v1_is_usable(&self) -> bool {
        let place = self.host.cgroup_v1.value();
        place.is_some_and(|place| place.base.value().is_some())
    }

    fn v2_is_usable(&self) -> bool {
        let place = self.host.cgroup_v2.value();
        place.is_some_and(|place| place.memory_base.value().is_some())
    }

    fn release(&self) -> &str {
        self.host.kernel.value().map_or("unknown", String::as_str)
    }
}
