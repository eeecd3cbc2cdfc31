//! The watchdog's calm look takes nothing from the heap: a keeper that has to
//! allocate can have to wait for memory when the machine has none. The keeper is
//! a thread here, so that its allocations can be counted; whoever waits for it
//! takes nothing from the heap either.

#![forbid(unsafe_code)]

use std::alloc::System;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use memcap_supervisor::{Job, Limits, Request, Supervisor};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Looks in a row that have to do without.
const LOOKS: u64 = 4;
/// Other processes of the machine are born meanwhile, and looked at once.
const PATIENCE: Duration = Duration::from_secs(30);

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of every thread so far.
fn allocations() -> usize {
    let stats = COUNTING.stats();
    stats.allocations + stats.reallocations
}

/// The status of a thread, held open.
struct Sleeper(File);

impl Sleeper {
    /// The thread of ours that has this name.
    fn find(name: &str) -> Option<Sleeper> {
        let threads = std::fs::read_dir("/proc/self/task").ok()?;
        threads.filter_map(Result::ok).find_map(|thread| {
            let told = std::fs::read_to_string(thread.path().join("comm")).ok()?;
            let status = File::open(thread.path().join("status")).ok()?;
            (told.trim() == name).then_some(Sleeper(status))
        })
    }

    /// How often it has gone to sleep; `None` after its end.
    fn times_asleep(&self) -> Option<u64> {
        let mut text = [0; 4096];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let mut lines = std::str::from_utf8(&text[..length]).ok()?.lines();
        let times = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        times?.trim().parse().ok()
    }
}

/// The allocations while the keeper slept `LOOKS` times; `None` after `deadline`.
fn allocations_of_some_looks(keeper: &Sleeper, deadline: Instant) -> Option<usize> {
    let (asleep, before) = (keeper.times_asleep()?, allocations());
    while keeper.times_asleep()? < asleep + LOOKS {
        if Instant::now() > deadline {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Some(allocations() - before)
}

#[test]
fn a_calm_look_takes_nothing_from_the_heap() {
    let limits = Limits::memory("512M".parse().expect("a size")).expect("a limit");
    let job = Job::new("/bin/sh").args(["-c", "sleep 60 & sleep 60; wait"]);
    let mechanism = "watchdog".parse().expect("a mechanism");
    let request = Request::new(job, limits).mechanism(mechanism);
    let handle = Supervisor::in_process()
        .spawn(request)
        .expect("a watched job");

    let deadline = Instant::now() + PATIENCE;
    let keeper = Sleeper::find("memcap-keeper").expect("the keeper's thread");
    let mut seen = Vec::new();
    let calm = loop {
        match allocations_of_some_looks(&keeper, deadline) {
            Some(0) => break true,
            Some(allocations) => seen.push(allocations),
            None => break false,
        }
    };
    handle.kill();
    let outcome = handle.wait().expect("an outcome");
    assert!(outcome.left_running.is_empty(), "{outcome:?}");
    assert!(calm, "allocations in {LOOKS} looks each: {seen:?}");
}
