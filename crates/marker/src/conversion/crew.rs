//! Several workers for one document: each is a thread with a runner and a driver
//! of its own, which carries out the attempts that are handed to it.
//!
//! ```text
//!                 errands
//!  conversion ---------------> worker: driver, runner
//!      ^                          |
//!      '---------- notes ---------'
//! ```
//!
//! What is tried and what an end means is decided by the conversion alone, in
//! the thread that owns journal, queue and progress.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;

use super::ConversionError;
use crate::drive::{Assignment, Driver, Places, Ran, driver};
use crate::plan::Plan;
use crate::runner::{MakeRunner, Runner, Usage};

/// Which worker: the first is 0.
pub(crate) type Seat = usize;

/// What a worker is to do.
enum Errand<'a> {
    /// Carry out an attempt.
    Convert(Assignment<'a>),
    /// Keep nothing in memory.
    Rest,
}

/// What a worker tells.
pub(super) enum Note {
    /// What the running attempt holds.
    Usage(Seat, Usage),
    /// How the attempt went.
    Ended(Seat, Result<Ran, ConversionError>),
    /// A worker has panicked; joining its thread panics too.
    Lost,
}

/// All workers of a conversion. When it is dropped they end what they run, and
/// themselves.
pub(super) struct Crew<'a> {
    seats: BTreeMap<Seat, Hired<'a>>,
    notes: Receiver<Note>,
}

struct Hired<'a> {
    errands: Sender<Errand<'a>>,
    is_busy: bool,
    /// Whether it may have something in memory.
    is_warm: bool,
}

/// What each worker is given.
pub(super) struct Tools<'a> {
    pub(super) plan: &'a Plan,
    pub(super) runner: &'a MakeRunner<'a>,
}

impl<'a> Crew<'a> {
    /// One worker for each of the places, within the scope.
    pub(super) fn hire<'scope>(
        scope: &'scope Scope<'scope, '_>,
        tools: &Tools<'a>,
        places: impl IntoIterator<Item = Places>,
    ) -> Crew<'a>
    where
        'a: 'scope,
    {
        let (told, notes) = channel();
        let hire = |(seat, places)| {
            let (errands, work) = channel();
            let worker = Worker {
                seat,
                plan: tools.plan,
                places,
                make_runner: tools.runner,
                notes: told.clone(),
            };
            scope.spawn(move || worker.work(work));
            let hired = Hired {
                errands,
                is_busy: false,
                is_warm: false,
            };
            (seat, hired)
        };
        Crew {
            seats: places.into_iter().enumerate().map(hire).collect(),
            notes,
        }
    }

    /// A worker that has nothing to do.
    pub(super) fn free(&self) -> Option<Seat> {
        let mut seats = self.seats.iter();
        seats.find_map(|(seat, hired)| (!hired.is_busy).then_some(*seat))
    }

    /// Hands an attempt to a free worker.
    pub(super) fn give(&mut self, seat: Seat, assignment: Assignment<'a>) {
        if let Some(hired) = self.seats.get_mut(&seat) {
            (hired.is_busy, hired.is_warm) = (true, true);
            // Whoever is gone has said so in a note.
            let _ = hired.errands.send(Errand::Convert(assignment));
        }
    }

    /// Has free workers keep nothing in memory: it is for the others, and one of
    /// those may be waiting for it.
    pub(super) fn rest(&mut self) {
        for hired in self.seats.values_mut() {
            if !hired.is_busy && std::mem::take(&mut hired.is_warm) {
                // As above.
                let _ = hired.errands.send(Errand::Rest);
            }
        }
    }

    /// Does without a worker for which there was no room, unless it is the last.
    pub(super) fn dismiss(&mut self, seat: Seat) {
        if self.seats.len() > 1 {
            self.seats.remove(&seat);
        }
    }

    /// Waits for the next note.
    pub(super) fn hear(&mut self) -> Note {
        // Without any worker there is nobody who could have sent one.
        let note = self.notes.recv().unwrap_or(Note::Lost);
        if let Note::Ended(seat, _) = &note
            && let Some(hired) = self.seats.get_mut(seat)
        {
            hired.is_busy = false;
        }
        note
    }
}

/// One thread.
struct Worker<'a> {
    seat: Seat,
    plan: &'a Plan,
    places: Places,
    make_runner: &'a MakeRunner<'a>,
    notes: Sender<Note>,
}

impl<'a> Worker<'a> {
    fn work(self, errands: Receiver<Errand<'a>>) {
        let mut runner = None;
        let mut driver = self.driver();
        for errand in errands {
            match errand {
                Errand::Rest => driver = self.driver(),
                Errand::Convert(assignment) => {
                    let went = self.convert(assignment, driver.as_mut(), &mut runner);
                    // Where nobody listens, no errands come either.
                    let _ = self.notes.send(Note::Ended(self.seat, went));
                }
            }
        }
    }

    fn driver(&self) -> Box<dyn Driver> {
        driver(
            self.plan.drive,
            self.plan.marker.version,
            self.places.clone(),
        )
    }

    fn convert(
        &self,
        assignment: Assignment<'_>,
        driver: &mut dyn Driver,
        runner: &mut Option<Box<dyn Runner>>,
    ) -> Result<Ran, ConversionError> {
        let runner = match runner {
            Some(runner) => runner,
            None => runner.insert((self.make_runner)()?),
        };
        driver.drive(assignment, runner.as_mut(), &mut |usage| {
            match self.notes.send(Note::Usage(self.seat, usage)) {
                Ok(()) => ControlFlow::Continue(()),
                // The conversion has come to its end without this.
                Err(_) => ControlFlow::Break(()),
            }
        })
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.notes.send(Note::Lost);
        }
    }
}
