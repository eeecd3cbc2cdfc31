//! What happens during a conversion, for whoever shows it.

use std::path::Path;

use memcap_linux::ByteSize;

use crate::chunks::Chunk;
use crate::merge::Merged;
use crate::pages::PageSet;
use crate::recovery::{Action, Effort};
use crate::runner::{StepReport, Usage};

/// One thing that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Work of an earlier run was taken up.
    Resumed {
        /// Pages that need not be converted again.
        kept: &'a PageSet,
        /// Pages whose results were missing or changed, and are made again.
        discarded: &'a PageSet,
    },
    /// Marker is about to convert these pages.
    ChunkStarted {
        /// The pages.
        pages: &'a PageSet,
        /// Whether they, or a chunk that held them, have crashed before.
        again: bool,
        /// What the attempt may cost.
        effort: Effort,
        /// What the run is estimated to take.
        estimate: ByteSize,
    },
    /// What earlier chunks took has shown that the rest is to be cut otherwise.
    Recut {
        /// The chunks that are left.
        chunks: &'a [Chunk],
    },
    /// What a running chunk holds.
    Usage {
        /// The pages.
        pages: &'a PageSet,
        /// What its tree holds.
        usage: Usage,
    },
    /// The chunk's result is kept.
    ChunkDone {
        /// The pages.
        pages: &'a PageSet,
        /// How the run went.
        report: &'a StepReport,
    },
    /// The chunk has no result.
    ChunkFailed {
        /// The pages.
        pages: &'a PageSet,
        /// How the run went.
        report: &'a StepReport,
        /// The last line that marker wrote to standard error.
        last_words: Option<&'a str>,
        /// All of them.
        log: &'a Path,
        /// What follows.
        action: &'a Action,
    },
    /// The chunk made room for others that share its total, and is tried again
    /// when one of them has ended. Not its fault.
    ChunkRequeued {
        /// The pages.
        pages: &'a PageSet,
        /// How the run went.
        report: &'a StepReport,
    },
    /// The user stopped it; the next run converts these pages.
    ChunkStopped {
        /// The pages.
        pages: &'a PageSet,
        /// How the run went until then.
        report: &'a StepReport,
    },
    /// The parts are being joined.
    Merging {
        /// How many there are.
        chunks: usize,
    },
    /// They are joined; what became of links, and what was left out.
    Merged(&'a Merged),
    /// The result is in its place.
    Published {
        /// Its folder.
        folder: &'a Path,
    },
}
