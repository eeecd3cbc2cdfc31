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
mod tests {
    use super::*;
    use std::time::Duration;

    use memcap_linux::meminfo::MachineMemory;
    use memcap_probe::{Ceiling, Ceilings, Fact};

    fn host() -> Host {
        let machine = ByteSize::from_gib(16);
        Host {
            kernel: Fact::present("6.12.0".into()),
            memory: Fact::present(MachineMemory {
                total: machine,
                available: Some(machine),
                swap_total: ByteSize::ZERO,
            }),
            cgroup_v2: Fact::absent("no cgroup2 file system is mounted"),
            cgroup_v1: Fact::absent("no v1 memory hierarchy is mounted"),
            systemd: Some(Fact::absent("this machine is not run by systemd")),
            ceilings: Ceilings::new(vec![Ceiling {
                bytes: machine,
                file: None,
            }]),
        }
    }

    fn with_v2(memory_base: Fact<MemoryBase>, containment_base: Fact<PathBuf>) -> Host {
        let place = V2Place {
            mount_point: "/sys/fs/cgroup".into(),
            own: "/sys/fs/cgroup/a/b".into(),
            memory_base,
            containment_base,
        };
        Host {
            cgroup_v2: Fact::present(place),
            ..host()
        }
    }

    fn with_v1(host: Host, counts_swap: bool) -> Host {
        let place = V1Place {
            mount_point: "/sys/fs/cgroup/memory".into(),
            own: "/sys/fs/cgroup/memory/a".into(),
            base: Fact::present("/sys/fs/cgroup/memory/a".into()),
            counts_swap,
        };
        Host {
            cgroup_v1: Fact::present(place),
            ..host
        }
    }

    fn base() -> MemoryBase {
        MemoryBase {
            dir: "/sys/fs/cgroup/a".into(),
            enable_memory: false,
            make_room: false,
        }
    }

    fn limits(mib: u64) -> Limits {
        Limits::memory(SizeSpec::Bytes(ByteSize::from_mib(mib))).expect("a limit")
    }

    fn auto(host: &Host, refused: &[Rejected]) -> Plan {
        plan(&limits(512), MechanismChoice::Auto, host, refused).expect("a plan")
    }

    #[test]
    fn the_strongest_usable_rung_is_taken_and_the_others_keep_their_reasons() {
        let nothing = auto(&host(), &[]);
        assert_eq!(nothing.mechanism, Mechanism::Watchdog);
        assert_eq!(nothing.containment, Containment::Keeper);
        let rejected: Vec<Mechanism> = nothing.rejected.iter().map(|r| r.mechanism).collect();
        assert_eq!(
            rejected,
            [Mechanism::CgroupV2, Mechanism::Systemd, Mechanism::CgroupV1]
        );
        assert_eq!(
            nothing.rejected[0].reason,
            "no cgroup2 file system is mounted"
        );

        let v2 = auto(
            &with_v2(
                Fact::present(base()),
                Fact::present("/sys/fs/cgroup/a/b".into()),
            ),
            &[],
        );
        assert_eq!(v2.mechanism, Mechanism::CgroupV2);
        assert_eq!(v2.placement, Placement::CgroupV2(base()));
        assert_eq!(
            (v2.containment, v2.containment_base),
            (Containment::CgroupV2, None)
        );

        // Hybrid: v1 holds the memory, v2 follows the tree.
        let followed = with_v2(Fact::absent("no memory"), Fact::present("/u".into()));
        let hybrid = auto(&with_v1(followed, true), &[]);
        assert_eq!(hybrid.mechanism, Mechanism::CgroupV1);
        assert_eq!(hybrid.containment_base, Some(PathBuf::from("/u")));
    }

    #[test]
    fn v1_without_swap_accounting_holds_only_where_there_is_no_swap() {
        let dry = with_v1(host(), false);
        assert_eq!(auto(&dry, &[]).mechanism, Mechanism::CgroupV1);
        let memory = MachineMemory {
            total: ByteSize::from_gib(16),
            available: None,
            swap_total: ByteSize::from_gib(1),
        };
        let swapping = Host {
            memory: Fact::present(memory),
            ..dry
        };
        assert_eq!(auto(&swapping, &[]).mechanism, Mechanism::Watchdog);
    }

