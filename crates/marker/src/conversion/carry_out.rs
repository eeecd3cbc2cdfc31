//! One attempt: marker is run on its pages, and what follows is decided.

use std::path::{Path, PathBuf};

use super::attempt::Attempt;
use super::completeness::{is_complete, recognises};
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

impl Conversion<'_> {
    /// Runs marker on one chunk and decides what follows.
    pub(super) fn carry_out(
        &mut self,
        attempt: Attempt,
        driver: &mut dyn Driver,
        runner: &mut dyn Runner,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ConversionError> {
        let output = self.begin(&attempt, tell)?;
        let assignment = Assignment {
            plan: self.plan,
            pages: &attempt.pages,
            effort: attempt.effort,
            paths: self.paths(&attempt.pages, output.clone()),
            estimate: self.estimate(&attempt.pages, attempt.effort),
            more_follow: !self.queue.is_empty(),
        };
        let ran = driver.drive(assignment, runner, &mut |usage| tell(Event::Usage(usage)))?;
        self.marker_time += ran.report.wall;
        let pages = self.plan.has_pages().then_some(&attempt.pages);
        let complete = is_complete(&output, &self.input.stem, self.plan.format, pages);
        match judge(&ran.report.ending, complete, &ran.errors) {
            Judgement::Converted => {
                let recognition = recognises(&output, &self.input.stem, self.plan.format);
                self.keep(attempt.clone(), &output, &ran.report)?;
                if let Some(chunk) = self.progress.done.last() {
                    tell(Event::ChunkDone {
                        pages: &chunk.pages,
                        report: &ran.report,
                    });
                }
                self.learn_from_success(&attempt, &ran.report, recognition, tell);
                Ok(Flow::Go)
            }
            Judgement::Stopped => {
                self.stopped_peak = ran.report.peak;
                tell(Event::ChunkStopped {
                    pages: &attempt.pages,
                    report: &ran.report,
                });
                Ok(Flow::Stop)
            }
            Judgement::Requeued => {
                tell(Event::ChunkRequeued {
                    pages: &attempt.pages,
                    report: &ran.report,
                });
                self.queue.again(attempt);
                Ok(Flow::Go)
            }
            Judgement::Refused => Err(ConversionError::Refused {
                ending: ran.report.ending,
                last_words: self.last_words(&ran.errors),
                log: ran.log,
            }),
            Judgement::Failed(failure) => self.recover(&attempt, failure, ran, tell),
        }
    }

    /// The last line that marker wrote, as far as it may be told.
    fn last_words(&self, errors: &[u8]) -> Option<String> {
        last_line(errors).map(|words| self.plan.secrets.hide(&words))
    }

    /// Makes room for the result, and says that the attempt begins.
    fn begin(
        &mut self,
        attempt: &Attempt,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<PathBuf, ConversionError> {
        if !self.plan.source.is_unchanged() {
            return Err(ConversionError::DocumentChanged {
                document: self.plan.document.clone(),
            });
        }
        let output = self.folder.fresh_running()?;
        self.journal.append(&Record::Started {
            pages: attempt.pages.clone(),
            limit_bytes: self.plan.run_limit(),
            effort: attempt.effort,
        })?;
        tell(Event::ChunkStarted {
            pages: &attempt.pages,
            again: attempt.retried,
            effort: attempt.effort,
            estimate: self.estimate(&attempt.pages, attempt.effort),
        });
        Ok(output)
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
    fn keep(
        &mut self,
        attempt: Attempt,
        output: &Path,
        report: &StepReport,
    ) -> Result<(), ConversionError> {
        let Attempt { pages, effort, .. } = attempt;
        let files = manifest::record(output).map_err(wrap("record", output))?;
        self.folder.keep_running_as(&pages)?;
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
        attempt: &Attempt,
        failure: Failure,
        ran: Ran,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ConversionError> {
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
        self.learn_from_failure(attempt, &report, tell);
        match action {
            Action::Retry | Action::Less(_) | Action::HalvesNext(..) | Action::HalvesLast(..) => {}
            Action::GiveUp => self.give_up(Placeholder::new(
                attempt.pages.clone(),
                &report.ending,
                last_words,
            ))?,
            Action::Abort => return Err(self.abort(attempt, failure, report, last_words, &log)),
        }
        Ok(Flow::Go)
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
