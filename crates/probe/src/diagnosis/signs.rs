//! Facts that only a diagnosis needs, read below the same roots.

use std::path::{Path, PathBuf};

use memcap_linux::cgroup::V2Group;
use memcap_linux::mounts;

use crate::{Host, Roots, V2Place};

/// What kind of Linux this is, as far as remedies differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// The first Windows Subsystem for Linux: no Linux kernel at all.
    Wsl1,
    /// The second: a Linux kernel of Microsoft's build.
    Wsl2,
    /// Anything else.
    Linux,
}

impl Platform {
    /// WSL1 says `Microsoft`, WSL2 `microsoft`; a kernel of the user's own may
    /// say neither.
    pub fn from_release(release: &str) -> Platform {
        if release.contains("Microsoft") {
            Platform::Wsl1
        } else if release.contains("microsoft") {
            Platform::Wsl2
        } else {
            Platform::Linux
        }
    }
}

/// What was read for the diagnosis. Absent is unknown or not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signs {
    /// The kind of Linux.
    pub platform: Platform,
    /// A file that only containers have.
    pub container_mark: Option<PathBuf>,
    /// Whether the machine's memory controller was turned off at boot.
    pub memory_disabled_at_boot: bool,
    /// Where v1 carries memory.
    pub memory_on_v1: Option<PathBuf>,
    /// Where cgroup2 is mounted.
    pub v2_mount: Option<PathBuf>,
    /// Whether that mount is read-only.
    pub v2_read_only: bool,
    /// Whether the topmost v2 group that can be seen has memory to give.
    pub memory_on_v2: bool,
    /// The first directory from the top, on the way to our own group, that does
    /// not give memory to its children.
    pub memory_stops_at: Option<PathBuf>,
    /// Whether our own v2 group's directory is ours to write.
    pub own_is_writable: bool,
    /// Whether systemd runs this machine.
    pub systemd: bool,
    /// Whether `/etc/wsl.conf` asks for v1 groups.
    pub wsl_asks_for_v1: bool,
}

impl Signs {
    /// Reads them.
    pub fn observe(roots: &Roots, host: &Host) -> Signs {
        let at = |path: &str| roots.at(Path::new(path));
        let text = |path: &str| std::fs::read_to_string(at(path)).unwrap_or_default();
        let release = host.kernel.value().map_or("", String::as_str);
        // Where this fails, the host's own facts say so.
        let mounts = mounts::read(&roots.proc()).unwrap_or_default();
        let v2 = mounts
            .iter()
            .rev()
            .find(|mount| mount.file_system == "cgroup2");
        let v2_mount = v2.map(|mount| roots.at(&mount.mount_point));
        Signs {
            platform: Platform::from_release(release),
            container_mark: ["/.dockerenv", "/run/.containerenv"]
                .into_iter()
                .map(PathBuf::from)
                .find(|mark| roots.at(mark).exists()),
            memory_disabled_at_boot: disables_memory(&text("/proc/cmdline")),
            memory_on_v1: mounts
                .iter()
                .find(|mount| mount.has_controller("memory"))
                .map(|mount| roots.at(&mount.mount_point)),
            v2_read_only: v2.is_some_and(mounts::Mount::is_read_only),
            memory_on_v2: v2_mount.as_deref().is_some_and(has_memory_to_give),
            memory_stops_at: host.cgroup_v2.value().and_then(memory_stop),
            own_is_writable: host
                .cgroup_v2
                .value()
                .is_some_and(|place| roots.is_writable(&place.own)),
            v2_mount,
            systemd: at("/run/systemd/system").is_dir(),
            wsl_asks_for_v1: asks_for_v1(&text("/etc/wsl.conf")),
        }
    }
}

fn has_memory_to_give(top: &Path) -> bool {
    let controllers = V2Group::at(top).controllers().unwrap_or_default();
    controllers.iter().any(|name| name == "memory")
}

/// From the top down, our own group left out: what it gives to its children is
/// its own business.
fn memory_stop(place: &V2Place) -> Option<PathBuf> {
    place.lineage().into_iter().skip(1).rfind(|dir| {
        let given = V2Group::at(dir).enabled_for_children();
        given.is_ok_and(|names| names.iter().all(|name| name != "memory"))
    })
}

/// `cgroup_disable=` takes a list (Documentation/admin-guide/kernel-parameters).
fn disables_memory(cmdline: &str) -> bool {
    cmdline
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("cgroup_disable="))
        .flat_map(|list| list.split(','))
        .any(|name| name == "memory")
}

/// `[automount]` / `cgroups = v1` (WSL 2.6.2 and later).
fn asks_for_v1(wsl_conf: &str) -> bool {
    let mut in_automount = false;
    wsl_conf.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            in_automount = line.eq_ignore_ascii_case("[automount]");
        }
        let setting = line.split_once('=');
        in_automount
            && setting.is_some_and(|(key, value)| {
                key.trim().eq_ignore_ascii_case("cgroups") && value.trim() == "v1"
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_tell_the_two_subsystems_apart() {
        let cases = [
            ("4.4.0-19041-Microsoft", Platform::Wsl1),
            ("4.19.128-microsoft-standard", Platform::Wsl2),
            ("6.18.40.1-microsoft-standard-WSL2", Platform::Wsl2),
            ("6.12.0-amd64", Platform::Linux),
        ];
        for (release, platform) in cases {
            assert_eq!(Platform::from_release(release), platform, "{release}");
        }
    }

    #[test]
    fn settings_are_read_where_they_count() {
        assert!(disables_memory(
            "quiet cgroup_disable=pids,memory panic=1\n"
        ));
        assert!(!disables_memory("quiet cgroup_disable=pids\n"));
        assert!(asks_for_v1(
            "[boot]\nsystemd=true\n[automount]\ncgroups = v1\n"
        ));
        assert!(!asks_for_v1(
            "[boot]\ncgroups=v1\n[automount]\ncgroups=v2\n"
        ));
        assert!(!asks_for_v1(""));
    }
}
