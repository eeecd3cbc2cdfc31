//! Joins marker's steps with the supervisor: each step is a run of its own
//! under the limit, alone or within a budget that several documents share.

mod ending;
mod interruption;
mod session;
mod turns;

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use memcap_linux::{ByteSize, SizeSpec};
use memcap_marker::runner::{
    Accounting, Ending, Runner, RunnerError, Session, Step, StepReport, Usage, Watch,
};
use memcap_supervisor::{
    Budget, Event, Handle, Job, LimitError, Limits, Mechanism, MechanismChoice, Outcome, Request,
    Sample, Stream, Supervisor, SupervisorError,
};

use self::ending::ending;
use self::interruption::Interruption;
use self::session::SupervisedSession;
use self::turns::{Member, Turn, Turns};
use crate::proof_folder;

/// How often a running step is looked at for the progress display.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs marker's steps under the limit until the user asks to stop.
pub(crate) struct SupervisedRunner {
    supervisor: Supervisor,
    mechanism: MechanismChoice,
    interruption: Arc<Interruption>,
    shared: Option<(Budget, Turn)>,
    /// What the peak of the last step counted.
    accounting: Option<Accounting>,
}

/// One total for the runners of several documents. Copies mean the same.
#[derive(Clone)]
pub(crate) struct SharedBudget {
    budget: Budget,
    turns: Arc<Turns>,
}

/// What can keep a step from being supervised.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("failed to create `{path}`")]
    Output {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

impl SharedBudget {
    /// The largest that its members held together; `None` where there were none.
    pub(crate) fn peak(&self) -> Option<ByteSize> {
        let peak = self.budget.sample().peak;
        (peak > ByteSize::ZERO).then_some(peak)
    }
}

impl SupervisedRunner {
    /// Takes over the signals that ask us to stop.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub(crate) fn new(mechanism: MechanismChoice) -> io::Result<SupervisedRunner> {
        Ok(SupervisedRunner {
            supervisor: supervisor().owns_all_children(),
            mechanism,
            interruption: Interruption::listening()?,
            shared: None,
            accounting: None,
        })
    }

    /// One that runs steps while others do, and stops when this one does.
    /// Should a keeper be killed, it must not end the steps of the others.
    pub(crate) fn beside(&self) -> SupervisedRunner {
        SupervisedRunner {
            supervisor: supervisor(),
            mechanism: self.mechanism,
            interruption: Arc::clone(&self.interruption),
            shared: None,
            accounting: self.accounting,
        }
    }

    /// A total for the runners made by [`SupervisedRunner::within`], held as
    /// this one's steps are.
    ///
    /// # Errors
    /// When no mechanism can hold a total.
    pub(crate) fn budget(&self, total: Limits) -> Result<SharedBudget, SupervisorError> {
        Ok(SharedBudget {
            budget: supervisor().budget(total, self.mechanism)?,
            turns: Arc::default(),
        })
    }

    /// As [`SupervisedRunner::beside`], with steps that are members of the budget
    /// beside their own limits. A step that has to make room ends with
    /// [`Ending::Requeued`], and the next one waits until another member has ended.
    pub(crate) fn within(&self, budget: &SharedBudget) -> SupervisedRunner {
        SupervisedRunner {
            // The budget's.
            mechanism: MechanismChoice::Auto,
            shared: Some((budget.budget.clone(), budget.turns.turn())),
            ..self.beside()
        }
    }

    /// Whether the user has asked to stop.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.interruption.is_wanted()
    }

    /// Starts a job, alone or as a member.
    fn spawn(&self, request: Request) -> Result<(Handle, Option<Member>), SupervisorError> {
        let Some((budget, turn)) = &self.shared else {
            return Ok((self.supervisor.spawn(request)?, None));
        };
        let member = turn.begin(|| self.interruption.is_wanted());
        Ok((budget.spawn(request)?, Some(member)))
    }

    fn supervise(&self, step: &Step, watch: &mut Watch<'_>) -> Result<Outcome, StepError> {
        let job = job(step)?.stdin(Stream::Null).stdout(output(&step.stdout)?);
        let (mut handle, member) = self.spawn(request(job, step, self.mechanism)?)?;
        let _concern = self.interruption.concerns(handle.control());
        while let Some(event) = handle.next_event()? {
            match event {
                Event::Sample(Sample { current, peak }) => {
                    if watch(Usage { current, peak }).is_break() {
                        handle.kill();
                    }
                }
                Event::Ended => {}
            }
        }
        let outcome = handle.wait()?;
        if let Some(member) = member {
            member.ended(&ending(&outcome));
        }
        Ok(outcome)
    }
}

