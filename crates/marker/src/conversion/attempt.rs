//! What is still to be tried, in which order.

use std::collections::VecDeque;

use crate::pages::PageSet;
use crate::recovery::Action;

/// Pages that marker is to convert together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) pages: PageSet,
    /// Whether these pages, or a chunk that held them, have had their second
    /// attempt.
    pub(crate) retried: bool,
}

impl Attempt {
    /// The first attempt at these pages.
    pub(crate) fn first(pages: PageSet) -> Attempt {
        Attempt {
            pages,
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
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Attempt>);

impl Queue {
    /// First attempts, in this order.
    pub(super) fn of(chunks: impl IntoIterator<Item = PageSet>) -> Queue {
        Queue(chunks.into_iter().map(Attempt::first).collect())
    }

    /// The next attempt; one for which `is_hopeless` holds is halved until it
    /// no longer does.
    pub(super) fn next(&mut self, is_hopeless: impl Fn(&PageSet) -> bool) -> Option<Attempt> {
        loop {
            let attempt = self.0.pop_front()?;
            match attempt.pages.halves() {
                Some((low, high)) if is_hopeless(&attempt.pages) => {
                    self.0.push_front(attempt.at(high));
                    self.0.push_front(attempt.at(low));
                }
                _ => return Some(attempt),
            }
        }
    }

    /// Puts an attempt that was not its pages' fault before all others.
    pub(super) fn again(&mut self, attempt: Attempt) {
        self.0.push_front(attempt);
    }

    /// Puts what follows a failure into its place.
    pub(super) fn follow(&mut self, attempt: &Attempt, action: &Action) {
        match action {
            Action::Retry => self.0.push_front(Attempt {
                retried: true,
                ..attempt.clone()
            }),
            Action::HalvesNext(low, high) => {
                self.0.push_front(attempt.at(high.clone()));
                self.0.push_front(attempt.at(low.clone()));
            }
            Action::HalvesLast(low, high) => {
                self.0
                    .extend([attempt.at(low.clone()), attempt.at(high.clone())]);
            }
            Action::GiveUp | Action::Abort => {}
        }
    }
}
