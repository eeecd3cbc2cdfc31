//! Joins marker's steps with the supervisor: each step is a run of its own
//! under the limit.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memcap_linux::SizeSpec;
use memcap_marker::runner::{Accounting, Ending, Runner, RunnerError, Step, StepReport, Usage};
use memcap_supervisor::{
    Control, Event, Handle, Job, JobEnd, LimitError, Limits, Mechanism, MechanismChoice, Outcome,
    Request, Sample, Stream, Supervisor, SupervisorError, VerdictKind,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::proof_folder;

/// How often a running step is looked at for the progress display.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs marker's steps under the limit until the user asks to stop.
pub(crate) struct SupervisedRunner {
    supervisor: Supervisor,
    mechanism: MechanismChoice,
    interruption: Arc<Interruption>,
}

/// The user's wish to stop, and the steps that it concerns.
#[derive(Default)]
struct Interruption {
    /// How often it was said.
    asked: AtomicUsize,
    running: Mutex<Vec<Running>>,
}

/// A step that runs.
struct Running {
    keeper: u32,
    control: Control,
}

impl Interruption {
    fn is_wanted(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 0
    }

    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Ok(running) = self.running.lock() {
            running.iter().for_each(|step| self.end(&step.control));
        }
    }

    /// Who asks again does not want to wait.
    fn end(&self, control: &Control) {
        match self.asked.load(Ordering::SeqCst) {
            0 => {}
            1 => control.stop(),
            _ => control.kill(),
        }
    }

    fn add(&self, keeper: u32, control: Control) {
        if let Ok(mut running) = self.running.lock() {
            // Asked for while it was being started.
            self.end(&control);
            running.push(Running { keeper, control });
        }
    }

    fn remove(&self, keeper: u32) {
        if let Ok(mut running) = self.running.lock() {
            running.retain(|step| step.keeper != keeper);
        }
    }
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

impl SupervisedRunner {
    /// Takes over the signals that ask us to stop.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub(crate) fn new(mechanism: MechanismChoice) -> io::Result<SupervisedRunner> {
        let interruption = Arc::new(Interruption::default());
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let asked = Arc::clone(&interruption);
        std::thread::Builder::new().spawn(move || {
            for _ in signals.forever() {
                asked.ask();
            }
        })?;
        let supervisor = proof_folder::with_folder(Supervisor::new()).keeper("/proc/self/exe");
        Ok(SupervisedRunner {
            supervisor: supervisor.owns_all_children(),
            mechanism,
            interruption,
        })
    }

    /// One that runs steps while others do, and stops when this one does.
    /// Should a keeper be killed, it must not end the steps of the others.
    pub(crate) fn beside(&self) -> SupervisedRunner {
        SupervisedRunner {
            supervisor: proof_folder::with_folder(Supervisor::new()).keeper("/proc/self/exe"),
            mechanism: self.mechanism,
            interruption: Arc::clone(&self.interruption),
        }
    }

    /// Whether the user has asked to stop.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.interruption.is_wanted()
    }

    fn supervise(&self, step: &Step, watch: &mut dyn FnMut(Usage)) -> Result<Outcome, StepError> {
        let mut handle = self.supervisor.spawn(self.request(step)?)?;
        let keeper = handle.keeper_pid();
        self.interruption.add(keeper, handle.control());
        let outcome = follow(&mut handle, watch).and_then(|()| handle.wait());
        self.interruption.remove(keeper);
        Ok(outcome?)
    }

    fn request(&self, step: &Step) -> Result<Request, StepError> {
        let mut job = Job::new(&step.program)
            .args(&step.args)
            .stdin(Stream::Null)
            .stdout(output(&step.stdout)?)
            .stderr(output(&step.stderr)?);
        for (name, value) in &step.env {
            job = match value {
                Some(value) => job.env(name, value),
                None => job.env_remove(name),
            };
        }
        let mut limits = Limits::memory(SizeSpec::Bytes(step.memory))?;
        if let Some(time) = step.time_limit {
            limits = limits.time(time)?;
        }
        Ok(Request::new(job, limits)
            .mechanism(self.mechanism)
            .sample_every(LOOK_EVERY))
    }
}

impl Runner for SupervisedRunner {
    fn run(
        &mut self,
        step: &Step,
        watch: &mut dyn FnMut(Usage),
    ) -> Result<StepReport, RunnerError> {
        if self.interruption.is_wanted() {
            let wall = Duration::ZERO;
            return Ok(StepReport {
                ending: Ending::Interrupted,
                peak: None,
                accounting: None,
                wall,
            });
        }
        let outcome = self.supervise(step, watch).map_err(|error| RunnerError {
            label: step.label.clone(),
            source: Box::new(error),
        })?;
        let ending = if self.interruption.is_wanted() {
            // Ctrl-C reaches marker too, which ends in a way of its own.
            Ending::Interrupted
        } else if outcome.is_to_be_requeued() {
            Ending::Requeued
        } else {
            ending(&outcome)
        };
        let wall = outcome.wall.unwrap_or_default();
        Ok(StepReport {
            ending,
            peak: outcome.peak,
            accounting: Some(accounting(&outcome)),
            wall,
        })
    }
}

/// What the mechanism's peaks count.
fn accounting(outcome: &Outcome) -> Accounting {
    match outcome.plan.mechanism {
        Mechanism::CgroupV2 | Mechanism::Systemd | Mechanism::CgroupV1 => Accounting::Group,
        Mechanism::Watchdog | Mechanism::Rlimit => Accounting::Processes,
    }
}

/// Tells what a step's tree holds until it has ended.
fn follow(handle: &mut Handle, watch: &mut dyn FnMut(Usage)) -> Result<(), SupervisorError> {
    while let Some(event) = handle.next_event()? {
        match event {
            Event::Sample(Sample { current, peak }) => watch(Usage { current, peak }),
            Event::Ended => {}
        }
    }
    Ok(())
}

/// The supervisor's verdict in marker's words.
fn ending(outcome: &Outcome) -> Ending {
    match outcome.verdict.kind {
        VerdictKind::Finished => match outcome.job {
            Some(JobEnd::Exited(exit_code)) => Ending::Finished { exit_code },
            Some(JobEnd::Signaled(signal)) => Ending::Signaled { signal },
            None => Ending::Unexplained,
        },
        VerdictKind::Signaled => match outcome.job {
            Some(JobEnd::Signaled(signal)) => Ending::Signaled { signal },
            Some(JobEnd::Exited(_)) | None => Ending::Unexplained,
        },
        VerdictKind::MemoryLimit => Ending::MemoryLimit,
        VerdictKind::OuterLimit => Ending::OuterLimit,
        VerdictKind::MachineOom => Ending::MachineOom,
        VerdictKind::KilledByOther => Ending::KilledByOther,
        VerdictKind::PartialKill => Ending::PartialKill,
        VerdictKind::TimeLimit | VerdictKind::CpuLimit | VerdictKind::Stalled => Ending::TimeLimit,
        VerdictKind::Interrupted => Ending::Interrupted,
        VerdictKind::NotStarted => Ending::NotStarted {
            reason: outcome.verdict.evidence.join("; "),
        },
        VerdictKind::ProcessLimit | VerdictKind::InternalError | VerdictKind::Unexplained => {
            Ending::Unexplained
        }
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
