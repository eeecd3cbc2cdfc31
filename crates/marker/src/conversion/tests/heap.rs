//! Freed memory is left to the C library while there is room by far.

use super::super::Status;
use super::{convert, in_tens, interrupted};
use crate::drive::Drive;
use crate::environment::World;
use crate::plan::{Plan, Request, plan};
use crate::runner::{Ending, Step};
use crate::testing::{FakeMarker, Machine, Scene};
use crate::tuning::{Heap, Multiplier};

const VARIABLES: [&str; 3] = [
    "MALLOC_ARENA_MAX",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
];

/// Whether a run has all the variables by which memory is given back.
fn gives_back(step: &Step) -> bool {
    let has = |name: &&str| step.env.iter().any(|(variable, _)| variable == *name);
    let count = VARIABLES.iter().filter(|name| has(name)).count();
    assert!([0, 3].contains(&count), "{:?}", step.env);
    count == 3
}

fn given_back(marker: &FakeMarker) -> Vec<bool> {
    marker.steps().iter().map(gives_back).collect()
}

fn planned(machine: &Machine, request: &Request) -> Plan {
    plan(request, &machine.world(), &mut FakeMarker::new()).unwrap()
}

/// What is said of it, and why.
fn told(plan: &Plan) -> (&str, &str) {
    let mut choices = plan.chosen.iter();
    let choice = choices.find(|choice| choice.what == "freed memory");
    let choice = choice.expect("a choice");
    (&choice.value, &choice.because)
}

#[test]
fn a_plan_says_what_becomes_of_freed_memory_and_why() {
    let machine = Machine::new();
    // 20 letter pages under 8 GiB.
    let far = machine.request("book.pdf", 20);
    let near = Request {
        memory: "2G".parse().unwrap(),
        ..far.clone()
    };
    let mut saving = far.clone();
    saving.tuning.multiplier = Some(Multiplier::QUARTER);
    let mut settled = near.clone();
    settled.tuning.heap = Some(Heap::Kept);
    let plan = planned(&machine, &far);
    assert_eq!(plan.settings.heap(), Heap::Kept);
    let (value, because) = told(&plan);
    assert_eq!(value, "kept for later, until memory has run out");
    assert!(because.contains("of 8 GiB, at most half"), "{because}");
    for (request, reason) in [(near, "more than half"), (saving, "smaller batches")] {
        let plan = planned(&machine, &request);
        assert_eq!(plan.settings.heap(), Heap::GivenBack);
        let (value, because) = told(&plan);
        assert_eq!(value, "given back at once");
        assert!(because.contains(reason), "{because}");
    }
    let plan = planned(&machine, &settled);
    assert_eq!(plan.settings.heap(), Heap::Kept);
    assert!(
        plan.chosen
            .iter()
            .all(|choice| choice.what != "freed memory")
    );
}

#[test]
fn what_is_no_pdf_has_it_given_back() {
    let machine = Machine::new();
    let picture = machine.request("scan.png", 1);
    std::fs::write(&picture.document, b"\x89PNG\r\n\x1a\n").unwrap();
    let plan = planned(&machine, &picture);
    assert_eq!(plan.settings.heap(), Heap::GivenBack);
    assert!(told(&plan).1.contains("not known beforehand"));
}

#[test]
fn an_estimate_counts_what_is_kept() {
    let machine = Machine::new();
    let mut request = machine.request("book.pdf", 20);
    let mut estimate = |heap| {
        request.tuning.heap = Some(heap);
        planned(&machine, &request).chunks[0].estimate.mib()
    };
    let more = estimate(Heap::Kept) - estimate(Heap::GivenBack);
    assert!((100..=150).contains(&more), "{more}");
}

#[test]
fn memory_that_runs_out_is_given_back_from_then_on() {
    for drive in [Drive::Fresh, Drive::Warm] {
        let machine = Machine::new();
        let request = Request {
            drive,
            ..in_tens(machine.request("book.pdf", 30))
        };
        let mut marker = FakeMarker::with_scenes([
            Scene::Converts,
            // That tells nothing of memory.
            Scene::Ends(Ending::Finished { exit_code: 1 }, "KeyError: 1"),
            Scene::Ends(Ending::MemoryLimit, ""),
        ]);
        let (outcome, _) = convert(&machine, &request, &mut marker);
        assert_eq!(outcome.unwrap().status, Status::Complete);
        assert_eq!(
            marker.runs(),
            ["1-10", "11-20", "11-20", "11-15", "16-20", "21-30"]
        );
        assert_eq!(
            given_back(&marker),
            [false, false, false, true, true, true],
            "{drive:?}"
        );
    }
}

#[test]
fn a_worker_that_kept_memory_is_replaced_by_one_that_gives_it_back() {
    let machine = Machine::new();
    let request = Request {
        drive: Drive::Warm,
        ..in_tens(machine.request("book.pdf", 30))
    };
    let refused = Scene::Says("memory", "MemoryError");
    let mut marker = FakeMarker::with_scenes([Scene::Converts, refused]);
    convert(&machine, &request, &mut marker).0.unwrap();
    assert_eq!(given_back(&marker), [false, false, true, true, true]);
    assert_eq!(marker.workers(), 2);
}

#[test]
fn the_next_run_remembers_that_memory_ran_out() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 20));
    let memory = Scene::Ends(Ending::MemoryLimit, "");
    let mut first = FakeMarker::with_scenes([memory, interrupted()]);
    convert(&machine, &request, &mut first).0.unwrap();
    let mut second = FakeMarker::new();
    convert(&machine, &request, &mut second).0.unwrap();
    assert_eq!(given_back(&second), [true; 3]);
}

#[test]
fn what_was_learned_tells_runs_that_kept_memory_from_others() {
    let machine = Machine::new();
    let request = in_tens(machine.request("book.pdf", 20));
    let memory = Scene::Ends(Ending::MemoryLimit, "");
    let state = machine.path().join("state");
    let path = machine.path().join("bin").into();
    let variables = [
        ("PATH".into(), path),
        ("XDG_STATE_HOME".into(), state.clone().into()),
    ];
    let world = World {
        root: machine.path().to_owned(),
        ..World::new(variables, machine.path())
    };
    let mut marker = FakeMarker::with_scenes([memory]);
    let plan = plan(&request, &world, &mut marker).unwrap();
    plan.run(&mut marker, &mut |_| ()).unwrap();
    let file = std::fs::read(state.join("memcap/marker-memory.json")).unwrap();
    let content: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let samples = content["learned"][0]["samples"].as_array().unwrap();
    let kept: Vec<_> = samples
        .iter()
        .map(|sample| &sample["load"]["kept_heap"])
        .collect();
    assert_eq!(kept, [true, false, false, false]);
}
