//! Hosts on which memory is in the unified hierarchy.

use memcap_linux::ByteSize;
use memcap_probe::{Fact, MemoryBase, V2Place};

use super::builder::{Captured, V2_MOUNT, group};

pub const ALL: &str = "cpu memory pids\n";
const SLICE: &str = "user.slice/user-1000.slice";
pub const TYPE: (&str, &str) = ("cgroup.type", "domain\n");
pub const UNLIMITED: (&str, &str) = ("memory.max", "max\n");

/// A systemd host up to the user's slice, all of it root's.
fn systemd(own: &str) -> Captured {
    Captured::new()
        .mounts(V2_MOUNT)
        .groups(&format!("0::/{own}\n"))
        .v2(&group(""), ALL, ALL, "1\n", &[])
        .v2(&group("user.slice"), ALL, ALL, "", &[TYPE, UNLIMITED])
        .v2(&group(SLICE), ALL, ALL, "", &[TYPE, UNLIMITED])
}

/// A login session: memory reaches it, but nothing on the way is the user's.
pub fn undelegated() -> Captured {
    let session = format!("{SLICE}/session-3.scope");
    systemd(&session)
        .v2(
            &group(&session),
            ALL,
            "\n",
            "500\n501\n",
            &[TYPE, UNLIMITED],
        )
        .lock(&group(&session))
        .lock(&group(SLICE))
        .lock(&group("user.slice"))
        .lock(&group(""))
}

/// A scope of the user's own manager with nobody but us in it.
fn delegated(pids: &str) -> Captured {
    let user = format!("{SLICE}/user@1000.service");
    let scope = format!("{user}/app.slice/run-7.scope");
    systemd(&scope)
        .v2(&group(&user), ALL, ALL, "", &[TYPE, UNLIMITED])
        .v2(
            &group(&format!("{user}/app.slice")),
            ALL,
            ALL,
            "",
            &[TYPE, UNLIMITED],
        )
        .v2(&group(&scope), ALL, "\n", pids, &[TYPE, UNLIMITED])
        .lock(&group(SLICE))
        .lock(&group("user.slice"))
        .lock(&group(""))
}

fn v2_place(captured: &Captured) -> V2Place {
    let host = captured.host();
    let place = host.cgroup_v2.value();
    place
        .unwrap_or_else(|| panic!("{:?}", host.cgroup_v2))
        .clone()
}

fn base(captured: &Captured, dir: &str, enable_memory: bool, make_room: bool) -> Fact<MemoryBase> {
    Fact::present(MemoryBase {
        dir: captured.at(&group(dir)),
        enable_memory,
        make_room,
    })
}

#[test]
fn a_login_session_has_no_base_and_says_why_for_each_group() {
    let place = v2_place(&undelegated());
    let because = place.memory_base.because().expect("nothing is ours");
    assert_eq!(because.matches("not ours to write").count(), 4, "{because}");
    assert!(place.containment_base.because().is_some());
}

#[test]
fn the_nearest_delegated_group_that_gives_memory_is_the_base() {
    let captured = delegated("500\n501\n");
    let place = v2_place(&captured);
    let app = format!("{SLICE}/user@1000.service/app.slice");
    assert_eq!(place.memory_base, base(&captured, &app, false, false));
    assert_eq!(place.containment_base, Fact::present(place.own));
}

#[test]
fn alone_in_a_delegated_group_we_can_make_room() {
    let captured = delegated(&format!("{}\n", std::process::id()));
    let place = v2_place(&captured);
    let own = format!("{SLICE}/user@1000.service/app.slice/run-7.scope");
    assert_eq!(place.memory_base, base(&captured, &own, true, true));
}

#[test]
fn one_stranger_is_enough_to_keep_us_from_making_room() {
    let others = format!("{}\n500\n", std::process::id());
    for pids in ["500\n", others.as_str()] {
        let captured = Captured::new()
            .mounts(V2_MOUNT)
            .groups("0::/box\n")
            .v2(&group(""), ALL, ALL, "", &[])
            .v2(&group("box"), ALL, "\n", pids, &[TYPE, UNLIMITED])
            .lock(&group(""));
        let place = v2_place(&captured);
        let because = place.memory_base.because().expect("busy").to_owned();
        assert!(because.contains("processes are in this group"), "{because}");
    }
}

#[test]
fn the_real_root_gives_memory_although_it_holds_processes() {
    let captured = Captured::new().mounts(V2_MOUNT).groups("0::/\n").v2(
        &group(""),
        ALL,
        "\n",
        "1\n2\n3\n",
        &[],
    );
    let place = v2_place(&captured);
    assert_eq!(place.memory_base, base(&captured, "", true, false));
}

