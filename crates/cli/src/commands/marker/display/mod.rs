//! What is seen while documents are converted: one bar over all their pages,
//! or plain lines where standard error is no terminal, or one that cannot draw.
//!
//! ```text
//!                    +-- bar (what there is to see now)  --> the terminal
//!  event --> state --+
//!                    +-- lines (what is said once)       --> standard error
//! ```

mod bar;
mod lines;
mod screen;
mod state;
mod stops;
pub(super) mod words;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use memcap_linux::ByteSize;
use memcap_marker::many::DocumentEvent;

use crate::render::printable;
use lines::{Lines, Place};
use screen::{EDGE, Screen};
use state::{Document, State};
use stops::Stops;

/// Cells where the terminal does not tell.
const USUAL_WIDTH: u16 = 80;

/// Shows events as they come.
pub(super) struct Display {
    state: State,
    lines: Lines,
    /// Where there is a terminal to draw on.
    screen: Option<Screen>,
    stops: Stops,
    quiet: bool,
    began: Instant,
}

impl Display {
    /// A display for documents of these names, each with the pages that it seems
    /// to have.
    pub(super) fn new(
        documents: Vec<(String, Option<usize>)>,
        limit: ByteSize,
        quiet: bool,
    ) -> Display {
        let screen = (!quiet && can_draw()).then(Screen::default);
        let place = match screen {
            Some(_) => Place::AboveBar,
            None => Place::Log,
        };
        let document = |(name, pages)| Document {
            name,
            pages,
            ..Document::default()
        };
        let documents: Vec<Document> = documents.into_iter().map(document).collect();
        Display {
            lines: Lines::new(place, documents.len()),
            state: State::new(documents, limit),
            stops: Stops::noticed_where(screen.is_some()),
            screen,
            quiet,
            began: Instant::now(),
        }
    }

    /// Shows one event of the document with this index.
    pub(super) fn show(&mut self, index: usize, event: &DocumentEvent<'_>, is_stopping: bool) {
        if self.quiet {
            return;
        }
        let now = self.began.elapsed();
        self.state.note(index, event, now);
        let mut said = self.lines.of(index, event, &self.state, now);
        let stops = is_stopping && !std::mem::replace(&mut self.state.is_stopping, true);
        if stops && self.screen.is_none() {
            said.push("memcap: stopping; the same command goes on later".to_owned());
        }
        match &mut self.screen {
            Some(screen) => {
                if self.stops.was_one() {
                    screen.forget();
                }
                let width = width();
                let lines = bar::lines(&self.state, now, width.saturating_sub(EDGE));
                put(&screen.frame(&said, lines, width));
            }
            None => said.iter().for_each(|line| put(&format!("{line}\n"))),
        }
    }

    /// Lets somebody else write to standard error.
    pub(super) fn aside(&mut self, tell: impl FnOnce()) {
        match &mut self.screen {
            Some(screen) => {
                let lines = screen.lines();
                put(&screen.erased(width()));
                tell();
                put(&screen.frame(&[], lines, width()));
            }
            None => tell(),
        }
    }

    /// Says something that the user should know.
    pub(super) fn warn(&mut self, text: &str) {
        if !self.quiet {
            self.aside(|| crate::render::warning(text));
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(screen) = &mut self.screen {
            put(&screen.erased(width()));
        }
    }
}

/// Whether lines can be drawn over: on a terminal that knows how (a shell within
/// Emacs calls its own `dumb`).
fn can_draw() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    std::io::stderr().is_terminal() && !is_dumb
}

/// Cells of the terminal now.
fn width() -> usize {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    usize::from(size.map_or(USUAL_WIDTH, |(width, _)| width.0))
}

fn put(text: &str) {
    // Nobody reads it: nobody is told.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The name of a document for people.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    printable(&name.to_string_lossy())
}
