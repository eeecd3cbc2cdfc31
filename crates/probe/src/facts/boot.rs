//! How the kernel was built and started, as far as memory control depends on
//! it.

use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::read;
use crate::{Fact, Host, Roots};

/// How the kernel was built and started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Boot {
    /// The words of `/proc/cmdline` that concern control groups, swap
    /// accounting, pressure or systemd's layout.
    pub parameters: Fact<Vec<String>>,
    /// The kernel's own configuration.
    pub config: Fact<KernelConfig>,
}

/// Options of the kernel's build. Absent where the configuration does not name
/// them: the kernel is older or newer than the option.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KernelConfig {
    /// `CONFIG_MEMCG`: the memory controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<bool>,
    /// `CONFIG_MEMCG_V1`: the same for v1 (Linux 6.11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_v1: Option<bool>,
    /// `CONFIG_MEMCG_SWAP`: swap is counted (to Linux 6.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<bool>,
    /// `CONFIG_PSI`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<bool>,
    /// `CONFIG_PSI_DEFAULT_DISABLED`: only with `psi=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure_is_off_by_default: Option<bool>,
}

impl KernelConfig {
    /// The lines of a configuration that are read here.
    pub(crate) const OPTIONS: [&'static str; 5] = [
        "CONFIG_MEMCG",
        "CONFIG_MEMCG_V1",
        "CONFIG_MEMCG_SWAP",
        "CONFIG_PSI",
        "CONFIG_PSI_DEFAULT_DISABLED",
    ];

    /// Reads `CONFIG_X=y` and `# CONFIG_X is not set`.
    pub fn parse(text: &str) -> KernelConfig {
        let [memory, memory_v1, swap, pressure, off] =
            KernelConfig::OPTIONS.map(|option| text.lines().find_map(|line| setting(line, option)));
        KernelConfig {
            memory,
            memory_v1,
            swap,
            pressure,
            pressure_is_off_by_default: off,
        }
    }
}

/// What one line says of one option.
fn setting(line: &str, option: &str) -> Option<bool> {
    if let Some(rest) = line.strip_prefix("# ") {
        return (rest.strip_prefix(option)? == " is not set").then_some(false);
    }
    let value = line.strip_prefix(option)?.strip_prefix('=')?;
    Some(matches!(value, "y" | "m"))
}

impl Boot {
    pub(super) fn observe(roots: &Roots, host: &Host) -> Boot {
        Boot {
            parameters: read::required(roots, "/proc/cmdline").map(|text| relevant(&text)),
            config: config(roots, host.kernel.value()).map(|text| KernelConfig::parse(&text)),
        }
    }

    /// Whether this word is on the kernel's command line.
    pub fn has_word(&self, wanted: &str) -> bool {
        let words = self.parameters.value();
        words.is_some_and(|words| words.iter().any(|word| word == wanted))
    }

    /// Whether the command line turns the memory controller off;
    /// `cgroup_disable=` takes a list (admin-guide/kernel-parameters).
    pub fn disables_memory(&self) -> bool {
        let words = self.parameters.value().into_iter().flatten();
        words
            .filter_map(|word| word.strip_prefix("cgroup_disable="))
            .flat_map(|list| list.split(','))
            .any(|name| name == "memory")
    }

    /// Whether the kernel was built without the memory controller.
    pub fn lacks_memory(&self) -> bool {
        let config = self.config.value();
        config.is_some_and(|config| config.memory == Some(false))
    }
}

/// The words that matter here; the others may name disks, hosts and people.
pub(crate) fn relevant(cmdline: &str) -> Vec<String> {
    const BEGINNINGS: [&str; 6] = [
        "cgroup",
        "systemd.unified_cgroup_hierarchy",
        "systemd.legacy_systemd_cgroup_controller",
        "swapaccount",
        "psi=",
        "WSL_",
    ];
    let matters = |word: &&str| BEGINNINGS.iter().any(|start| word.starts_with(start));
    let words = cmdline.split_whitespace().filter(matters);
    words.map(str::to_owned).collect()
}

/// The configuration's text: the kernel's own copy, else the distribution's.
pub(crate) fn config(roots: &Roots, release: Option<&String>) -> Fact<String> {
    const OWN: &str = "/proc/config.gz";
    if let Ok(packed) = read::bytes(&roots.at(Path::new(OWN))) {
        return match unpack(&packed) {
            Ok(text) => Fact::present(text),
            Err(error) => Fact::unknown_since(format!("{OWN}: {error}")),
        };
    }
    let copies = release
        .map(|release| format!("/boot/config-{release}"))
        .into_iter()
        // What a captured host has of either.
        .chain(["/proc/config".to_owned()]);
    for copy in copies {
        if let Ok(text) = read::text(&roots.at(Path::new(&copy))) {
            return Fact::present(text);
        }
    }
    Fact::unknown_since("neither /proc/config.gz nor the file in /boot can be read")
}

fn unpack(packed: &[u8]) -> std::io::Result<String> {
    /// Configurations have a few hundred KiB.
    const LONGEST: u64 = 4 << 20;
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .take(LONGEST)
        .read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(cmdline: &str) -> Boot {
        Boot {
            parameters: Fact::present(relevant(cmdline)),
            config: Fact::absent("none"),
        }
    }

    #[test]
    fn parameters_are_read_as_the_kernel_reads_them() {
        let boot = started("root=/dev/vda1 quiet cgroup_disable=pids,memory psi=1\n");
        assert!(boot.disables_memory());
        assert!(boot.has_word("psi=1"));
        assert_eq!(boot.parameters.value().map(Vec::len), Some(2));
        assert!(!started("cgroup_disable=pids").disables_memory());
        assert!(!started("xcgroup_disable=memory").disables_memory());
    }

    #[test]
    fn an_option_that_is_not_named_is_not_known() {
        let config = KernelConfig::parse(
            "CONFIG_MEMCG=y\n# CONFIG_MEMCG_V1 is not set\nCONFIG_PSI_DEFAULT_DISABLED=y\n",
        );
        assert_eq!(config.memory, Some(true));
        assert_eq!(config.memory_v1, Some(false));
        assert_eq!(config.swap, None);
        assert_eq!(config.pressure, None);
        assert_eq!(config.pressure_is_off_by_default, Some(true));
    }
}
