//! Every cause at length, for whoever wants to understand it, at work here or
//! not.

/// One cause at length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// Its code, `C0` to `C16`.
    pub code: &'static str,
    /// What it is, in half a line.
    pub title: &'static str,
    /// Paragraphs; one that begins with blanks is a command and stays one line.
    pub text: &'static [&'static str],
}

/// The explanation of one cause, in any case of letters.
pub fn explanation(code: &str) -> Option<&'static Explanation> {
    let mut all = EXPLANATIONS.iter();
    all.find(|one| one.code.eq_ignore_ascii_case(code))
}

/// All of them, in the order of the codes.
pub const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "C0",
        title: "a container in which we may not set limits",
        text: &[
            "The container's maker holds the limits. Inside, control groups are usually mounted \
             read-only, or show only the container's own group, whose files belong to whoever \
             started it: a group can limit its children, never itself.",
            "Limit the container as a whole, and swap with it: with --memory alone Docker and \
             Podman allow as much swap again.",
            "    docker run --memory=8g --memory-swap=8g ...",
            "    podman run --memory=8g --memory-swap=8g ...",
            "To set limits inside, the container needs a writable cgroup v2: a cgroup namespace of \
             its own and, for Podman, --security-opt unmask=/sys/fs/cgroup. Then the processes in \
             its root must move into a group below it first, since a group with processes cannot \
             give its children controllers (EBUSY).",
            "A cgroup namespace whose /sys/fs/cgroup was mounted before it shows groups outside \
             it. They can be made and limited, and no process of the namespace can enter them \
             (ENOENT). /proc/self/mountinfo tells it by a root that begins with /.. ; a new mount \
             is the remedy:",
            "    umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            "A container on WSL2 shows Microsoft's kernel, but .wslconfig does not decide about \
             it: its own --memory does.",
        ],
    },
    Explanation {
        code: "C1",
        title: "WSL1 has no Linux kernel",
        text: &[
            "WSL1 translates system calls. Its control groups are an emulation: they can be \
             mounted, and limit no memory. There is no cgroup v2 at all. It is told by the \
             kernel's release, which has \"Microsoft\" with a capital; WSL2 writes it small.",
            "    wsl --set-version <distribution> 2",
            "Until then memcap watches the tree itself.",
        ],
    },
    Explanation {
        code: "C2",
        title: "the kernel has no memory controller",
        text: &[
            "Either it was built without CONFIG_MEMCG (a custom `kernel=` in .wslconfig, some \
             boards' kernels), or cgroup_disable=memory is on its command line, as some boards' \
             firmware puts it there. Enabling it then fails with EINVAL: no such controller.",
            "Do not conclude this from /proc/cgroups. Kernels built without v1 memory (Linux 6.11 \
             and later, WSL's since 6.18) leave the line `memory` out of it although v2 has the \
             controller. The root's cgroup.controllers is what counts.",
        ],
    },
    Explanation {
        code: "C3",
        title: "memory is bound to cgroup v1",
        text: &[
            "A controller is in one hierarchy at a time. Mounted as v1 it is missing from v2, whose \
             groups then have no memory.max. On v1 only root can set limits, since delegation is \
             not safe there.",
            "systemd does not say so: a user's manager accepts MemoryMax=, shows it, and sets \
             nothing. PID 1 sets memory.limit_in_bytes for system units, but never a limit on \
             swap, nor MemoryHigh. This is where \"systemd sets the value and the kernel ignores \
             it\" comes from; the kernel never heard of it.",
            "WSL2 before 2.5 mounted everything as v1. Since 2.5 v2 is mounted alone, unless \
             /etc/wsl.conf has `cgroups = v1` (2.6.2 and later). All distributions share one \
             kernel: a v1 mount in one of them, or by Docker's init script, takes memory from v2 \
             in all.",
            "systemd.unified_cgroup_hierarchy=1 in kernelCommandLine does not help on WSL: WSL has \
             mounted v1 before systemd starts, and systemd follows what is mounted. \
             cgroup_no_v1=all does help, from WSL 1.0.1 on. On 1.0.x it also needs a line in \
             /etc/fstab:",
            "    cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0",
            "As root, memcap limits by v1 as it is, memory and swap together.",
        ],
    },
    Explanation {
        code: "C4",
        title: "v1 is mounted on a kernel that has memory in v2 only",
        text: &[
            "Kernels may be built without v1 memory (CONFIG_MEMCG_V1 is not set; WSL's since \
             6.18.26). `cgroups = v1` in /etc/wsl.conf then gives v1 hierarchies for everything \
             but memory, which stays in the cgroup2 mount beside them. systemd sees v1 mounts, \
             works in its hybrid mode, and looks for memory where it is not.",
            "Remove the line from /etc/wsl.conf, then wsl --terminate <distribution>. As root, \
             memcap uses the cgroup2 mount beside v1 directly.",
        ],
    },
    Explanation {
        code: "C5",
        title: "the controller does not reach our group",
        text: &[
            "Controllers are handed down from the root, each group deciding in its \
             cgroup.subtree_control what its children get. The first group on the way that does \
             not name memory there ends it for all below. systemd enables controllers only where \
             a unit needs them.",
            "For a user's own subtree the switch is the delegation of user@.service (the default \
             from systemd 240 on; some distributions and images narrow it):",
            "    systemctl edit user@.service      # as root: [Service], Delegate=memory pids cpu",
            "    cat /sys/fs/cgroup$(systemctl --user show -p ControlGroup --value)/cgroup.controllers",
            "Without systemd, root can enable it by hand, in each group on the way:",
            "    echo +memory > DIRECTORY/cgroup.subtree_control",
            "EBUSY there means that the group holds processes: move them into a child first. \
             ENOENT means that it was not given memory itself: go one up.",
        ],
    },
    Explanation {
        code: "C6",
        title: "the groups are not ours to write",
        text: &[
            "Memory is there, but making a group needs write access to a directory, and entering \
             it needs write access to the common ancestor of where we are and where we want to \
             be. A shell in the root group, in a session's scope or in WSL's non-systemd group \
             has that ancestor in root's hands, even where the user's own subtree is delegated.",
            "Only systemd can bridge that: asked for a scope, the user's manager has PID 1 move \
             the process. memcap does so by itself where the manager answers. Otherwise: root, \
             or a group that root gives you.",
            "A unit's own group can be writable and still be systemd's affair, unless the unit has \
             Delegate=yes: after an OOM kill anywhere in it systemd ends the whole unit \
             (OOMPolicy=stop, the default for others than delegated ones). memcap makes no \
             limited group in such a unit; where a limit of the unit keeps it inside, it watches.",
        ],
    },
    Explanation {
        code: "C7",
        title: "no systemd, or no manager for this user",
        text: &[
            "Without the user's own systemd manager nobody can give an ordinary user a group \
             (C6). doctor connects to the manager's sockets below /run/user/UID. It does not \
             believe XDG_RUNTIME_DIR and DBUS_SESSION_BUS_ADDRESS: WSL sets them even where the \
             manager failed to start, and sudo and su leave another user's in place.",
            "On WSL2, systemd is turned on in /etc/wsl.conf, then wsl --shutdown:",
            "    [boot]",
            "    systemd=true",
            "Where systemd runs and the manager does not, its journal says why; a manager that \
             should outlive logins needs lingering:",
            "    systemctl status user@$(id -u).service",
            "    loginctl enable-linger USER",
            "\"Failed to attach to cgroup ... Device or resource busy\" with two distributions \
             running is an old race of WSL's: wsl --update, or start one at a time.",
        ],
    },
    Explanation {
        code: "C8",
        title: "WSL gives each distribution a group of its own",
        text: &[
            "From WSL 2.9.8 on, a distribution lives in /wsl-user/distro-N, its systemd in \
             .../systemd and shells in .../non-systemd. Tools with /sys/fs/cgroup/user.slice \
             written into them fail; memcap derives every path from /proc/self/cgroup and from \
             what systemd answers.",
            "Without systemd the distribution's processes sit in distro-N itself, so nothing can \
             be handed down below it (EBUSY): turn systemd on.",
            "For tools that cannot cope, the old layout comes back by `isolateDistroCgroup=false` \
             under [wsl2] in .wslconfig. With `cgroups = v1` in /etc/wsl.conf that line is needed \
             as well.",
        ],
    },
    Explanation {
        code: "C9",
        title: "the limit does not include swap",
        text: &[
            "This is most often the truth behind a limit that \"is ignored\". memory.max limits \
             memory alone. What exceeds it goes to swap, as long as memory.swap.max allows it, and \
             its default is max; systemd's default for MemorySwapMax= is infinity. The job \
             crawls, and is not ended.",
            "WSL2 adds swap of a quarter of the virtual machine's memory by itself: with 16 GB of \
             memory and 4 GB of swap a job under MemoryMax=4G can take 8 GB.",
            "    systemd-run --user --scope -p MemoryMax=8G -p MemorySwapMax=0 COMMAND",
            "    docker run --memory=8g --memory-swap=8g ...",
            "For all of WSL: `swap=0` under [wsl2] in .wslconfig. On v1 the limit that counts is \
             memory.memsw.limit_in_bytes, which kernels before 6.1 may need swapaccount=1 for.",
            "memcap's own limits include swap unless --swap asks for some.",
        ],
    },
    Explanation {
        code: "C10",
        title: "the limit is on another group",
        text: &[
            "A limit holds for the processes in its group. Memory stays charged where it was \
             first touched, and what a daemon does for you it does in its own group: a tmux \
             server, dockerd, an editor's server, a Windows program started from WSL.",
            "systemd-run without --scope starts the command as a service under the manager, not \
             in your shell's group. On WSL2 a shell is outside user.slice (in the root group, or \
             in /wsl-user/distro-N/non-systemd), so a limit on user.slice or user-UID.slice does \
             not hold for it.",
            "    cat /proc/PID/cgroup",
            "memcap starts a job inside its group, from the first instruction on, and reports a \
             process that has left it.",
        ],
    },
    Explanation {
        code: "C11",
        title: "memory.high without memory.max",
        text: &[
            "MemoryHigh= slows a group down and never kills. Above it every allocation waits, up \
             to two seconds for 256 KiB, which can look like a hang for hours; and the group still \
             grows. It is meant for a watcher that acts.",
            "Set MemoryMax= a little above it, and MemorySwapMax=0. memcap run --soft always has \
             a limit above it and a deadline for a stall (--stall).",
        ],
    },
    Explanation {
        code: "C12",
        title: "a group around us has less",
        text: &[
            "Limits of all groups around a process hold together; the smallest one decides. A \
             larger limit inside is accepted and means nothing. memcap lowers what is asked for \
             to fit a little below the smallest, says so, and reports which limit was hit.",
            "On WSL 2.9.8 and later /wsl-user has the machine's memory less 32 MiB. A kill that is \
             counted there alone means that the whole virtual machine ran out: raise `memory=` \
             under [wsl2] in .wslconfig, which is half of the host's memory by default.",
            "The kernel's log tells the two apart: CONSTRAINT_MEMCG and oom_memcg= name a group's \
             limit, CONSTRAINT_NONE is the machine's. Where doctor may read it (as root, mostly), it \
             counts the latter.",
        ],
    },
    Explanation {
        code: "C13",
        title: "an OOM kill that spares somebody",
        text: &[
            "By default the kernel kills one process of a group at its limit. The others go on: a \
             Python parent that waits for a worker hangs, a build ends with 0. memory.oom.group=1 \
             (OOMPolicy=kill) takes the group as one.",
            "Processes with an oom_score_adj of -1000 are never taken, not even so, and children \
             inherit it, from sshd, a service manager or a container's runtime. A group of such \
             processes only stalls at its limit.",
            "memcap's groups are killed as one, its jobs get an oom_score_adj of at least 500, and \
             a job that lost a member and ends with 0 is reported as partial-kill.",
        ],
    },
    Explanation {
        code: "C14",
        title: "RES is not what a limit counts",
        text: &[
            "A group is charged for the pages it was the first to touch: anonymous memory, page \
             cache, tmpfs, kernel memory; each once. top's RES counts a page that ten forked \
             workers share ten times, and pages charged to others. VIRT counts what was only \
             reserved. So both can be far above a limit that holds.",
            "    cat DIRECTORY/memory.current DIRECTORY/memory.peak",
            "    grep -E '^(anon|file|shmem) ' DIRECTORY/memory.stat",
            "The other way round, page cache is charged too, and makes way under pressure: \
             memory.current at the limit is no sign of want.",
        ],
    },
    Explanation {
        code: "C15",
        title: "the kernel does not enforce the limit",
        text: &[
            "Said only after all else was excluded by a trial: the same child finished without a \
             limit, it was in its group, the limit read back, swap was closed, and it still took \
             three times the limit.",
            "It is often claimed of WSL2's kernel, and was never shown of one: it enforces \
             memory.max as any other does, and WSL itself relies on that since 2.9.8. What people \
             meet is C9, C3, C10 or C5.",
            "Should you see it, update the kernel (wsl --update), and report it with what this \
             saves:",
            "    memcap doctor --save FOLDER",
        ],
    },
    Explanation {
        code: "C16",
        title: "no control groups are mounted",
        text: &[
            "The kernel is asked for limits through a file system, and none of its kind is \
             mounted: a minimal init, a chroot, or a sandbox that is no Linux kernel (gVisor). \
             The kernel itself may well have the memory controller.",
            "    mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            "needs root. As root memcap then limits by cgroup v2; others need a group from root \
             (C6). In a sandbox the limit belongs to whoever started it.",
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_explained_once_and_in_order() {
        let codes: Vec<&str> = EXPLANATIONS.iter().map(|one| one.code).collect();
        let expected: Vec<String> = (0..super::super::TABLE.len())
            .map(|number| format!("C{number}"))
            .collect();
        assert_eq!(codes, expected);
        assert_eq!(explanation("c9").map(|one| one.code), Some("C9"));
        assert_eq!(explanation("C1 "), None);
    }

    #[test]
    fn commands_fit_a_terminal() {
        for one in EXPLANATIONS {
            assert!(!one.text.is_empty());
            for line in one.text.iter().filter(|line| line.starts_with(' ')) {
                assert!(line.len() <= 90, "{line}");
            }
            assert!(one.title.len() <= 70, "{}", one.title);
        }
    }
}
