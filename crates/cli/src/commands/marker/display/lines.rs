//! What is said once and stays: above the bar on a terminal, or by itself in
//! a log. Pure.
//!
//! A log must show that something happens without being flooded by it: the start
//! of each of many documents is told at once, what
//! went well is told every ten seconds at most, that nothing has ended every
//! minute, a change of plan once a minute, and after twenty failures only how
//! many more there were.

use std::collections::BTreeSet;
use std::time::Duration;

use memcap_marker::many::{DocumentEvent, DocumentResult, End};
use memcap_marker::{Action, Chunk, Event, PageSet};

use super::state::State;
use super::words;
use crate::render::printable;

/// At least so long between two lines about progress.
const SELDOM: Duration = Duration::from_secs(10);
/// At most so long without any line.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);
/// Failures that are told one by one.
const MOST_FAILURES: usize = 20;

/// Where the lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Above a bar, which shows the progress.
    AboveBar,
    /// Into a log, with the time since the beginning.
    Log,
}

/// What has been said.
#[derive(Debug)]
pub(super) struct Lines {
    place: Place,
    /// Whether each line names its document.
    names: bool,
    said_at: Option<Duration>,
    failures: usize,
    failures_told: usize,
    /// Warnings that were told.
    warned: BTreeSet<String>,
    /// When the last change of plan was told.
    recut_at: Option<Duration>,
}

impl Lines {
    pub(super) fn new(place: Place, documents: usize) -> Lines {
        Lines {
            place,
            names: documents > 1,
            said_at: None,
            failures: 0,
            failures_told: 0,
            warned: BTreeSet::new(),
            recut_at: None,
        }
    }

    /// The lines for an event that `state` has taken in.
    pub(super) fn of(
        &mut self,
        index: usize,
        event: &DocumentEvent<'_>,
        state: &State,
        now: Duration,
    ) -> Vec<String> {
        let mut texts = self.lasting(event, now);
        if texts.is_empty() && self.place == Place::Log {
            texts.extend(self.progress(index, event, state, now));
        }
        // That a document is begun does not stand for its first chunk.
        if !texts.is_empty() && !matches!(event, DocumentEvent::Begun(_)) {
            self.said_at = Some(now);
        }
        let name = &state.documents[index].name;
        let in_full = |text| self.in_full(text, name, now);
        texts.into_iter().map(in_full).collect()
    }

    fn in_full(&self, text: String, name: &str, now: Duration) -> String {
        let time = match self.place {
            Place::AboveBar => String::new(),
            Place::Log => format!("[{}] ", words::clock(now)),
        };
        match self.names {
            true => format!("memcap: {time}{name}: {text}"),
            false => format!("memcap: {time}{text}"),
        }
    }

    /// What is worth telling wherever it is seen.
    fn lasting(&mut self, event: &DocumentEvent<'_>, now: Duration) -> Vec<String> {
        match event {
            DocumentEvent::Begun(_) => Vec::new(),
            DocumentEvent::Planned(plan) => match self.names {
                true => self.warnings(&plan.warnings),
                false => Vec::new(),
            },
            DocumentEvent::Ended(result) => match self.names {
                true => vec![ended(result)],
                false => Vec::new(),
            },
            DocumentEvent::Conversion(event) => self.lasting_of(event, now),
        }
    }

    /// Each once: what is true of the machine is true for every document.
    fn warnings(&mut self, warnings: &[String]) -> Vec<String> {
        let new = warnings
            .iter()
            .filter(|text| self.warned.insert((*text).clone()));
        new.map(|text| format!("warning: {}", printable(text)))
            .collect()
    }

    fn lasting_of(&mut self, event: &Event<'_>, now: Duration) -> Vec<String> {
        match event {
            Event::Resumed { kept, discarded } => resumed(kept, discarded),
            Event::ChunkFailed {
                pages,
                report,
                last_words,
                log,
                action,
            } => {
                self.failures += 1;
                let given_up = matches!(action, Action::GiveUp | Action::Abort);
                if self.failures > MOST_FAILURES && !given_up {
                    return self.failures_by_number(now);
                }
                self.failures_told = self.failures;
                let mut lines = vec![words::failed(pages, report, *last_words, action)];
                if given_up {
                    let log = printable(&log.display().to_string());
                    lines.push(format!("  all that it wrote: {log}"));
                }
                lines
            }
            Event::Recut { chunks } => self.recut(chunks, now),
            Event::Merged(merged) => merged
                .dropped_metadata
                .iter()
                .map(|key| {
                    let key = printable(key);
                    format!("metadata `{key}` differs between chunks and is left out")
                })
                .collect(),
            Event::ChunkStarted { .. }
            | Event::Usage { .. }
            | Event::ChunkDone { .. }
            | Event::ChunkRequeued { .. }
            | Event::ChunkStopped { .. }
            | Event::Merging { .. }
            | Event::Published { .. } => Vec::new(),
        }
    }

