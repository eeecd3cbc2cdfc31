//! What became of all documents together. Pure.

use serde::Serialize;

use crate::conversion::Status;
use crate::many::{DocumentResult, End, Skipped};

/// How many documents ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Every page is there, by this run or an earlier one.
    pub complete: usize,
    /// There is a result, but not of every page.
    pub partial: usize,
    /// Nothing was produced.
    pub failed: usize,
    /// Stopped by the user, or not begun for it.
    pub interrupted: usize,
}

/// The whole in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every page of every document is there.
    Complete,
    /// Something is missing.
    Partial,
    /// Nothing was produced.
    Nothing,
    /// The user stopped it.
    Interrupted,
}

impl Tally {
    /// Counts.
    pub fn of(results: &[DocumentResult], skipped: &[Skipped]) -> Tally {
        let mut tally = Tally {
            failed: skipped
                .iter()
                .filter(|one| one.because.is_failure())
                .count(),
            ..Tally::default()
        };
        for result in results {
            match &result.end {
                End::Ran(outcome) => match outcome.status {
                    Status::Complete | Status::AlreadyDone => tally.complete += 1,
                    Status::Partial => tally.partial += 1,
                    Status::Nothing => tally.failed += 1,
                    Status::Interrupted => tally.interrupted += 1,
                },
                End::Failed(_) | End::Pointless => tally.failed += 1,
                End::NotBegun => tally.interrupted += 1,
            }
        }
        tally
    }

    /// Sums it up.
    pub fn verdict(&self) -> Verdict {
        match *self {
            Tally { interrupted, .. } if interrupted > 0 => Verdict::Interrupted,
            Tally {
                complete: 0,
                partial: 0,
                ..
            } => Verdict::Nothing,
            Tally {
                partial: 0,
                failed: 0,
                ..
            } => Verdict::Complete,
            _ => Verdict::Partial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_as_good_as_its_parts() {
        use Verdict::{Complete, Interrupted, Nothing, Partial};
        // Complete, partial, failed, interrupted.
        let cases = [
            ([3, 0, 0, 0], Complete),
            ([2, 1, 0, 0], Partial),
            ([2, 0, 1, 0], Partial),
            ([0, 1, 0, 0], Partial),
            ([0, 0, 2, 0], Nothing),
            ([0, 0, 0, 0], Nothing),
            ([2, 0, 1, 1], Interrupted),
        ];
        for ([complete, partial, failed, interrupted], expected) in cases {
            let tally = Tally {
                complete,
                partial,
                failed,
                interrupted,
            };
            assert_eq!(tally.verdict(), expected, "{tally:?}");
        }
    }
}
