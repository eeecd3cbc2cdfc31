//! One attempt: marker is run on its pages, and what follows is decided.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::attempt::Attempt;
use super::completeness::{is_complete, recognises};
use super::crew::Seat;
use super::outcome::Placeholder;
use super::{Conversion, ConversionError, Flow, wrap};
use crate::command::Paths;
use crate::drive::{Assignment, Driver, Ran};
use crate::events::Event;
use crate::journal::Record;
use crate::manifest;
use crate::pages::PageSet;
use crate::progress::DoneChunk;
use crate::recovery::{Action, Failure, Judgement, judge};
use crate::runner::{Runner, StepReport};
use crate::text::last_line;
use crate::tuning::Heap;

/// An attempt that was begun and has not come to its end.
pub(super) struct Underway {
    pub(super) attempt: Attempt,
    /// What becomes of memory that it frees.
    pub(super) heap: Heap,
    seat: Seat,
    /// Where its result is made.
    output: PathBuf,
}

/// What comes after an attempt.
pub(super) enum After {
    /// The next one.
    GoOn,
    /// The same, since there was no room for it beside others.
    MadeRoom,
    /// Nothing: the user wants to stop.
    Stop,
}

impl<'a> Conversion<'a> {
    /// Runs marker on one chunk and decides what follows.
    pub(super) fn carry_out(
        &mut self,
        attempt: Attempt,
        driver: &mut dyn Driver,
        runner: &mut dyn Runner,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ConversionError> {
        let (underway, assignment) = self.begin(attempt, 0, tell)?;
        let pages = &underway.attempt.pages;
        let ran = driver.drive(assignment, runner, &mut |usage| {
            tell(Event::Usage { pages, usage });
            ControlFlow::Continue(())
        })?;
        match self.end(underway, ran, tell)? {
            After::GoOn | After::MadeRoom => Ok(Flow::Go),
            After::Stop => Ok(Flow::Stop),
        }
    }

    /// Makes room for the result, says that the attempt begins, and what is to be
    /// done.
    pub(super) fn begin(
        &mut self,
        attempt: Attempt,
        seat: Seat,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(Underway, Assignment<'a>), ConversionError> {
        if !self.plan.source.is_unchanged() {
            return Err(ConversionError::DocumentChanged {
                document: self.plan.document.clone(),
            });
        }
        let output = self.folder.fresh_running(seat)?;
        self.journal.append(&Record::Started {
            pages: attempt.pages.clone(),
            limit_bytes: self.plan.run_limit(),
            effort: attempt.effort,
        })?;
        let estimate = self.estimate(&attempt.pages, attempt.effort);
        tell(Event::ChunkStarted {
            pages: &attempt.pages,
            again: attempt.retried,
            effort: attempt.effort,
            estimate,
        });
        let assignment = Assignment {
            plan: self.plan,
            pages: attempt.pages.clone(),
            effort: attempt.effort,
            heap: self.model.heap,
            paths: self.paths(&attempt.pages, output.clone()),
            estimate,
        };
        let underway = Underway {
            attempt,
            heap: self.model.heap,
            seat,
            output,
        };
        Ok((underway, assignment))
    }

    /// Judges an attempt that has come to its end, and decides what follows.
    pub(super) fn end(
        &mut self,
        underway: Underway,
        ran: Ran,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<After, ConversionError> {
        let Underway {
            attempt, output, ..
        } = &underway;
        self.marker_time += ran.report.wall;
        let pages = self.plan.has_pages().then_some(&attempt.pages);
        let complete = is_complete(output, &self.input.stem, self.plan.format, pages);
        match judge(&ran.report.ending, complete, &ran.errors) {
            Judgement::Converted => {
                let recognition = recognises(output, &self.input.stem, self.plan.format);
                self.keep(&underway, &ran.report)?;
                if let Some(chunk) = self.progress.done.last() {
                    tell(Event::ChunkDone {
                        pages: &chunk.pages,
                        report: &ran.report,
                    });
                }
                self.learn_from_success(&underway, &ran.report, recognition, tell);
                Ok(After::GoOn)
            }
            Judgement::Stopped => {
                self.stopped_peak = self.stopped_peak.max(ran.report.peak);
                tell(Event::ChunkStopped {
                    pages: &attempt.pages,
                    report: &ran.report,
                });
                Ok(After::Stop)
            }
            Judgement::Requeued => {
                tell(Event::ChunkRequeued {
                    pages: &attempt.pages,
                    report: &ran.report,
                });
                self.queue.again(underway.attempt);
                Ok(After::MadeRoom)
            }
            Judgement::Refused => Err(ConversionError::Refused {
                ending: ran.report.ending,
                last_words: self.last_words(&ran.errors),
                log: ran.log,
            }),
            Judgement::Failed(failure) => {
                self.recover(&underway, failure, ran, tell)?;
                Ok(After::GoOn)
            }
        }
    }

    /// The last line that marker wrote, as far as it may be told.
    fn last_words(&self, errors: &[u8]) -> Option<String> {
        last_line(errors).map(|words| self.plan.secrets.hide(&words))
    }

    fn paths(&self, pages: &PageSet, output: PathBuf) -> Paths {
        Paths {
            input: self.input.path.clone(),
            output,
            stdout: self.folder.log(pages, "out"),
            stderr: self.folder.log(pages, "err"),
            config: self.folder.log(pages, "config.json"),
        }
    }

    /// Makes a finished chunk's result permanent, then says so in the journal.
    fn keep(&mut self, underway: &Underway, report: &StepReport) -> Result<(), ConversionError> {
        let Underway { seat, output, .. } = underway;
        let Attempt { pages, effort, .. } = underway.attempt.clone();
        let files = manifest::record(output).map_err(wrap("record", output))?;
        self.folder.keep_running_as(*seat, &pages)?;
        self.journal.append(&Record::Done {
            pages: pages.clone(),
            files: files.clone(),
            effort,
            peak_bytes: report.peak,
            wall_ms: u64::try_from(report.wall.as_millis()).unwrap_or(u64::MAX),
        })?;
        self.recovery.note_converted(&pages, effort);
        self.progress.done.push(DoneChunk {
            pages,
            files,
            effort,
            peak: report.peak,
        });
        Ok(())
    }

    fn recover(
        &mut self,
        underway: &Underway,
        failure: Failure,
        ran: Ran,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), ConversionError> {
        let Underway { attempt, .. } = underway;
        let Ran {
            report,
            errors,
            log,
        } = ran;
        let last_words = self.last_words(&errors);
        if failure == Failure::Memory {
            self.recovery
                .note_out_of_memory(&attempt.pages, attempt.effort);
        }
        let action = self.recovery.next(
            &attempt.pages,
            attempt.effort,
            failure,
            attempt.retried,
            last_words.as_deref(),
        );
        self.journal.append(&Record::Failed {
            pages: attempt.pages.clone(),
            ending: report.ending.kind().to_owned(),
            memory: failure == Failure::Memory,
            limit_bytes: self.plan.run_limit(),
            effort: attempt.effort,
            retried: attempt.retried,
            then: Some(action.clone()),
        })?;
        tell(Event::ChunkFailed {
            pages: &attempt.pages,
            report: &report,
            last_words: last_words.as_deref(),
            log: &log,
            action: &action,
        });
        self.queue.follow(attempt, &action);
        if failure == Failure::Memory {
            self.model.heap = Heap::GivenBack;
        }
        self.learn_from_failure(underway, &report, tell);
        match action {
            Action::Retry | Action::Less(_) | Action::HalvesNext(..) | Action::HalvesLast(..) => {}
            Action::GiveUp => self.give_up(Placeholder::new(
                attempt.pages.clone(),
                &report.ending,
                last_words,
            ))?,
            Action::Abort => return Err(self.abort(attempt, failure, report, last_words, &log)),
        }
        Ok(())
    }

    /// Notes that these pages stay unconverted in this run.
    fn give_up(&mut self, placeholder: Placeholder) -> Result<(), ConversionError> {
        self.journal.append(&Record::GaveUp {
            pages: placeholder.pages.clone(),
            because: placeholder.because.clone(),
        })?;
        self.placeholders.push(placeholder);
        Ok(())
    }

    fn abort(
        &self,
        attempt: &Attempt,
        failure: Failure,
        report: StepReport,
        last_words: Option<String>,
        log: &Path,
    ) -> ConversionError {
        match failure {
            Failure::Memory => ConversionError::LimitTooSmall {
                limit: self.plan.run_limit(),
                estimate: self.estimate(&attempt.pages, attempt.effort),
            },
            Failure::Crash => ConversionError::FailsAlways {
                ending: report.ending,
                last_words,
                log: log.to_owned(),
            },
        }
    }
}
