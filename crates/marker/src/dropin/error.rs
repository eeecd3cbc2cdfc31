//! Why a command line in this spelling cannot be understood.

use memcap_linux::ParseSizeError;

use crate::pages::PagesError;
use crate::tuning::MultiplierError;

/// Why a command line cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DropInError {
    /// The first word is not `marker_single`.
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
    /// The choice of pages.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The limit.
    #[error(transparent)]
    Memory(#[from] ParseSizeError),
}

/// One line on how the form is used.
pub const USAGE: &str = "marker-pdf-optimized marker_single INPUT.pdf OUTPUT \
    [--batch-multiplier X] [--chunk-size N] [--auto-chunk | --no-auto-chunk] \
    [--pytorch-config TEXT] [--threads N] [--memory SIZE] [--pages LIST] [--python PATH] \
    [--force] [-- MARKER OPTIONS]";

impl DropInError {
    /// What to write instead.
    pub fn hint(&self) -> String {
        match self {
            DropInError::UnknownOption(_) => {
                "marker's own options go behind `--`: … -- --force_ocr".to_owned()
            }
            DropInError::BadValue { expected, .. } => format!("write {expected}"),
            DropInError::Multiplier(error) => error.hint().to_owned(),
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
