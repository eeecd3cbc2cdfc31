//! The list of files that may go into a bundle, and how much of each.

use memcap_linux::mounts;

use crate::facts::KernelConfig;

/// How much of a file is copied.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// All of it: figures, or words of the kernel's.
    Whole,
    /// That it is there.
    Mark,
    /// That the folder is there.
    Folder,
    /// What this leaves of it, in words for people.
    Only(fn(&str) -> String, &'static str),
}

impl Part {
    /// For people.
    pub(super) fn text(self) -> &'static str {
        match self {
            Part::Whole => "whole",
            Part::Mark => "only that it is there",
            Part::Folder => "only that the folder is there",
            Part::Only(_, what) => what,
        }
    }
}

/// Files of the host that have one place.
pub(super) const HOST: &[(&str, Part)] = &[
    ("/proc/sys/kernel/osrelease", Part::Whole),
    ("/proc/version", Part::Only(version, "the version alone")),
    ("/proc/meminfo", Part::Whole),
    ("/proc/cgroups", Part::Whole),
    (
        "/proc/cmdline",
        Part::Only(cmdline, "words about control groups, swap and pressure"),
    ),
    ("/proc/swaps", Part::Only(swaps, "sizes, without names")),
    ("/proc/pressure/memory", Part::Whole),
    (
        "/proc/self/mountinfo",
        Part::Only(mountinfo, "mounts of control groups"),
    ),
    (
        "/proc/self/cgroup",
        Part::Only(memberships, "the memory and the v2 line"),
    ),
    ("/proc/self/limits", Part::Whole),
    ("/proc/self/oom_score_adj", Part::Whole),
    (
        "/etc/wsl.conf",
        Part::Only(wsl_conf, "`systemd` and `cgroups`"),
    ),
    ("/run/systemd/container", Part::Whole),
    ("/run/systemd/system", Part::Folder),
    ("/run/.containerenv", Part::Mark),
    ("/.dockerenv", Part::Mark),
    ("/var/run/secrets/kubernetes.io", Part::Mark),
    ("/proc/sys/fs/binfmt_misc/WSLInterop", Part::Mark),
    ("/proc/sys/fs/binfmt_misc/WSLInterop-late", Part::Mark),
    ("/run/WSL", Part::Mark),
    ("/dev/dxg", Part::Mark),
];

/// Files of a v2 group.
pub(super) const V2: &[&str] = &[
    "cgroup.controllers",
    "cgroup.subtree_control",
    "cgroup.procs",
    "cgroup.type",
    "cgroup.events",
    "cpu.max",
    "memory.max",
    "memory.high",
    "memory.swap.max",
    "memory.current",
    "memory.swap.current",
    "memory.peak",
    "memory.oom.group",
    "memory.events",
    "memory.events.local",
    "memory.stat",
    "memory.pressure",
];

/// Files of a v1 memory group.
pub(super) const V1: &[&str] = &[
    "cgroup.procs",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.usage_in_bytes",
    "memory.use_hierarchy",
    "memory.oom_control",
    "memory.stat",
];

/// `Linux version 6.12.0`; what follows names who built it, and where.
fn version(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    words.join(" ") + "\n"
}

fn cmdline(text: &str) -> String {
    crate::facts::relevant_parameters(text).join(" ") + "\n"
}

/// The columns behind the name, which is counted instead.
fn swaps(text: &str) -> String {
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let areas = lines.enumerate().map(|(number, line)| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let known = columns.len().saturating_sub(4);
        format!("area-{number}\t{}\n", columns[known..].join("\t"))
    });
    format!("{head}\n{}", areas.collect::<String>())
}

fn mountinfo(text: &str) -> String {
    lines(text, |line| {
        mounts::parse(line).first().is_some_and(|mount| {
            let kind = mount.file_system.as_str();
            matches!(kind, "cgroup" | "cgroup2")
                || kind == "tmpfs" && mount.mount_point.ends_with("sys/fs/cgroup")
        })
    })
}

fn memberships(text: &str) -> String {
    lines(text, |line| {
        let controllers = line.split(':').nth(1);
        controllers.is_some_and(|names| names.is_empty() || names.split(',').any(|n| n == "memory"))
    })
}

fn wsl_conf(text: &str) -> String {
    lines(text, |line| {
        let key = line.split('=').next().unwrap_or_default();
        let key = key.trim().to_ascii_lowercase();
        let is_section = key.starts_with('[') && key.ends_with(']');
        is_section || matches!(key.as_str(), "systemd" | "cgroups")
    })
}

/// The options that are read, of some ten thousand lines.
pub(super) fn config(text: &str) -> String {
    lines(text, |line| {
        let name = line.trim_start_matches("# ");
        let name = name.split(['=', ' ']).next().unwrap_or_default();
        KernelConfig::OPTIONS.contains(&name)
    })
}

/// Lines with their ends, so that one that was cut off stays so.
fn lines(text: &str, is_kept: impl Fn(&str) -> bool) -> String {
    let kept = text.split_inclusive('\n').filter(|line| is_kept(line));
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_kept() {
        type Case = (fn(&str) -> String, &'static str, &'static str);
        let cases: [Case; 7] = [
            (
                version,
                "Linux version 6.12.0 (alice@tower) (gcc) #1 SMP\n",
                "Linux version 6.12.0\n",
            ),
            (
                cmdline,
                "root=UUID=1-2 cgroup_no_v1=all ip=10.0.0.1 psi=1\n",
                "cgroup_no_v1=all psi=1\n",
            ),
            (
                swaps,
                "Filename Type Size Used Priority\n/home/alice/my\\040swap file 10 5 -2\n",
                "Filename Type Size Used Priority\narea-0\tfile\t10\t5\t-2\n",
            ),
            (
                mountinfo,
                "26 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                 29 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                 40 26 0:40 / /home/alice/mnt rw - tmpfs tmpfs rw\n",
                "29 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            ),
            (
                memberships,
                "8:pids:/x\n4:memory:/a\n1:name=systemd:/y\n0::/b\nodd\n",
                "4:memory:/a\n0::/b\n",
            ),
            (
                wsl_conf,
                "[boot]\nsystemd=true\ncommand=ls\n[user]\ndefault=alice\n",
                "[boot]\nsystemd=true\n[user]\n",
            ),
            (
                config,
                "CONFIG_MEMCG=y\nCONFIG_MEMCG_KMEM=y\n# CONFIG_MEMCG_V1 is not set\n\
                 CONFIG_DEFAULT_HOSTNAME=\"tower\"\n",
                "CONFIG_MEMCG=y\n# CONFIG_MEMCG_V1 is not set\n",
            ),
        ];
        for (part, text, kept) in cases {
            assert_eq!(part(text), kept);
            part("");
            part("\u{0}\n[\n=\n::\n");
        }
    }
}
