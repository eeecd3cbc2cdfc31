//! `hog BYTES [--rate BYTES_PER_S] [--hold SECONDS] [--step 1M] [--in-child]
//! [--map-first] [--progress FILE]`: touches memory step by step.
//!
//! With `--in-child` the program itself only forks the allocator and waits for
//! it, like `sh -c` or a worker pool; it exits 3 where a signal killed the
//! allocator. Exits 7 where the kernel refuses memory.

use std::path::PathBuf;
use std::time::Duration;

use integration_tests::job::{
    Appetite, Arguments, EXIT_REFUSED, End, Ledger, alarm, consume, hold, run_forked,
};
use memcap_linux::ByteSize;

/// The allocator of `--in-child` was killed.
const EXIT_CHILD_KILLED: i32 = 3;

fn main() {
    alarm();
    let mut arguments = Arguments::of_process();
    let in_child = arguments.flag("--in-child");
    let map_first = arguments.flag("--map-first");
    let rate = arguments.option("--rate");
    let seconds = arguments.option("--hold").unwrap_or(0.0);
    let step = arguments.option("--step").unwrap_or(ByteSize::from_mib(1));
    let progress: Option<PathBuf> = arguments.option("--progress");
    let bytes = arguments.positional("BYTES");
    let ledger = progress.map(|path| match Ledger::open(&path) {
        Ok(ledger) => ledger,
        Err(error) => arguments.fail(&format!("{}: {error}", path.display())),
    });
    arguments.finish();

    let appetite = Appetite {
        bytes,
        step,
        rate,
        map_first,
    };
    let body = || eat(appetite, ledger.as_ref(), Duration::from_secs_f64(seconds));
    let code = if in_child { parent(body) } else { body() };
    std::process::exit(code)
}

fn eat(appetite: Appetite, ledger: Option<&Ledger>, holding: Duration) -> i32 {
    match consume(appetite, ledger, 0) {
        Ok(()) => {
            hold(holding);
            0
        }
        Err(refused) => {
            eprintln!("hog: memory refused after {} bytes", refused.touched);
            EXIT_REFUSED
        }
    }
}

fn parent(body: impl FnOnce() -> i32) -> i32 {
    match run_forked(body) {
        Ok(End::Exited(code)) => code,
        Ok(End::Signaled(_)) => EXIT_CHILD_KILLED,
        Err(error) => {
            eprintln!("hog: {error}");
            1
        }
    }
}