    /// Told once in a minute: while failures are worked through, each of them
    /// changes what is expected of the rest.
    fn recut(&mut self, chunks: &[Chunk], now: Duration) -> Vec<String> {
        let recently = |told_at: Duration| now.saturating_sub(told_at) < SIGN_OF_LIFE;
        if self.recut_at.is_some_and(recently) {
            return Vec::new();
        }
        self.recut_at = Some(now);
        vec![words::recut(chunks)]
    }

    fn failures_by_number(&mut self, now: Duration) -> Vec<String> {
        if !self.was_silent_for(SIGN_OF_LIFE, now) {
            return Vec::new();
        }
        let more = self.failures - self.failures_told;
        self.failures_told = self.failures;
        vec![format!(
            "{} more failed and {} tried again with less",
            words::counted(more, "attempt"),
            if more == 1 { "is" } else { "are" }
        )]
    }

    /// That it goes on, for a log.
    fn progress(
        &self,
        index: usize,
        event: &DocumentEvent<'_>,
        state: &State,
        now: Duration,
    ) -> Option<String> {
        let event = match event {
            // One document's settings are told instead, or why there are none.
            DocumentEvent::Begun(_) => return self.names.then(|| "looking at it".to_owned()),
            DocumentEvent::Conversion(event) => event,
            DocumentEvent::Planned(_) | DocumentEvent::Ended(_) => return None,
        };
        let step_of = |pages: &PageSet| state.steps.get(&(index, pages.first()));
        match event {
            Event::ChunkDone { pages, report } if self.was_silent_for(SELDOM, now) => Some(
                format!("{}; {}", words::done(pages, report), position(state, now)),
            ),
            Event::ChunkStarted {
                pages, estimate, ..
            } if self.was_silent_for(SELDOM, now) => step_of(pages)
                .map(|step| format!("{}: started, about {estimate} expected", step.text)),
            Event::Usage { pages, usage } if self.was_silent_for(SIGN_OF_LIFE, now) => {
                step_of(pages).map(|step| {
                    let since = words::clock(now.saturating_sub(step.since));
                    format!(
                        "{} for {since} now, {} of {}; {}",
                        step.text,
                        usage.current,
                        state.limit,
                        position(state, now)
                    )
                })
            }
            Event::ChunkRequeued { pages, .. } => Some(format!(
                "{} made room for others, and will be tried again",
                words::of_pages(pages)
            )),
            Event::Merging { chunks } => Some(words::joining(*chunks)),
            Event::ChunkDone { .. }
            | Event::ChunkStarted { .. }
            | Event::Usage { .. }
            | Event::Resumed { .. }
            | Event::ChunkFailed { .. }
            | Event::ChunkStopped { .. }
            | Event::Recut { .. }
            | Event::Merged(_)
            | Event::Published { .. } => None,
        }
    }

    fn was_silent_for(&self, time: Duration, now: Duration) -> bool {
        self.said_at
            .is_none_or(|said_at| now.saturating_sub(said_at) >= time)
    }
}

fn resumed(kept: &PageSet, discarded: &PageSet) -> Vec<String> {
    let mut lines = Vec::new();
    if !kept.is_empty() {
        let kept = words::of_pages(kept);
        lines.push(format!("taking up an earlier run, which has done {kept}"));
    }
    if !discarded.is_empty() {
        let discarded = words::of_pages(discarded);
        lines.push(format!(
            "what there was of {discarded} was damaged and is made again"
        ));
    }
    lines
}

fn ended(result: &DocumentResult) -> String {
    match &result.end {
        End::Ran(outcome) => words::outcome(outcome),
        End::Failed(failure) => words::failure(failure),
        End::NotBegun => "not begun".to_owned(),
        End::Pointless => "not tried, since it would fail by the same reason".to_owned(),
    }
}