    fn with_systemd(host: Host, ceiling: Option<ByteSize>) -> Host {
        // Only the probe makes such places.
        let ceilings: Vec<Ceiling> = ceiling
            .map(|bytes| Ceiling { bytes, file: None })
            .into_iter()
            .collect();
        let place = serde_json::json!({
            "instance": "user",
            "address": {"socket": "/run/user/7/bus", "is_bus": true, "owner": 7},
            "slice": "app.slice",
            "parent": "/sys/fs/cgroup/app.slice",
            "ceilings": serde_json::to_value(ceilings).expect("serialises"),
        });
        let place: SystemdPlace = serde_json::from_value(place).expect("a place");
        Host {
            systemd: Some(Fact::present(place)),
            ..host
        }
    }

    #[test]
    fn systemd_is_asked_only_where_v2_is_closed() {
        let usable = with_v2(Fact::present(base()), Fact::present("/u".into()));
        let refusal = Rejected {
            mechanism: Mechanism::CgroupV2,
            reason: "failed to write `memory.max`".into(),
        };
        let needs = |choice, host: &Host, refused: &[Rejected]| {
            needs_systemd(&limits(512), choice, host, refused)
        };
        let only = MechanismChoice::Only;
        assert!(!needs(MechanismChoice::Auto, &usable, &[]));
        assert!(needs(MechanismChoice::Auto, &host(), &[]));
        assert!(needs(MechanismChoice::Auto, &usable, &[refusal]));
        assert!(needs(only(Mechanism::Systemd), &usable, &[]));
        assert!(!needs(only(Mechanism::Watchdog), &host(), &[]));
        let not_asked = Host {
            systemd: None,
            ..host()
        };
        assert_eq!(
            auto(&not_asked, &[]).rejected[1].reason,
            "systemd was not asked"
        );
    }

    #[test]
    fn a_scope_is_below_the_limits_of_its_slice() {
        let free = auto(&with_systemd(host(), None), &[]);
        assert_eq!(free.mechanism, Mechanism::Systemd);
        assert_eq!(
            (free.containment, free.containment_base),
            (Containment::CgroupV2, None)
        );
        assert_eq!((free.limit.mib(), free.clamped), (512, None));
        let slice = auto(&with_systemd(host(), Some(ByteSize::from_mib(512))), &[]);
        assert_eq!(slice.limit.mib(), 448);
    }

    #[test]
    fn what_the_kernel_refused_is_not_tried_again() {
        let refused = Rejected {
            mechanism: Mechanism::CgroupV2,
            reason: "failed to write `memory.max`".into(),
        };
        let host = with_v2(Fact::present(base()), Fact::present("/u".into()));
        let second = auto(&host, std::slice::from_ref(&refused));
        assert_eq!(second.mechanism, Mechanism::Watchdog);
        assert_eq!(second.containment, Containment::Keeper);
        assert_eq!(second.rejected[0], refused);
    }

    #[test]
    fn one_mechanism_or_none() {
        let only = |mechanism| plan(&limits(512), MechanismChoice::Only(mechanism), &host(), &[]);
        assert_eq!(
            only(Mechanism::Rlimit).map(|p| p.mechanism),
            Ok(Mechanism::Rlimit)
        );
        let error = only(Mechanism::CgroupV1).expect_err("not here");
        assert_eq!(
            error.to_string(),
            "mechanism `cgroup-v1` cannot be used here: no v1 memory hierarchy is mounted"
        );
        assert!(only(Mechanism::Systemd).is_err());
        let with_swap = limits(512).swap(ByteSize::from_mib(1));
        let rlimit = MechanismChoice::Only(Mechanism::Rlimit);
        assert!(plan(&with_swap, rlimit, &host(), &[]).is_err());
    }

