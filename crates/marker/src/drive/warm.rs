//! One process for many chunks: a worker imports marker and loads the models
//! once (`worker.py`), and is replaced when it has grown or after any failure.
//!
//! Where marker has servers, a worker carries out every attempt, and is kept or
//! not: unlike `marker_single`, it notices that a server has died.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use memcap_linux::ByteSize;

use super::meter::Meter;
use super::{Assignment, Driver, Places, Ran, fresh};
use crate::conversion::{ConversionError, log};
use crate::runner::{
    Accounting, Ending, Heard, Runner, RunnerError, Session, Step, StepReport, Watch,
};
use crate::worker::{self, Recycling, Said};

/// For how long a worker stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// As long as it is of use.
    Always,
    /// For one chunk.
    Never,
}

/// Keeps a worker.
pub(super) struct Warm {
    stay: Stay,
    places: Places,
    worker: Option<Worker>,
    /// Whether this marker turned out to have no way to load its models once.
    is_unsupported: bool,
}

impl Warm {
    pub(super) fn new(stay: Stay, places: Places) -> Warm {
        Warm {
            stay,
            places,
            worker: None,
            is_unsupported: false,
        }
    }

    /// Whether attempts are for a worker, rather than for `marker_single`. One is worth it
    /// for a single chunk too: it starts faster.
    fn is_for_a_worker(&self) -> bool {
        let stays = match self.stay {
            Stay::Always => true,
            Stay::Never => false,
        };
        !self.is_unsupported && (stays || self.places.home.is_some())
    }

    /// Keeps a worker that has converted a chunk, or ends it.
    fn keep(&mut self, mut worker: Worker, floor: Option<ByteSize>) -> Result<(), RunnerError> {
        if worker.recycling.is_due(floor) || self.stay == Stay::Never {
            worker.session.end()?;
        } else {
            self.worker = Some(worker);
        }
        Ok(())
    }

    fn start(
        &self,
        python: PathBuf,
        run: &mut Run<'_>,
        runner: &mut dyn Runner,
    ) -> Result<Started, ConversionError> {
        self.places.prepare()?;
        let start = worker_step(python, &run.step, &self.places.worker_log);
        Ok(Worker::start(start, runner, run)?)
    }
}

impl Driver for Warm {
    fn drive(
        &mut self,
        assignment: Assignment<'_>,
        runner: &mut dyn Runner,
        watch: &mut Watch<'_>,
    ) -> Result<Ran, ConversionError> {
        let is_for_a_worker = self.is_for_a_worker();
        let python = assignment.plan.marker.python.clone();
        let step = assignment.step(&self.places)?;
        if !is_for_a_worker {
            return fresh::run(step, &self.places, runner, watch);
        }
        let mut run = Run::of(step, watch);
        let mut worker = match self.worker.take().filter(|worker| worker.suits(&run.step)) {
            Some(worker) => worker,
            None => match self.start(python, &mut run, runner)? {
                Started::Ready(worker) => worker,
                Started::Unsupported => {
                    self.is_unsupported = true;
                    return fresh::run(run.step, &self.places, runner, run.watch);
                }
                Started::Lost(ending, peak) => {
                    return Ok(run.over(ending, peak, &self.places.worker_log));
                }
            },
        };
        match worker.convert(&mut run)? {
            Came::Said(Said::Done {
                floor_bytes,
                peak_bytes,
            }) => {
                let peak = worker.peak(peak_bytes);
                self.keep(worker, floor_bytes)?;
                Ok(run.over(
                    Ending::Finished { exit_code: 0 },
                    peak,
                    &self.places.worker_log,
                ))
            }
            lost => {
                let peak = worker.peak(None);
                let ending = ending(&lost, worker.session.end()?);
                Ok(run.over(ending, peak, &self.places.worker_log))
            }
        }
    }
}

/// The start of a worker in which this step can be carried out.
fn worker_step(python: PathBuf, step: &Step, log: &Path) -> Step {
    Step {
        label: "marker's worker".to_owned(),
        program: python,
        args: vec!["-c".into(), worker::PROGRAM.into()],
        // Its output is the channel.
        stdout: PathBuf::from("/dev/null"),
        stderr: log.to_owned(),
        time_limit: None,
        ..step.clone()
    }
}

/// One attempt on its way.
struct Run<'a> {
    step: Step,
    started: Instant,
    watch: &'a mut Watch<'a>,
}

impl<'a> Run<'a> {
    fn of(step: Step, watch: &'a mut Watch<'a>) -> Run<'a> {
        // Of an earlier attempt at the same pages; where it stays, a worker that
        // is lost before it has read the question seems to have written it.
        let _ = std::fs::remove_file(&step.stderr);
        Run {
            step,
            started: Instant::now(),
            watch,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.step
            .time_limit
            .and_then(|limit| self.started.checked_add(limit))
    }

    fn over(self, ending: Ending, peak: Peak, worker_log: &Path) -> Ran {
        let wall = self.started.elapsed();
        let mut errors = log::tail(&self.step.stderr);
        let mut log = self.step.stderr;
        if errors.is_empty() && ending != (Ending::Finished { exit_code: 0 }) {
            // It did not come as far as this chunk.
            errors = log::tail(worker_log);
            log = worker_log.to_owned();
        }
        Ran {
            report: StepReport {
                ending,
                peak: peak.bytes,
                accounting: peak.accounting,
                wall,
            },
            errors,
            log,
        }
    }
}

