//! Our readings of a control group beside those of cgroups-rs, which reads the
//! same files by code of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use cgroups_rs::fs::cgroup::Cgroup;
use cgroups_rs::fs::hierarchies;
use cgroups_rs::fs::memory::MemController;
use integration_tests::harness::{
    Account, Mechanism, OuterGroup, Scene, Setting, memcap_binary, wait_until,
};
use memcap_linux::cgroup::{Limit, V1Memory};
use memcap_linux::{ByteSize, FileError};
use memcap_supervisor::{Job, Limits, Request, Supervisor, VerdictKind};

const LIMIT: ByteSize = ByteSize::from_mib(64);

/// The group as cgroups-rs sees it.
fn theirs(group: &OuterGroup) -> Cgroup {
    let place = group.path().strip_prefix("/sys/fs/cgroup/memory");
    let place = place.expect("where cgroups-rs expects the hierarchy");
    let memory = vec!["memory".to_owned()];
    Cgroup::load_with_specified_controllers(hierarchies::auto(), place, memory)
}

fn memory(group: &Cgroup) -> &MemController {
    group.controller_of().expect("the memory controller")
}

fn bytes(limit: Result<Limit, FileError>) -> Option<i64> {
    let bytes = limit.expect("readable").bytes()?.bytes();
    Some(i64::try_from(bytes).expect("a limit"))
}

fn scene() -> Option<Scene> {
    Scene::open(Setting {
        account: Account::Root,
        mechanism: Mechanism::CgroupV1,
    })
}

#[test]
fn limits_peaks_and_oom_kills_agree() {
    let (Some(scene), Some(group)) = (scene(), OuterGroup::make()) else {
        return;
    };
    let ours = V1Memory::at(group.path());
    let cgroup = theirs(&group);
    assert_eq!(bytes(ours.limit()), None, "unlimited at first");
    assert!(memory(&cgroup).memory_stat().limit_in_bytes > 1 << 61);

    ours.set_limit(LIMIT, ByteSize::ZERO).expect("set");
    let mut hog = Command::new(scene.job("hog"));
    let killed = group.enter(|| hog.arg("200M").status()).expect("starts");
    assert_eq!(killed.signal(), Some(9), "{killed}");

    let stat = memory(&cgroup).memory_stat();
    assert_eq!(bytes(ours.limit()), Some(stat.limit_in_bytes));
    assert_eq!(ours.oom_kills().expect("readable"), Some(1));
    assert_eq!(stat.oom_control.oom_kill, 1);
    let peak = ours.peak_without_swap().expect("readable");
    assert_eq!(peak.bytes(), stat.max_usage_in_bytes);
    assert!(peak > ByteSize::from_mib(60) && peak <= LIMIT, "{peak}");
    if ours.counts_swap() {
        let swap = memory(&cgroup).memswap();
        assert_eq!(bytes(ours.limit_with_swap()), Some(swap.limit_in_bytes));
        let peak = ours.peak().expect("readable");
        assert_eq!(peak.bytes(), swap.max_usage_in_bytes);
    }
    // The group is empty, and what it still holds changes only downwards.
    let before = ours.current().expect("readable");
    let now = memory(&cgroup).memory_stat().usage_in_bytes;
    let after = ours.current().expect("readable");
    assert!(
        (after.bytes()..=before.bytes()).contains(&now),
        "{before} {now} {after}"
    );
}

#[test]
fn members_agree() {
    let Some(group) = OuterGroup::make() else {
        return;
    };
    let ours = V1Memory::at(group.path());
    let cgroup = theirs(&group);
    assert_eq!(ours.processes().expect("readable"), Vec::<i32>::new());
    assert!(cgroup.procs().is_empty());
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped());
    let mut cat = group.enter(|| cat.spawn()).expect("starts");
    let pid = u64::from(cat.id());
    let seen: Vec<u64> = cgroup.procs().iter().map(|process| process.pid).collect();
    assert_eq!(seen, [pid]);
    let seen = ours.processes().expect("readable");
    assert_eq!(seen, [i32::try_from(pid).expect("a pid")]);
    drop(cat.stdin.take());
    cat.wait().expect("ends");
    wait_until("it has left", || cgroup.procs().is_empty());
    assert_eq!(ours.processes().expect("readable"), Vec::<i32>::new());
}

#[test]
fn a_group_of_theirs_takes_our_jobs() {
    let (Some(scene), Some(group)) = (scene(), OuterGroup::make()) else {
        return;
    };
    let supervisor = Supervisor::new().keeper(memcap_binary());
    let below = supervisor.clone().below_cgroup(&theirs(&group));
    let limits = Limits::memory(memcap_linux::SizeSpec::Bytes(LIMIT)).expect("a limit");
    let job = Job::new(scene.job("hog")).arg("200M");
    let outcome = below
        .expect("it has a memory controller")
        .run(Request::new(job, limits))
        .expect("started");
    assert_eq!(
        outcome.verdict.kind,
        VerdictKind::MemoryLimit,
        "{outcome:?}"
    );
    let place = outcome.plan.place().expect("a group");
    assert_eq!(place, group.path());

    let cpu = Cgroup::load_with_specified_controllers(
        hierarchies::auto(),
        "nowhere",
        vec!["cpu".to_owned()],
    );
    let refused = supervisor.below_cgroup(&cpu).expect_err("no memory");
    assert_eq!(
        refused.to_string(),
        "`nowhere` is no control group for jobs: it has no memory controller"
    );
}
