//! Carrying out a plan: one supervised run of marker for each chunk, what has
//! been done kept in the journal, and at last the parts joined.

mod assemble;
mod completeness;
mod error;
mod log;
mod outcome;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::ConversionError;
pub use outcome::{Outcome, Status};

use completeness::is_complete;

use crate::command::{self, Paths};
use crate::events::Event;
use crate::input::Input;
use crate::journal::{DoneChunk, Journal, Progress, Record};
use crate::manifest;
use crate::pages::PageSet;
use crate::plan::Plan;
use crate::recovery::{Action, Failure, Judgement, Recovery, judge};
use crate::runner::{Runner, Step, StepReport};
use crate::text::last_line;
use crate::work_folder::WorkFolder;

impl Plan {
    /// Converts what is missing and puts the whole into its place, telling
    /// `tell` what happens.
    ///
    /// # Errors
    /// When the conversion cannot go on. Pages that fail are no error but
    /// [`Outcome::missing`], and the user's interruption is
    /// [`Status::Interrupted`].
    pub fn run(
        &self,
        runner: &mut dyn Runner,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, ConversionError> {
        self.place().check(&self.published_names())?;
        let mut conversion = Conversion::open(self, tell)?;
        if conversion.is_published() {
            return Ok(conversion.outcome(Status::AlreadyDone));
        }
        while let Some(task) = conversion.next_task() {
            if conversion.convert(task, runner, tell)? == Flow::Stop {
                return Ok(conversion.outcome(Status::Interrupted));
            }
        }
        conversion.finish(tell)
    }
}

/// A chunk in the queue.
struct Task {
    pages: PageSet,
    /// Whether these pages, or a chunk that held them, have had their second
    /// attempt.
    retried: bool,
}

#[derive(PartialEq, Eq)]
enum Flow {
    Go,
    Stop,
}

struct Conversion<'a> {
    plan: &'a Plan,
    folder: WorkFolder,
    journal: Journal,
    input: Input,
    progress: Progress,
    queue: VecDeque<Task>,
    recovery: Recovery,
    chunks_kept: usize,
    marker_time: Duration,
}

