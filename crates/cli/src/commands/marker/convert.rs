//! `memcap marker INPUT… -o OUT`: documents are converted.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Instant;

use memcap_linux::{ByteSize, SizeSpec, one_line};
use memcap_marker::many::{
    self, AtOnce, DocumentEvent, DocumentResult, End, Failure, Inputs, Jobs, JobsDecision, Pool,
    Tally, Verdict, convert_all, expected_pages,
};
use memcap_marker::runner::Runner;
use memcap_marker::{
    ConversionError, Event, InstallError, PlanError, Request, WorkFolderError, World, check_output,
};
use memcap_supervisor::Limits;

use super::args::{ConvertArgs, TellingArgs};
use super::display::{self, Display};
use super::drop_caches::DropCaches;
use super::json_events::{self, JsonEvents};
use super::kept::Kept;
use super::report::{Frame, report};
use super::summary::Together;
use super::wish::{self, Wish};
use super::{INTERRUPTED, NOTHING, PARTIAL, before_start, limit, refuse, summary};
use crate::error::{CliError, INTERNAL, USAGE, usual_advice};
use crate::render::{printable, say};
use crate::report_file::ReportFile;
use crate::supervised::{SharedBudget, SupervisedRunner};

/// What is converted, and how it is told.
pub(super) struct Task {
    pub(super) inputs: Vec<PathBuf>,
    pub(super) output: PathBuf,
    pub(super) wish: Wish,
    pub(super) jobs: Jobs,
    pub(super) telling: TellingArgs,
}

impl Task {
    /// Reads a command line.
    pub(super) fn of(args: ConvertArgs) -> Result<Task, CliError> {
        let Some(output) = args.output else {
            return Err(refuse(
                "no folder for the results is named".to_owned(),
                "write `memcap marker INPUT.pdf -o OUT --memory 4G`",
            ));
        };
        Ok(Task {
            inputs: args.inputs,
            output,
            wish: Wish::of(args.settings, args.marker_args)?,
            jobs: wish::jobs(&args.jobs.jobs)?,
            telling: args.telling,
        })
    }

    /// Carries it out; the exit code is returned.
    pub(super) fn run(self, world: &World) -> Result<u8, CliError> {
        let ready = Ready::of(self, world)?;
        ready.convert(world)
    }
}

/// Everything that can fail before the start has succeeded.
struct Ready {
    inputs: Inputs,
    requests: Vec<Request>,
    total: ByteSize,
    jobs: JobsDecision,
    runner: SupervisedRunner,
    /// Holds the total where several run at a time.
    budget: Option<SharedBudget>,
    report: Option<ReportFile>,
    events: Option<JsonEvents>,
    caches: Option<DropCaches>,
    telling: TellingArgs,
}

impl Ready {
    fn of(task: Task, world: &World) -> Result<Ready, CliError> {
        let Task {
            inputs,
            output,
            wish,
            jobs,
            telling,
        } = task;
        let caches = wish
            .drop_caches
            .then(|| DropCaches::allowed(Path::new("/")))
            .transpose()?;
        let inputs = find_inputs(&inputs)?;
        let total = limit(wish.memory, wish.mechanism, telling.quiet)?;
        let jobs = decide(jobs, inputs.documents.len(), total, world)?;
        let output = world.absolute(&output);
        check_output(&output).map_err(|error| {
            let hint = error.hint();
            CliError::new(error, hint, USAGE)
        })?;
        let kept = Kept {
            documents: &inputs.documents,
            output: &output,
        };
        let report = telling
            .report
            .as_deref()
            .map(|path| kept.refuse(path).map(|()| path))
            .transpose()?
            .map(ReportFile::open)
            .transpose()
            .map_err(|error| CliError {
                code: USAGE,
                ..CliError::from(error)
            })?;
        let events = telling
            .json_events
            .as_deref()
            .map(JsonEvents::to)
            .transpose()?;
        let runner = SupervisedRunner::new(wish.mechanism).map_err(super::internal)?;
        let budget = shared(&runner, jobs, total);
        let mut requests = requests(&inputs, &output, &wish, jobs, world);
        for request in &mut requests {
            request.total = budget.as_ref().map(|_| total);
        }
        Ok(Ready {
            inputs,
            requests,
            total,
            jobs,
            runner,
            budget,
            report,
            events,
            caches,
            telling,
        })
    }

