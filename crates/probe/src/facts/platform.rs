//! What kind of Linux this is: WSL1, WSL2, in a container.

use std::path::Path;

use memcap_linux::mounts::Mount;
use serde::{Deserialize, Serialize};

use super::read;
use crate::{Fact, Host, Roots};

/// What kind of Linux this is, as far as remedies differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// The first Windows Subsystem for Linux: no Linux kernel at all.
    Wsl1,
    /// The second: a Linux kernel of Microsoft's build, or of the user's own.
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

    pub(super) fn observe(roots: &Roots, host: &Host) -> Platform {
        /// What WSL puts into a distribution, whatever its kernel is called.
        const MARKS: [&str; 4] = [
            "/proc/sys/fs/binfmt_misc/WSLInterop",
            "/proc/sys/fs/binfmt_misc/WSLInterop-late",
            "/run/WSL",
            "/dev/dxg",
        ];
        let release = host.kernel.value().map_or("", String::as_str);
        match Platform::from_release(release) {
            Platform::Linux if MARKS.iter().any(|mark| roots.at(Path::new(mark)).exists()) => {
                Platform::Wsl2
            }
            told => told,
        }
    }
}

/// Who made the container that we are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerKind {
    /// Docker, Docker Desktop included.
    Docker,
    /// Podman.
    Podman,
    /// A pod of Kubernetes.
    Kubernetes,
    /// LXC, LXD, Incus.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
    /// None of those, or only the cgroup namespace of one can be seen.
    Other,
}

/// That this is a container, and how it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Who made it.
    pub kind: ContainerKind,
    /// What tells so.
    pub told_by: String,
}

impl Container {
    pub(super) fn observe(
        roots: &Roots,
        host: &Host,
        mounts: &Fact<Vec<Mount>>,
    ) -> Fact<Container> {
        if let Some(found) = by_mark(roots).or_else(|| by_word(roots)) {
            return Fact::present(found);
        }
        match mounts {
            Fact::Unknown { because } => Fact::unknown_since(because),
            _ => match by_groups(host, mounts) {
                Some(found) => Fact::present(found),
                None => Fact::absent("nothing that marks a container is there"),
            },
        }
    }
}

fn container(kind: ContainerKind, told_by: impl Into<String>) -> Container {
    Container {
        kind,
        told_by: told_by.into(),
    }
}

/// Files that only containers have.
fn by_mark(roots: &Roots) -> Option<Container> {
    const MARKS: [(&str, ContainerKind); 3] = [
        ("/var/run/secrets/kubernetes.io", ContainerKind::Kubernetes),
        ("/run/.containerenv", ContainerKind::Podman),
        ("/.dockerenv", ContainerKind::Docker),
    ];
    MARKS
        .iter()
        .find(|(mark, _)| roots.at(Path::new(mark)).exists())
        .map(|(mark, kind)| container(*kind, format!("{mark} is there")))
}

/// What the container's maker told systemd (CONTAINER_INTERFACE.md). `wsl` is
/// a word of systemd's for what is no container.
fn by_word(roots: &Roots) -> Option<Container> {
    const FILE: &str = "/run/systemd/container";
    let text = read::optional(roots, FILE);
    let word = text.value()?.trim();
    let kind = match word {
        "docker" => ContainerKind::Docker,
        "podman" => ContainerKind::Podman,
        "lxc" | "lxc-libvirt" => ContainerKind::Lxc,
        "systemd-nspawn" => ContainerKind::Nspawn,
        "" | "wsl" => return None,
        _ => ContainerKind::Other,
    };
    Some(container(kind, format!("{FILE} says {word}")))
}

/// How control groups look from inside a container.
fn by_groups(host: &Host, mounts: &Fact<Vec<Mount>>) -> Option<Container> {
    let mounts = mounts.value()?;
    let v2 = mounts
        .iter()
        .rev()
        .find(|mount| mount.file_system == "cgroup2");
    if let Some(mount) = v2.filter(|mount| mount.root.starts_with("/..")) {
        let told_by = format!(
            "{} shows a place outside our cgroup namespace",
            mount.mount_point.display()
        );
        return Some(container(ContainerKind::Other, told_by));
    }
    if let Some(mount) = v2.filter(|mount| mount.is_read_only()) {
        let told_by = format!("{} is mounted read-only", mount.mount_point.display());
        return Some(container(ContainerKind::Other, told_by));
    }
    let place = host.cgroup_v2.value()?;
    // The machine's own root has no type and no limit.
    let is_namespace = place.own == place.mount_point && place.own.join("cgroup.type").exists();
    is_namespace.then(|| {
        let told_by = "our own group is the root of a cgroup namespace";
        container(ContainerKind::Other, told_by)
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
}
