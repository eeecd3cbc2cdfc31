//! What was tried for one document, gathered from its events. Pure.

use std::time::Duration;

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::events::Event;
use crate::pages::PageSet;
use crate::recovery::{Action, Effort};
use crate::runner::{Ending, StepReport};

/// One run of marker over some pages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// The pages.
    pub pages: PageSet,
    /// Whether they, or a chunk that held them, had crashed before.
    pub retry: bool,
    /// What it was allowed to cost.
    pub effort: Effort,
    /// What it was estimated to take, in bytes.
    #[serde(rename = "estimate_bytes")]
    pub estimate: ByteSize,
    /// The peak of its tree, where measured, in bytes.
    #[serde(rename = "peak_bytes", skip_serializing_if = "Option::is_none")]
    pub peak: Option<ByteSize>,
    /// From start to end, in seconds; absent where the end was not seen.
    #[serde(
        rename = "wall_seconds",
        serialize_with = "seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub wall: Option<Duration>,
    /// The verdict's kind; absent where the end was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<&'static str>,
    /// Marker's own, where it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last line that marker wrote before it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
    /// What followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
}

/// What followed an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// Its result is part of the whole.
    Kept,
    /// It made room for others, and the same pages once more; no failure.
    Requeued,
    /// The user stopped it, and the next run has the same pages; no failure.
    Stopped,
    /// The same pages once more.
    Retried,
    /// Each half of the pages by itself.
    Halved,
    /// The same page with less effort.
    Less,
    /// The pages were given up.
    GaveUp,
    /// The conversion was given up.
    Aborted,
}

fn seconds<S: serde::Serializer>(wall: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match wall {
        Some(wall) => to.serialize_some(&wall.as_secs_f64()),
        None => to.serialize_none(),
    }
}

/// All that was tried for one document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attempts {
    /// In the order in which they were started.
    pub records: Vec<AttemptRecord>,
    /// Pages that an earlier run had converted.
    pub kept: PageSet,
}

impl Attempts {
    /// Notes what an event tells.
    pub fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Resumed { kept, .. } => self.kept = (*kept).clone(),
            Event::ChunkStarted {
                pages,
                again,
                effort,
                estimate,
            } => self.records.push(AttemptRecord {
                pages: (*pages).clone(),
                retry: *again,
                effort: *effort,
                estimate: *estimate,
                peak: None,
                wall: None,
                ending: None,
                exit_code: None,
                last_words: None,
                then: None,
            }),
            Event::ChunkDone { pages, report } => self.end(pages, report, None, Then::Kept),
            Event::ChunkRequeued { pages, report } => {
                self.end(pages, report, None, Then::Requeued);
            }
            Event::ChunkStopped { pages, report } => {
                self.end(pages, report, None, Then::Stopped);
            }
            Event::ChunkFailed {
                pages,
                report,
                last_words,
                action,
                ..
            } => self.end(pages, report, *last_words, Then::from(*action)),
            Event::Usage { .. }
            | Event::Recut { .. }
            | Event::Merging { .. }
            | Event::Merged(_)
            | Event::Published { .. } => {}
        }
    }

    /// How many attempts were not kept.
    pub fn failures(&self) -> usize {
        let failed = |record: &&AttemptRecord| match record.then {
            Some(Then::Kept | Then::Requeued | Then::Stopped) => false,
            Some(Then::Retried | Then::Halved | Then::Less | Then::GaveUp | Then::Aborted)
            | None => true,
        };
        self.records.iter().filter(failed).count()
    }

    /// The largest peak, where any was measured.
    pub fn peak(&self) -> Option<ByteSize> {
        self.records.iter().filter_map(|record| record.peak).max()
    }

    fn end(&mut self, pages: &PageSet, report: &StepReport, words: Option<&str>, then: Then) {
        let open = |record: &&mut AttemptRecord| record.then.is_none() && record.pages == *pages;
        if let Some(record) = self.records.iter_mut().rev().find(open) {
            record.peak = report.peak;
            record.wall = Some(report.wall);
            record.ending = Some(report.ending.kind());
            record.exit_code = exit_code(&report.ending);
            record.last_words = words.map(str::to_owned);
            record.then = Some(then);
        }
    }
}

impl From<&Action> for Then {
    fn from(action: &Action) -> Then {
        match action {
            Action::Retry => Then::Retried,
            Action::HalvesNext(..) | Action::HalvesLast(..) => Then::Halved,
            Action::Less(_) => Then::Less,
            Action::GiveUp => Then::GaveUp,
            Action::Abort => Then::Aborted,
        }
    }
}

fn exit_code(ending: &Ending) -> Option<i32> {
    match ending {
        Ending::Finished { exit_code } => Some(*exit_code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn each_attempt_keeps_its_end() {
        let pages = PageSet::all(2);
        let report = |ending| StepReport {
            ending,
            peak: Some(ByteSize::from_mib(7)),
            accounting: None,
            wall: Duration::from_secs(3),
        };
        let started = |again| Event::ChunkStarted {
            pages: &pages,
            again,
            effort: Effort::Usual,
            estimate: ByteSize::from_mib(5),
        };
        let mut attempts = Attempts::default();
        attempts.note(&started(false));
        let failed = report(Ending::Finished { exit_code: 1 });
        attempts.note(&Event::ChunkFailed {
            pages: &pages,
            report: &failed,
            last_words: Some("KeyError"),
            log: Path::new("log"),
            action: &Action::Retry,
        });
        attempts.note(&started(true));
        attempts.note(&Event::ChunkDone {
            pages: &pages,
            report: &report(Ending::Finished { exit_code: 0 }),
        });
        attempts.note(&started(false));
        attempts.note(&Event::ChunkStopped {
            pages: &pages,
            report: &report(Ending::Interrupted),
        });
        attempts.note(&started(false));
        let [first, second, stopped, open] = &attempts.records[..] else {
            panic!("{attempts:?}");
        };
        assert_eq!(
            (stopped.peak, stopped.ending, stopped.then),
            (
                Some(ByteSize::from_mib(7)),
                Some("interrupted"),
                Some(Then::Stopped)
            )
        );
        assert_eq!(
            (first.exit_code, first.then),
            (Some(1), Some(Then::Retried))
        );
        assert_eq!(first.last_words.as_deref(), Some("KeyError"));
        assert_eq!((second.retry, second.then), (true, Some(Then::Kept)));
        assert_eq!((open.ending, open.wall), (None, None));
        assert_eq!(attempts.failures(), 2);
        assert_eq!(attempts.peak(), Some(ByteSize::from_mib(7)));
    }
}