    fn convert(mut self, world: &World) -> Result<u8, CliError> {
        let began = Instant::now();
        if let Some(events) = &mut self.events {
            let documents: Vec<PathBuf> = self
                .requests
                .iter()
                .map(|one| one.document.clone())
                .collect();
            let jobs = self.jobs.jobs.get();
            events.started(&documents, &self.inputs.skipped, jobs, self.total);
        }
        if !self.telling.quiet {
            before_start::skipped(&self.inputs.skipped);
        }
        let (results, most_at_once) = self.run_all(world);
        let tally = Tally::of(&results, &self.inputs.skipped);
        let alone = self.requests.len() == 1 && self.inputs.skipped.is_empty();
        let exit_code = exit_code(tally, &results, alone);
        let written = self.report.take().map(|report_file| {
            let frame = Frame {
                exit_code,
                limit: self.total,
                peak: self.budget.as_ref().and_then(SharedBudget::peak),
                jobs: self.jobs.jobs,
                most_at_once,
                wall: began.elapsed(),
            };
            report_file.write(&report(frame, &results, &self.inputs.skipped))
        });
        // What became of the documents is told even where the report cannot be.
        if let Some(events) = &mut self.events {
            events.ended_with(exit_code, tally);
        }
        let together = self.budget.as_ref().map(|budget| Together {
            peak: budget.peak(),
            limit: self.total,
        });
        let told = tell_the_end(&results, &self.inputs, &self.telling, together, exit_code);
        // Also where nothing else is to be told: they are the result, for scripts.
        let printed = match json_events::is_stdout(self.telling.json_events.as_deref()) {
            true => Ok(()),
            false => summary::print_results(&results),
        };
        told?;
        written.transpose()?;
        printed?;
        self.events.take().map_or(Ok(()), JsonEvents::all_written)?;
        Ok(exit_code)
    }

    /// What became of each, and how many chunks there were at the same time.
    fn run_all(&mut self, world: &World) -> (Vec<DocumentResult>, usize) {
        let pages = self.requests.first().and_then(|one| one.pages.as_ref());
        let documents = self.requests.iter().map(|request| {
            let path = request.document.as_path();
            (display::name(path), expected_pages(path, pages))
        });
        let documents = documents.collect();
        let quiet = self.telling.quiet;
        let limit = match &self.budget {
            Some(_) => self.total,
            None => self.jobs.share,
        };
        let mut display = Display::new(documents, limit, quiet);
        let alone = self.requests.len() == 1;
        let (runner, caches, events) = (&self.runner, &self.caches, &mut self.events);
        let budget = self.budget.as_ref();
        let in_total = || {
            let runner = match budget {
                Some(budget) => runner.within(budget),
                None => runner.beside(),
            };
            Ok(Box::new(runner) as Box<dyn Runner>)
        };
        // A single document with one worker needs nobody's room.
        let by_itself = || Ok(Box::new(runner.beside()) as Box<dyn Runner>);
        let pool = Pool {
            jobs: self.jobs.jobs,
            runner: match self.jobs.jobs.get() {
                1 => &by_itself,
                _ => &in_total,
            },
            worker: &in_total,
            is_stopped: &|| runner.was_interrupted(),
            tries_all: false,
        };
        let mut at_once = AtOnce::default();
        let results = convert_all(&self.requests, world, &pool, &mut |index, event| {
            at_once.note(index, &event);
            if let (DocumentEvent::Planned(plan), true, false) = (&event, alone, quiet) {
                display.aside(|| before_start::one(plan));
            }
            if let Some(events) = events.as_mut() {
                events.tell(index, &event);
            }
            display.show(index, &event, runner.was_interrupted());
            if let Some(caches) = caches.as_ref().filter(|_| ends_a_chunk(&event))
                && let Err(error) = caches.now()
            {
                display.warn(&format!("the caches were not dropped: {error}"));
            }
        });
        (results, at_once.most())
    }
}

fn ends_a_chunk(event: &DocumentEvent<'_>) -> bool {
    matches!(
        event,
        DocumentEvent::Conversion(Event::ChunkDone { .. } | Event::ChunkFailed { .. })
    )
}

/// The documents that are meant.
pub(super) fn find_inputs(names: &[PathBuf]) -> Result<Inputs, CliError> {
    many::find_inputs(names).map_err(|error| {
        let hint = error.hint();
        CliError::new(error, Some(hint), USAGE)
    })
}

/// How many documents at a time.
pub(super) fn decide(
    jobs: Jobs,
    documents: usize,
    total: ByteSize,
    world: &World,
) -> Result<JobsDecision, CliError> {
    let need = many::usual_need(world);
    jobs.decide(documents, total, need, cores())
        .map_err(|error| refuse(format!("--jobs: {error}"), &error.hint()))
}