fn supervisor() -> Supervisor {
    proof_folder::with_folder(Supervisor::new()).keeper("/proc/self/exe")
}

/// The step's program, but for the streams that are a channel or files.
fn job(step: &Step) -> Result<Job, StepError> {
    let mut job = Job::new(&step.program)
        .args(&step.args)
        .stderr(output(&step.stderr)?);
    for (name, value) in &step.env {
        job = match value {
            Some(value) => job.env(name, value),
            None => job.env_remove(name),
        };
    }
    Ok(job)
}

fn request(job: Job, step: &Step, mechanism: MechanismChoice) -> Result<Request, StepError> {
    let mut limits = Limits::memory(SizeSpec::Bytes(step.memory))?;
    if let Some(time) = step.time_limit {
        limits = limits.time(time)?;
    }
    let request = Request::new(job, limits)
        .mechanism(mechanism)
        .sample_every(LOOK_EVERY);
    Ok(match step.estimate {
        Some(estimate) => request.expected_peak(estimate),
        None => request,
    })
}

impl Runner for SupervisedRunner {
    fn run(&mut self, step: &Step, watch: &mut Watch<'_>) -> Result<StepReport, RunnerError> {
        if self.interruption.is_wanted() {
            let wall = Duration::ZERO;
            return Ok(StepReport {
                ending: Ending::Interrupted,
                peak: None,
                accounting: None,
                wall,
            });
        }
        let outcome = self
            .supervise(step, watch)
            .map_err(|error| failed(step, error))?;
        let ending = if self.interruption.is_wanted() {
            // Ctrl-C reaches marker too, which ends in a way of its own.
            Ending::Interrupted
        } else {
            ending(&outcome)
        };
        let wall = outcome.wall.unwrap_or_default();
        self.accounting = Some(accounting(outcome.plan.mechanism));
        Ok(StepReport {
            ending,
            peak: outcome.peak,
            accounting: self.accounting,
            wall,
        })
    }

    fn accounting(&self) -> Option<Accounting> {
        self.accounting
    }

    fn start(&mut self, step: &Step) -> Result<Box<dyn Session>, RunnerError> {
        let start = |runner: &SupervisedRunner| {
            let job = job(step)?.stdin(Stream::Piped).stdout(Stream::Piped);
            let request = request(job, step, runner.mechanism)?;
            Ok(runner.spawn(request)?)
        };
        let (handle, member) = start(self).map_err(|error| failed(step, error))?;
        let session = SupervisedSession::over(&step.label, handle, &self.interruption, member);
        Ok(Box::new(session))
    }
}

/// What the mechanism's peaks count.
fn accounting(mechanism: Mechanism) -> Accounting {
    match mechanism {
        Mechanism::CgroupV2 | Mechanism::Systemd | Mechanism::CgroupV1 => Accounting::Group,
        Mechanism::Watchdog | Mechanism::Rlimit => Accounting::Processes,
    }
}

fn failed(step: &Step, error: StepError) -> RunnerError {
    RunnerError {
        label: step.label.clone(),
        source: Box::new(error),
    }
}

fn output(path: &Path) -> Result<File, StepError> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| StepError::Output {
            path: path.display().to_string(),
            source,
        })
}
