//! Memory limits that are set around us, or on groups that a user would expect
//! to be in, with what happened at them.

use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;
use memcap_linux::cgroup::{FlatKeyed, Limit, V1Memory, V2Group};
use serde::{Deserialize, Serialize};

use super::read;
use crate::{Host, Roots, V2Place};

/// More members than this are not added up.
const MOST_MEMBERS: usize = 1000;

/// One group's own limits and what it counted. Absent is unknown or not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLimits {
    /// Its directory.
    pub dir: PathBuf,
    /// 1 or 2.
    pub version: u8,
    /// `memory.max`, `memory.limit_in_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Limit>,
    /// `memory.high`; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<Limit>,
    /// How much of it may be in swap beside that; unlimited where v1 does not
    /// count swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_max: Option<Limit>,
    /// What is charged now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<ByteSize>,
    /// What is in swap now; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swapped: Option<ByteSize>,
    /// Whether an OOM kill takes the whole group; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kills_as_one: Option<bool>,
    /// How often `memory.high` was exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_hits: Option<u64>,
    /// How often the group was at its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hits: Option<u64>,
    /// Processes of it, or of a group below it, that an OOM killer took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// Those of them that were in this very group (Linux 5.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_kills: Option<u64>,
    /// The sum of what `top` shows as RES of its processes, which counts what
    /// they share several times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident: Option<ByteSize>,
}

impl GroupLimits {
    /// A finite `max`.
    pub fn limit(&self) -> Option<ByteSize> {
        self.max.and_then(Limit::bytes)
    }

    /// A finite `high`.
    pub fn threshold(&self) -> Option<ByteSize> {
        self.high.and_then(Limit::bytes)
    }

    fn is_limited(&self) -> bool {
        self.limit().is_some() || self.threshold().is_some()
    }

    /// Nothing where the group has no memory controller.
    fn v2(roots: &Roots, dir: &Path) -> GroupLimits {
        let group = V2Group::at(dir);
        let events = group.events().unwrap_or_default();
        let text = |name: &str| read::text(&dir.join(name)).ok();
        let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
        GroupLimits {
            dir: roots.shown(dir),
            version: 2,
            max: group.max().ok(),
            high: group.high().ok(),
            swap_max: group.swap_max().ok(),
            current: group.current().ok(),
            swapped: number("memory.swap.current").map(ByteSize::from_bytes),
            kills_as_one: number("memory.oom.group").map(|word| word == 1),
            high_hits: events.get("high"),
            max_hits: events.get("max"),
            oom_kills: events.get("oom_kill"),
            own_kills: group
                .local_events()
                .ok()
                .and_then(|own| own.get("oom_kill")),
            resident: None,
        }
    }

    fn v1(roots: &Roots, dir: &Path) -> GroupLimits {
        let group = V1Memory::at(dir);
        let max = group.limit().ok();
        let swap_max = match (max, group.limit_with_swap()) {
            (Some(Limit::At(max)), Ok(Limit::At(both))) => {
                Some(Limit::At(both.saturating_sub(max)))
            }
            (Some(_), Ok(Limit::Unlimited)) => Some(Limit::Unlimited),
            (Some(_), Err(error)) if error.is_absent() => Some(Limit::Unlimited),
            (Some(Limit::Unlimited), Ok(Limit::At(_))) | (_, Err(_)) | (None, Ok(_)) => None,
        };
        let control = read::text(&dir.join("memory.oom_control")).ok();
        GroupLimits {
            dir: roots.shown(dir),
            version: 1,
            max,
            swap_max,
            current: group.current().ok(),
            oom_kills: control.and_then(|text| FlatKeyed::parse(&text).get("oom_kill")),
            ..GroupLimits::default()
        }
    }
}

/// Our own group and those around it that have a limit, nearest first, of both
/// hierarchies.
pub(super) fn around(roots: &Roots, host: &Host) -> Vec<GroupLimits> {
    let v2 = host.cgroup_v2.value().map(V2Place::lineage);
    let v1 = host.cgroup_v1.value().map(crate::V1Place::lineage);
    let v2 = v2.into_iter().flatten().map(|dir| {
        let mut limits = GroupLimits::v2(roots, &dir);
        if limits.limit().is_some() {
            limits.resident = resident(roots, &dir);
        }
        limits
    });
    let v1 = v1.into_iter().flatten();
    v2.chain(v1.map(|dir| GroupLimits::v1(roots, &dir)))
        .filter(GroupLimits::is_limited)
        .collect()
}

/// Limited groups of this user's that we are *not* in: the slices of a login,
/// where systemd puts them.
pub(super) fn elsewhere(roots: &Roots, host: &Host) -> Vec<GroupLimits> {
    let Some(place) = host.cgroup_v2.value() else {
        return Vec::new();
    };
    let limited = slices_of(roots, place).into_iter().filter_map(|dir| {
        let limits = GroupLimits::v2(roots, &dir);
        (!place.own.starts_with(&dir) && limits.is_limited()).then_some(limits)
    });
    limited.collect()
}

/// The groups in which systemd would put this user's own, from the outermost
/// in; they need not be there.
pub(crate) fn slices_of(roots: &Roots, place: &V2Place) -> Vec<PathBuf> {
    let Some(uid) = roots.uid() else {
        return Vec::new();
    };
    let below = place
        .own
        .strip_prefix(&place.mount_point)
        .unwrap_or(Path::new(""));
    let mut dir = place.mount_point.join(managers_root(below));
    let names = [
        "user.slice".to_owned(),
        format!("user-{uid}.slice"),
        format!("user@{uid}.service"),
        "app.slice".to_owned(),
    ];
    names
        .iter()
        .map(|name| {
            dir.push(name);
            dir.clone()
        })
        .collect()
}

/// The group that systemd takes for the root, below the mount point: WSL gives
/// each distribution one of its own (2.9.8).
fn managers_root(own: &Path) -> PathBuf {
    let mut parts = own.iter();
    match (parts.next(), parts.next()) {
        (Some(first), Some(distribution)) if first == "wsl-user" => {
            Path::new(first).join(distribution).join("systemd")
        }
        _ => PathBuf::new(),
    }
}

/// What the resident sets of a group's processes add up to; `None` where they
/// cannot be read, or where there are very many.
fn resident(roots: &Roots, dir: &Path) -> Option<ByteSize> {
    if let Some(observed) = roots.observed()
        && let Some(bytes) = observed.resident.get(&roots.shown(dir))
    {
        return Some(*bytes);
    }
    let pids = V2Group::at(dir).processes().ok()?;
    if pids.is_empty() || pids.len() > MOST_MEMBERS {
        return None;
    }
    let pages = pids.into_iter().filter_map(|pid| {
        let statm = read::text(&roots.proc().join(format!("{pid}/statm"))).ok()?;
        statm.split(' ').nth(1)?.parse::<u64>().ok()
    });
    let pages = pages.fold(0u64, u64::saturating_add);
    let bytes = pages.saturating_mul(memcap_linux::proc::page_size());
    (bytes > 0).then_some(ByteSize::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_may_have_a_root_of_its_own() {
        let cases = [
            ("", ""),
            ("user.slice/a.scope", ""),
            (
                "wsl-user/distro-280/non-systemd",
                "wsl-user/distro-280/systemd",
            ),
            ("wsl-user", ""),
        ];
        for (own, root) in cases {
            assert_eq!(managers_root(Path::new(own)), Path::new(root), "{own}");
        }
    }
}