/// The peak of a chunk, and what it counts.
struct Peak {
    bytes: Option<ByteSize>,
    accounting: Option<Accounting>,
}

/// A worker that runs.
struct Worker {
    session: Box<dyn Session>,
    /// What it was started with.
    env: Vec<(OsString, Option<OsString>)>,
    memory: ByteSize,
    /// Of the last question.
    number: u64,
    meter: Meter,
    recycling: Recycling,
}

enum Started {
    Ready(Worker),
    Unsupported,
    /// With its peak until then.
    Lost(Ending, Peak),
}

/// What a wait for an answer brought.
#[derive(Debug)]
enum Came {
    Said(Said),
    Ended,
    TooLate,
}

impl Worker {
    fn start(
        start: Step,
        runner: &mut dyn Runner,
        run: &mut Run<'_>,
    ) -> Result<Started, RunnerError> {
        let mut worker = Worker {
            session: runner.start(&start)?,
            env: start.env,
            memory: start.memory,
            number: 0,
            meter: Meter::default(),
            recycling: Recycling::default(),
        };
        match worker.answer(run)? {
            Came::Said(Said::Ready) => Ok(Started::Ready(worker)),
            Came::Said(Said::Unsupported { .. }) => {
                worker.session.end()?;
                Ok(Started::Unsupported)
            }
            lost => {
                let peak = worker.peak(None);
                let ended = worker.session.end()?;
                Ok(Started::Lost(ending(&lost, ended), peak))
            }
        }
    }

    /// The peak of the chunk; `own` is what the worker says of itself.
    fn peak(&self, own: Option<ByteSize>) -> Peak {
        let accounting = self.session.accounting();
        let own = own.filter(|_| accounting == Some(Accounting::Processes));
        Peak {
            bytes: self.meter.peak(own),
            accounting,
        }
    }

    /// Whether it was started with what this step is to have.
    fn suits(&self, step: &Step) -> bool {
        self.env == step.env && self.memory == step.memory
    }

    fn convert(&mut self, run: &mut Run<'_>) -> Result<Came, RunnerError> {
        self.number += 1;
        if self.number > 1 {
            self.meter.begin();
            if let Some(estimate) = run.step.estimate {
                self.session.expect(estimate);
            }
        }
        self.session.send(&worker::question(self.number, &run.step));
        self.answer(run)
    }

    fn answer(&mut self, run: &mut Run<'_>) -> Result<Came, RunnerError> {
        let deadline = run.deadline();
        loop {
            let meter = &mut self.meter;
            let mut watch = |usage| {
                meter.look(usage);
                (run.watch)(usage)
            };
            match self.session.hear(deadline, &mut watch)? {
                Heard::Ended => return Ok(Came::Ended),
                Heard::Nothing => return Ok(Came::TooLate),
                Heard::Line(line) => {
                    if let Some(answer) = worker::answer(&line)
                        && answer.number == self.number
                    {
                        return Ok(Came::Said(answer.said));
                    }
                }
            }
        }
    }
}

/// How an attempt ended whose worker is lost; `ended` is how its tree ended,
/// `None` where that was our doing.
fn ending(came: &Came, ended: Option<Ending>) -> Ending {
    match (came, ended) {
        // Whatever was said before, this is what happened to the tree.
        (
            _,
            Some(
                ending @ (Ending::MemoryLimit
                | Ending::OuterLimit
                | Ending::MachineOom
                | Ending::PartialKill
                | Ending::Requeued
                | Ending::Interrupted),
            ),
        ) => ending,
        (Came::Said(Said::Memory), _) => Ending::RefusedAllocation,
        (Came::Said(Said::Usage), _) => Ending::Finished { exit_code: 2 },
        (Came::Said(Said::Crash), _) => Ending::Finished { exit_code: 1 },
        (Came::TooLate, _) => Ending::TimeLimit,
        (Came::Ended, Some(ending)) => ending,
        // An answer to another question than was asked, or none.
        (
            Came::Ended | Came::Said(Said::Ready | Said::Unsupported { .. } | Said::Done { .. }),
            _,
        ) => Ending::Unexplained,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_s_verdict_comes_before_the_worker_s_words() {
        let finished = |exit_code| Ending::Finished { exit_code };
        let said = Came::Said;
        let cases = [
            (
                said(Said::Memory),
                Some(finished(1)),
                Ending::RefusedAllocation,
            ),
            (said(Said::Memory), None, Ending::RefusedAllocation),
            (
                said(Said::Memory),
                Some(Ending::MemoryLimit),
                Ending::MemoryLimit,
            ),
            (said(Said::Crash), Some(finished(0)), finished(1)),
            (
                said(Said::Crash),
                Some(Ending::PartialKill),
                Ending::PartialKill,
            ),
            (
                said(Said::Crash),
                Some(Ending::Interrupted),
                Ending::Interrupted,
            ),
            (said(Said::Usage), None, finished(2)),
            (Came::TooLate, None, Ending::TimeLimit),
            (Came::TooLate, Some(Ending::Requeued), Ending::Requeued),
            (
                Came::Ended,
                Some(Ending::KilledByOther),
                Ending::KilledByOther,
            ),
            (Came::Ended, Some(finished(0)), finished(0)),
            (Came::Ended, None, Ending::Unexplained),
            (said(Said::Ready), None, Ending::Unexplained),
        ];
        for (came, ended, expected) in cases {
            let label = format!("{came:?} {ended:?}");
            assert_eq!(ending(&came, ended), expected, "{label}");
        }
    }
}
