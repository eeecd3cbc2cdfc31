//! What follows a chunk's end. Pure.
//!
//! ```text
//!                 +-- converted ------> accept
//!                 |
//!  a chunk ends --+-- memory ---------> halve, the halves next; a single page again with
//!                 |                     less effort each time, at last given up
//!                 |
//!                 +-- crash, hang ----> once more; then halve, the halves last;
//!                 |                     a single page at half the resolution, at last
//!                 |                     given up
//!                 +-- requeued -------> the same again, no failure is counted
//!                 |
//!                 +-- interrupted ----> stop, the journal is kept
//!                 |
//!                 +-- refused --------> abort: every chunk would end like this
//! ```
//!
//! Where freed memory was left to the C library because there was room by far
//! ([`Heap::Kept`](crate::tuning::Heap::Kept)), it is given back from the first
//! chunk on that runs out of memory.
//!
//! Before anything has been converted, two failures that have no page in
//! common are taken for the same cause, and the conversion is aborted: single
//! pages that run out of memory, or chunks that crashed twice with the same
//! words. The rest would only fail more slowly.
//!
//! When two chunks that have no page in common ran out of memory, the estimate
//! is wrong rather than the pages heavy: [`Recovery::expects_failure`] then
//! holds for every chunk with the same estimate or more, and the caller takes
//! the next step of the ladder without trying.

use std::fmt;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use crate::pages::PageSet;
use crate::runner::Ending;
use crate::version::PageChoice;

/// Why a chunk has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Memory ran out: our limit, an outer one, the machine's, or an
    /// allocation that was refused.
    Memory,
    /// Anything else that a second attempt or fewer pages may avoid.
    Crash,
}

/// What a chunk's end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// There is a result.
    Converted,
    /// There is none.
    Failed(Failure),
    /// It had to make room for others: the same once more.
    Requeued,
    /// The user wants to stop.
    Stopped,
    /// Marker did not take its arguments, or could not be started.
    Refused,
}

/// Exit code of marker for options that it does not know.
const USAGE: i32 = 2;

/// Judges an ending. `complete` says whether the expected files are there,
/// `errors` is the end of what marker wrote to standard error.
pub fn judge(ending: &Ending, complete: bool, errors: &[u8]) -> Judgement {
    match ending {
        Ending::Finished { exit_code: 0 } if complete => Judgement::Converted,
        Ending::Finished { exit_code: USAGE } => Judgement::Refused,
        Ending::Finished { .. } if tells_of_memory(errors) => Judgement::Failed(Failure::Memory),
        Ending::MemoryLimit
        | Ending::OuterLimit
        | Ending::MachineOom
        | Ending::PartialKill
        | Ending::RefusedAllocation => Judgement::Failed(Failure::Memory),
        Ending::Finished { .. }
        | Ending::Signaled { .. }
        | Ending::KilledByOther
        | Ending::TimeLimit
        | Ending::Unexplained => Judgement::Failed(Failure::Crash),
        Ending::Requeued => Judgement::Requeued,
        Ending::Interrupted => Judgement::Stopped,
        Ending::NotStarted { .. } => Judgement::Refused,
    }
}

/// Whether a program ended because an allocation was refused: Python, NumPy,
/// PyTorch, CUDA, C++ and the loader in their own words.
///
/// Not among them: `resource_tracker: … leaked semaphore objects`, which is all
/// that a killed marker leaves behind, but whoever killed it (its progress bars
/// hold semaphores); and `BrokenProcessPool`, which says that a process that
/// extracts text is gone, not why. Both are crashes, and as such are tried again
/// and then in halves, without such processes in the end.
fn tells_of_memory(errors: &[u8]) -> bool {
    let text = String::from_utf8_lossy(errors);
    [
        // Also numpy's _ArrayMemoryError.
        "MemoryError",
        "Unable to allocate",
        "can't allocate memory",
        "Cannot allocate memory",
        "out of memory",
        "std::bad_alloc",
        // A library that no room was left to map: `ImportError: … failed to map
        // segment from shared object`.
        "failed to map segment",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// What an attempt may cost, from the most to the least.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// As the plan has it.
    #[default]
    Usual,
    /// Every batch of every stage holds one item: slower, the same result.
    SmallBatches,
    /// Besides, pages are rendered at half the resolution: a worse result.
    LowResolution,
}

impl Effort {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Effort; 3] = [Effort::Usual, Effort::SmallBatches, Effort::LowResolution];

    /// The next one that costs less; `None` where there is none.
    pub fn less(self) -> Option<Effort> {
        match self {
            Effort::Usual => Some(Effort::SmallBatches),
            Effort::SmallBatches => Some(Effort::LowResolution),
            Effort::LowResolution => None,
        }
    }
}

