//! Decides how a request is enforced on this host. Reads no files.

use std::path::{Path, PathBuf};

use memcap_linux::{ByteSize, SizeSpec};
use memcap_probe::{Ceilings, Host, MemoryBase, SystemdPlace, V1Place, V2Place};
use serde::{Deserialize, Serialize};

use crate::amounts::Amounts;
use crate::held::{Held, held};
use crate::proof::PlannedProof;
use crate::throttle::{Rules, ThrottleBy};
use crate::wire::Surroundings;
use crate::{Containment, Guarantee, Limits, Mechanism, MechanismChoice};

/// How a request will be enforced, and what was turned down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Who stops growth.
    pub mechanism: Mechanism,
    /// How the tree is followed and ended.
    pub containment: Containment,
    /// What may be counted on.
    pub guarantee: Guarantee,
    /// The memory that was asked for, as it was written.
    #[serde(skip)]
    pub asked: SizeSpec,
    /// The same in bytes.
    #[serde(rename = "requested_bytes")]
    pub requested: ByteSize,
    /// The limit that will be set.
    #[serde(rename = "limit_bytes")]
    pub limit: ByteSize,
    /// Why the two differ, if they do.
    pub clamped: Option<Clamp>,
    /// The total of the budget that the run is a member of, which its limit is
    /// never above.
    #[serde(rename = "budget_bytes", skip_serializing_if = "Option::is_none")]
    pub budget: Option<ByteSize>,
    /// What the limit will be trusted for; `None` where no group holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<PlannedProof>,
    /// The limits beside memory, each with what holds it.
    pub beside: Vec<Held>,
    /// Stronger mechanisms that were not chosen, with the reason.
    pub rejected: Vec<Rejected>,
    #[serde(skip)]
    pub(crate) placement: Placement,
    /// What may be in swap beside the limit.
    #[serde(skip)]
    pub(crate) swap: ByteSize,
    /// What stays available on the machine; zero for no reserve.
    #[serde(skip)]
    pub(crate) keep_free: ByteSize,
    #[serde(skip)]
    pub(crate) throttle: Option<Rules>,
    #[serde(skip)]
    pub(crate) containment_base: Option<PathBuf>,
    #[serde(skip)]
    pub(crate) surroundings: Surroundings,
}

impl Plan {
    /// The directory below which the group with the limit is made; `None`
    /// where the limit is on no group.
    pub fn place(&self) -> Option<&Path> {
        match &self.placement {
            Placement::CgroupV2(base) => Some(&base.dir),
            Placement::Systemd(place) => Some(&place.parent),
            Placement::CgroupV1(base) => Some(base),
            Placement::Watchdog | Placement::Rlimit => None,
        }
    }

    /// The directory below which the group that only follows the tree is made;
    /// `None` where the group with the limit follows it too, or the keeper does.
    pub fn containment_place(&self) -> Option<&Path> {
        self.containment_base.as_deref()
    }
}

/// A request above what an enclosing limit leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clamp {
    /// The enclosing limit.
    #[serde(rename = "ceiling_bytes")]
    pub ceiling: ByteSize,
    /// Its control file; `None` for the machine's memory, and for a budget.
    pub file: Option<PathBuf>,
    /// It is the total of a budget.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub budget: bool,
}

/// A mechanism that was turned down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which.
    pub mechanism: Mechanism,
    /// Why, in one line.
    pub reason: String,
}

/// Where the limit is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Placement {
    /// A leaf below this base.
    CgroupV2(MemoryBase),
    /// A leaf in a scope that systemd makes.
    Systemd(SystemdPlace),
    /// A group below this directory.
    CgroupV1(PathBuf),
    /// Nowhere: the keeper samples.
    Watchdog,
    /// On every process.
    Rlimit,
}

