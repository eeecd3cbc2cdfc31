//! What is still to be tried, in which order.

use std::collections::VecDeque;

use crate::pages::PageSet;
use crate::recovery::{Action, Effort, after_memory};
use crate::version::PageChoice;

/// Pages that marker is to convert together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) pages: PageSet,
    /// What it may cost.
    pub(crate) effort: Effort,
    /// Whether these pages, or a chunk that held them, have had their second
    /// attempt.
    pub(crate) retried: bool,
}

impl Attempt {
    /// The first attempt at these pages.
    pub(crate) fn first(pages: PageSet) -> Attempt {
        Attempt {
            pages,
            effort: Effort::Usual,
            retried: false,
        }
    }

    /// Another attempt, at some of the pages.
    fn at(&self, pages: PageSet) -> Attempt {
        Attempt {
            pages,
            ..self.clone()
        }
    }
}

/// The attempts that are to come.
#[derive(Debug)]
pub(super) struct Queue {
    attempts: VecDeque<Attempt>,
    /// How pages may be divided.
    choice: PageChoice,
}

impl Queue {
    /// First attempts, in this order.
    pub(super) fn of(chunks: impl IntoIterator<Item = PageSet>, choice: PageChoice) -> Queue {
        Queue {
            attempts: chunks.into_iter().map(Attempt::first).collect(),
            choice,
        }
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// The next attempt; while `is_hopeless` holds for it, the next step of the
    /// ladder is taken without trying. The last step is always tried.
    pub(super) fn next(&mut self, is_hopeless: impl Fn(&Attempt) -> bool) -> Option<Attempt> {
        loop {
            let attempt = self.attempts.pop_front()?;
            if !is_hopeless(&attempt) {
                return Some(attempt);
            }
            match after_memory(&attempt.pages, attempt.effort, self.choice) {
                Some(action) => self.follow(&attempt, &action),
                None => return Some(attempt),
            }
        }
    }

    /// Puts an attempt that was not its pages' fault before all others.
    pub(super) fn again(&mut self, attempt: Attempt) {
        self.attempts.push_front(attempt);
    }

    /// Puts what follows a failure into its place.
    pub(super) fn follow(&mut self, attempt: &Attempt, action: &Action) {
        match action {
            Action::Retry => self.attempts.push_front(Attempt {
                retried: true,
                ..attempt.clone()
            }),
            Action::Less(effort) => self.attempts.push_front(Attempt {
                effort: *effort,
                ..attempt.clone()
            }),
            Action::HalvesNext(low, high) => {
                self.attempts.push_front(attempt.at(high.clone()));
                self.attempts.push_front(attempt.at(low.clone()));
            }
            Action::HalvesLast(low, high) => {
                self.attempts
                    .extend([attempt.at(low.clone()), attempt.at(high.clone())]);
            }
            Action::GiveUp | Action::Abort => {}
        }
    }
}
