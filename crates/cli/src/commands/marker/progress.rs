//! What is seen while a document is converted: one bar over its pages, or
//! plain lines where standard error is no terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use memcap_linux::ByteSize;
use memcap_marker::runner::Usage;
use memcap_marker::{Action, Effort, Event, Plan};

use crate::render::printable;

const BAR: &str = "{bar:24} {pos}/{len} pages  {elapsed} elapsed, {eta} left  {msg}";

/// Shows events as they come.
pub(crate) struct Display {
    bar: ProgressBar,
    lines: bool,
    limit: ByteSize,
    step: String,
    peak: ByteSize,
}

impl Display {
    /// A display for one conversion.
    pub(crate) fn new(plan: &Plan, quiet: bool) -> Display {
        let terminal = std::io::stderr().is_terminal();
        let pages = u64::try_from(plan.pages.len()).unwrap_or(u64::MAX);
        let bar = ProgressBar::new(pages);
        let target = if quiet || !terminal {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        bar.set_draw_target(target);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        if terminal && !quiet {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        let lines = !quiet && !terminal;
        Display {
            bar,
            lines,
            limit: plan.limit,
            step: String::new(),
            peak: ByteSize::ZERO,
        }
    }

    /// Shows one event.
    pub(crate) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Resumed { kept, discarded } => {
                self.advance(kept.len());
                self.bar.reset_eta();
                self.line(&format!("taking up an earlier run: pages {kept} are done"));
                if !discarded.is_empty() {
                    self.line(&format!(
                        "pages {discarded} were damaged and are done again"
                    ));
                }
            }
            Event::ChunkStarted {
                pages,
                again,
                effort,
                estimate,
            } => {
                let again = if *again { " again" } else { "" };
                let how = match effort {
                    Effort::Usual => String::new(),
                    Effort::SmallBatches | Effort::LowResolution => format!(" {effort}"),
                };
                self.step = format!("pages {pages}{again}{how}");
                self.set_message(None);
                self.plain(&format!(
                    "{}: started, about {estimate} expected",
                    self.step
                ));
            }
            Event::Usage(usage) => self.set_message(Some(*usage)),
            Event::ChunkDone { pages, report } => {
                self.advance(pages.len());
                if let Some(peak) = report.peak {
                    self.peak = self.peak.max(peak);
                }
                let peak = report
                    .peak
                    .map_or("unknown".to_owned(), |peak| peak.to_string());
                let seconds = report.wall.as_secs_f64();
                self.plain(&format!(
                    "pages {pages}: done in {seconds:.1} s, peak {peak}"
                ));
            }
            Event::ChunkFailed {
                pages,
                report,
                last_words,
                log,
                action,
            } => {
                let mut text = format!("pages {pages}: marker {}", report.ending);
                if let Some(words) = last_words {
                    text.push_str(&format!(" ({})", printable(words)));
                }
                text.push_str(&format!("; {}", what_follows(action)));
                self.line(&text);
                if matches!(action, Action::GiveUp | Action::Abort) {
                    self.line(&format!("  all that it wrote: {}", log.display()));
                }
            }
            Event::Merging { chunks } => {
                self.step = format!("joining {chunks} chunks");
                self.set_message(None);
                self.plain(&self.step.clone());
            }
            Event::Merged(merged) => {
                for key in &merged.dropped_metadata {
                    self.line(&format!(
                        "metadata `{}` differs between chunks and is left out",
                        printable(key)
                    ));
                }
            }
            Event::Published { .. } => self.bar.finish_and_clear(),
        }
    }

    fn advance(&self, pages: usize) {
        self.bar.inc(u64::try_from(pages).unwrap_or(0));
    }

    fn set_message(&mut self, usage: Option<Usage>) {
        let memory = match usage {
            Some(usage) => {
                self.peak = self.peak.max(usage.peak);
                format!("{} of {}", usage.current, self.limit)
            }
            None => format!("limit {}", self.limit),
        };
        self.bar
            .set_message(format!("{}, {memory}, peak {}", self.step, self.peak));
    }

    /// Said in either form.
    fn line(&self, text: &str) {
        if self.lines {
            self.plain(text);
        } else {
            self.bar.println(format!("memcap: {text}"));
        }
    }

    /// Said where there is no bar that shows it.
    fn plain(&self, text: &str) {
        if self.lines {
            // Nobody reads it: nobody is told.
            let _ = writeln!(std::io::stderr(), "memcap: {text}");
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn what_follows(action: &Action) -> String {
    match action {
        Action::Retry => "once more".to_owned(),
        Action::HalvesNext(first, second) | Action::HalvesLast(first, second) => {
            format!("in two parts: {first} and {second}")
        }
        Action::Less(effort) => format!("again {effort}"),
        Action::GiveUp => "they are left out".to_owned(),
        Action::Abort => "giving up".to_owned(),
    }
}
