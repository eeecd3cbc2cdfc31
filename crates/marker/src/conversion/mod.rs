//! Carrying out a plan: one supervised run of marker for each chunk, what has
//! been done kept in the journal, and at last the parts joined.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::command::{self, Paths, main_files};
use crate::events::Event;
use crate::input::Input;
use crate::journal::{DoneChunk, Journal, JournalError, Progress, Record};
use crate::manifest;
use crate::merge::{ChunkOutput, MergeError, merge};
use crate::pages::PageSet;
use crate::plan::Plan;
use crate::publish::{PublishError, folder_name};
use crate::recovery::{Action, Failure, Judgement, Recovery, judge};
use crate::runner::{Ending, Runner, RunnerError, StepReport};
use crate::text::{last_line, path_text};
use crate::work_folder::{WorkFolder, WorkFolderError};

/// How a conversion went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// In one word.
    pub status: Status,
    /// The folder of the result, where there is one.
    #[serde(serialize_with = "crate::text::serialize_optional_path")]
    pub result: Option<PathBuf>,
    /// Pages that have been converted, by this run or an earlier one.
    pub converted: PageSet,
    /// Pages that are missing.
    pub missing: PageSet,
    /// Chunks that this run converted.
    pub chunks_run: usize,
    /// Chunks that an earlier run had converted.
    pub chunks_kept: usize,
    /// The largest peak of a run that is part of the result, where measured.
    pub peak: Option<ByteSize>,
    /// How long marker ran, all runs of this conversion together.
    pub marker_time: Duration,
}

/// How a conversion went, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// An earlier run had finished it, and its result is still there.
    AlreadyDone,
    /// Every page is there.
    Complete,
    /// There is a result, but pages are missing.
    Partial,
    /// Not a single page was converted.
    Nothing,
    /// The user stopped it; the next run goes on.
    Interrupted,
}

/// Why a conversion could not be carried out. What has been done by then is
/// kept for the next run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversionError {
    /// The work folder.
    #[error(transparent)]
    WorkFolder(#[from] WorkFolderError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The place of the result.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Supervision.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// Joining the parts.
    #[error("failed to join the chunks")]
    Merge(#[from] MergeError),
    /// The document is not the one that was planned for.
    #[error("`{}` was changed during the conversion", path_text(.document))]
    DocumentChanged {
        /// The document.
        document: PathBuf,
    },
    /// A file of ours could not be read or written.
    #[error("failed to {operation} `{}`", path_text(.path))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Marker does not take its arguments, or cannot be started.
    #[error("marker {ending}{}", behind_colon(.last_words))]
    Refused {
        /// How it ended.
        ending: Ending,
        /// Its last line.
        last_words: Option<String>,
        /// All of them.
        log: PathBuf,
    },
    /// Whatever pages it is given, marker fails in the same way.
    #[error("marker fails on all pages alike: it {ending}{}", behind_colon(.last_words))]
    FailsAlways {
        /// How it ended the last time.
        ending: Ending,
        /// Its last line.
        last_words: Option<String>,
        /// All of them.
        log: PathBuf,
    },
    /// Not even single pages fit.
    #[error("the limit of {limit} is too small: marker does not fit with a single page")]
    LimitTooSmall {
        /// The limit.
        limit: ByteSize,
        /// What a single page is estimated to need.
        estimate: ByteSize,
    },
}

fn behind_colon(words: &Option<String>) -> String {
    words
        .as_ref()
        .map(|words| format!(": {words}"))
        .unwrap_or_default()
}

impl ConversionError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ConversionError::WorkFolder(error) => error.hint(),
            ConversionError::Publish(error) => error.hint(),
            ConversionError::DocumentChanged { .. } => Some("start again".to_owned()),
            ConversionError::Refused { log, .. } | ConversionError::FailsAlways { log, .. } => {
                Some(format!("all that marker wrote is in `{}`", path_text(log)))
            }
            ConversionError::LimitTooSmall { estimate, .. } => Some(format!(
                "a single page is estimated to need {estimate}; raise --memory"
            )),
            ConversionError::Merge(error) => error.hint(),
            ConversionError::Journal(_)
            | ConversionError::Runner(_)
            | ConversionError::Io { .. } => None,
        }
    }
}

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
        self.progress
            .published
            .as_ref()
            .is_some_and(|(files, missing)| {
                missing.is_empty() && files.iter().all(|file| file.matches(&self.plan.result))
            })
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
        let errors = tail(&step.stderr);
        let complete = main_files(&self.input.stem)
            .iter()
            .all(|file| output.join(file).is_file());
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

    fn step(
        &self,
        pages: &PageSet,
        output: PathBuf,
    ) -> Result<crate::runner::Step, ConversionError> {
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

    /// Joins what there is and puts it into its place.
    fn finish(mut self, tell: &mut dyn FnMut(Event<'_>)) -> Result<Outcome, ConversionError> {
        if self.progress.done.is_empty() {
            return Ok(self.outcome(Status::Nothing));
        }
        tell(Event::Merging {
            chunks: self.progress.done.len(),
        });
        let merged = self.folder.fresh_merged()?;
        merge(&self.input.stem, &self.outputs(), &merged)?;
        self.rename_main_files(&merged)?;
        let files = manifest::record(&merged).map_err(wrap("record", &merged))?;
        self.journal.append(&Record::Publishing {
            folder: folder_name(&self.plan.result),
            files: files.clone(),
        })?;
        self.plan.place().put(&merged, &files)?;
        let missing = self.missing();
        self.journal.append(&Record::Published {
            missing: missing.clone(),
        })?;
        let status = if missing.is_empty() {
            Status::Complete
        } else {
            Status::Partial
        };
        let outcome = self.outcome(status);
        if status == Status::Complete {
            self.folder.clear()?;
        }
        tell(Event::Published {
            folder: &self.plan.result,
        });
        Ok(outcome)
    }

    /// The finished chunks in the order of their pages.
    fn outputs(&self) -> Vec<ChunkOutput> {
        let mut outputs: Vec<ChunkOutput> = self
            .progress
            .done
            .iter()
            .filter_map(|chunk| {
                Some(ChunkOutput {
                    first_page: chunk.pages.first()?,
                    last_page: chunk.pages.last()?,
                    folder: self.folder.chunk(&chunk.pages).join(&self.input.stem),
                })
            })
            .collect();
        outputs.sort_by_key(|output| output.first_page);
        outputs
    }

    /// Where marker saw the document under another name, gives the main files
    /// the real one.
    fn rename_main_files(&self, merged: &Path) -> Result<(), ConversionError> {
        let name = |stem: &OsStr| main_files(stem).map(|file| file.file_name().map(PathBuf::from));
        for (from, to) in name(&self.input.stem)
            .into_iter()
            .zip(name(&self.plan.source.stem))
        {
            if let (Some(from), Some(to)) = (from, to)
                && from != to
            {
                let to = merged.join(to);
                std::fs::rename(merged.join(from), &to).map_err(wrap("write", &to))?;
            }
        }
        Ok(())
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

/// How much of marker's standard error is looked at.
const TAIL: u64 = 16 << 10;

/// The end of a log; empty where it cannot be read.
fn tail(log: &Path) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut end = Vec::new();
        file.take(TAIL).read_to_end(&mut end)?;
        Ok(end)
    };
    read().unwrap_or_default()
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