impl Placement {
    /// What holds the limit there.
    pub(crate) fn mechanism(&self) -> Mechanism {
        match self {
            Placement::CgroupV2(_) => Mechanism::CgroupV2,
            Placement::Systemd(_) => Mechanism::Systemd,
            Placement::CgroupV1(_) => Mechanism::CgroupV1,
            Placement::Watchdog => Mechanism::Watchdog,
            Placement::Rlimit => Mechanism::Rlimit,
        }
    }
}

/// No plan is possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The mechanism that was asked for does not work here.
    #[error("mechanism `{mechanism}` cannot be used here: {reason}")]
    NotAvailable {
        /// The one asked for.
        mechanism: Mechanism,
        /// Why not.
        reason: String,
    },
    /// The soft limit is not below the limit that fits here.
    #[error("a soft limit of {soft} is not below the limit of {limit}")]
    SoftNotBelow {
        /// The soft limit.
        soft: ByteSize,
        /// The limit that would be set.
        limit: ByteSize,
    },
    /// A tree cannot be slowed down here.
    #[error(
        "a soft limit cannot be held here: {mechanism} has no memory.high, \
         and there is no cgroup v2 directory to freeze: {reason}"
    )]
    NoThrottle {
        /// What would hold the limit.
        mechanism: Mechanism,
        /// Why there is no directory.
        reason: String,
    },
    /// Not even now is as much available on the machine as is to stay free.
    #[error("{reserve} cannot stay free on a machine that has {available} available")]
    ReserveTooLarge {
        /// What is to stay free.
        reserve: ByteSize,
        /// MemAvailable now.
        available: ByteSize,
    },
    /// The machine does not tell what is available.
    #[error("nothing can be kept free here: {reason}")]
    NoReserve {
        /// Why not.
        reason: String,
    },
    /// None works at all.
    #[error("no mechanism can hold a limit here: {reasons}")]
    Nothing {
        /// Every mechanism with its reason.
        reasons: String,
    },
}

impl PlanError {
    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        match self {
            PlanError::NotAvailable { .. } => {
                "`memcap doctor` shows what works on this host; leave `--mechanism` out to take it"
            }
            PlanError::SoftNotBelow { .. } => "write a soft limit below the limit",
            PlanError::NoThrottle { .. } => {
                "leave `--soft` out, or run where a cgroup v2 directory is ours to write: \
                 `memcap doctor` shows what is missing"
            }
            PlanError::ReserveTooLarge { .. } => {
                "write a smaller `--keep-free`, or end something that uses memory first"
            }
            PlanError::NoReserve { .. } => "leave `--keep-free` out",
            PlanError::Nothing { .. } => "`memcap doctor` shows what is missing on this host",
        }
    }
}

impl Plan {
    /// The same for a member of a budget: of what it asked for, no more than the
    /// total is given.
    pub(crate) fn within(self, total: ByteSize, asked: SizeSpec) -> Plan {
        let requested = asked.resolve(total);
        let clamp = Clamp {
            ceiling: total,
            file: None,
            budget: true,
        };
        Plan {
            requested,
            asked,
            clamped: self.clamped.or((requested > total).then_some(clamp)),
            budget: Some(total),
            ..self
        }
    }

    /// The same where no keeper is a subreaper: without a directory, orphans
    /// are followed only once they were seen.
    pub(crate) fn kept_by_a_thread(self) -> Plan {
        let containment = match self.containment {
            Containment::CgroupV2 => Containment::CgroupV2,
            Containment::Keeper | Containment::InProcess => Containment::InProcess,
        };
        Plan {
            containment,
            ..self
        }
    }
}

