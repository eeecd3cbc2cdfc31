//! What happens, for other programs: one JSON object a line (`--json-events`,
//! `docs/marker-events.schema.json`).
//!
//! A reader that is gone, or too slow for its pipe, never harms a conversion
//! but by waiting: after the first line that cannot be written, no more is, and a
//! disk that was full is told at the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use memcap_linux::ByteSize;
use memcap_marker::many::{DocumentEvent, DocumentResult, End, Skipped, Tally, Then, Verdict};
use memcap_marker::runner::StepReport;
use memcap_marker::{Chunk, Effort, Event, PageSet, Placeholder, Status, path_text};
use serde::Serialize;

use crate::error::{CliError, INTERNAL};
use crate::report_file::open_stream;

/// The version of the lines. Fields may be added within it.
const SCHEMA_VERSION: u32 = 1;

/// What is told about memory, at most so often for each chunk.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    /// In UTC.
    time: String,
    /// Absent where a line is about all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum What<'a> {
    Started {
        documents: Vec<String>,
        skipped: &'a [Skipped],
        jobs: usize,
        limit_bytes: ByteSize,
    },
    DocumentBegun,
    DocumentPlanned {
        pages: &'a PageSet,
        chunks: usize,
        workers: usize,
        limit_bytes: ByteSize,
        marker: String,
        warnings: &'a [String],
    },
    Resumed {
        kept: &'a PageSet,
        discarded: &'a PageSet,
    },
    ChunkStarted {
        pages: &'a PageSet,
        again: bool,
        effort: Effort,
        estimate_bytes: ByteSize,
    },
    Usage {
        pages: &'a PageSet,
        current_bytes: ByteSize,
        peak_bytes: ByteSize,
    },
    ChunkDone {
        pages: &'a PageSet,
        #[serde(flatten)]
        run: Run,
    },
    ChunkFailed {
        pages: &'a PageSet,
        #[serde(flatten)]
        run: Run,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_words: Option<&'a str>,
        log: String,
        then: Then,
    },
    Recut {
        chunks: &'a [Chunk],
    },
    ChunkRequeued {
        pages: &'a PageSet,
        #[serde(flatten)]
        run: Run,
    },
    ChunkStopped {
        pages: &'a PageSet,
        #[serde(flatten)]
        run: Run,
    },
    Merging {
        chunks: usize,
    },
    Merged {
        pages: usize,
        images: usize,
        dropped_metadata: &'a [String],
    },
    Published {
        folder: String,
    },
    DocumentEnded(Ended<'a>),
    Ended {
        exit_code: u8,
        verdict: Verdict,
        tally: Tally,
    },
}