/// One total for several jobs, be it documents or workers on the same one. Where
/// no mechanism can hold one, each has its share for itself, and the shares do not
/// exceed the total.
fn shared(runner: &SupervisedRunner, jobs: JobsDecision, total: ByteSize) -> Option<SharedBudget> {
    if jobs.jobs.get() == 1 && jobs.workers == Jobs::One {
        return None;
    }
    let limits = Limits::memory(SizeSpec::Bytes(total)).ok()?;
    runner.budget(limits).ok()
}

/// Documents that are converted at the same time share the processors too, unless
/// the user has settled that. Workers on the same one divide what it has.
fn threads(asked: Option<NonZeroU32>, jobs: JobsDecision) -> Option<NonZeroU32> {
    let several = |count: NonZeroUsize| count.get() > 1;
    if asked.is_some() || !several(jobs.jobs) {
        return asked;
    }
    let workers = match jobs.workers {
        Jobs::Exactly(workers) => workers.get(),
        Jobs::Auto | Jobs::One => 1,
    };
    let each = u32::try_from(cores() / (jobs.jobs.get() * workers)).unwrap_or(u32::MAX);
    Some(NonZeroU32::new(each).unwrap_or(NonZeroU32::MIN))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One request for each document; with several jobs, each has its share.
pub(super) fn requests(
    inputs: &Inputs,
    output: &Path,
    wish: &Wish,
    jobs: JobsDecision,
    world: &World,
) -> Vec<Request> {
    let request = |document: &PathBuf| {
        let mut request = wish.request(world.absolute(document), output.into(), jobs.share);
        request.workers = jobs.workers;
        request.tuning.threads = threads(request.tuning.threads, jobs);
        request
    };
    inputs.documents.iter().map(request).collect()
}

/// What is said at the end. One document's failure is the failure of the whole.
fn tell_the_end(
    results: &[DocumentResult],
    inputs: &Inputs,
    telling: &TellingArgs,
    together: Option<Together>,
    exit_code: u8,
) -> Result<(), CliError> {
    match results {
        [
            DocumentResult {
                end: End::Failed(failure),
                ..
            },
        ] if inputs.skipped.is_empty() => Err(CliError::new(
            display::words::failure(failure),
            failure.hint(),
            exit_code,
        )),
        _ if telling.quiet => Ok(()),
        [
            DocumentResult {
                end: End::NotBegun, ..
            },
        ] => Err(CliError::new(
            "interrupted before anything was started",
            None,
            INTERRUPTED,
        )),
        [
            DocumentResult {
                plan: Some(plan),
                end: End::Ran(outcome),
                ..
            },
        ] if inputs.skipped.is_empty() => {
            summary::of_one(plan, outcome, together);
            Ok(())
        }
        _ => {
            summary::of_many(results, &inputs.skipped, together);
            for result in results {
                if let End::Failed(failure) = &result.end
                    && failure.concerns_all()
                    && let Some(hint) = failure.hint()
                {
                    say(&format!("  hint: {}", printable(&hint)));
                }
            }
            Ok(())
        }
    }
}

/// See `docs/exit-codes.md`. Of one document it also says whose fault a failure
/// is.
fn exit_code(tally: Tally, results: &[DocumentResult], alone: bool) -> u8 {
    match (tally.verdict(), results) {
        (Verdict::Complete, _) => 0,
        (Verdict::Partial, _) => PARTIAL,
        (Verdict::Interrupted, _) => INTERRUPTED,
        (
            Verdict::Nothing,
            [
                DocumentResult {
                    end: End::Failed(failure),
                    ..
                },
            ],
        ) if alone => failure_code(failure),
        (Verdict::Nothing, _) => match common_failure(results) {
            Some(failure) => failure_code(failure),
            None => NOTHING,
        },
    }
}

/// The failure for which nothing was tried.
fn common_failure(results: &[DocumentResult]) -> Option<&Failure> {
    let mut failures = results.iter().filter_map(|result| match &result.end {
        End::Failed(failure) if failure.concerns_all() => Some(failure),
        End::Failed(_) | End::Ran(_) | End::NotBegun | End::Pointless => None,
    });
    failures.next()
}

fn failure_code(failure: &Failure) -> u8 {
    if usual_advice(&one_line(failure)).is_some() {
        return INTERNAL;
    }
    match failure {
        Failure::Plan(PlanError::Install(InstallError::Runner(_))) => INTERNAL,
        Failure::Plan(_)
        | Failure::Conversion(ConversionError::WorkFolder(
            WorkFolderError::Output { .. } | WorkFolderError::NotUtf8 { .. },
        )) => USAGE,
        Failure::Conversion(
            ConversionError::DocumentChanged { .. }
            | ConversionError::Refused { .. }
            | ConversionError::FailsAlways { .. }
            | ConversionError::LimitTooSmall { .. },
        ) => NOTHING,
        Failure::Conversion(_) => INTERNAL,
    }
}
