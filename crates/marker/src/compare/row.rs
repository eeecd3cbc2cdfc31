//! What is told about each setting.

use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;
use serde::Serialize;

use super::difference::similarity;
use super::measured::{Measured, is_measured};
use super::{CompareError, Setting};
use crate::many::{DocumentResult, End};
use crate::pages::PageSet;
use crate::plan::Plan;

/// What is told about one setting.
#[derive(Debug, Serialize)]
pub struct Row {
    /// For people.
    pub setting: String,
    /// The factor for batch sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<String>,
    /// Pages in the largest chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_chunk: Option<usize>,
    /// How it ended, in one word.
    pub status: &'static str,
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Pages that are there.
    pub converted: PageSet,
    /// Pages that are missing.
    pub missing: PageSet,
    /// What it has cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// Size of all files of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<ByteSize>,
    /// Size of its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_bytes: Option<ByteSize>,
    /// How alike its words are to those of the first setting that has a
    /// result, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
    /// Where the differing lines are; absent for none.
    #[serde(
        serialize_with = "crate::text::serialize_optional_path",
        skip_serializing_if = "Option::is_none"
    )]
    pub diff: Option<PathBuf>,
}

/// Puts the rows together, keeps what was measured and writes the differences
/// into `output`.
///
/// # Errors
/// When a result cannot be read, or a file not be written.
pub fn rows(
    settings: &[Setting],
    results: &[DocumentResult],
    output: &Path,
) -> Result<Vec<Row>, CompareError> {
    let mut reference: Option<(String, String)> = None;
    let mut rows = Vec::new();
    for (setting, result) in settings.iter().zip(results) {
        let mut row = Row::of(setting, result)?;
        if let Some(text) = text_of(result)? {
            row.text_bytes = Some(size(text.len()));
            match &reference {
                None => reference = Some((setting.to_string(), text)),
                Some((name, first)) => {
                    let told = similarity((name, first), (&setting.to_string(), &text));
                    row.similarity = Some(told.words);
                    row.diff = write_diff(&told.diff, output, setting, result)?;
                }
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

impl Row {
    fn of(setting: &Setting, result: &DocumentResult) -> Result<Row, CompareError> {
        let mut row = Row {
            setting: setting.to_string(),
            multiplier: setting.multiplier.map(|multiplier| multiplier.to_string()),
            largest_chunk: None,
            status: result.end.word(),
            error: None,
            converted: PageSet::default(),
            missing: PageSet::default(),
            measured: None,
            output_bytes: None,
            text_bytes: None,
            similarity: None,
            diff: None,
        };
        match (&result.end, &result.plan) {
            (End::Ran(outcome), Some(plan)) => {
                row.converted = outcome.converted.clone();
                row.missing = outcome.missing.clone();
                row.measured = Some(measure(result, plan)?);
                row.largest_chunk = largest_chunk(result);
                row.output_bytes = match &outcome.result {
                    Some(folder) => Some(size_of_files(folder)?),
                    None => None,
                };
            }
            (End::Failed(failure), _) => row.error = Some(memcap_linux::one_line(failure)),
            (End::Ran(_) | End::NotBegun | End::Pointless, _) => {}
        }
        Ok(row)
    }
}

/// What it has cost, this run's part included and kept.
fn measure(result: &DocumentResult, plan: &Plan) -> Result<Measured, CompareError> {
    let before = Measured::load(&plan.output, &plan.key);
    match &result.end {
        End::Ran(outcome) if is_measured(outcome) => {
            let measured = before.and(outcome, &result.attempts);
            measured.save(&plan.output)?;
            Ok(measured)
        }
        End::Ran(_) | End::Failed(_) | End::NotBegun | End::Pointless => Ok(before),
    }
}

fn largest_chunk(result: &DocumentResult) -> Option<usize> {
    let attempts = result.attempts.records.iter();
    attempts.map(|attempt| attempt.pages.len()).max()
}

/// The text of a result, whatever its format.
fn text_of(result: &DocumentResult) -> Result<Option<String>, CompareError> {
    let (End::Ran(outcome), Some(plan)) = (&result.end, &result.plan) else {
        return Ok(None);
    };
    let Some(folder) = &outcome.result else {
        return Ok(None);
    };
    let Some(name) = plan.published_names().into_iter().next() else {
        return Ok(None);
    };
    let path = folder.join(name);
    let text = std::fs::read(&path).map_err(|source| failed("read", &path, source))?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

fn write_diff(
    diff: &str,
    output: &Path,
    setting: &Setting,
    result: &DocumentResult,
) -> Result<Option<PathBuf>, CompareError> {
    let stem = result.document.file_stem().unwrap_or_default();
    let mut name = stem.to_owned();
    name.push(format!("-{}.diff", setting.folder()));
    let path = output.join(name);
    if diff.is_empty() {
        // One of an earlier comparison would contradict.
        return match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("remove", &path, source))
            }
            _ => Ok(None),
        };
    }
    std::fs::write(&path, diff).map_err(|source| failed("write", &path, source))?;
    Ok(Some(path))
}

/// The sizes of all files below a folder.
fn size_of_files(folder: &Path) -> Result<ByteSize, CompareError> {
    let unreadable = |source| failed("read", folder, source);
    let mut sum = ByteSize::ZERO;
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let metadata = entry.metadata().map_err(unreadable)?;
        let size = match metadata.is_dir() {
            true => size_of_files(&entry.path())?,
            false => ByteSize::from_bytes(metadata.len()),
        };
        sum = sum.saturating_add(size);
    }
    Ok(sum)
}

fn size(bytes: usize) -> ByteSize {
    ByteSize::from_bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> CompareError {
    CompareError {
        operation,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::Chunking;
    use crate::compare::{requests, settings};
    use crate::drive::Drive;
    use crate::many::{Pool, convert_all};
    use crate::plan::Request;
    use crate::runner::{Ending, Runner};
    use crate::testing::{FakeMarker, Machine, Scene};

    fn compared(machine: &Machine, make: &(dyn Fn() -> FakeMarker + Sync)) -> Vec<Row> {
        let multipliers = ["1", "0.5"].map(|text| text.parse().ok());
        let settings = settings(&multipliers, &[Chunking::Fit]);
        let request = Request {
            // Runs by a process of their own take a scripted time.
            drive: Drive::Fresh,
            ..machine.request("a.pdf", 3)
        };
        let requests = requests(&request, &settings);
        let make_runner = || Ok(Box::new(make()) as Box<dyn Runner>);
        let pool = Pool {
            jobs: std::num::NonZeroUsize::MIN,
            runner: &make_runner,
            worker: &make_runner,
            is_stopped: &|| false,
            tries_all: true,
        };
        let results = convert_all(&requests, &machine.world(), &pool, &mut |_, _| {});
        rows(&settings, &results, &machine.output()).unwrap()
    }

    #[test]
    fn what_was_measured_is_known_again_when_nothing_is_left_to_do() {
        let machine = Machine::new();
        let first = compared(&machine, &FakeMarker::new);
        let again = compared(&machine, &FakeMarker::new);
        for rows in [&first, &again] {
            assert_eq!(rows[1].similarity, Some(1.0), "{rows:?}");
            assert_eq!((&rows[0].similarity, &rows[1].diff), (&None, &None));
        }
        assert_eq!(
            (first[0].status, again[0].status),
            ("complete", "already-done")
        );
        assert_eq!(first[1].measured, again[1].measured);
        let measured = again[1].measured.as_ref().unwrap();
        assert_eq!((measured.attempts, measured.failures), (1, 0));
        assert_eq!(measured.time().map(|time| time.as_secs()), Some(20));
    }

    #[test]
    fn a_setting_that_fails_is_a_row() {
        let machine = Machine::new();
        let refuses = || {
            let usage = Ending::Finished { exit_code: 2 };
            FakeMarker::with_scenes([Scene::Ends(usage, "Error: no")])
        };
        let rows = compared(&machine, &refuses);
        assert_eq!((rows[0].status, rows[1].status), ("failed", "complete"));
        assert!(rows[0].error.is_some());
        assert_eq!(rows[1].similarity, None, "nothing to compare with");
    }
}