/// Chooses. `refused` are mechanisms that looked usable but were refused by
/// the kernel when tried in this very run.
pub(crate) fn plan(
    limits: &Limits,
    choice: MechanismChoice,
    host: &Host,
    refused: &[Rejected],
) -> Result<Plan, PlanError> {
    let keep_free = reserve(limits, host)?;
    let mut rejected = Vec::new();
    for mechanism in Mechanism::ALL {
        if let MechanismChoice::Only(wanted) = choice
            && wanted != mechanism
        {
            continue;
        }
        let earlier = refused
            .iter()
            .find(|refusal| refusal.mechanism == mechanism);
        let placement = match earlier {
            Some(refusal) => Err(refusal.reason.clone()),
            None => place(mechanism, limits, host),
        };
        match placement {
            Ok(placement) => {
                let ceilings = ceilings(&placement, host);
                let amounts = Amounts::of(limits, &ceilings, host.memory.value());
                let (containment, containment_base) = containment(&placement, host, refused);
                let throttle = throttle(limits, &amounts, &placement, containment, host)?;
                return Ok(Plan {
                    mechanism,
                    containment,
                    guarantee: mechanism.guarantee(),
                    asked: limits.memory,
                    beside: held(
                        limits,
                        (amounts.swap, keep_free),
                        &placement,
                        containment,
                        throttle,
                    ),
                    requested: amounts.requested,
                    limit: amounts.limit,
                    clamped: amounts.clamped,
                    swap: amounts.swap,
                    keep_free,
                    budget: None,
                    proof: None,
                    rejected,
                    placement,
                    throttle,
                    containment_base,
                    surroundings: surroundings(host),
                });
            }
            Err(reason) => rejected.push(Rejected { mechanism, reason }),
        }
    }
    Err(match choice {
        MechanismChoice::Only(mechanism) => PlanError::NotAvailable {
            mechanism,
            reason: rejected
                .pop()
                .map(|rejected| rejected.reason)
                .unwrap_or_default(),
        },
        MechanismChoice::Auto => {
            let reasons: Vec<String> = rejected
                .iter()
                .map(|r| format!("{}: {}", r.mechanism, r.reason))
                .collect();
            PlanError::Nothing {
                reasons: reasons.join("; "),
            }
        }
    })
}

/// What is to stay available. A reserve that is not there ends every job at its
/// start.
fn reserve(limits: &Limits, host: &Host) -> Result<ByteSize, PlanError> {
    if limits.keep_free == SizeSpec::NOTHING {
        return Ok(ByteSize::ZERO);
    }
    let unknown = |reason: &str| PlanError::NoReserve {
        reason: reason.to_owned(),
    };
    let memory = host.memory.value();
    let memory = memory.ok_or_else(|| unknown(host.memory.because().unwrap_or("not known")))?;
    let available = memory.available;
    let available = available.ok_or_else(|| unknown("no MemAvailable in /proc/meminfo"))?;
    let reserve = limits.keep_free.resolve(memory.total);
    if reserve >= available {
        return Err(PlanError::ReserveTooLarge { reserve, available });
    }
    Ok(reserve)
}

/// Whether the plan depends on what systemd says: only where the rung above it
/// is closed is anybody asked.
pub(crate) fn needs_systemd(
    limits: &Limits,
    choice: MechanismChoice,
    host: &Host,
    refused: &[Rejected],
) -> bool {
    let is_refused = |mechanism| refused.iter().any(|refusal| refusal.mechanism == mechanism);
    match choice {
        MechanismChoice::Only(mechanism) => {
            mechanism == Mechanism::Systemd && !is_refused(mechanism)
        }
        // What it says would not be used.
        _ if is_refused(Mechanism::Systemd) => false,
        MechanismChoice::Auto => {
            place(Mechanism::CgroupV2, limits, host).is_err() || is_refused(Mechanism::CgroupV2)
        }
    }
}