/// For people, behind the pages: `pages 3 in batches of one`.
impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effort::Usual => "as planned",
            Effort::SmallBatches => "in batches of one",
            Effort::LowResolution => "in batches of one and at half the resolution",
        })
    }
}

/// What to do after a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The same pages once more.
    Retry,
    /// Each half by itself, before everything else.
    HalvesNext(PageSet, PageSet),
    /// Each half by itself, after everything else.
    HalvesLast(PageSet, PageSet),
    /// The same page with less effort.
    Less(Effort),
    /// These pages stay unconverted.
    GiveUp,
    /// The whole conversion makes no sense.
    Abort,
}

/// What is remembered from one failure to the next.
#[derive(Debug, Default)]
pub struct Recovery {
    /// How pages may be divided.
    choice: PageChoice,
    /// Whether this run has converted anything.
    converted: bool,
    /// Page sets that were converted, and what that was allowed to cost.
    fit: Vec<(PageSet, Effort)>,
    /// Page sets that ran out of memory, and what that was allowed to cost.
    out_of_memory: Vec<(PageSet, Effort)>,
    /// Single pages that ran out of memory.
    too_large: Vec<PageSet>,
    /// Chunks that crashed for good, with their last words.
    crashed: Vec<(PageSet, Option<String>)>,
}

impl Recovery {
    /// Nothing has failed yet; pages may be divided like this.
    pub fn new(choice: PageChoice) -> Recovery {
        Recovery {
            choice,
            ..Recovery::default()
        }
    }

    /// Remembers that marker has converted these pages.
    pub fn note_converted(&mut self, pages: &PageSet, effort: Effort) {
        self.converted = true;
        self.note_fit(pages, effort);
    }

    /// Remembers that an earlier run has.
    pub fn note_fit(&mut self, pages: &PageSet, effort: Effort) {
        self.fit.push((pages.clone(), effort));
    }

    /// Remembers that these pages ran out of memory under this limit.
    pub fn note_out_of_memory(&mut self, pages: &PageSet, effort: Effort) {
        self.out_of_memory.push((pages.clone(), effort));
    }

    /// Whether an attempt must be expected to run out of memory: two that have
    /// no page in common did, although no more was estimated for them, and none
    /// that was to take as much has come to its end. What cost less does not
    /// tell about what costs more, nor the other way round about failures.
    ///
    /// Never of the last steps of the ladder: a page loses quality only when it
    /// was seen to need that.
    pub fn expects_failure(
        &self,
        pages: &PageSet,
        effort: Effort,
        estimate: impl Fn(&PageSet, Effort) -> ByteSize,
    ) -> bool {
        if effort != Effort::Usual {
            return false;
        }
        let expected = estimate(pages, effort);
        let fits =
            |(pages, had): &(PageSet, Effort)| *had <= effort && estimate(pages, *had) >= expected;
        let alike: Vec<_> = self
            .out_of_memory
            .iter()
            .filter(|(pages, had)| *had >= effort && estimate(pages, *had) <= expected)
            .collect();
        !self.fit.iter().any(fits)
            && alike.iter().any(|(pages, _)| {
                alike
                    .iter()
                    .any(|(others, _)| !pages.iter().any(|page| others.contains(page)))
            })
    }

    /// Decides what follows. `retried` says whether these pages, or a chunk
    /// that held them, have had their second attempt.
    pub fn next(
        &mut self,
        pages: &PageSet,
        effort: Effort,
        failure: Failure,
        retried: bool,
        last_words: Option<&str>,
    ) -> Action {
        match failure {
            Failure::Memory => self.after_memory(pages, effort),
            Failure::Crash if !retried => Action::Retry,
            Failure::Crash => self.after_crash(pages, effort, last_words),
        }
    }

