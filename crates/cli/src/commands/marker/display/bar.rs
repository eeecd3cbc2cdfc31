//! The lines that stay at the bottom of a terminal: one bar over the pages of
//! all documents, and below it what is being done for each that is worked on.
//! Pure.
//!
//! ```text
//! [=======>        ] 120 of 800 pages, 12.3 a minute, about 55 min left
//!   pages 121-140 once more; 1.2 of 2 GiB, peak 1.6 GiB
//! ```

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::state::{State, Step};
use super::words;

/// Cells of a bar, without its brackets.
const NARROWEST: usize = 8;
const WIDEST: usize = 40;

/// Lines for steps; with more jobs the rest is counted.
const MOST_STEPS: usize = 8;

/// All lines, none wider than `width` cells.
pub(super) fn lines(state: &State, now: Duration, width: usize) -> Vec<String> {
    let mut lines = vec![overall(state, now, width)];
    let one_document = state.documents.len() == 1;
    for ((index, _), step) in state.steps.iter().take(MOST_STEPS) {
        let name = (!one_document).then(|| state.documents[*index].name.as_str());
        lines.push(step_line(state, step, name, width));
    }
    if state.steps.len() > MOST_STEPS {
        let more = state.steps.len() - MOST_STEPS;
        lines.push(shortened(&format!("  and {more} more"), width));
    }
    if state.is_stopping {
        let text = "  stopping; the same command goes on later (Ctrl-C again ends faster)";
        lines.push(shortened(text, width));
    }
    lines
}

fn overall(state: &State, now: Duration, width: usize) -> String {
    let (done, all) = state.pages();
    // From the most to the least that is told.
    let mut texts = vec![position(state, done, all)];
    if let Some(rate) = state.rate() {
        texts.push(format!("{rate:.1} a minute"));
    }
    match state.left(now) {
        Some(left) => texts.push(words::left(left)),
        None => texts.push(format!("{} so far", words::clock(now))),
    }
    let mut text = texts.join(", ");
    while text.width() > width && texts.len() > 1 {
        texts.pop();
        text = texts.join(", ");
    }
    match width.checked_sub(text.width() + 3) {
        Some(cells) if cells >= NARROWEST => {
            format!("{} {text}", bar(done, all, cells.min(WIDEST)))
        }
        _ => shortened(&text, width),
    }
}

fn position(state: &State, done: usize, all: usize) -> String {
    let pages = format!("{done} of {}", words::counted(all, "page"));
    match state.documents.len() {
        1 => pages,
        documents => format!(
            "{} of {documents} documents, {pages}",
            state.documents_ended()
        ),
    }
}

fn bar(done: usize, all: usize, cells: usize) -> String {
    let full = (done * cells).checked_div(all).unwrap_or(0);
    let head = if full < cells { ">" } else { "" };
    let empty = cells - full - head.len();
    format!("[{}{head}{}]", "=".repeat(full), " ".repeat(empty))
}

/// The name gives way to what is done, and that to the width.
fn step_line(state: &State, step: &Step, name: Option<&str>, width: usize) -> String {
    let memory = match step.usage {
        Some(usage) => format!(
            "; {} of {}, peak {}",
            usage.current, state.limit, state.peak
        ),
        None => String::new(),
    };
    let failures = match state.failures {
        0 => String::new(),
        failures => format!("; {} failed so far", words::counted(failures, "attempt")),
    };
    let text = format!("{}{memory}", step.text);
    let text = match name {
        Some(name) => {
            let room = width.saturating_sub(text.width() + 4);
            format!("  {}: {text}", in_the_middle(name, room.max(12)))
        }
        None => format!("  {text}{failures}"),
    };
    shortened(&text, width)
}

/// The text, or as much of its beginning as fits.
fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut beginning = take(text.chars(), width.saturating_sub(1));
    beginning.push('…');
    beginning
}

/// The text, or its beginning and its end.
fn in_the_middle(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let beginning = take(text.chars(), room - room / 2);
    let end = take(text.chars().rev(), room / 2);
    let end: String = end.chars().rev().collect();
    format!("{beginning}…{end}")
}

fn take(text: impl Iterator<Item = char>, width: usize) -> String {
    let mut used = 0;
    text.take_while(|character| {
        used += character.width().unwrap_or(0);
        used <= width
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use memcap_linux::ByteSize;
    use memcap_marker::runner::Usage;

    use super::super::state::Document;
    use super::*;

    fn document(name: &str, pages: usize, done: usize) -> Document {
        Document {
            name: name.to_owned(),
            pages: Some(pages),
            done,
            has_ended: pages == done,
        }
    }

    fn state(documents: Vec<Document>, step: &str) -> State {
        let mib = ByteSize::from_mib;
        let mut state = State::new(documents, ByteSize::from_gib(2));
        let step = Step {
            text: step.to_owned(),
            pages: 20,
            since: Duration::ZERO,
            usage: Some(Usage {
                current: mib(1229),
                peak: mib(1638),
            }),
            is_over: false,
        };
        state.peak = mib(1638);
        let last = state.documents.len() - 1;
        state.steps.insert((last, None), step);
        state
    }

    fn shown(state: &State, width: usize) -> String {
        let lines = lines(state, Duration::from_secs(600), width);
        for line in &lines {
            assert!(line.width() <= width, "{width}: {line}");
        }
        lines.join("\n")
    }

    #[test]
    fn one_document_is_two_lines() {
        let mut state = state(vec![document("a.pdf", 800, 120)], "pages 121-140 once more");
        assert_eq!(
            shown(&state, 80),
            "[======>                                 ] 120 of 800 pages, 10:00 so far\n  \
             pages 121-140 once more; 1.2 GiB of 2 GiB, peak 1.59 GiB"
        );
        state.converted = 120;
        state.converted_at = Duration::from_secs(585);
        state.failures = 3;
        assert_eq!(
            shown(&state, 80),
            "[====>                      ] 120 of 800 pages, 12.3 a minute, about 55 min left\n  \
             pages 121-140 once more; 1.2 GiB of 2 GiB, peak 1.59 GiB; 3 attempts failed s…"
        );
        assert_eq!(
            shown(&state, 44),
            "[=>        ] 120 of 800 pages, 12.3 a minute\n  pages 121-140 once more; 1.2 GiB of 2 GiB…"
        );
    }

    #[test]
    fn long_names_keep_their_ends() {
        let name = "the-complete-and-unabridged-works-volume-12.pdf";
        let documents = vec![document("a.pdf", 3, 3), document(name, 40, 10)];
        let state = state(documents, "pages 11-20");
        assert_eq!(
            shown(&state, 80),
            "[=========>                     ] 1 of 2 documents, 13 of 43 pages, 10:00 so far\n  \
             the-complete-and…s-volume-12.pdf: pages 11-20; 1.2 GiB of 2 GiB, peak 1.59 GiB"
        );
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let documents = ["漢字の名前の長い文書.pdf", "\u{1f4d5}.pdf"];
        let documents = documents.map(|name| document(name, 40, 10)).into();
        let mut state = state(documents, "pages 11-20");
        state.is_stopping = true;
        for width in 1..130 {
            shown(&state, width);
        }
    }

    #[test]
    fn bars_are_as_long_as_asked_for() {
        for (done, all, shown) in [
            (0, 0, "[>   ]"),
            (0, 9, "[>   ]"),
            (5, 10, "[==> ]"),
            (9, 10, "[===>]"),
            (10, 10, "[====]"),
        ] {
            assert_eq!(bar(done, all, 4), shown);
        }
    }
}