/// Where one mechanism would set the limit on this host.
fn place(mechanism: Mechanism, limits: &Limits, host: &Host) -> Result<Placement, String> {
    match mechanism {
        Mechanism::CgroupV2 => {
            let place = host
                .cgroup_v2
                .value()
                .ok_or_else(|| reason(&host.cgroup_v2))?;
            let base = place
                .memory_base
                .value()
                .ok_or_else(|| reason(&place.memory_base))?;
            Ok(Placement::CgroupV2(base.clone()))
        }
        Mechanism::Systemd => {
            let asked = host.systemd.as_ref().ok_or("systemd was not asked")?;
            let place = asked.value().ok_or_else(|| reason(asked))?;
            Ok(Placement::Systemd(place.clone()))
        }
        Mechanism::CgroupV1 => {
            let place = host
                .cgroup_v1
                .value()
                .ok_or_else(|| reason(&host.cgroup_v1))?;
            let base = place.base.value().ok_or_else(|| reason(&place.base))?;
            let swap = host.memory.value().map(|memory| memory.swap_total);
            if !place.counts_swap && swap != Some(ByteSize::ZERO) {
                return Err(
                    "the kernel does not count swap (no memory.memsw.limit_in_bytes), \
                            so the excess would go there"
                        .into(),
                );
            }
            Ok(Placement::CgroupV1(base.clone()))
        }
        Mechanism::Watchdog => Ok(Placement::Watchdog),
        Mechanism::Rlimit if limits.swap != SizeSpec::NOTHING => Err(
            "it bounds what is mapped, in memory or in swap, so no swap can be allowed beside it"
                .into(),
        ),
        Mechanism::Rlimit => Ok(Placement::Rlimit),
    }
}

fn reason<T>(fact: &memcap_probe::Fact<T>) -> String {
    fact.because().unwrap_or("not usable").to_owned()
}

/// A v2 leaf is its own containment; otherwise a v2 directory beside it, where
/// one can be made and was not refused before.
fn containment(
    placement: &Placement,
    host: &Host,
    refused: &[Rejected],
) -> (Containment, Option<PathBuf>) {
    if matches!(placement, Placement::CgroupV2(_) | Placement::Systemd(_)) {
        return (Containment::CgroupV2, None);
    }
    let was_refused = refused.iter().any(|r| r.mechanism == Mechanism::CgroupV2);
    let base = host
        .cgroup_v2
        .value()
        .and_then(|place| place.containment_base.value());
    match base {
        Some(base) if !was_refused => (Containment::CgroupV2, Some(base.clone())),
        _ => (Containment::Keeper, None),
    }
}

/// How a tree above its soft limit is slowed down, where one is asked for.
fn throttle(
    limits: &Limits,
    amounts: &Amounts,
    placement: &Placement,
    containment: Containment,
    host: &Host,
) -> Result<Option<Rules>, PlanError> {
    let limit = amounts.limit;
    let Some(soft) = amounts.soft else {
        return Ok(None);
    };
    if soft >= limit {
        return Err(PlanError::SoftNotBelow { soft, limit });
    }
    let by = match (placement, containment) {
        (Placement::CgroupV2(_) | Placement::Systemd(_), _) => ThrottleBy::MemoryHigh,
        (_, Containment::CgroupV2) => ThrottleBy::Freezes,
        (_, Containment::Keeper | Containment::InProcess) => {
            return Err(PlanError::NoThrottle {
                mechanism: placement.mechanism(),
                reason: host.cgroup_v2.value().map_or_else(
                    || reason(&host.cgroup_v2),
                    |place| reason(&place.containment_base),
                ),
            });
        }
    };
    Ok(Some(Rules {
        soft,
        limit,
        by,
        stall: limits.stall,
    }))
}

fn surroundings(host: &Host) -> Surroundings {
    Surroundings {
        v2: host
            .cgroup_v2
            .value()
            .map(V2Place::lineage)
            .unwrap_or_default(),
        v1: host
            .cgroup_v1
            .value()
            .map(V1Place::lineage)
            .unwrap_or_default(),
    }
}

/// The limits around the place: ours, and those of the slice where systemd makes
/// a scope.
pub(crate) fn ceilings(placement: &Placement, host: &Host) -> Ceilings {
    match placement {
        Placement::Systemd(place) => host.ceilings.and(&place.ceilings),
        Placement::CgroupV2(_)
        | Placement::CgroupV1(_)
        | Placement::Watchdog
        | Placement::Rlimit => host.ceilings.clone(),
    }
}

#[cfg(test)]
mod tests;
