//! Converting documents one after the other, or some of them side by side.
//!
//! Each job has a runner of its own and takes the next document when it is
//! through with one. Nothing is left to choose here: how many jobs there are
//! is decided before, and what a failure means for the others is said by
//! [`Failure::concerns_all`].

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::conversion::{ConversionError, Status};
use crate::environment::World;
use crate::events::Event;
use crate::many::{Attempts, DocumentResult, End, Failure};
use crate::plan::{Plan, Request, plan};
use crate::runner::{MakeRunner, Runner};

/// One thing that happened to one document.
#[derive(Debug)]
pub enum DocumentEvent<'a> {
    /// It is looked at.
    Begun(&'a Path),
    /// What will be done.
    Planned(&'a Plan),
    /// Something during its conversion.
    Conversion(Event<'a>),
    /// Nothing more happens to it.
    Ended(&'a DocumentResult),
}

/// Who does the work.
pub struct Pool<'a> {
    /// Documents at the same time.
    pub jobs: NonZeroUsize,
    /// Makes the runner of each job.
    pub runner: &'a MakeRunner<'a>,
    /// Makes those of the workers where a document has several.
    pub worker: &'a MakeRunner<'a>,
    /// Whether the user wants to stop.
    pub is_stopped: &'a (dyn Fn() -> bool + Sync),
    /// Whether the rest is tried even after a failure that concerns all.
    pub tries_all: bool,
}

/// Told, with the document's index, what happens.
pub type Tell<'a> = dyn FnMut(usize, DocumentEvent<'_>) + Send + 'a;

/// Converts documents, and tells what happens. The results are in the order of
/// the requests.
pub fn convert_all(
    requests: &[Request],
    world: &World,
    pool: &Pool<'_>,
    tell: &mut Tell<'_>,
) -> Vec<DocumentResult> {
    let shared = Shared {
        requests,
        world,
        pool,
        tell: Mutex::new(tell),
        state: Mutex::new(State {
            waiting: (0..requests.len()).collect(),
            is_pointless: false,
            results: Vec::new(),
        }),
    };
    std::thread::scope(|scope| {
        // This thread is the first job.
        for _ in 1..pool.jobs.get().min(requests.len()) {
            scope.spawn(|| shared.work());
        }
        shared.work();
    });
    shared.results()
}

struct State {
    waiting: VecDeque<usize>,
    /// Whether a failure concerned them all.
    is_pointless: bool,
    results: Vec<(usize, DocumentResult)>,
}

struct Shared<'a> {
    requests: &'a [Request],
    world: &'a World,
    pool: &'a Pool<'a>,
    tell: Mutex<&'a mut Tell<'a>>,
    state: Mutex<State>,
}

impl Shared<'_> {
    /// One job: document after document.
    fn work(&self) {
        let mut runner = None;
        while let Some((index, request)) = self.next() {
            let result = match runner.take().map_or_else(|| (self.pool.runner)(), Ok) {
                Ok(mut made) => {
                    let result = self.convert(index, request, made.as_mut());
                    runner = Some(made);
                    result
                }
                Err(error) => DocumentResult::unplanned(
                    request,
                    End::Failed(Failure::Conversion(ConversionError::Runner(error))),
                ),
            };
            self.finish(index, result);
        }
    }

    fn next(&self) -> Option<(usize, &Request)> {
        if (self.pool.is_stopped)() {
            return None;
        }
        let mut state = locked(&self.state);
        if state.is_pointless {
            return None;
        }
        let index = state.waiting.pop_front()?;
        Some((index, &self.requests[index]))
    }

    fn convert(&self, index: usize, request: &Request, runner: &mut dyn Runner) -> DocumentResult {
        let began = Instant::now();
        self.tell(index, DocumentEvent::Begun(&request.document));
        let plan = match plan(request, self.world, runner) {
            Ok(plan) => plan,
            // What was interrupted says little about the document.
            Err(_) if (self.pool.is_stopped)() => {
                return DocumentResult::unplanned(request, End::NotBegun);
            }
            Err(error) => {
                return DocumentResult::unplanned(request, End::Failed(Failure::Plan(error)));
            }
        };
        self.tell(index, DocumentEvent::Planned(&plan));
        let mut attempts = Attempts::default();
        let outcome = plan.run_together(runner, self.pool.worker, &mut |event| {
            attempts.note(&event);
            self.tell(index, DocumentEvent::Conversion(event));
        });
        DocumentResult {
            document: request.document.clone(),
            plan: Some(plan),
            attempts,
            wall: began.elapsed(),
            end: match outcome {
                Ok(outcome) => End::Ran(outcome),
                Err(error) => End::Failed(Failure::Conversion(error)),
            },
        }
    }

    fn tell(&self, index: usize, event: DocumentEvent<'_>) {
        let mut tell = locked(&self.tell);
        tell(index, event);
    }

    fn finish(&self, index: usize, result: DocumentResult) {
        self.tell(index, DocumentEvent::Ended(&result));
        let mut state = locked(&self.state);
        if let End::Failed(failure) = &result.end {
            state.is_pointless |= failure.concerns_all() && !self.pool.tries_all;
        }
        state.results.push((index, result));
    }

    /// All results in order; what nobody took is told as such.
    fn results(self) -> Vec<DocumentResult> {
        let state = self.state.into_inner();
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        for index in state.waiting {
            let end = if state.is_pointless {
                End::Pointless
            } else {
                End::NotBegun
            };
            let result = DocumentResult::unplanned(&self.requests[index], end);
            state.results.push((index, result));
        }
        state.results.sort_by_key(|(index, _)| *index);
        state
            .results
            .into_iter()
            .map(|(_, result)| result)
            .collect()
    }
}

impl DocumentResult {
    fn unplanned(request: &Request, end: End) -> DocumentResult {
        DocumentResult {
            document: request.document.clone(),
            plan: None,
            attempts: Attempts::default(),
            wall: std::time::Duration::ZERO,
            end,
        }
    }

    /// Whether every page is there.
    pub fn is_complete(&self) -> bool {
        matches!(&self.end, End::Ran(outcome)
            if matches!(outcome.status, Status::Complete | Status::AlreadyDone))
    }
}

/// A job that panicked has said so; the others go on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
