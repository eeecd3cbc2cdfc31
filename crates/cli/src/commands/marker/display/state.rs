//! How far the work is, gathered from its events. Pure: time is what it is
//! told.

use std::collections::BTreeMap;
use std::time::Duration;

use memcap_linux::ByteSize;
use memcap_marker::Event;
use memcap_marker::many::DocumentEvent;
use memcap_marker::runner::Usage;

use super::words;

/// How far the work on all documents is.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The limit of each conversion.
    pub(super) limit: ByteSize,
    pub(super) documents: Vec<Document>,
    /// What is being done for each document that is worked on.
    pub(super) steps: BTreeMap<Which, Step>,
    /// The largest peak of any run so far.
    pub(super) peak: ByteSize,
    /// Attempts that failed.
    pub(super) failures: usize,
    /// Pages converted by this run.
    pub(super) converted: usize,
    /// When it converted the last one, since the beginning.
    pub(super) converted_at: Duration,
    /// Whether the user wants to stop.
    pub(super) is_stopping: bool,
}

/// Which step: the document, and the first page of the chunk that is converted;
/// `None` for what concerns the document as a whole.
pub(super) type Which = (usize, Option<u32>);

/// One document.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) name: String,
    /// Its pages, where they are known or expected.
    pub(super) pages: Option<usize>,
    /// Those that are there.
    pub(super) done: usize,
    pub(super) has_ended: bool,
}

/// What is being done.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) text: String,
    /// How many pages it converts.
    pub(super) pages: usize,
    /// When it was begun, since the beginning.
    pub(super) since: Duration,
    pub(super) usage: Option<Usage>,
    /// Whether it is over, and shown until another begins.
    pub(super) is_over: bool,
}

impl State {
    pub(super) fn new(documents: Vec<Document>, limit: ByteSize) -> State {
        State {
            limit,
            documents,
            ..State::default()
        }
    }

    /// Notes what an event tells.
    pub(super) fn note(&mut self, index: usize, event: &DocumentEvent<'_>, now: Duration) {
        match event {
            DocumentEvent::Begun(_) => {
                self.begin((index, None), "looking at it".to_owned(), 0, now);
            }
            DocumentEvent::Planned(plan) => {
                self.documents[index].pages = Some(plan.pages.len());
            }
            DocumentEvent::Conversion(event) => self.note_conversion(index, event, now),
            DocumentEvent::Ended(_) => {
                self.steps.retain(|(document, _), _| *document != index);
                let document = &mut self.documents[index];
                document.has_ended = true;
                // What was not converted is no longer to be waited for.
                document.pages = Some(document.done);
            }
        }
    }

    fn note_conversion(&mut self, index: usize, event: &Event<'_>, now: Duration) {
        match event {
            Event::Resumed { kept, .. } => self.documents[index].done = kept.len(),
            Event::ChunkStarted {
                pages,
                again,
                effort,
                ..
            } => self.begin(
                (index, pages.first()),
                words::attempt(pages, *again, *effort),
                pages.len(),
                now,
            ),
            Event::Usage { pages, usage } => {
                self.peak = self.peak.max(usage.peak);
                if let Some(step) = self.steps.get_mut(&(index, pages.first())) {
                    step.usage = Some(*usage);
                }
            }
            Event::ChunkDone { pages, report } => {
                self.peak = self.peak.max(report.peak.unwrap_or_default());
                self.documents[index].done += pages.len();
                self.converted += pages.len();
                self.converted_at = now;
                self.end((index, pages.first()));
            }
            Event::ChunkStopped { pages, report } => {
                self.peak = self.peak.max(report.peak.unwrap_or_default());
                self.end((index, pages.first()));
            }
            Event::ChunkFailed { pages, report, .. } => {
                self.end((index, pages.first()));
                self.peak = self.peak.max(report.peak.unwrap_or_default());
                self.failures += 1;
            }
            Event::Merging { chunks } => {
                self.begin((index, None), words::joining(*chunks), 0, now);
            }
            Event::ChunkRequeued { pages, .. } => {
                let which = (index, pages.first());
                self.begin(which, "waiting for room".to_owned(), 0, now);
                self.end(which);
            }
            Event::Recut { .. } | Event::Merged(_) | Event::Published { .. } => {}
        }
    }

    fn begin(&mut self, which: Which, text: String, pages: usize, now: Duration) {
        self.steps.retain(|(document, chunk), step| {
            *document != which.0 || !(step.is_over || chunk.is_none())
        });
        let step = Step {
            text,
            pages,
            since: now,
            usage: None,
            is_over: false,
        };
        self.steps.insert(which, step);
    }

