//! What is told at the end, and what is printed: sentences and a table on
//! standard error, the folders of the results on standard output.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use memcap_linux::ByteSize;
use memcap_marker::many::{DocumentResult, End, Skipped, Tally};
use memcap_marker::{Outcome, Plan, Status};

use super::display::words::{counted, duration, failure, of_pages};
use super::table;
use crate::error::CliError;
use crate::render::{printable, say, written};

/// What runs of marker at the same time held together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Together {
    /// At the most.
    pub(super) peak: Option<ByteSize>,
    /// The limit of all of them.
    pub(super) limit: ByteSize,
}

impl Together {
    fn told(self) -> String {
        let peak = self
            .peak
            .map_or("unknown".to_owned(), |peak| peak.to_string());
        format!("peak {peak} of {}", self.limit)
    }
}

/// After one document; `together` where it had several workers.
pub(super) fn of_one(plan: &Plan, outcome: &Outcome, together: Option<Together>) {
    let alone = Together {
        peak: outcome.peak,
        limit: plan.limit,
    };
    // What was asked for several may have room for one, which has no need of it.
    let is_shared = plan.workers.get() > 1;
    let work = format!(
        "{} converted{}; {}; {} of marker",
        counted(outcome.chunks_run, "chunk"),
        match outcome.chunks_kept {
            0 => String::new(),
            kept => format!(", {kept} taken from earlier"),
        },
        together.filter(|_| is_shared).unwrap_or(alone).told(),
        duration(outcome.marker_time)
    );
    say(&match outcome.status {
        Status::Complete => format!(
            "memcap: complete: {}; {work}",
            counted(plan.pages.len(), "page")
        ),
        Status::AlreadyDone => format!(
            "memcap: complete already: {}, converted by an earlier run",
            counted(plan.pages.len(), "page")
        ),
        Status::Partial => format!("memcap: {} missing; {work}", of_pages(&outcome.missing)),
        Status::Nothing => format!("memcap: no page was converted; {work}"),
        Status::Interrupted => {
            format!("memcap: interrupted; {work}; the same command goes on with the missing chunks")
        }
    });
    if !outcome.low_resolution.is_empty() {
        say(&format!(
            "memcap: {} fitted only at half the resolution; a larger limit gives a better result",
            of_pages(&outcome.low_resolution)
        ));
    }
    for placeholder in &outcome.placeholders {
        let pages = of_pages(&placeholder.pages);
        say(&format!(
            "memcap: {pages}: a placeholder stands for it: {}",
            printable(&placeholder.because)
        ));
    }
}

/// After many: a table of what became of each, and a sentence; `together` where
/// several were converted at a time.
pub(super) fn of_many(results: &[DocumentResult], skipped: &[Skipped], together: Option<Together>) {
    let mut table = table::new(["document", "", "pages", "chunks", "peak", "time"]);
    for result in results {
        table.add_row(row(result));
    }
    for one in skipped.iter().filter(|one| one.because.is_failure()) {
        let name = printable(&one.path.display().to_string());
        table.add_row([name, format!("not converted: {}", one.because)]);
    }
    say(&table.to_string());
    say(&sentence(Tally::of(results, skipped), together));
}

fn row(result: &DocumentResult) -> Vec<String> {
    let name = result.document.file_name().unwrap_or_default();
    let name = printable(&name.to_string_lossy());
    let told = match &result.end {
        End::Ran(outcome) => match outcome.status {
            Status::Complete => "complete".to_owned(),
            Status::AlreadyDone => "complete already".to_owned(),
            Status::Partial => format!("{} missing", of_pages(&outcome.missing)),
            Status::Nothing => "no page was converted".to_owned(),
            Status::Interrupted => "interrupted".to_owned(),
        },
        End::Failed(error) => failure(error),
        End::NotBegun => "not begun".to_owned(),
        End::Pointless => "not tried: the same would happen".to_owned(),
    };
    let mut row = vec![name, told];
    if let (End::Ran(outcome), Some(plan)) = (&result.end, &result.plan) {
        let peak = result.attempts.peak();
        row.push(format!("{}/{}", outcome.converted.len(), plan.pages.len()));
        row.push((outcome.chunks_run + outcome.chunks_kept).to_string());
        row.push(peak.map_or(String::new(), |peak| peak.to_string()));
        row.push(duration(result.wall));
    }
    row
}

fn sentence(tally: Tally, together: Option<Together>) -> String {
    let mut parts = vec![format!("{} complete", counted(tally.complete, "document"))];
    for (number, what) in [
        (tally.partial, "with missing pages"),
        (tally.failed, "failed"),
        (tally.interrupted, "interrupted or not begun"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    let mut text = format!("memcap: {}", parts.join(", "));
    if let Some(together) = together {
        text.push_str(&format!("; together {}", together.told()));
    }
    if tally.interrupted > 0 {
        text.push_str("; the same command goes on");
    }
    text
}

/// The results' folders, one a line.
///
/// # Errors
/// As [`written`].
pub(super) fn print_results(results: &[DocumentResult]) -> Result<(), CliError> {
    for result in results {
        if let End::Ran(Outcome {
            result: Some(folder),
            ..
        }) = &result.end
        {
            print_path(folder)?;
        }
    }
    Ok(())
}

fn print_path(path: &Path) -> Result<(), CliError> {
    let mut line = path.as_os_str().as_bytes().to_vec();
    line.push(b'\n');
    written(io::stdout().write_all(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_what_there_is() {
        let tally = |complete, partial, failed, interrupted| Tally {
            complete,
            partial,
            failed,
            interrupted,
        };
        assert_eq!(
            sentence(tally(3, 0, 0, 0), None),
            "memcap: 3 documents complete"
        );
        let together = Together {
            peak: Some(ByteSize::from_mib(1568)),
            limit: ByteSize::from_gib(6),
        };
        assert_eq!(
            sentence(tally(2, 0, 0, 0), Some(together)),
            "memcap: 2 documents complete; together peak 1.53 GiB of 6 GiB"
        );
        assert_eq!(
            sentence(tally(1, 1, 2, 4), None),
            "memcap: 1 document complete, 1 with missing pages, 2 failed, 4 interrupted or not \
             begun; the same command goes on"
        );
    }
}
