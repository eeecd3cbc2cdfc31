//! Chunks of one document, converted by several workers at the same time.

use std::collections::BTreeMap;

use super::carry_out::{After, Underway};
use super::crew::{Crew, Note, Seat, Tools};
use super::{Conversion, ConversionError, Flow};
use crate::events::Event;
use crate::runner::MakeRunner;

impl<'a> Conversion<'a> {
    /// Tries whatever is to be tried, by as many workers as the plan has, until
    /// nothing is left or the user stops it.
    pub(super) fn work_off_together(
        &mut self,
        make_runner: &MakeRunner<'_>,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ConversionError> {
        let tools = Tools {
            plan: self.plan,
            runner: make_runner,
        };
        let places: Vec<_> = (0..self.plan.workers.get())
            .map(|seat| self.places(seat))
            .collect();
        std::thread::scope(|scope| {
            let mut crew = Crew::hire(scope, &tools, places);
            self.manage(&mut crew, tell)
        })
    }

    fn manage<'c>(
        &mut self,
        crew: &mut Crew<'c>,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Flow, ConversionError>
    where
        'a: 'c,
    {
        let mut underway = BTreeMap::new();
        let mut flow = Flow::Go;
        loop {
            if flow == Flow::Go {
                self.hand_out(crew, &mut underway, tell)?;
            }
            if underway.is_empty() {
                return Ok(flow);
            }
            match crew.hear() {
                Note::Usage(seat, usage) => {
                    if let Some(Underway { attempt, .. }) = underway.get(&seat) {
                        let pages = &attempt.pages;
                        tell(Event::Usage { pages, usage });
                    }
                }
                Note::Ended(seat, went) => {
                    let Some(one) = underway.remove(&seat) else {
                        continue;
                    };
                    match self.end(one, went?, tell)? {
                        After::GoOn => {}
                        After::MadeRoom => crew.dismiss(seat),
                        After::Stop => flow = Flow::Stop,
                    }
                }
                Note::Lost => return Ok(Flow::Stop),
            }
        }
    }

    /// Gives every free worker an attempt, as far as there are any.
    fn hand_out<'c>(
        &mut self,
        crew: &mut Crew<'c>,
        underway: &mut BTreeMap<Seat, Underway>,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), ConversionError>
    where
        'a: 'c,
    {
        while let Some(seat) = crew.free() {
            let Some(attempt) = self.next_attempt() else {
                break;
            };
            let (one, assignment) = self.begin(attempt, seat, tell)?;
            crew.give(seat, assignment);
            underway.insert(seat, one);
        }
        crew.rest();
        Ok(())
    }
}
