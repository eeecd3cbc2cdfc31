//! What is seen while documents are converted: one bar over all their pages,
//! or plain lines where standard error is no terminal.
//!
//! ```text
//!                    +-- bar (what there is to see now)  --> the terminal
//!  event --> state --+
//!                    +-- lines (what is said once)       --> standard error
//! ```

mod bar;
mod lines;
mod state;
pub(super) mod words;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use memcap_linux::ByteSize;
use memcap_marker::many::DocumentEvent;

use crate::render::printable;
use lines::{Lines, Place};
use state::{Document, State};

/// Cells where the terminal does not tell.
const USUAL_WIDTH: u16 = 80;

/// Shows events as they come.
pub(super) struct Display {
    state: State,
    lines: Lines,
    /// Where there is a terminal to draw on.
    bar: Option<ProgressBar>,
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
        let bar = (!quiet && std::io::stderr().is_terminal()).then(draw_nothing_yet);
        let place = match bar {
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
            bar,
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
        for line in self.lines.of(index, event, &self.state, now) {
            self.say(&line);
        }
        if is_stopping
            && !std::mem::replace(&mut self.state.is_stopping, true)
            && self.bar.is_none()
        {
            self.say("memcap: stopping; the same command goes on later");
        }
        if let Some(bar) = &self.bar {
            let width = terminal_size::terminal_size_of(std::io::stderr())
                .map_or(USUAL_WIDTH, |(width, _)| width.0);
            // The last cell stays free: some terminals wrap when it is filled.
            let width = usize::from(width).saturating_sub(1);
            bar.set_message(bar::lines(&self.state, now, width).join("\n"));
            bar.tick();
        }
    }

    /// Lets somebody else write to standard error.
    pub(super) fn aside(&self, tell: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }
    }

    /// Says something that the user should know.
    pub(super) fn warn(&self, text: &str) {
        if !self.quiet {
            self.say(&format!("memcap: warning: {}", printable(text)));
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => {
                // Nobody reads it: nobody is told.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Drawn by us as a message; indicatif keeps it at the bottom.
fn draw_nothing_yet() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}

/// The name of a document for people.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    printable(&name.to_string_lossy())
}
