//! What is happening, in words. Pure.

use std::time::Duration;

use memcap_marker::many::Failure;
use memcap_marker::runner::StepReport;
use memcap_marker::{Action, Chunk, Effort, Outcome, PageSet, Status};

use crate::render::printable;

/// What one run of marker is about.
pub(in super::super) fn attempt(pages: &PageSet, again: bool, effort: Effort) -> String {
    let again = if again { " once more" } else { "" };
    match effort {
        Effort::Usual => format!("{}{again}", of_pages(pages)),
        Effort::SmallBatches | Effort::LowResolution => {
            format!("{}{again} {effort}", of_pages(pages))
        }
    }
}

/// `page 7` or `pages 1-20`.
pub(in super::super) fn of_pages(pages: &PageSet) -> String {
    match pages.len() {
        1 => format!("page {pages}"),
        _ => format!("pages {pages}"),
    }
}

/// `1 page` or `20 pages`.
pub(in super::super) fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// The rest in other chunks than planned.
pub(super) fn recut(chunks: &[Chunk]) -> String {
    let largest = chunks.iter().map(|chunk| chunk.estimate).max();
    format!(
        "by what was measured, the rest is {}, about {} each at most",
        counted(chunks.len(), "chunk"),
        largest.unwrap_or_default()
    )
}

pub(super) fn joining(chunks: usize) -> String {
    match chunks {
        1 => "putting the result together".to_owned(),
        _ => format!("joining {chunks} chunks"),
    }
}

/// A run that succeeded.
pub(super) fn done(pages: &PageSet, report: &StepReport) -> String {
    let peak = report
        .peak
        .map_or("unknown".to_owned(), |peak| peak.to_string());
    format!(
        "{} done in {}, peak {peak}",
        of_pages(pages),
        duration(report.wall)
    )
}

/// A run that failed, and what follows.
pub(super) fn failed(
    pages: &PageSet,
    report: &StepReport,
    last_words: Option<&str>,
    action: &Action,
) -> String {
    let mut text = format!("{}: marker {}", of_pages(pages), report.ending);
    if let Some(words) = last_words {
        text.push_str(&format!(" ({})", printable(words)));
    }
    text.push_str("; ");
    text.push_str(&what_follows(action));
    text
}

fn what_follows(action: &Action) -> String {
    match action {
        Action::Retry => "once more".to_owned(),
        Action::HalvesNext(first, second) => {
            format!("in two parts: {first} and {second}")
        }
        Action::HalvesLast(first, second) => {
            format!("later in two parts: {first} and {second}")
        }
        Action::Less(effort) => format!("again {effort}"),
        Action::GiveUp => "given up".to_owned(),
        Action::Abort => "giving up".to_owned(),
    }
}

/// How a conversion ended.
pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome.status {
        Status::AlreadyDone => "was complete already".to_owned(),
        Status::Complete => format!("complete, {}", counted(outcome.converted.len(), "page")),
        Status::Partial => format!("{} missing", of_pages(&outcome.missing)),
        Status::Nothing => "no page was converted".to_owned(),
        Status::Interrupted => "interrupted".to_owned(),
    }
}

/// Why there is no result, with all causes.
pub(in super::super) fn failure(failure: &Failure) -> String {
    printable(&memcap_linux::one_line(failure))
}

/// A number of pages for arithmetic on rates; exact below 2^53.
pub(super) fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

/// `0:07`, `12:40` or `3:05:00`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// `12.9 s`, `4 min 10 s` or `2 h 5 min`.
pub(in super::super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..100 => format!("{:.1} s", time.as_secs_f64()),
        100..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A guess at how long it will take: `about 12 min left`.
pub(super) fn left(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    match minutes {
        0 | 1 => "about a minute left".to_owned(),
        2..100 => format!("about {minutes} min left"),
        _ => format!("about {} h {} min left", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_tell_them() {
        let seconds = Duration::from_secs;
        let clocks = [(7, "0:07"), (760, "12:40"), (11_100, "3:05:00")];
        for (time, told) in clocks {
            assert_eq!(clock(seconds(time)), told);
        }
        let durations = [(12, "12.0 s"), (250, "4 min 10 s"), (7500, "2 h 5 min")];
        for (time, told) in durations {
            assert_eq!(duration(seconds(time)), told);
        }
        let guesses = [
            (0, "about a minute left"),
            (61, "about 2 min left"),
            (7500, "about 2 h 5 min left"),
        ];
        for (time, told) in guesses {
            assert_eq!(left(seconds(time)), told);
        }
    }
}
