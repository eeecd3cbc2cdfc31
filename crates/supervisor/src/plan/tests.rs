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
        mounts: Vec::new(),
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