impl<'a> Conversion<'a> {
    /// Locks the work folder and takes up what an earlier run left.
    fn open(plan: &'a Plan, tell: &mut dyn FnMut(Event<'_>)) -> Result<Self, ConversionError> {
        let folder = WorkFolder::open(&plan.output, &plan.key)?;
        let (journal, records) = Journal::open(&folder.journal())?;
        let input = Input::of(&plan.source, &folder)?;
        let mut conversion = Conversion {
            plan,
            folder,
            journal,
            input,
            progress: Progress::of(&records),
            queue: VecDeque::new(),
            recovery: Recovery::default(),
            chunks_kept: 0,
            marker_time: Duration::ZERO,
        };
        if conversion.is_published() {
            conversion.chunks_kept = conversion.progress.done.len();
            return Ok(conversion);
        }
        let discarded = conversion.discard_damaged()?;
        conversion.chunks_kept = conversion.progress.done.len();
        conversion.journal.append(&Record::Opened {
            memcap: env!("CARGO_PKG_VERSION").to_owned(),
            marker: plan.marker.version.to_string(),
            pages: plan.pages.clone(),
        })?;
        for (pages, limit) in &conversion.progress.too_large {
            if *limit >= plan.limit {
                conversion
                    .recovery
                    .note_out_of_memory(pages, plan.estimate(pages));
            }
        }
        let chunks = plan.remaining(&conversion.progress);
        conversion.queue = chunks
            .into_iter()
            .map(|chunk| Task {
                pages: chunk.pages,
                retried: false,
            })
            .collect();
        if conversion.chunks_kept > 0 || !discarded.is_empty() {
            let kept = conversion.converted();
            tell(Event::Resumed {
                kept: &kept,
                discarded: &discarded,
            });
        }
        Ok(conversion)
    }

    /// Whether the whole result is in its place, unchanged.
    fn is_published(&self) -> bool {
        self.progress.is_published(&self.plan.result)
    }

    /// Forgets chunks whose files are not as they were; their pages are
    /// returned.
    fn discard_damaged(&mut self) -> Result<PageSet, ConversionError> {
        let (whole, damaged): (Vec<DoneChunk>, Vec<DoneChunk>) =
            std::mem::take(&mut self.progress.done)
                .into_iter()
                .partition(|chunk| {
                    let folder = self.folder.chunk(&chunk.pages);
                    !chunk.files.is_empty() && chunk.files.iter().all(|file| file.matches(&folder))
                });
        self.progress.done = whole;
        for chunk in &damaged {
            self.folder.discard(&chunk.pages)?;
            self.journal.append(&Record::Discarded {
                pages: chunk.pages.clone(),
            })?;
        }
        Ok(PageSet::from_pages(
            damaged.iter().flat_map(|chunk| chunk.pages.iter()),
        ))
    }

    /// The next chunk to try; one that must be expected to run out of memory
    /// is halved first.
    fn next_task(&mut self) -> Option<Task> {
        loop {
            let task = self.queue.pop_front()?;
            let estimate = self.plan.estimate(&task.pages);
            match task.pages.halves() {
                Some((low, high)) if self.recovery.expects_failure(estimate) => {
                    self.queue.push_front(Task {
                        pages: high,
                        retried: task.retried,
                    });
                    self.queue.push_front(Task {
                        pages: low,
                        retried: task.retried,
                    });
                }
                _ => return Some(task),
            }
        }
    }

    /// Runs marker on one chunk and decides what follows.
    fn convert(
        &mut self,
        task: Task,
        runner: &mut dyn Runner,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ConversionError> {
        if !self.plan.source.is_unchanged() {
            return Err(ConversionError::DocumentChanged {
                document: self.plan.document.clone(),
            });
        }
        let output = self.folder.fresh_running()?;
        let step = self.step(&task.pages, output.clone())?;
        let limit_bytes = self.plan.limit;
        self.journal.append(&Record::Started {
            pages: task.pages.clone(),
            limit_bytes,
        })?;
        tell(Event::ChunkStarted {
            pages: &task.pages,
            again: task.retried,
            estimate: self.plan.estimate(&task.pages),
        });
        let report = runner.run(&step, &mut |usage| tell(Event::Usage(usage)))?;
        self.marker_time += report.wall;
        let errors = log::tail(&step.stderr);
        let complete = is_complete(&output, &self.input.stem, &task.pages);
        match judge(&report.ending, complete, &errors) {
            Judgement::Converted => {
                self.keep(task.pages, &output, &report)?;
                if let Some(chunk) = self.progress.done.last() {
                    tell(Event::ChunkDone {
                        pages: &chunk.pages,
                        report: &report,
                    });
                }
                Ok(Flow::Go)
            }
            Judgement::Stopped => Ok(Flow::Stop),
            Judgement::Refused => Err(ConversionError::Refused {
                ending: report.ending,
                last_words: last_line(&errors),
                log: step.stderr,
            }),
            Judgement::Failed(failure) => {
                let last_words = last_line(&errors);
                self.recover(task, failure, report, last_words, &step.stderr, tell)
            }
        }
    }

    fn step(&self, pages: &PageSet, output: PathBuf) -> Result<Step, ConversionError> {
        let paths = Paths {
            input: self.input.path.clone(),
            output,
            stdout: self.folder.log(pages, "out"),
            stderr: self.folder.log(pages, "err"),
            config: self.folder.log(pages, "config.json"),
        };
        let config = paths.config.clone();
        command::step(self.plan, pages, paths).map_err(wrap("write", &config))
    }

    /// Makes a finished chunk's result permanent, then says so in the journal.
    fn keep(
        &mut self,
        pages: PageSet,
        output: &Path,
        report: &StepReport,
    ) -> Result<(), ConversionError> {
        let files = manifest::record(output).map_err(wrap("record", output))?;
        self.folder.keep_running_as(&pages)?;
        self.journal.append(&Record::Done {
            pages: pages.clone(),
            files: files.clone(),
            peak_bytes: report.peak,
            wall_ms: u64::try_from(report.wall.as_millis()).unwrap_or(u64::MAX),
        })?;
        self.recovery.note_converted();
        self.progress.done.push(DoneChunk {
            pages,
            files,
            peak: report.peak,
        });
        Ok(())
    }

    fn recover(
        &mut self,
        task: Task,
        failure: Failure,
        report: StepReport,
        last_words: Option<String>,
        log: &Path,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ConversionError> {
        self.journal.append(&Record::Failed {
            pages: task.pages.clone(),
            ending: report.ending.kind().to_owned(),
            memory: failure == Failure::Memory,
            limit_bytes: self.plan.limit,
        })?;
        if failure == Failure::Memory {
            self.recovery
                .note_out_of_memory(&task.pages, self.plan.estimate(&task.pages));
        }
        let action = self
            .recovery
            .next(&task.pages, failure, task.retried, last_words.as_deref());
        tell(Event::ChunkFailed {
            pages: &task.pages,
            report: &report,
            last_words: last_words.as_deref(),
            log,
            action: &action,
        });
        let again = |pages| Task {
            pages,
            retried: task.retried,
        };
        match action {
            Action::Retry => self.queue.push_front(Task {
                pages: task.pages,
                retried: true,
            }),
            Action::HalvesNext(low, high) => {
                self.queue.push_front(again(high));
                self.queue.push_front(again(low));
            }
            Action::HalvesLast(low, high) => self.queue.extend([again(low), again(high)]),
            Action::GiveUp => self.journal.append(&Record::GaveUp { pages: task.pages })?,
            Action::Abort => return Err(self.abort(&task, failure, report, last_words, log)),
        }
        Ok(Flow::Go)
    }

    fn abort(
        &self,
        task: &Task,
        failure: Failure,
        report: StepReport,
        last_words: Option<String>,
        log: &Path,
    ) -> ConversionError {
        match failure {
            Failure::Memory => ConversionError::LimitTooSmall {
                limit: self.plan.limit,
                estimate: self.plan.estimate(&task.pages),
            },
            Failure::Crash => ConversionError::FailsAlways {
                ending: report.ending,
                last_words,
                log: log.to_owned(),
            },
        }
    }

    fn converted(&self) -> PageSet {
        PageSet::from_pages(
            self.progress
                .done
                .iter()
                .flat_map(|chunk| chunk.pages.iter()),
        )
    }

    fn missing(&self) -> PageSet {
        let converted = self.converted();
        PageSet::from_pages(
            self.plan
                .pages
                .iter()
                .filter(|page| !converted.contains(*page)),
        )
    }

    fn outcome(&self, status: Status) -> Outcome {
        let has_result = match status {
            Status::AlreadyDone | Status::Complete | Status::Partial => true,
            Status::Nothing | Status::Interrupted => false,
        };
        let (converted, missing) = match status {
            Status::AlreadyDone => (self.plan.pages.clone(), PageSet::default()),
            Status::Complete | Status::Partial | Status::Nothing | Status::Interrupted => {
                (self.converted(), self.missing())
            }
        };
        Outcome {
            status,
            result: has_result.then(|| self.plan.result.clone()),
            converted,
            missing,
            chunks_run: self.progress.done.len().saturating_sub(self.chunks_kept),
            chunks_kept: self.chunks_kept,
            peak: self
                .progress
                .done
                .iter()
                .filter_map(|chunk| chunk.peak)
                .max(),
            marker_time: self.marker_time,
        }
    }
}

fn wrap<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ConversionError + 'a {
    move |source| ConversionError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
