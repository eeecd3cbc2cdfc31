//! Why a command line in this spelling cannot be understood.

use memcap_linux::ParseSizeError;

use crate::format::FormatError;
use crate::marker_args::instead_of;
use crate::pages::PagesError;
use crate::tuning::{MultiplierError, PresetError};

/// Why a command line cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DropInError {
    /// The first word is neither `marker_single` nor `marker`.
    #[error("`{0}` is not a command of this form")]
    UnknownCommand(String),
    /// A word is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A third name.
    #[error("`{0}` is one argument too many")]
    TooMany(String),
    /// An option that is not known.
    #[error("unknown option `{0}`")]
    UnknownOption(String),
    /// An option without its value.
    #[error("`{0}` needs a value")]
    NeedsValue(String),
    /// An option with a value that it does not take.
    #[error("`{0}` takes no value")]
    TakesNoValue(String),
    /// The value is not one that the setting can have.
    #[error("`{value}` is no value for {setting}")]
    BadValue {
        /// The option or variable.
        setting: &'static str,
        /// The value.
        value: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// The multiplier.
    #[error(transparent)]
    Multiplier(#[from] MultiplierError),
    /// The preset.
    #[error(transparent)]
    Preset(#[from] PresetError),
    /// The format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The choice of pages.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The limit.
    #[error(transparent)]
    Memory(#[from] ParseSizeError),
}

/// One line on how the form is used.
pub const USAGE: &str = "marker-pdf-optimized {marker_single INPUT.pdf | marker FOLDER} OUTPUT \
    [--batch-multiplier X | --preset NAME] [--chunk-size N] [--auto-chunk | --no-auto-chunk] \
    [--pytorch-config TEXT] [--no-cuda-cache] [--precision NAME] [--threads N] [--workers N] \
    [--memory SIZE] [--pages LIST] [--format NAME] [--python PATH] [--force] [-- MARKER OPTIONS]";

impl DropInError {
    /// What to write instead.
    pub fn hint(&self) -> String {
        match self {
            DropInError::UnknownOption(option) => match instead_of(option) {
                Some(instead) => instead.to_owned(),
                None => {
                    format!("if it is one of marker's own, write it behind `--`: … -- {option}")
                }
            },
            DropInError::BadValue { expected, .. } => format!("write {expected}"),
            DropInError::Multiplier(error) => error.hint().to_owned(),
            DropInError::Preset(error) => error.hint().to_owned(),
            DropInError::Format(error) => error.hint().to_owned(),
            DropInError::Pages(error) => error.hint(),
            DropInError::Memory(error) => error.hint().to_owned(),
            DropInError::UnknownCommand(_)
            | DropInError::Missing(_)
            | DropInError::TooMany(_)
            | DropInError::NeedsValue(_)
            | DropInError::TakesNoValue(_) => format!("usage: {USAGE}"),
        }
    }
}
