//! The watchdog's calm look takes nothing from the heap: a keeper that has to
//! allocate can have to wait for memory when the machine has none. The keeper is
//! a thread here, so that its allocations can be counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memcap_supervisor::{Job, Limits, Request, Supervisor};

/// Looks in a row that have to do without.
const LOOKS: u64 = 4;
/// Other processes of the machine are born meanwhile, and looked at once.
const PATIENCE: Duration = Duration::from_secs(30);

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of every thread that is not left out.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

fn count() {
    // A thread that is ending has no such value any more.
    if !LEFT_OUT.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// How often the keeper's thread has gone to sleep.
fn times_asleep() -> Option<u64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    threads.filter_map(Result::ok).find_map(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        if field("Name:")?.trim() != "memcap-keeper" {
            return None;
        }
        field("voluntary_ctxt_switches:")?.trim().parse().ok()
    })
}

/// The allocations while the keeper slept `LOOKS` times; `None` after `deadline`.
fn allocations_of_some_looks(deadline: Instant) -> Option<u64> {
    let (asleep, before) = (times_asleep()?, ALLOCATIONS.load(Ordering::Relaxed));
    while times_asleep()? < asleep + LOOKS {
        if Instant::now() > deadline {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Some(ALLOCATIONS.load(Ordering::Relaxed) - before)
}

#[test]
fn a_calm_look_takes_nothing_from_the_heap() {
    LEFT_OUT.set(true);
    let limits = Limits::memory("512M".parse().expect("a size")).expect("a limit");
    let job = Job::new("/bin/sh").args(["-c", "sleep 60 & sleep 60; wait"]);
    let mechanism = "watchdog".parse().expect("a mechanism");
    let request = Request::new(job, limits).mechanism(mechanism);
    let handle = Supervisor::in_process()
        .spawn(request)
        .expect("a watched job");

    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    let calm = loop {
        match allocations_of_some_looks(deadline) {
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