    /// The only step of a document stays until another begins.
    fn end(&mut self, which: Which) {
        let others = |other: &&Which| other.0 == which.0 && **other != which;
        if self.steps.keys().any(|other| others(&other)) {
            self.steps.remove(&which);
        } else if let Some(step) = self.steps.get_mut(&which) {
            step.is_over = true;
        }
    }

    /// Pages that are there, of those that are known of.
    pub(super) fn pages(&self) -> (usize, usize) {
        let done = self.documents.iter().map(|document| document.done).sum();
        let all = self.documents.iter().filter_map(|document| document.pages);
        (done, all.sum::<usize>().max(done))
    }

    /// Documents that have ended.
    pub(super) fn documents_ended(&self) -> usize {
        let ended = self.documents.iter().filter(|document| document.has_ended);
        ended.count()
    }

    /// Pages a minute, once any was converted.
    pub(super) fn rate(&self) -> Option<f64> {
        let minutes = self.converted_at.as_secs_f64() / 60.0;
        (self.converted > 0 && minutes > 0.0).then(|| words::count(self.converted) / minutes)
    }

    /// How long it will take from `now` on, by the rate so far. Never less than
    /// what the pages that are not yet begun will take; `None` where none are left.
    pub(super) fn left(&self, now: Duration) -> Option<Duration> {
        let rate = self.rate()?;
        let (done, all) = self.pages();
        if done == all {
            return None;
        }
        let running: usize = self.steps.values().map(|step| step.pages).sum();
        let minutes = |pages: usize| words::count(pages) / rate;
        let since = now.saturating_sub(self.converted_at).as_secs_f64() / 60.0;
        let left = minutes(all - done) - since;
        let at_least = minutes((all - done).saturating_sub(running));
        Some(Duration::from_secs_f64(60.0 * left.max(at_least).max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn state(pages: &[Option<usize>]) -> State {
        let document = |pages: &Option<usize>| Document {
            pages: *pages,
            ..Document::default()
        };
        State::new(pages.iter().map(document).collect(), ByteSize::from_gib(2))
    }

    #[test]
    fn the_rate_is_that_of_this_run_and_time_goes_on_between_chunks() {
        let mut state = state(&[Some(100), None]);
        assert_eq!(state.left(seconds(9)), None);
        state.documents[0].done = 50;
        state.converted = 10;
        state.converted_at = seconds(60);
        state.begin((0, None), String::new(), 20, seconds(60));
        assert_eq!(state.pages(), (50, 100));
        assert_eq!(state.rate(), Some(10.0));
        // 50 pages at 10 a minute; the 20 that run may take longer, the other
        // 30 will still take three minutes.
        assert_eq!(state.left(seconds(60)), Some(seconds(300)));
        assert_eq!(state.left(seconds(120)), Some(seconds(240)));
        assert_eq!(state.left(seconds(600)), Some(seconds(180)));
        state.documents[0].done = 100;
        assert_eq!(state.left(seconds(600)), None);
    }

    #[test]
    fn chunks_at_the_same_time_have_steps_of_their_own() {
        let mut state = state(&[Some(40)]);
        state.begin((0, None), "looking at it".to_owned(), 0, seconds(0));
        for (first, text) in [(0, "pages 1-10"), (10, "pages 11-20")] {
            state.begin((0, Some(first)), text.to_owned(), 10, seconds(1));
        }
        let shown = |state: &State| -> Vec<String> {
            state.steps.values().map(|step| step.text.clone()).collect()
        };
        assert_eq!(shown(&state), ["pages 1-10", "pages 11-20"]);
        state.end((0, Some(0)));
        assert_eq!(shown(&state), ["pages 11-20"]);
        state.end((0, Some(10)));
        assert_eq!(shown(&state), ["pages 11-20"], "the last one stays");
        state.begin((0, None), "joining".to_owned(), 0, seconds(2));
        assert_eq!(shown(&state), ["joining"]);
    }

    #[test]
    fn documents_that_have_ended_are_not_waited_for() {
        let mut state = state(&[Some(100), Some(20)]);
        state.documents[0].done = 40;
        state.documents[0].pages = Some(40);
        state.documents[0].has_ended = true;
        assert_eq!(state.pages(), (40, 60));
        assert_eq!(state.documents_ended(), 1);
    }
}
