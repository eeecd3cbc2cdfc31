//! WSL2's own settings, and which era of its control groups this is.
//!
//! The version of WSL cannot be seen from Linux; the layout that it made can.
//! Where each layout comes from is in docs/wsl2.md.

use serde::{Deserialize, Serialize};

use super::boot::Boot;
use super::hierarchies::{Layout, MemoryController};
use super::{Platform, read};
use crate::{Fact, Roots};

/// Which of WSL's layouts of control groups this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Era {
    /// Every controller on v1, cgroup2 at `unified` without any: WSL before
    /// 2.5, or something in the distribution mounted v1 as it did.
    V1ByDefault,
    /// The same because `/etc/wsl.conf` asks for it: WSL 2.6.2 and later.
    V1AskedFor,
    /// cgroup2 alone because the kernel was started with `cgroup_no_v1=all`:
    /// WSL 1.0.1 to 2.4.
    V2ByParameter,
    /// cgroup2 alone; a shell is in the root group: WSL 2.5 to 2.9.4, or
    /// `isolateDistroCgroup=false`.
    V2,
    /// cgroup2 alone, each distribution below `/wsl-user`: WSL 2.9.8 and later.
    Isolated,
}

/// What is known of WSL2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wsl {
    /// Which layout this is.
    pub era: Fact<Era>,
    /// What `/etc/wsl.conf` asks for.
    pub settings: Fact<WslConf>,
}

/// The settings of `/etc/wsl.conf` that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WslConf {
    /// `[automount] cgroups`, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroups: Option<String>,
    /// `[boot] systemd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systemd: Option<bool>,
}

impl WslConf {
    /// Reads an INI file: the last setting of a key counts, keys and sections
    /// are of any case.
    pub fn parse(text: &str) -> WslConf {
        let mut settings = WslConf::default();
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').trim().to_ascii_lowercase();
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.split('#').next().unwrap_or_default();
            let value = value.trim().trim_matches('"').to_ascii_lowercase();
            match (section.as_str(), key.trim().to_ascii_lowercase().as_str()) {
                ("automount", "cgroups") => settings.cgroups = Some(value),
                ("boot", "systemd") => settings.systemd = value.parse().ok(),
                _ => {}
            }
        }
        settings
    }

    /// Whether v1 groups are asked for (WSL 2.6.2 and later).
    pub fn asks_for_v1(&self) -> bool {
        self.cgroups.as_deref() == Some("v1")
    }
}

impl Wsl {
    pub(super) fn observe(
        roots: &Roots,
        platform: Platform,
        boot: &Boot,
        layout: &Fact<Layout>,
        memory: &Fact<MemoryController>,
        own_path: Option<&str>,
    ) -> Fact<Wsl> {
        match platform {
            Platform::Linux => return Fact::absent("this is not WSL"),
            Platform::Wsl1 => return Fact::absent("WSL1 has no control groups of its own"),
            Platform::Wsl2 => {}
        }
        let settings = read::optional(roots, "/etc/wsl.conf").map(|text| WslConf::parse(&text));
        let asks_for_v1 = settings.value().is_some_and(WslConf::asks_for_v1);
        let era = match layout {
            Fact::Present { value } => match era(*value, asks_for_v1, boot, memory, own_path) {
                Some(era) => Fact::present(era),
                None => Fact::unknown_since("this layout is none that WSL makes"),
            },
            Fact::Absent { because } | Fact::Unknown { because } => Fact::unknown_since(because),
        };
        Fact::present(Wsl { era, settings })
    }
}

fn era(
    layout: Layout,
    asks_for_v1: bool,
    boot: &Boot,
    memory: &Fact<MemoryController>,
    own_path: Option<&str>,
) -> Option<Era> {
    let on_v1 = matches!(memory.value(), Some(MemoryController::V1 { .. }));
    match layout {
        Layout::Hybrid if asks_for_v1 => Some(Era::V1AskedFor),
        Layout::Hybrid if on_v1 => Some(Era::V1ByDefault),
        Layout::V2 if own_path.is_some_and(|path| path.starts_with("/wsl-user/")) => {
            Some(Era::Isolated)
        }
        Layout::V2 if boot.has_word("cgroup_no_v1=all") => Some(Era::V2ByParameter),
        Layout::V2 => Some(Era::V2),
        Layout::Hybrid | Layout::V1 | Layout::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_where_they_count() {
        let cases = [
            (
                "[boot]\nsystemd=true\n[automount]\ncgroups = v1\n",
                true,
                Some(true),
            ),
            (
                "[Boot]\nSystemd = false\n[AutoMount]\nCGroups=\"V1\" # old\n",
                true,
                Some(false),
            ),
            ("[boot]\ncgroups=v1\n[automount]\ncgroups=v2\n", false, None),
            ("[automount]\n#cgroups=v1\nsystemd=true\n", false, None),
            ("cgroups=v1\nsystemd=true\n", false, None),
            ("[automount", false, None),
            ("", false, None),
        ];
        for (text, asks_for_v1, systemd) in cases {
            let settings = WslConf::parse(text);
            assert_eq!(settings.asks_for_v1(), asks_for_v1, "{text}");
            assert_eq!(settings.systemd, systemd, "{text}");
        }
    }
}
