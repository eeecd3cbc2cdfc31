//! `tree N BYTES [--hold SECONDS] [--rate BYTES_PER_S] [--at-once M]
//! [--progress FILE]`: forks N children (at most 512 with a ledger) that each
//! touch BYTES and hold them, M of them at a time (default all).
//!
//! Child number i writes slot i of the ledger. Exits 0 where every child
//! exited 0, else 4: a supervisor that ends only some of them is seen.

use std::path::PathBuf;
use std::time::Duration;

use integration_tests::job::{
    Appetite, Arguments, EXIT_REFUSED, End, Ledger, alarm, consume, end_of, fork_job, hold,
};

/// Some child did not exit 0.
const EXIT_CHILD_FAILED: i32 = 4;

fn main() {
    alarm();
    let mut arguments = Arguments::of_process();
    let rate = arguments.option("--rate");
    let seconds = arguments.option("--hold").unwrap_or(0.0);
    let at_once: usize = arguments.option("--at-once").unwrap_or(usize::MAX);
    let progress: Option<PathBuf> = arguments.option("--progress");
    let children: usize = arguments.positional("N");
    let bytes = arguments.positional("BYTES");
    let ledger = progress.map(|path| match Ledger::open(&path) {
        Ok(ledger) => ledger,
        Err(error) => arguments.fail(&format!("{}: {error}", path.display())),
    });
    arguments.finish();

    let appetite = Appetite {
        rate,
        ..Appetite::of(bytes)
    };
    let holding = Duration::from_secs_f64(seconds);
    let mut ended_well = 0;
    for first in (0..children).step_by(at_once.clamp(1, children.max(1))) {
        let last = children.min(first.saturating_add(at_once));
        // All are started before the first is waited for.
        let started: Vec<_> = (first..last)
            .map(|slot| fork_job(|| eat(appetite, ledger.as_ref(), slot, holding)))
            .collect();
        ended_well += started
            .into_iter()
            .filter(|child| {
                let end = child.as_ref().ok().map(|pid| end_of(*pid));
                matches!(end, Some(Ok(End::Exited(0))))
            })
            .count();
    }
    std::process::exit(if ended_well == children {
        0
    } else {
        EXIT_CHILD_FAILED
    })
}

fn eat(appetite: Appetite, ledger: Option<&Ledger>, slot: usize, holding: Duration) -> i32 {
    match consume(appetite, ledger, slot) {
        Ok(()) => {
            hold(holding);
            0
        }
        Err(_) => EXIT_REFUSED,
    }
}
