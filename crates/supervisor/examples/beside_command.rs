//! A pipeline in which only the hungry part has a limit: what feeds it and what
//! reads it are plain [`std::process::Command`]s.
//!
//! ```console
//! $ cargo run --example beside_command
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::{Command, Stdio};

use memcap_supervisor::{Job, Limits, Request, Stream, Supervisor, keeper};

fn main() -> Result<(), Box<dyn Error>> {
    keeper::hook();
    let mut producer = Command::new("seq")
        .args(["200000", "-1", "1"])
        .stdout(Stdio::piped())
        .spawn()?;
    let numbers = producer.stdout.take().ok_or("seq has no pipe")?;

    // Whatever owns a descriptor can be a stream of the job …
    let sort = Job::new("sort")
        .arg("-n")
        .stdin(numbers)
        .stdout(Stream::Piped);
    let limits = Limits::memory("256M".parse()?)?;
    let mut sorting = Supervisor::new().spawn(Request::new(sort, limits))?;

    // … and the job's pipes are those of the standard library.
    let sorted = sorting.stdout().ok_or("sort has no pipe")?;
    let consumer = Command::new("tail")
        .args(["-n", "3"])
        .stdin(sorted)
        .output()?;

    let outcome = sorting.wait()?;
    producer.wait()?;
    print!("{}", String::from_utf8_lossy(&consumer.stdout));
    println!(
        "sort: {}, held by {}",
        outcome.verdict.kind, outcome.plan.mechanism
    );
    Ok(())
}
