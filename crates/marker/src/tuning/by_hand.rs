//! Options for marker that the user wrote out and that are settings known
//! here: they win over what was asked for in general, and are handed on in the
//! way that works on the installed version.

use std::ffi::{OsStr, OsString};

use super::Tuning;
use super::lever::{Lever, LeverKind, ON, PassedAs, SetBy};
use super::pages::workers;
use crate::text::os_text;
use crate::version::Version;

/// Two options of marker for one setting.
const WORKERS: &str = "pdftext_workers";
const ONE_WORKER: &str = "disable_multiprocessing";

/// A value that the setting cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no value for marker's `--{option}`")]
pub struct ByHandError {
    /// The option, without its dashes.
    pub option: String,
    /// The value; empty where there is none.
    pub value: String,
}

impl Tuning {
    /// Takes the settings out of marker's options; the rest is returned.
    ///
    /// # Errors
    /// For a value that is no whole number from 1 on where there must be one.
    pub(crate) fn take_by_hand(
        &mut self,
        args: &[OsString],
        version: Version,
    ) -> Result<Vec<OsString>, ByHandError> {
        let mut rest = Vec::new();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let (option, joined) = split(word);
            let Some(lever) = self.levers.iter_mut().find(|lever| lever.is_for(&option)) else {
                rest.push(word.clone());
                continue;
            };
            let takes_value = match lever.passed_as {
                PassedAs::Switch(_) => option == WORKERS,
                PassedAs::Flag(_) | PassedAs::ConfigFile(_) | PassedAs::Environment(_) => {
                    option != ONE_WORKER
                }
            };
            let value = if takes_value {
                let value = joined.or_else(|| words.next().map(|word| os_text(word)));
                checked(lever.kind, option, value.unwrap_or_default())?
            } else {
                ON.to_owned()
            };
            lever.take(value, version);
            lever.set_by = SetBy::Hand;
        }
        Ok(rest)
    }

    /// The settings written out by hand that decide what the result looks
    /// like, as `option=value`.
    pub(crate) fn deciding(&self) -> impl Iterator<Item = String> {
        self.levers
            .iter()
            .filter(|lever| match lever.kind {
                LeverKind::Resolution | LeverKind::Content | LeverKind::Models => {
                    lever.set_by == SetBy::Hand
                }
                LeverKind::BatchSize
                | LeverKind::TextWorkers
                | LeverKind::Threads
                | LeverKind::Precision
                | LeverKind::CudaAllocator
                | LeverKind::Heap
                | LeverKind::Environment => false,
            })
            .map(|lever| format!("{}={}", lever.passed_as, lever.value))
    }
}

impl Lever {
    /// Takes a value that was written out. One process more or less is another
    /// option.
    fn take(&mut self, value: String, version: Version) {
        let is_count = self.kind == LeverKind::TextWorkers;
        let count = match value.as_str() {
            ON if is_count => Some(1),
            count if is_count => count.parse().ok(),
            _ => None,
        };
        (self.passed_as, self.value) = count
            .and_then(|count| workers(version, count))
            .unwrap_or_else(|| (self.passed_as.clone(), value));
    }

    /// Whether it is what marker's option of this name sets.
    fn is_for(&self, option: &str) -> bool {
        match (&self.passed_as, self.kind) {
            (PassedAs::Environment(_), _) => false,
            (_, LeverKind::TextWorkers) => option == WORKERS || option == ONE_WORKER,
            (PassedAs::Flag(word) | PassedAs::Switch(word) | PassedAs::ConfigFile(word), _) => {
                word.trim_start_matches("--") == option
            }
        }
    }
}

/// The option's name and the value behind its `=`; an empty name for a word
/// that is no option.
fn split(word: &OsStr) -> (String, Option<String>) {
    let text = os_text(word);
    let Some(option) = text.strip_prefix("--") else {
        return (String::new(), None);
    };
    match option.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (option.to_owned(), None),
    }
}

fn checked(kind: LeverKind, option: String, value: String) -> Result<String, ByHandError> {
    let fits = match kind {
        LeverKind::BatchSize | LeverKind::Resolution | LeverKind::TextWorkers => {
            value.parse::<u32>().is_ok_and(|number| number >= 1)
        }
        LeverKind::Models
        | LeverKind::Content
        | LeverKind::Threads
        | LeverKind::Precision
        | LeverKind::CudaAllocator
        | LeverKind::Heap
        | LeverKind::Environment => !value.is_empty(),
    };
    if fits {
        Ok(value)
    } else {
        Err(ByHandError { option, value })
    }
}