    fn after_memory(&mut self, pages: &PageSet, effort: Effort) -> Action {
        if let Some(action) = after_memory(pages, effort, self.choice) {
            return action;
        }
        self.too_large.push(pages.clone());
        if !self.converted && self.too_large.len() > 1 {
            Action::Abort
        } else {
            Action::GiveUp
        }
    }

    fn after_crash(&mut self, pages: &PageSet, effort: Effort, last_words: Option<&str>) -> Action {
        let alike = self.crashed.iter().any(|(other, words)| {
            words.as_deref() == last_words && !pages.iter().any(|page| other.contains(page))
        });
        if alike && !self.converted {
            return Action::Abort;
        }
        self.crashed
            .push((pages.clone(), last_words.map(str::to_owned)));
        match (self.choice.halves(pages), effort) {
            (Some((low, high)), _) => Action::HalvesLast(low, high),
            // PDFium makes no picture of more than 2 GiB: marker 1.10 ends with
            // `KeyError: 0` on a page of 200 inches, whatever memory there is.
            (None, Effort::Usual | Effort::SmallBatches) => Action::Less(Effort::LowResolution),
            (None, Effort::LowResolution) => Action::GiveUp,
        }
    }
}

/// The step of the ladder that follows when these pages ran out of memory;
/// `None` behind the last one.
pub fn after_memory(pages: &PageSet, effort: Effort, choice: PageChoice) -> Option<Action> {
    match choice.halves(pages) {
        Some((low, high)) => Some(Action::HalvesNext(low, high)),
        None => effort.less().map(Action::Less),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_judged() {
        use Failure::{Crash, Memory};
        let finished = |exit_code| Ending::Finished { exit_code };
        let numpy = b"numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9.86 MiB";
        let mapping = b"ImportError: libtorch_cpu.so: failed to map segment from shared object";
        let leaked = b"resource_tracker: There appear to be 1 leaked semaphore objects";
        let pool = b"concurrent.futures.process.BrokenProcessPool: A process in the pool";
        let cases: [(Ending, bool, &[u8], Judgement); 20] = [
            (finished(0), true, b"", Judgement::Converted),
            (finished(0), false, b"", Judgement::Failed(Crash)),
            (
                finished(1),
                false,
                b"ValueError: x",
                Judgement::Failed(Crash),
            ),
            (finished(1), false, numpy, Judgement::Failed(Memory)),
            (finished(1), false, mapping, Judgement::Failed(Memory)),
            (finished(1), false, pool, Judgement::Failed(Crash)),
            (
                Ending::KilledByOther,
                false,
                leaked,
                Judgement::Failed(Crash),
            ),
            (
                Ending::MemoryLimit,
                false,
                leaked,
                Judgement::Failed(Memory),
            ),
            (
                finished(2),
                false,
                b"Error: No such option",
                Judgement::Refused,
            ),
            (Ending::MemoryLimit, false, b"", Judgement::Failed(Memory)),
            (Ending::OuterLimit, false, b"", Judgement::Failed(Memory)),
            (Ending::MachineOom, false, b"", Judgement::Failed(Memory)),
            (
                Ending::RefusedAllocation,
                false,
                b"",
                Judgement::Failed(Memory),
            ),
            (Ending::PartialKill, true, b"", Judgement::Failed(Memory)),
            (
                Ending::Signaled { signal: 11 },
                false,
                b"",
                Judgement::Failed(Crash),
            ),
            (Ending::KilledByOther, false, b"", Judgement::Failed(Crash)),
            (Ending::TimeLimit, false, b"", Judgement::Failed(Crash)),
            (Ending::Requeued, false, b"", Judgement::Requeued),
            (Ending::Interrupted, false, b"", Judgement::Stopped),
            (
                Ending::NotStarted {
                    reason: String::new(),
                },
                false,
                b"",
                Judgement::Refused,
            ),
        ];
        for (ending, complete, errors, expected) in cases {
            assert_eq!(judge(&ending, complete, errors), expected, "{ending:?}");
        }
    }

    fn pages(from: u32, to: u32) -> PageSet {
        PageSet::from_pages(from..=to)
    }

    #[test]
    fn memory_halves_at_once_and_gives_single_pages_up_at_the_least_effort() {
        let mut recovery = Recovery::default();
        let least = Effort::LowResolution;
        let mut at = |effort| recovery.next(&pages(3, 3), effort, Failure::Memory, false, None);
        assert_eq!(at(Effort::Usual), Action::Less(Effort::SmallBatches));
        assert_eq!(at(Effort::SmallBatches), Action::Less(least));
        let mut next = |pages: &PageSet| recovery.next(pages, least, Failure::Memory, false, None);
        assert_eq!(
            next(&pages(0, 9)),
            Action::HalvesNext(pages(0, 4), pages(5, 9))
        );
        assert_eq!(next(&pages(3, 3)), Action::GiveUp);
        // A second page, and nothing was ever converted: the limit is too small.
        assert_eq!(next(&pages(4, 4)), Action::Abort);
        recovery.note_converted(&pages(9, 9), Effort::Usual);
        assert_eq!(
            recovery.next(&pages(5, 5), least, Failure::Memory, false, None),
            Action::GiveUp
        );
    }

    #[test]
    fn two_chunks_that_did_not_fit_tell_of_the_others() {
        let mut recovery = Recovery::default();
        let mut fail = |pages: &PageSet| recovery.note_out_of_memory(pages, Effort::Usual);
        fail(&pages(0, 9));
        fail(&pages(0, 4));
        let by_number = |pages: &PageSet, _| ByteSize::from_mib(100 * pages.len() as u64);
        let expects = |recovery: &Recovery, pages: &PageSet| {
            recovery.expects_failure(pages, Effort::Usual, by_number)
        };
        assert!(!expects(&recovery, &pages(30, 39)));
        recovery.note_out_of_memory(&pages(10, 20), Effort::Usual);
        assert!(!expects(&recovery, &pages(30, 39)));
        assert!(expects(&recovery, &pages(30, 40)));
        // Not of what costs less, and not once as much has been seen to fit.
        assert!(!recovery.expects_failure(&pages(30, 40), Effort::SmallBatches, by_number));
        recovery.note_converted(&pages(50, 60), Effort::SmallBatches);
        assert!(expects(&recovery, &pages(30, 40)));
        recovery.note_converted(&pages(50, 60), Effort::Usual);
        assert!(!expects(&recovery, &pages(30, 40)));
        assert!(expects(&recovery, &pages(30, 41)));
    }

    #[test]
    fn a_crash_is_tried_again_then_halved_after_the_rest() {
        let mut recovery = Recovery::default();
        let mut next = |pages: &PageSet, retried| {
            recovery.next(
                pages,
                Effort::Usual,
                Failure::Crash,
                retried,
                Some("KeyError: 1"),
            )
        };
        assert_eq!(next(&pages(0, 3), false), Action::Retry);
        assert_eq!(
            next(&pages(0, 3), true),
            Action::HalvesLast(pages(0, 1), pages(2, 3))
        );
        // The same page again is no new evidence.
        assert_eq!(
            next(&pages(0, 1), true),
            Action::HalvesLast(pages(0, 0), pages(1, 1))
        );
        // Other pages with the same words are.
        assert_eq!(next(&pages(2, 3), true), Action::Abort);
    }

    #[test]
    fn after_a_success_or_with_other_words_a_crash_is_of_its_pages() {
        let mut recovery = Recovery::default();
        recovery.next(&pages(0, 1), Effort::Usual, Failure::Crash, true, Some("a"));
        let action = recovery.next(&pages(2, 3), Effort::Usual, Failure::Crash, true, Some("b"));
        assert!(matches!(action, Action::HalvesLast(..)));
        recovery.note_converted(&pages(9, 9), Effort::Usual);
        let mut at = |effort| recovery.next(&pages(4, 4), effort, Failure::Crash, true, Some("a"));
        assert_eq!(at(Effort::Usual), Action::Less(Effort::LowResolution));
        assert_eq!(at(Effort::LowResolution), Action::GiveUp);
    }

    #[test]
    fn pages_that_cannot_be_divided_are_tried_with_less_effort() {
        let all = pages(0, 9);
        let whole = PageChoice::FromTheFirst;
        assert_eq!(
            after_memory(&all, Effort::Usual, whole),
            Some(Action::Less(Effort::SmallBatches))
        );
        assert_eq!(after_memory(&all, Effort::LowResolution, whole), None);
        let mut recovery = Recovery::new(whole);
        let crash = recovery.next(&all, Effort::Usual, Failure::Crash, true, None);
        assert_eq!(crash, Action::Less(Effort::LowResolution));
    }
}
