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

    /// The attempts that take this one's place after it has failed.
    pub(crate) fn followed_by(&self, action: &Action) -> Vec<Pending> {
        let now = |attempt| Pending {
            attempt,
            last: false,
        };
        match action {
            Action::Retry => vec![now(Attempt {
                retried: true,
                ..self.clone()
            })],
            Action::Less(effort) => vec![now(Attempt {
                effort: *effort,
                ..self.clone()
            })],
            Action::HalvesNext(low, high) => {
                [low, high].map(|half| now(self.at(half.clone()))).into()
            }
            Action::HalvesLast(low, high) => [low, high]
                .map(|half| Pending {
                    attempt: self.at(half.clone()),
                    last: true,
                })
                .into(),
            Action::GiveUp | Action::Abort => Vec::new(),
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

/// An attempt that follows a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) attempt: Attempt,
    /// Whether it comes after everything else.
    pub(crate) last: bool,
}

/// The attempts that are to come, in three lines that are worked off one after
/// the other.
#[derive(Debug)]
pub(super) struct Queue {
    /// What follows a failure, and cannot wait.
    now: VecDeque<Attempt>,
    /// Chunks that were not tried yet; they may be cut anew.
    planned: VecDeque<PageSet>,
    /// What follows a crash.
    last: VecDeque<Attempt>,
    /// How pages may be divided.
    choice: PageChoice,
}

impl Queue {
    /// First attempts, in this order.
    pub(super) fn of(chunks: impl IntoIterator<Item = PageSet>, choice: PageChoice) -> Queue {
        Queue {
            now: VecDeque::new(),
            planned: chunks.into_iter().collect(),
            last: VecDeque::new(),
            choice,
        }
    }

    /// Takes up what was to follow the failures of an earlier run.
    pub(super) fn resume(&mut self, pending: &[Pending]) {
        for Pending { attempt, last } in pending {
            match last {
                true => self.last.push_back(attempt.clone()),
                false => self.now.push_back(attempt.clone()),
            }
        }
    }

    /// The chunks that were not tried yet.
    pub(super) fn planned(&self) -> Vec<PageSet> {
        self.planned.iter().cloned().collect()
    }

    /// Puts other chunks of the same pages in their place.
    pub(super) fn replan(&mut self, chunks: impl IntoIterator<Item = PageSet>) {
        self.planned = chunks.into_iter().collect();
    }

    /// The next attempt; while `is_hopeless` holds for it, the next step of the
    /// ladder is taken without trying. The last step is always tried.
    pub(super) fn next(&mut self, is_hopeless: impl Fn(&Attempt) -> bool) -> Option<Attempt> {
        loop {
            let attempt = self.pop()?;
            if !is_hopeless(&attempt) {
                return Some(attempt);
            }
            match after_memory(&attempt.pages, attempt.effort, self.choice) {
                Some(action) => self.follow(&attempt, &action),
                None => return Some(attempt),
            }
        }
    }

    fn pop(&mut self) -> Option<Attempt> {
        self.now
            .pop_front()
            .or_else(|| self.planned.pop_front().map(Attempt::first))
            .or_else(|| self.last.pop_front())
    }

    /// Puts an attempt that was not its pages' fault before all others.
    pub(super) fn again(&mut self, attempt: Attempt) {
        self.now.push_front(attempt);
    }

    /// Puts what follows a failure into its place.
    pub(super) fn follow(&mut self, attempt: &Attempt, action: &Action) {
        let (last, now): (Vec<_>, Vec<_>) = attempt
            .followed_by(action)
            .into_iter()
            .partition(|pending| pending.last);
        for pending in now.into_iter().rev() {
            self.now.push_front(pending.attempt);
        }
        self.last
            .extend(last.into_iter().map(|pending| pending.attempt));
    }
}