    #[test]
    fn a_reserve_that_is_not_there_is_refused_before_the_start() {
        let with_memory = |available_mib: Option<u64>| {
            let memory = MachineMemory {
                total: ByteSize::from_gib(16),
                available: available_mib.map(ByteSize::from_mib),
                swap_total: ByteSize::ZERO,
            };
            Host {
                memory: Fact::present(memory),
                ..host()
            }
        };
        let reserve = limits(512).keep_free(ByteSize::from_gib(1));
        let plan_on = |limits: &Limits, host: &Host| {
            plan(limits, MechanismChoice::Auto, host, &[]).map_err(|error| error.to_string())
        };
        let kept = plan_on(&reserve, &with_memory(Some(1025))).expect("a plan");
        let held = kept.beside.last().expect("it is held");
        assert_eq!(held.by, "the keeper's looks at /proc/meminfo");
        let json = serde_json::to_value(held.limit).expect("serialises");
        assert_eq!(
            json,
            serde_json::json!({"limit": "keep-free", "bytes": 1 << 30})
        );
        assert_eq!(
            plan_on(&reserve, &with_memory(Some(1024))),
            Err("1 GiB cannot stay free on a machine that has 1 GiB available".to_owned())
        );
        assert_eq!(
            plan_on(&reserve, &with_memory(None)),
            Err("nothing can be kept free here: no MemAvailable in /proc/meminfo".to_owned())
        );
        assert!(plan_on(&limits(512), &with_memory(None)).is_ok());
    }

    #[test]
    fn every_limit_is_named_with_what_holds_it() {
        let time = Duration::from_secs(90);
        let limits = limits(512)
            .time(time)
            .and_then(|limits| limits.cpu(time))
            .and_then(|limits| limits.processes(8))
            .expect("limits");
        let held_by = |host: &Host| -> Vec<&'static str> {
            let plan = plan(&limits, MechanismChoice::Auto, host, &[]).expect("a plan");
            plan.beside.iter().map(|held| held.by).collect()
        };
        assert_eq!(
            held_by(&host()),
            [
                "the keeper's looks at /proc",
                "the keeper's clock",
                "the keeper's looks at /proc",
                "the keeper's count"
            ]
        );
        let v2 = with_v2(Fact::present(base()), Fact::present("/u".into()));
        assert_eq!(
            held_by(&v2),
            [
                "memory.swap.max",
                "the keeper's clock",
                "the keeper's looks at cpu.stat",
                "pids.max where the directory has it, else the keeper's count"
            ]
        );
        let json = serde_json::to_value(auto(&host(), &[]).beside).expect("serialises");
        let swap = serde_json::json!([
            {"limit": "swap", "bytes": 0, "by": "the keeper's looks at /proc"}
        ]);
        assert_eq!(json, swap);
    }

    #[test]
    fn a_soft_limit_is_held_by_the_kernel_by_freezes_or_not_at_all() {
        let soft = |mib| limits(512).soft(ByteSize::from_mib(mib)).expect("below");
        let by = |host: &Host| {
            plan(&soft(400), MechanismChoice::Auto, host, &[])
                .map(|plan| plan.throttle.map(|rules| rules.by))
        };
        let v2 = with_v2(Fact::present(base()), Fact::present("/u".into()));
        assert_eq!(by(&v2), Ok(Some(ThrottleBy::MemoryHigh)));
        let hybrid = with_v2(Fact::absent("no memory"), Fact::present("/u".into()));
        assert_eq!(by(&hybrid), Ok(Some(ThrottleBy::Freezes)));
        assert_eq!(by(&with_v1(hybrid, true)), Ok(Some(ThrottleBy::Freezes)));
        let undelegated = with_v2(Fact::absent("not ours"), Fact::absent("not ours"));
        assert_eq!(
            by(&undelegated).map_err(|error| error.to_string()),
            Err(
                "a soft limit cannot be held here: watchdog has no memory.high, \
                 and there is no cgroup v2 directory to freeze: not ours"
                    .to_owned()
            )
        );
        // What fits here may be less than what was asked for.
        let max = Limits::memory(SizeSpec::Max)
            .and_then(|limits| limits.soft(ByteSize::from_gib(16)))
            .expect("limits");
        let error = plan(&max, MechanismChoice::Auto, &v2, &[]).expect_err("above");
        assert!(matches!(error, PlanError::SoftNotBelow { .. }), "{error}");
    }
}
