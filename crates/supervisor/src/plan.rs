//! Decides how a request is enforced on this host. Reads no files.

use std::path::PathBuf;

use memcap_linux::ByteSize;
use memcap_probe::{Host, MemoryBase, V1Place, V2Place};
use serde::{Deserialize, Serialize};

use crate::wire::Surroundings;
use crate::{Containment, Guarantee, Limits, Mechanism, MechanismChoice};

/// Kept free below an enclosing limit, so that our verdict comes first:
/// `max(64 MiB, 2 %)`.
const CEILING_MARGIN: ByteSize = ByteSize::from_mib(64);

/// How a request will be enforced, and what was turned down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Who stops growth.
    pub mechanism: Mechanism,
    /// How the tree is followed and ended.
    pub containment: Containment,
    /// What may be counted on.
    pub guarantee: Guarantee,
    /// The limit as asked for.
    #[serde(rename = "requested_bytes")]
    pub requested: ByteSize,
    /// The limit that will be set.
    #[serde(rename = "limit_bytes")]
    pub limit: ByteSize,
    /// Why the two differ, if they do.
    pub clamped: Option<Clamp>,
    /// Stronger mechanisms that were not chosen, with the reason.
    pub rejected: Vec<Rejected>,
    #[serde(skip)]
    pub(crate) placement: Placement,
    #[serde(skip)]
    pub(crate) containment_base: Option<PathBuf>,
    #[serde(skip)]
    pub(crate) surroundings: Surroundings,
}

/// A request above what an enclosing limit leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clamp {
    /// The enclosing limit.
    #[serde(rename = "ceiling_bytes")]
    pub ceiling: ByteSize,
    /// Its control file; `None` for the machine's memory.
    pub file: Option<PathBuf>,
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
    /// A group below this directory.
    CgroupV1(PathBuf),
    /// Nowhere: the keeper samples.
    Watchdog,
    /// On every process.
    Rlimit,
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
            PlanError::NotAvailable {
                mechanism: Mechanism::Systemd,
                ..
            } => "leave `--mechanism` out to take the strongest one that works here",
            PlanError::NotAvailable { .. } => {
                "`memcap doctor` shows what works on this host; leave `--mechanism` out to take it"
            }
            PlanError::Nothing { .. } => "`memcap doctor` shows what is missing on this host",
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
    let (requested, limit, clamped) = clamp(limits, host);
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
            None => place(mechanism, host),
        };
        match placement {
            Ok(placement) => {
                let (containment, containment_base) = containment(&placement, host, refused);
                return Ok(Plan {
                    mechanism,
                    containment,
                    guarantee: mechanism.guarantee(),
                    requested,
                    limit,
                    clamped,
                    rejected,
                    placement,
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

/// Where one mechanism would set the limit on this host.
fn place(mechanism: Mechanism, host: &Host) -> Result<Placement, String> {
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
        Mechanism::Systemd => Err("systemd scopes are not built into memcap yet".into()),
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
    if matches!(placement, Placement::CgroupV2(_)) {
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

/// The limit asked for and the one that fits below every enclosing limit.
fn clamp(limits: &Limits, host: &Host) -> (ByteSize, ByteSize, Option<Clamp>) {
    let Some(lowest) = host.ceilings.lowest() else {
        let asked = limits.memory.resolve(ByteSize::MAX);
        return (asked, asked, None);
    };
    let asked = limits.memory.resolve(lowest.bytes);
    let margin = CEILING_MARGIN.max(lowest.bytes.percent(2));
    // A ceiling so low that the margin would eat it leaves half of itself.
    let fits = lowest
        .bytes
        .saturating_sub(margin)
        .max(lowest.bytes.percent(50));
    if asked <= fits {
        return (asked, asked, None);
    }
    (
        asked,
        fits,
        Some(Clamp {
            ceiling: lowest.bytes,
            file: lowest.file.clone(),
        }),
    )
}
