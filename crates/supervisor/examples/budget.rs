//! Runs shell commands side by side under one total memory limit. A command that
//! was ended to make room for an elder one is started again when another is over.
//!
//! ```console
//! $ cargo run --example budget -- 256M 'seq 200000 | sort -R | tail -1' 'tail /dev/zero'
//! ```
//!
//! Exits with 0 when every command did.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc::channel;

use memcap_supervisor::{Budget, Job, Limits, Outcome, Request, Stream, SupervisorError, keeper};

fn main() -> ExitCode {
    keeper::hook();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ran = match words.split_first() {
        Some((total, commands)) if !commands.is_empty() => run(total, commands),
        _ => Err("expected a total and commands".into()),
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("  hint: budget TOTAL COMMAND [COMMAND]...");
            ExitCode::from(2)
        }
    }
}

/// Whether every command came to its end with 0.
fn run(total: &str, commands: &[String]) -> Result<bool, Box<dyn Error>> {
    // Each may have all of it, as long as nobody else needs any.
    let limits = Limits::memory(total.parse()?)?;
    let budget = Budget::new(limits)?;
    let (sender, endings) = channel();
    let mut running = 0_usize;
    let mut waiting: VecDeque<&String> = commands.iter().collect();
    let mut all_well = true;
    std::thread::scope(|scope| {
        loop {
            for command in std::mem::take(&mut waiting) {
                let handle = match budget.spawn(request(command, limits)) {
                    Ok(handle) => handle,
                    Err(error) => {
                        tell(command, &Err(error));
                        all_well = false;
                        continue;
                    }
                };
                running += 1;
                let sender = sender.clone();
                scope.spawn(move || {
                    // The other end outlives all of them.
                    let _ = sender.send((command, handle.wait()));
                });
            }
            // Who was ended waits until somebody is over by itself, or nobody is left.
            while running > 0 {
                let Ok((command, ending)) = endings.recv() else {
                    return;
                };
                running -= 1;
                tell(command, &ending);
                match ending {
                    Ok(outcome) if outcome.is_to_be_requeued() => waiting.push_back(command),
                    Ok(outcome) => {
                        all_well &= outcome.exit_code() == 0;
                        break;
                    }
                    Err(_) => all_well = false,
                }
            }
            if running == 0 && waiting.is_empty() {
                return;
            }
        }
    });
    println!("all together at most {}", budget.sample().peak);
    Ok(all_well)
}

fn request(command: &str, limits: Limits) -> Request {
    let job = Job::new("sh").args(["-c", command]).stdin(Stream::Null);
    Request::new(job, limits)
}

fn tell(command: &str, ending: &Result<Outcome, SupervisorError>) {
    match ending {
        Ok(outcome) if outcome.is_to_be_requeued() => println!("{command}: waits for room"),
        Ok(outcome) => println!("{command}: {}", outcome.verdict.kind),
        Err(error) => println!("{command}: {error}"),
    }
}