#[test]
fn the_root_of_a_namespace_is_an_ordinary_group() {
    let captured = Captured::new().mounts(V2_MOUNT).groups("0::/\n").v2(
        &group(""),
        ALL,
        "\n",
        "1\n2\n3\n",
        &[TYPE, UNLIMITED],
    );
    assert!(v2_place(&captured).memory_base.because().is_some());
}

/// A step of a batch job, in a group of its own that others are in too.
fn step_of_a_job(job: &[(&str, &str)]) -> Captured {
    Captured::new()
        .mounts(V2_MOUNT)
        .groups("0::/job/step\n")
        .v2(&group(""), ALL, ALL, "", &[])
        .v2(&group("job"), ALL, ALL, "", job)
        .v2(
            &group("job/step"),
            ALL,
            "\n",
            "500\n501\n",
            &[TYPE, UNLIMITED],
        )
}

#[test]
fn a_limit_is_never_left_for_a_base_above_it() {
    for (name, text) in [
        ("memory.max", "1073741824\n"),
        ("memory.high", "1073741824\n"),
        ("memory.swap.max", "0\n"),
        ("cpu.max", "50000 100000\n"),
    ] {
        let captured =
            step_of_a_job(&[TYPE, UNLIMITED]).put(&format!("{}/{name}", group("job/step")), text);
        let because = v2_place(&captured).memory_base;
        let because = because.because().expect("no base inside the limit");
        assert!(because.contains("must not be left"), "{because}");
        assert!(because.contains(name), "{because}");
    }
}

#[test]
fn processor_time_without_an_end_is_no_limit() {
    let captured = step_of_a_job(&[TYPE, UNLIMITED])
        .put(&format!("{}/cpu.max", group("job/step")), "max 100000\n");
    let place = v2_place(&captured);
    assert_eq!(place.memory_base, base(&captured, "job", false, false));
}

#[test]
fn a_smaller_parent_is_the_lowest_ceiling_and_bases_stay_below_it() {
    let captured = step_of_a_job(&[TYPE, ("memory.max", "1073741824\n")]);
    assert_eq!(
        v2_place(&captured).memory_base,
        base(&captured, "job", false, false)
    );
    let host = captured.host();
    let lowest = host.ceilings.lowest().expect("a ceiling");
    assert_eq!(lowest.bytes, ByteSize::from_gib(1));
    assert_eq!(lowest.file, Some(captured.at(&group("job/memory.max"))));
}

#[test]
fn a_read_only_mount_has_no_bases() {
    let captured = Captured::new()
        .mounts("29 22 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw,nsdelegate\n")
        .groups("0::/\n")
        .v2(&group(""), ALL, "\n", "1\n", &[TYPE, UNLIMITED]);
    let place = v2_place(&captured);
    for because in [
        place.memory_base.because(),
        place.containment_base.because(),
    ] {
        assert!(
            because.is_some_and(|text| text.contains("read-only")),
            "{because:?}"
        );
    }
}

#[test]
fn places_outside_the_cgroup_namespace_are_not_used() {
    let cases = [
        (
            "29 22 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            "0::/\n",
        ),
        (V2_MOUNT, "0::/../elsewhere\n"),
    ];
    for (mounts, groups) in cases {
        let captured =
            Captured::new()
                .mounts(mounts)
                .groups(groups)
                .v2(&group(""), ALL, ALL, "1\n", &[]);
        let host = captured.host();
        let because = host.cgroup_v2.because().expect("outside");
        assert!(
            because.contains("outside this cgroup namespace"),
            "{because}"
        );
    }
}

/// New kernels without v1 memory: other controllers on v1, memory on v2.
pub fn hybrid_without_v1_memory() -> Captured {
    Captured::new()
        .mounts(
            "25 22 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             31 25 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
             42 25 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        )
        .groups("8:pids:/\n0::/\n")
        .v2(
            "sys/fs/cgroup/unified",
            "memory hugetlb\n",
            "\n",
            "1\n",
            &[],
        )
}

#[test]
fn v1_hierarchies_do_not_mean_that_memory_is_there() {
    let captured = hybrid_without_v1_memory();
    let host = captured.host();
    assert!(matches!(host.cgroup_v1, Fact::Absent { .. }));
    let memory = v2_place(&captured).memory_base;
    let dir = memory.value().map(|base| base.dir.clone());
    assert_eq!(dir, Some(captured.at("sys/fs/cgroup/unified")));
}
