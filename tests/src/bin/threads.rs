//! `threads N [--hold SECONDS]`: starts N threads that sleep, and holds them.
//! Exits 7 where the kernel refuses one.

use std::time::Duration;

use integration_tests::job::{Arguments, EXIT_REFUSED, alarm, hold};

fn main() {
    alarm();
    let mut arguments = Arguments::of_process();
    let seconds = arguments.option("--hold").unwrap_or(0.0);
    let count: usize = arguments.positional("N");
    arguments.finish();

    let holding = Duration::from_secs_f64(seconds);
    let started: Result<Vec<_>, _> = (0..count)
        .map(|_| {
            std::thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(move || hold(holding))
        })
        .collect();
    match started {
        Ok(threads) => {
            for thread in threads {
                // A thread that panicked has said so.
                let _ = thread.join();
            }
        }
        Err(_) => std::process::exit(EXIT_REFUSED),
    }
}
