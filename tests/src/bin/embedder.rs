//! `embedder HOST [--in-process] -- COMMAND…`: a program that embeds the
//! supervisor and is its own keeper. HOST is what kind of program it is: plain,
//! `ignores-sigchld`, `reaps-all`, `blocks-signals` or `forks`.
//!
//! Prints the verdict's kind.

use std::process::ExitCode;
use std::time::Duration;

use integration_tests::job::hold;
use memcap_supervisor::{ByteSize, Job, Limits, Request, SizeSpec, Supervisor, SupervisorError};
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::wait::waitpid;

fn main() -> ExitCode {
    memcap_supervisor::keeper::hook();
    let mut words = std::env::args().skip(1);
    let host = words.next().unwrap_or_default();
    let mut command: Vec<String> = words.collect();
    let in_process = command.first().is_some_and(|word| word == "--in-process");
    command.drain(..usize::from(in_process));
    let supervisor = match in_process {
        true => Supervisor::in_process(),
        false => Supervisor::new(),
    };
    become_a(&host);
    match run(&supervisor, &host, command) {
        Ok(kind) => {
            println!("{kind}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("embedder: {error}");
            ExitCode::FAILURE
        }
    }
}

fn become_a(host: &str) {
    match host {
        "ignores-sigchld" => {
            // SAFETY: no handler, a disposition.
            let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
        }
        "reaps-all" => {
            std::thread::spawn(|| {
                loop {
                    if waitpid(None, None) == Err(Errno::ECHILD) {
                        hold(Duration::from_millis(1));
                    }
                }
            });
        }
        "blocks-signals" => {
            let _ = SigSet::all().thread_block();
        }
        _ => {}
    }
}

fn run(
    supervisor: &Supervisor,
    host: &str,
    command: Vec<String>,
) -> Result<String, SupervisorError> {
    let mut words = command.into_iter();
    let job = Job::new(words.next().unwrap_or_default()).args(words);
    let memory = SizeSpec::Bytes(ByteSize::from_mib(64));
    let limits = Limits::memory(memory).unwrap_or_else(|error| panic!("{error}"));
    let handle = supervisor.spawn(Request::new(job, limits))?;
    if host == "forks" {
        // A copy that drops the handle, and holds what was open until we end.
        let parent = nix::unistd::getpid();
        // SAFETY: the child drops one value and ends.
        if unsafe { libc::fork() } == 0 {
            drop(handle);
            while nix::unistd::getppid() == parent {
                hold(Duration::from_millis(5));
            }
            std::process::exit(0);
        }
    }
    Ok(handle.wait()?.verdict.kind.to_string())
}
