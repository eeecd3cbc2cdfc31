//! Carrying out a plan: marker is run for each chunk, what has been done is kept
//! in the journal, and at last the parts are joined.

mod assemble;
pub(crate) mod attempt;
mod carry_out;
mod completeness;
mod crew;
mod error;
mod learning;
pub(crate) mod log;
mod outcome;
mod resume;
mod together;

use std::io;
use std::path::Path;
use std::time::Duration;

pub use error::ConversionError;
pub use outcome::{Outcome, Placeholder, Status};

use attempt::{Attempt, Queue};
use crew::Seat;
use memcap_linux::ByteSize;

use crate::drive::{Places, driver};
use crate::estimate::MemoryModel;
use crate::events::Event;
use crate::input::Input;
use crate::journal::Journal;
use crate::learned::Lessons;
use crate::pages::PageSet;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::recovery::{Effort, Recovery};
use crate::runner::{MakeRunner, Runner};
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
        self.carry_through(runner, None, tell)
    }

    /// As [`Plan::run`], by as many workers at a time as the plan has
    /// ([`Plan::workers`]), each with a runner of its own.
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn run_together(
        &self,
        runner: &mut dyn Runner,
        worker: &MakeRunner<'_>,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, ConversionError> {
        let several = self.workers.get() > 1;
        self.carry_through(runner, several.then_some(worker), tell)
    }

    fn carry_through(
        &self,
        runner: &mut dyn Runner,
        several: Option<&MakeRunner<'_>>,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, ConversionError> {
        self.place().check(&self.published_names())?;
        let mut conversion = Conversion::open(self, tell)?;
        if conversion.is_published() {
            return Ok(conversion.outcome(Status::AlreadyDone));
        }
        if let Some(password) = &self.password {
            match Input::unlocked(self, password, &conversion.folder, runner)? {
                Some(input) => conversion.input = input,
                None => return Ok(conversion.outcome(Status::Interrupted)),
            }
        }
        // What the workers hold is gone by the end of this: the merge may need it.
        let flow = match several {
            Some(worker) => conversion.work_off_together(worker, tell)?,
            None => conversion.work_off(runner, tell)?,
        };
        if flow == Flow::Stop {
            return Ok(conversion.outcome(Status::Interrupted));
        }
        conversion.finish(tell)
    }
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
    queue: Queue,
    recovery: Recovery,
    /// What runs take, corrected by those of this conversion.
    model: MemoryModel,
    lessons: Lessons,
    /// Whether a chunk of this document needed its text recognised; `None`
    /// before any is done.
    recognition: Option<bool>,
    chunks_kept: usize,
    placeholders: Vec<Placeholder>,
    marker_time: Duration,
    /// The peak of the run that the user stopped, where it was measured.
    stopped_peak: Option<ByteSize>,
}

impl Conversion<'_> {
    /// Tries whatever is to be tried, until nothing is left or the user stops it.
    fn work_off(
        &mut self,
        runner: &mut dyn Runner,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ConversionError> {
        let places = self.places(0);
        let mut driver = driver(self.plan.drive, self.plan.marker.version, places);
        while let Some(attempt) = self.next_attempt() {
            if self.carry_out(attempt, driver.as_mut(), runner, tell)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Go)
    }

    /// The next attempt that is not known to fail.
    fn next_attempt(&mut self) -> Option<Attempt> {
        let estimate = |pages: &PageSet, effort| self.plan.estimate(&self.model, pages, effort);
        let is_hopeless = |attempt: &Attempt| {
            let Attempt { pages, effort, .. } = attempt;
            self.progress
                .is_too_large(pages, *effort, self.plan.run_limit())
                || self.recovery.expects_failure(pages, *effort, estimate)
        };
        self.queue.next(is_hopeless)
    }

    /// Where a worker keeps what belongs to no chunk.
    fn places(&self, seat: Seat) -> Places {
        let has_servers = self.plan.marker.version.capabilities().servers;
        Places {
            worker_log: self.folder.worker_log(seat),
            home: has_servers.then(|| self.folder.home()),
        }
    }

    fn estimate(&self, pages: &PageSet, effort: Effort) -> ByteSize {
        self.plan.estimate(&self.model, pages, effort)
    }

    fn converted(&self) -> PageSet {
        PageSet::from_pages(
            self.progress
                .done
                .iter()
                .flat_map(|chunk| chunk.pages.iter()),
        )
    }

    /// Pages whose images and recognised text are worse than marker's own.
    fn low_resolution(&self) -> PageSet {
        let low = self
            .progress
            .done
            .iter()
            .filter(|chunk| match chunk.effort {
                Effort::Usual | Effort::SmallBatches => false,
                Effort::LowResolution => true,
            });
        PageSet::from_pages(low.flat_map(|chunk| chunk.pages.iter()))
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
            placeholders: self.placeholders.clone(),
            chunks_run: self.progress.done.len().saturating_sub(self.chunks_kept),
            chunks_kept: self.chunks_kept,
            low_resolution: self.low_resolution(),
            peak: self
                .progress
                .done
                .iter()
                .filter_map(|chunk| chunk.peak)
                .chain(self.stopped_peak)
                .max(),
            marker_time: self.marker_time,
        }
    }
}

pub(crate) fn wrap<'a>(
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
mod early_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod safety_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod together_tests;
