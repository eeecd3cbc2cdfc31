//! Facts that a run does not need and a diagnosis does, read below the same
//! roots as [`Host`]'s. Paths in them are the host's own.

mod boot;
mod features;
mod hierarchies;
mod kernel_log;
mod limits;
mod platform;
mod pressure;
pub(crate) mod read;
mod rlimits;
mod sockets;
mod swap;
mod wsl;

use memcap_linux::mounts;
use serde::Serialize;

use crate::{Fact, Host, Roots};

pub use boot::{Boot, KernelConfig};
pub(crate) use boot::{config as kernel_config, relevant as relevant_parameters};
pub use features::Features;
pub use hierarchies::{CgroupMount, Layout, MemoryController, Step};
pub use limits::GroupLimits;
pub(crate) use limits::slices_of;
pub use platform::{Container, ContainerKind, Platform};
pub use pressure::Pressure;
pub use rlimits::{Rlimit, Rlimits};
pub use sockets::Sockets;
pub use swap::Swap;
pub use wsl::{Era, Wsl, WslConf};

/// What was found out for the diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// The kind of Linux.
    pub platform: Platform,
    /// WSL2's layout and settings.
    pub wsl: Fact<Wsl>,
    /// The container we are in.
    pub container: Fact<Container>,
    /// How the kernel was built and started.
    pub boot: Boot,
    /// Every mount of control groups.
    pub mounts: Fact<Vec<CgroupMount>>,
    /// Which versions they are.
    pub layout: Fact<Layout>,
    /// Where the memory controller is.
    pub memory_controller: Fact<MemoryController>,
    /// Our own v2 group as `/proc/self/cgroup` names it.
    pub own_group: Fact<String>,
    /// Every v2 group from the top to our own.
    pub delegation: Fact<Vec<Step>>,
    /// Groups around us that have a limit, nearest first.
    pub limits_around: Vec<GroupLimits>,
    /// Groups of this user's with a limit that does not hold for us.
    pub limits_elsewhere: Vec<GroupLimits>,
    /// Swap, and whether limits can include it.
    pub swap: Fact<Swap>,
    /// Whether the kernel tells of memory pressure, and what it tells.
    pub pressure: Fact<Pressure>,
    /// Limits of single processes that we live under.
    pub rlimits: Fact<Rlimits>,
    /// Our own `oom_score_adj`: at -1000 no OOM killer takes us, nor what we
    /// start.
    pub oom_score_adj: Fact<i32>,
    /// How many processes the machine's own OOM killer took, as far back as the
    /// kernel's log goes; `None` where that may not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_kills: Option<u64>,
    /// Whether systemd runs this machine.
    pub systemd_runs: bool,
    /// Who answers over its sockets.
    pub sockets: Sockets,
    /// What the kernel offers.
    pub features: Features,
}

impl Facts {
    /// Reads them, and connects to systemd's sockets where systemd runs.
    pub fn observe(roots: &Roots, host: &Host) -> Facts {
        let mounts = match mounts::read(&roots.proc()) {
            Ok(mounts) => Fact::present(mounts),
            Err(error) => Fact::unknown(&error),
        };
        let platform = Platform::observe(roots, host);
        let boot = Boot::observe(roots, host);
        let hierarchies = hierarchies::Hierarchies::observe(roots, host, &mounts);
        let own_group = own_group(roots);
        let own = own_group.value().map(String::as_str);
        Facts {
            platform,
            wsl: Wsl::observe(
                roots,
                platform,
                &boot,
                &hierarchies.layout,
                &hierarchies.memory,
                own,
            ),
            container: Container::observe(roots, host, &mounts),
            limits_around: limits::around(roots, host),
            limits_elsewhere: limits::elsewhere(roots, host),
            swap: Swap::observe(roots, host),
            pressure: Pressure::observe(roots, &boot),
            rlimits: Rlimits::observe(roots),
            oom_score_adj: oom_score_adj(roots),
            machine_kills: kernel_log::machine_kills(roots),
            systemd_runs: sockets::is_running(roots),
            sockets: Sockets::observe(roots),
            features: Features::observe(roots, host),
            boot,
            mounts: hierarchies.mounts,
            layout: hierarchies.layout,
            memory_controller: hierarchies.memory,
            delegation: hierarchies.delegation,
            own_group,
        }
    }

    /// The first v2 group from the top, our own left out, that does not give
    /// memory to its children.
    pub fn memory_stops_at(&self) -> Option<&Step> {
        hierarchies::stop(self.delegation.value()?)
    }
}

fn own_group(roots: &Roots) -> Fact<String> {
    match memcap_linux::cgroup::own_memberships(&roots.proc()) {
        Ok(all) => match all
            .into_iter()
            .find(memcap_linux::cgroup::Membership::is_v2)
        {
            Some(own) => Fact::present(own.path),
            None => Fact::absent("/proc/self/cgroup has no v2 line"),
        },
        Err(error) => Fact::unknown(&error),
    }
}

fn oom_score_adj(roots: &Roots) -> Fact<i32> {
    const FILE: &str = "/proc/self/oom_score_adj";
    read::required(roots, FILE).and_then(|text| Fact::understood(text.trim().parse().ok(), FILE))
}