/// How a run of marker went.
#[derive(Serialize)]
struct Run {
    ending: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_bytes: Option<ByteSize>,
    wall_seconds: f64,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
enum Ended<'a> {
    Complete(Pages<'a>),
    AlreadyDone(Pages<'a>),
    Partial(Pages<'a>),
    Nothing(Pages<'a>),
    Interrupted(Pages<'a>),
    Failed { error: String, hint: Option<String> },
    NotBegun,
    NotTried,
}

#[derive(Serialize)]
struct Pages<'a> {
    converted: &'a PageSet,
    missing: &'a PageSet,
    placeholders: &'a [Placeholder],
    low_resolution: &'a PageSet,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

/// Where the lines go.
pub(super) struct JsonEvents {
    /// Why it could not be written once that has happened.
    to: Result<File, io::Error>,
    documents: Vec<PathBuf>,
    /// By the document's index and the chunk's first page.
    looked_at: BTreeMap<(usize, Option<u32>), Instant>,
}

impl JsonEvents {
    /// Lines on an open descriptor, given by its number.
    ///
    /// # Errors
    /// When it is none, or not open for writing.
    pub(super) fn to(descriptor: &str) -> Result<Self, CliError> {
        let number: u32 = descriptor.parse().map_err(|_| {
            super::refuse(
                format!("--json-events: `{descriptor}` is no number of a descriptor"),
                "write --json-events for standard output, or --json-events=3 3>FILE",
            )
        })?;
        let path = PathBuf::from(format!("/dev/fd/{number}"));
        let file = open_stream(&path).map_err(|error| {
            super::refuse(
                format!("--json-events: descriptor {number} cannot be written: {error}"),
                "open it for memcap: --json-events=3 3>events.jsonl",
            )
        })?;
        Ok(JsonEvents {
            to: Ok(file),
            documents: Vec::new(),
            looked_at: BTreeMap::new(),
        })
    }

    /// Tells what is going to be done.
    pub(super) fn started(
        &mut self,
        documents: &[PathBuf],
        skipped: &[Skipped],
        jobs: usize,
        limit_bytes: ByteSize,
    ) {
        self.documents = documents.to_vec();
        let documents = documents.iter().map(|path| path_text(path)).collect();
        self.write(
            None,
            What::Started {
                documents,
                skipped,
                jobs,
                limit_bytes,
            },
        );
    }

    /// Tells what happened to the document with this index.
    pub(super) fn tell(&mut self, index: usize, event: &DocumentEvent<'_>) {
        let what = match event {
            DocumentEvent::Begun(_) => What::DocumentBegun,
            DocumentEvent::Planned(plan) => What::DocumentPlanned {
                pages: &plan.pages,
                chunks: plan.chunks.len(),
                workers: plan.workers.get(),
                limit_bytes: plan.limit,
                marker: plan.marker.version.to_string(),
                warnings: &plan.warnings,
            },
            DocumentEvent::Conversion(Event::Usage { pages, .. })
                if !self.is_time_to_look((index, pages.first())) =>
            {
                return;
            }
            DocumentEvent::Conversion(event) => conversion(event),
            DocumentEvent::Ended(result) => What::DocumentEnded(ended(result)),
        };
        self.write(Some(index), what);
    }

    /// Tells that there is nothing more to come.
    pub(super) fn ended_with(&mut self, exit_code: u8, tally: Tally) {
        let verdict = tally.verdict();
        self.write(
            None,
            What::Ended {
                exit_code,
                verdict,
                tally,
            },
        );
    }

    /// Whether every line reached its reader. A pipe that is closed is the reader's
    /// choice.
    ///
    /// # Errors
    /// When one did not, on a full disk for one.
    pub(super) fn all_written(self) -> Result<(), CliError> {
        match self.to {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::new(
                format!("failed to write the events: {error}"),
                Some("the conversion went on; what is there of its events is not all".to_owned()),
                INTERNAL,
            )),
            Err(_) | Ok(_) => Ok(()),
        }
    }

    fn is_time_to_look(&mut self, which: (usize, Option<u32>)) -> bool {
        let last = self.looked_at.get(&which);
        if last.is_some_and(|last| last.elapsed() < LOOK_EVERY) {
            return false;
        }
        self.looked_at.insert(which, Instant::now());
        true
    }

    fn write(&mut self, index: Option<usize>, what: What<'_>) {
        let Ok(to) = &mut self.to else {
            return;
        };
        let line = Line {
            schema_version: SCHEMA_VERSION,
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            document: index.map(|index| path_text(&self.documents[index])),
            what,
        };
        let written = serde_json::to_vec(&line)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                to.write_all(&line)
            });
        if let Err(error) = written {
            self.to = Err(error);
        }
    }
}

fn conversion<'a>(event: &'a Event<'a>) -> What<'a> {
    match event {
        Event::Resumed { kept, discarded } => What::Resumed { kept, discarded },
        Event::ChunkStarted {
            pages,
            again,
            effort,
            estimate,
        } => What::ChunkStarted {
            pages,
            again: *again,
            effort: *effort,
            estimate_bytes: *estimate,
        },
        Event::Usage { pages, usage } => What::Usage {
            pages,
            current_bytes: usage.current,
            peak_bytes: usage.peak,
        },
        Event::ChunkDone { pages, report } => What::ChunkDone {
            pages,
            run: run(report),
        },
        Event::ChunkFailed {
            pages,
            report,
            last_words,
            log,
            action,
        } => What::ChunkFailed {
            pages,
            run: run(report),
            last_words: *last_words,
            log: path_text(log),
            then: Then::from(*action),
        },
        Event::Recut { chunks } => What::Recut { chunks },
        Event::ChunkRequeued { pages, report } => What::ChunkRequeued {
            pages,
            run: run(report),
        },
        Event::ChunkStopped { pages, report } => What::ChunkStopped {
            pages,
            run: run(report),
        },
        Event::Merging { chunks } => What::Merging { chunks: *chunks },
        Event::Merged(merged) => What::Merged {
            pages: merged.pages.len(),
            images: merged.images.len(),
            dropped_metadata: &merged.dropped_metadata,
        },
        Event::Published { folder } => What::Published {
            folder: path_text(folder),
        },
    }
}

fn ended<'a>(result: &'a DocumentResult) -> Ended<'a> {
    match &result.end {
        End::Ran(outcome) => {
            let pages = Pages {
                converted: &outcome.converted,
                missing: &outcome.missing,
                placeholders: &outcome.placeholders,
                low_resolution: &outcome.low_resolution,
                result: outcome.result.as_deref().map(path_text),
            };
            match outcome.status {
                Status::Complete => Ended::Complete(pages),
                Status::AlreadyDone => Ended::AlreadyDone(pages),
                Status::Partial => Ended::Partial(pages),
                Status::Nothing => Ended::Nothing(pages),
                Status::Interrupted => Ended::Interrupted(pages),
            }
        }
        End::Failed(failure) => Ended::Failed {
            error: memcap_linux::one_line(failure),
            hint: failure.hint(),
        },
        End::NotBegun => Ended::NotBegun,
        End::Pointless => Ended::NotTried,
    }
}

fn run(report: &StepReport) -> Run {
    Run {
        ending: report.ending.kind(),
        peak_bytes: report.peak,
        wall_seconds: report.wall.as_secs_f64(),
    }
}

/// Whether a descriptor is standard output.
pub(super) fn is_stdout(descriptor: Option<&str>) -> bool {
    descriptor == Some("1")
}
