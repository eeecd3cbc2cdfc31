//! Jobs below a group that the embedding program manages.

use integration_tests::each_setting;
use integration_tests::harness::{Mechanism as Rung, OuterGroup, Scene, memcap_binary};
use memcap_supervisor::{
    Budget, Job, Limits, Mechanism, MechanismChoice, Outcome, Request, Stream, Supervisor,
    SupervisorError, VerdictKind,
};

macro_rules! each_setting_with_a_group {
    ($($check:ident),+ $(,)?) => {
        each_setting!(@setting root_cgroup_v2, Root, CgroupV2, $($check)+);
        each_setting!(@setting root_cgroup_v1, Root, CgroupV1, $($check)+);
    };
}

each_setting_with_a_group!(
    a_job_is_held_below_the_group_and_leaves_it_empty,
    the_groups_own_limit_is_the_ceiling,
    a_group_that_others_are_in_takes_jobs_only_where_the_kernel_lets_it,
    a_budget_is_below_the_group_too,
    nothing_weaker_is_taken_instead,
);

const MIB: u64 = 1 << 20;

fn limits(memory: &str) -> Limits {
    Limits::memory(memory.parse().expect("a size")).expect("a limit")
}

fn group(scene: &Scene) -> OuterGroup {
    OuterGroup::make_in(scene.setting().mechanism).expect("the setting has groups")
}

fn supervisor(group: &OuterGroup) -> Supervisor {
    Supervisor::new()
        .keeper(memcap_binary())
        .below(group.path())
}

fn hog(scene: &Scene, size: &str, memory: &str) -> Request {
    Request::new(Job::new(scene.job("hog")).arg(size), limits(memory))
}

fn children(group: &OuterGroup) -> Vec<String> {
    let listed = std::fs::read_dir(group.path()).expect("a group");
    listed
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn refusal<T: std::fmt::Debug>(refused: Result<T, SupervisorError>) -> String {
    let error = refused.expect_err("refused");
    assert!(error.hint().is_some(), "{error}");
    error.to_string()
}

fn held_by_kernel(outcome: &Outcome) {
    assert_eq!(
        outcome.verdict.kind,
        VerdictKind::MemoryLimit,
        "{outcome:?}"
    );
    assert_eq!(outcome.exit_code(), 137);
}

fn a_job_is_held_below_the_group_and_leaves_it_empty(scene: &Scene) {
    let group = group(scene);
    let supervisor = supervisor(&group);
    let place = Job::new("cat")
        .arg("/proc/self/cgroup")
        .stdout(Stream::Piped);
    let handle = supervisor.spawn(Request::new(place, limits("64M")));
    let (outcome, output) = handle.expect("started").wait_with_output().expect("judged");
    assert_eq!(outcome.exit_code(), 0);
    let name = group.path().file_name().expect("a name").to_string_lossy();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(seen.contains(&format!("{name}/memcap-")), "{seen}");

    held_by_kernel(&supervisor.run(hog(scene, "200M", "64M")).expect("started"));
    assert_eq!(children(&group), [""; 0]);
}

fn the_groups_own_limit_is_the_ceiling(scene: &Scene) {
    let group = group(scene);
    group.limit(128 * MIB);
    let outcome = supervisor(&group)
        .run(hog(scene, "200M", "1G"))
        .expect("started");
    held_by_kernel(&outcome);
    let plan = &outcome.plan;
    assert!(plan.limit.bytes() < 128 * MIB, "{}", plan.limit);
    let ceiling = plan
        .clamped
        .as_ref()
        .and_then(|clamp| clamp.file.as_deref());
    assert_eq!(ceiling.and_then(|file| file.parent()), Some(group.path()));
}

fn a_group_that_others_are_in_takes_jobs_only_where_the_kernel_lets_it(scene: &Scene) {
    let group = group(scene);
    let mut sleepers: Vec<_> = (0..2)
        .map(|_| {
            std::process::Command::new("sleep")
                .arg("50")
                .spawn()
                .expect("started")
        })
        .collect();
    for sleeper in &sleepers {
        let moved = std::fs::write(group.path().join("cgroup.procs"), sleeper.id().to_string());
        assert!(moved.is_ok(), "{moved:?}");
    }
    let ran = supervisor(&group).run(hog(scene, "200M", "64M"));
    for sleeper in &mut sleepers {
        sleeper.kill().expect("ours");
        sleeper.wait().expect("ours");
    }
    match scene.setting().mechanism {
        Rung::CgroupV1 => held_by_kernel(&ran.expect("started")),
        _ => {
            let words = refusal(ran);
            assert!(words.contains("2 processes are in this group"), "{words}");
        }
    }
}

fn a_budget_is_below_the_group_too(scene: &Scene) {
    let group = group(scene);
    let budget: Budget = supervisor(&group)
        .budget(limits("128M"), MechanismChoice::Auto)
        .expect("a total");
    let member = budget.spawn(hog(scene, "200M", "64M")).expect("started");
    let place = member.plan().place().expect("a group").to_owned();
    held_by_kernel(&member.wait().expect("judged"));
    assert_eq!(place, group.path());
    drop(budget);
    assert_eq!(children(&group), [""; 0]);
}

fn nothing_weaker_is_taken_instead(scene: &Scene) {
    let group = group(scene);
    let watchdog = MechanismChoice::Only(Mechanism::Watchdog);
    let asked = hog(scene, "8M", "64M").mechanism(watchdog);
    let words = refusal(supervisor(&group).run(asked));
    assert!(words.contains("jobs are to be below"), "{words}");

    let plain = Supervisor::new().keeper(memcap_binary());
    let elsewhere = plain.clone().below(scene.path(""));
    let words = refusal(elsewhere.run(hog(scene, "8M", "64M")));
    assert!(
        words.ends_with("in no cgroup v2 or v1 memory hierarchy"),
        "{words}"
    );
    let nowhere = plain.below(group.path().join("nowhere"));
    let words = refusal(nowhere.plan(&hog(scene, "8M", "64M")));
    assert!(words.contains("No such file or directory"), "{words}");
}