fn position(state: &State, now: Duration) -> String {
    let (done, all) = state.pages();
    let pages = format!("{done} of {}", words::counted(all, "page"));
    match state.left(now) {
        Some(left) => format!("{pages}, {}", words::left(left)),
        None => pages,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use memcap_linux::ByteSize;
    use memcap_marker::runner::{Ending, StepReport, Usage};
    use memcap_marker::{Effort, PageSet};

    use super::super::state::Document;
    use super::*;

    struct Told {
        lines: Lines,
        state: State,
        all: Vec<String>,
    }

    impl Told {
        fn new(place: Place, documents: usize) -> Told {
            let document = |number| Document {
                name: format!("{number}.pdf"),
                pages: Some(40),
                ..Document::default()
            };
            let documents: Vec<Document> = (0..documents).map(document).collect();
            Told {
                lines: Lines::new(place, documents.len()),
                state: State::new(documents, ByteSize::from_gib(2)),
                all: Vec::new(),
            }
        }

        fn tell(&mut self, seconds: u64, event: Event<'_>) {
            self.take(0, seconds, &DocumentEvent::Conversion(event));
        }

        fn begin(&mut self, index: usize, seconds: u64) {
            self.take(index, seconds, &DocumentEvent::Begun(Path::new("in")));
        }

        fn take(&mut self, index: usize, seconds: u64, event: &DocumentEvent<'_>) {
            let now = Duration::from_secs(seconds);
            self.state.note(index, event, now);
            let lines = self.lines.of(index, event, &self.state, now);
            self.all.extend(lines);
        }
    }

    fn pages(text: &str) -> PageSet {
        serde_json::from_str(&format!("\"{text}\"")).expect("pages")
    }

    fn report(ending: Ending) -> StepReport {
        StepReport {
            ending,
            peak: Some(ByteSize::from_mib(1500)),
            accounting: None,
            wall: Duration::from_secs(8),
        }
    }

    fn started(pages: &PageSet) -> Event<'_> {
        Event::ChunkStarted {
            pages,
            again: false,
            effort: Effort::Usual,
            estimate: ByteSize::from_mib(1400),
        }
    }

    #[test]
    fn a_log_tells_what_goes_on_but_seldom() {
        let mut told = Told::new(Place::Log, 1);
        let (first, second_chunk) = (pages("1-10"), pages("11-20"));
        let done = report(Ending::Finished { exit_code: 0 });
        told.tell(0, started(&first));
        told.tell(
            8,
            Event::ChunkDone {
                pages: &first,
                report: &done,
            },
        );
        told.tell(8, started(&second_chunk));
        let usage = Usage {
            current: ByteSize::from_mib(900),
            peak: ByteSize::from_mib(1500),
        };
        for second in 9..130 {
            let pages = &second_chunk;
            told.tell(second, Event::Usage { pages, usage });
        }
        told.tell(
            135,
            Event::ChunkDone {
                pages: &second_chunk,
                report: &done,
            },
        );
        assert_eq!(
            told.all,
            [
                "memcap: [0:00] pages 1-10: started, about 1.36 GiB expected",
                "memcap: [1:00] pages 11-20 for 0:52 now, 900 MiB of 2 GiB; 10 of 40 pages, about \
                 a minute left",
                "memcap: [2:00] pages 11-20 for 1:52 now, 900 MiB of 2 GiB; 10 of 40 pages, about \
                 a minute left",
                "memcap: [2:15] pages 11-20 done in 8.0 s, peak 1.46 GiB; 20 of 40 pages, about 3 \
                 min left",
            ]
        );
    }

    #[test]
    fn a_log_tells_the_start_of_each_document_at_once() {
        let mut told = Told::new(Place::Log, 2);
        told.begin(0, 0);
        told.tell(1, started(&pages("1-10")));
        told.begin(1, 2);
        assert_eq!(
            told.all,
            [
                "memcap: [0:00] 0.pdf: looking at it",
                "memcap: [0:01] 0.pdf: pages 1-10: started, about 1.36 GiB expected",
                "memcap: [0:02] 1.pdf: looking at it",
            ]
        );
        for (place, documents) in [(Place::Log, 1), (Place::AboveBar, 2)] {
            let mut told = Told::new(place, documents);
            told.begin(0, 0);
            assert!(told.all.is_empty(), "{place:?}");
        }
    }

    #[test]
    fn many_failures_are_counted_and_pages_given_up_are_named() {
        let mut told = Told::new(Place::Log, 1);
        let page = pages("7");
        let memory = report(Ending::MemoryLimit);
        let fail = |action| Event::ChunkFailed {
            pages: &page,
            report: &memory,
            last_words: Some("Killed\u{7}"),
            log: Path::new("/w/logs/7.err"),
            action,
        };
        let less = Action::Less(Effort::SmallBatches);
        for second in 0..90 {
            told.tell(second, fail(&less));
        }
        told.tell(90, fail(&Action::GiveUp));
        assert_eq!(told.all.len(), MOST_FAILURES + 1 + 2);
        assert_eq!(
            told.all[19],
            "memcap: [0:19] page 7: marker reached its memory limit (Killed\\u{7}); again in \
             batches of one"
        );
        assert_eq!(
            told.all[20..],
            [
                "memcap: [1:19] 60 attempts more failed and are tried again with less",
                "memcap: [1:30] page 7: marker reached its memory limit (Killed\\u{7}); given up",
                "memcap: [1:30]   all that it wrote: /w/logs/7.err",
            ]
        );
    }

    #[test]
    fn above_a_bar_only_what_lasts_is_told_with_its_document() {
        let mut told = Told::new(Place::AboveBar, 2);
        let (kept, gone) = (pages("1-10"), pages("11"));
        told.tell(
            0,
            Event::Resumed {
                kept: &kept,
                discarded: &gone,
            },
        );
        told.tell(1, started(&gone));
        told.tell(
            99,
            Event::ChunkDone {
                pages: &gone,
                report: &report(Ending::MemoryLimit),
            },
        );
        assert_eq!(
            told.all,
            [
                "memcap: 0.pdf: taking up an earlier run, which has done pages 1-10",
                "memcap: 0.pdf: what there was of page 11 was damaged and is made again",
            ]
        );
    }
}
