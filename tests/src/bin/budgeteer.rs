//! `budgeteer LOG TOTAL [--mechanism NAME] [--in-process] [--requeue] [--linger]
//! LIMIT[/EXPECTED] COMMAND [LIMIT[/EXPECTED] COMMAND]...`: a program that runs
//! shell commands side by side in one budget, started in this order.
//!
//! Writes a line to LOG for everything that happens, and the report of member N
//! to LOG.N. With `--requeue`, a member that was ended for the budget is started
//! again when another has ended. With `--linger`, the budget is kept until there
//! is a file LOG.done.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use integration_tests::job::{Arguments, hold};
use memcap_supervisor::{
    Budget, ByteSize, Handle, Job, Limits, MechanismChoice, Outcome, Report, Request, Stream,
    Supervisor, SupervisorError, keeper,
};

/// A member in the making.
struct Task {
    limits: Limits,
    expected: Option<ByteSize>,
    command: String,
}

/// The file that the suite reads.
struct Log {
    path: PathBuf,
    file: File,
}

type Ending = (usize, Result<Outcome, SupervisorError>);

fn main() -> ExitCode {
    keeper::hook();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("budgeteer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = Arguments::of_process();
    let mechanism: Option<MechanismChoice> = arguments.option("--mechanism");
    let in_process = arguments.flag("--in-process");
    let requeue = arguments.flag("--requeue");
    let linger = arguments.flag("--linger");
    let mut log = Log::open(arguments.positional("LOG"))?;
    let total = Limits::memory(arguments.positional("TOTAL"))?;
    let mut tasks = Vec::new();
    while let Some(limit) = arguments.next_word() {
        let (limit, expected) = match limit.split_once('/') {
            Some((limit, expected)) => (limit.to_owned(), Some(expected.parse()?)),
            None => (limit, None),
        };
        tasks.push(Task {
            limits: Limits::memory(limit.parse()?)?,
            expected,
            command: arguments.positional("COMMAND"),
        });
    }
    let supervisor = match in_process {
        true => Supervisor::in_process(),
        false => Supervisor::new(),
    };
    let budget = supervisor.budget(total, mechanism.unwrap_or_default())?;
    let plan = budget.plan();
    log.say(&format!("plan {} {}", plan.mechanism, plan.limit.bytes()));
    run_all(&budget, &tasks, requeue, &mut log);
    let sample = budget.sample();
    log.say(&format!("peak {} {}", sample.peak.bytes(), sample.members));
    while linger && !log.beside("done").exists() {
        hold(Duration::from_millis(5));
    }
    drop(budget);
    log.say("gone");
    Ok(())
}

fn run_all(budget: &Budget, tasks: &[Task], requeue: bool, log: &mut Log) {
    let (endings, ended) = channel();
    std::thread::scope(|scope| {
        let mut running = 0;
        let mut waiting = Vec::new();
        let start = |number: usize, log: &mut Log| match budget.spawn(request(&tasks[number])) {
            Ok(handle) => {
                log.say(&format!("started {number} {}", handle.keeper_pid()));
                let endings = endings.clone();
                scope.spawn(move || wait(number, handle, &endings));
                1
            }
            Err(error) => {
                log.say(&format!("refused {number} {error}"));
                0
            }
        };
        for number in 0..tasks.len() {
            running += start(number, log);
        }
        while running > 0 {
            let Ok((number, ending)) = ended.recv() else {
                return;
            };
            running -= 1;
            log.tell(number, &ending);
            let again = matches!(&ending, Ok(outcome) if outcome.is_to_be_requeued());
            if requeue && again {
                waiting.push(number);
            }
            // The last of them may have been ended while the other one finished.
            if requeue && (!again || running == 0) {
                for number in std::mem::take(&mut waiting) {
                    running += start(number, log);
                }
            }
        }
    });
}

fn wait(number: usize, handle: Handle, endings: &Sender<Ending>) {
    // Whoever listens outlives us.
    let _ = endings.send((number, handle.wait()));
}

fn request(task: &Task) -> Request {
    let job = Job::new("sh")
        .args(["-c", &task.command])
        .stdin(Stream::Null);
    let request = Request::new(job, task.limits);
    match task.expected {
        Some(expected) => request.expected_peak(expected),
        None => request,
    }
}

impl Log {
    fn open(path: PathBuf) -> std::io::Result<Log> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Log { path, file })
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(suffix);
        Path::new(&path).to_owned()
    }

    fn say(&mut self, line: &str) {
        // Without it the suite waits in vain, and says so.
        let _ = self.file.write_all(format!("{line}\n").as_bytes());
    }

    fn tell(&mut self, number: usize, ending: &Result<Outcome, SupervisorError>) {
        let outcome = match ending {
            Ok(outcome) => outcome,
            Err(error) => return self.say(&format!("failed {number} {error}")),
        };
        let report = serde_json::to_string(&Report::of(outcome)).unwrap_or_default();
        let _ = std::fs::write(self.beside(&number.to_string()), report);
        self.say(&format!(
            "ended {number} {} {}",
            outcome.verdict.kind,
            outcome.is_to_be_requeued(),
        ));
    }
}
