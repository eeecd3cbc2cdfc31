//! Runs shell commands side by side, each under a memory limit of its own, and
//! prints what became of them. Nothing need be installed: it is its own keeper.
//!
//! ```console
//! $ cargo run --example job_runner -- 64M 'seq 200000 | sort -R | tail -1' 32M 'tail /dev/zero'
//! ```
//!
//! Exits with 0 when every command did.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use memcap_supervisor::{
    Job, Limits, Outcome, Request, Stream, Supervisor, SupervisorError, keeper,
};

/// A shell command and what it may use.
struct Task {
    command: String,
    limits: Limits,
}

type Ending = Result<Outcome, SupervisorError>;

fn main() -> ExitCode {
    keeper::hook();
    let tasks = match tasks(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(tasks) => tasks,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("  hint: job_runner LIMIT COMMAND [LIMIT COMMAND]...");
            return ExitCode::from(2);
        }
    };
    let endings = run_all(&tasks);
    println!("{}", line("COMMAND", ["VERDICT", "EXIT", "LIMIT", "PEAK"]));
    for (task, ending) in tasks.iter().zip(&endings) {
        println!("{}", row(task, ending));
    }
    let is_well = |ending: &Ending| matches!(ending, Ok(outcome) if outcome.exit_code() == 0);
    match endings.iter().all(is_well) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Understands `LIMIT COMMAND` pairs.
fn tasks(words: &[String]) -> Result<Vec<Task>, Box<dyn Error>> {
    let (pairs, rest) = words.as_chunks();
    if pairs.is_empty() || !rest.is_empty() {
        return Err("expected pairs of a limit and a command".into());
    }
    let task = |[limit, command]: &[String; 2]| {
        Ok(Task {
            command: command.clone(),
            limits: Limits::memory(limit.parse()?)?,
        })
    };
    pairs.iter().map(task).collect()
}

/// One thread waits for each; the supervisor is shared.
fn run_all(tasks: &[Task]) -> Vec<Ending> {
    let supervisor = Supervisor::new();
    std::thread::scope(|scope| {
        let running: Vec<_> = tasks
            .iter()
            .map(|task| scope.spawn(|| supervisor.run(request(task))))
            .collect();
        running
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(ending) => ending,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

fn request(task: &Task) -> Request {
    let job = Job::new("sh")
        .args(["-c", &task.command])
        // They would take each other's input.
        .stdin(Stream::Null);
    Request::new(job, task.limits)
}

fn row(task: &Task, ending: &Ending) -> String {
    match ending {
        Ok(outcome) => {
            let exit = outcome.exit_code().to_string();
            let limit = outcome.plan.limit.to_string();
            let peak = outcome.peak.map(|peak| peak.to_string());
            let peak = peak.as_deref().unwrap_or("unknown");
            line(
                &task.command,
                [outcome.verdict.kind.name(), &exit, &limit, peak],
            )
        }
        Err(error) => line(&task.command, [&error.to_string(), "", "", ""]),
    }
}

fn line(command: &str, [verdict, exit, limit, peak]: [&str; 4]) -> String {
    format!("{command:<36.36} {verdict:<16} {exit:>4} {limit:>10} {peak:>10}")
}
