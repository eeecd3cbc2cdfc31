//! Hosts on which memory is in a v1 hierarchy.

use memcap_linux::ByteSize;
use memcap_probe::{Fact, V1Place};

use super::builder::{Captured, MACHINE, UNLIMITED_V1};

const HYBRID_MOUNTS: &str = "\
25 22 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 25 0:27 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
42 25 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

/// Memory on v1, an empty unified hierarchy beside it.
pub fn hybrid() -> Captured {
    Captured::new()
        .mounts(HYBRID_MOUNTS)
        .groups("8:pids:/\n4:memory:/api/job\n0::/\n")
        .v1("sys/fs/cgroup/memory", UNLIMITED_V1)
        .v1("sys/fs/cgroup/memory/api", UNLIMITED_V1)
        .v1("sys/fs/cgroup/memory/api/job", UNLIMITED_V1)
        .v2("sys/fs/cgroup/unified", "hugetlb\n", "\n", "1\n", &[])
}

fn v1_place(captured: &Captured) -> V1Place {
    let host = captured.host();
    let place = host.cgroup_v1.value();
    place
        .unwrap_or_else(|| panic!("{:?}", host.cgroup_v1))
        .clone()
}

#[test]
fn on_a_hybrid_host_v1_limits_and_v2_follows() {
    let captured = hybrid();
    let host = captured.host();
    let own = captured.at("sys/fs/cgroup/memory/api/job");
    let v1 = v1_place(&captured);
    assert_eq!(v1.own, own);
    assert_eq!(v1.base, Fact::present(own));
    assert!(v1.counts_swap);
    let v2 = host.cgroup_v2.value().expect("a unified hierarchy");
    let because = v2.memory_base.because().expect("no memory there");
    assert!(because.contains("no memory controller"), "{because}");
    let unified = captured.at("sys/fs/cgroup/unified");
    assert_eq!(v2.containment_base, Fact::present(unified.clone()));
    assert_eq!(
        v2.own.as_os_str(),
        unified.as_os_str(),
        "no slash at the end"
    );
    let lowest = host.ceilings.lowest().expect("the machine");
    assert_eq!((lowest.bytes, &lowest.file), (MACHINE, &None));
}

#[test]
fn a_v1_limit_above_us_is_a_ceiling() {
    let captured = hybrid().v1("sys/fs/cgroup/memory/api", "1073741824\n");
    let host = captured.host();
    let lowest = host.ceilings.lowest().expect("a ceiling");
    assert_eq!(lowest.bytes, ByteSize::from_gib(1));
    let file = captured.at("sys/fs/cgroup/memory/api/memory.limit_in_bytes");
    assert_eq!(lowest.file, Some(file));
    assert!(v1_place(&captured).base.value().is_some());
}

#[test]
fn an_ordinary_user_has_no_v1_base() {
    let captured = hybrid().lock("sys/fs/cgroup/memory/api/job");
    let v1 = v1_place(&captured);
    let because = v1.base.because().expect("not ours");
    assert!(because.ends_with("is not ours to write"), "{because}");
}

#[test]
fn a_flat_group_with_a_limit_is_no_base() {
    let captured = hybrid()
        .v1("sys/fs/cgroup/memory/api/job", "1073741824\n")
        .put("sys/fs/cgroup/memory/api/job/memory.use_hierarchy", "0\n");
    let v1 = v1_place(&captured);
    assert!(
        v1.base
            .because()
            .is_some_and(|text| text.contains("use_hierarchy"))
    );
}

fn docker(groups: &str) -> Captured {
    Captured::new()
        .mounts(
            "50 40 0:30 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n",
        )
        .groups(groups)
        .v1("sys/fs/cgroup/memory", "536870912\n")
}

#[test]
fn a_container_sees_its_own_subtree_as_the_root() {
    let captured = docker("4:memory:/docker/abc\n");
    let v1 = v1_place(&captured);
    assert_eq!(v1.own, captured.at("sys/fs/cgroup/memory"));
    assert!(
        v1.base
            .because()
            .is_some_and(|text| text.contains("read-only"))
    );
    let lowest = captured.host().ceilings.lowest().map(|c| c.bytes);
    assert_eq!(lowest, Some(ByteSize::from_mib(512)));
}

#[test]
fn a_name_that_only_begins_alike_is_another_group() {
    let captured = docker("4:memory:/docker/abcdef\n");
    let host = captured.host();
    let because = host.cgroup_v1.because().expect("not visible");
    assert!(because.contains("not visible"), "{because}");
}

#[test]
fn without_swap_accounting_the_place_says_so() {
    let captured = Captured::new()
        .mounts(HYBRID_MOUNTS)
        .groups("4:memory:/\n0::/\n")
        .put("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED_V1)
        .put("sys/fs/cgroup/memory/memory.use_hierarchy", "1\n")
        .put("sys/fs/cgroup/memory/cgroup.procs", "");
    assert!(!v1_place(&captured).counts_swap);
}

#[test]
fn without_any_cgroups_both_are_absent() {
    let host = Captured::new().host();
    assert!(matches!(host.cgroup_v1, Fact::Absent { .. }));
    assert!(matches!(host.cgroup_v2, Fact::Absent { .. }));
    assert_eq!(host.ceilings.lowest().map(|c| c.bytes), Some(MACHINE));
}

#[test]
fn an_unreadable_proc_is_unknown_and_not_absent() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = memcap_probe::Host::observe(&memcap_probe::Roots::below(folder.path()));
    assert!(matches!(host.cgroup_v1, Fact::Unknown { .. }));
    assert!(matches!(host.cgroup_v2, Fact::Unknown { .. }));
    assert!(matches!(host.memory, Fact::Unknown { .. }));
    assert!(host.ceilings.lowest().is_none());
}
