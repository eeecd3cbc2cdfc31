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

/// How the form is used, for a terminal of 80 columns.
pub const USAGE: &str = "\
The command lines of marker-pdf-optimized, carried out by memcap within a memory limit.

Usage: marker-pdf-optimized marker_single INPUT.pdf OUTPUT [OPTIONS] [-- MARKER OPTIONS]
       marker-pdf-optimized marker FOLDER OUTPUT [OPTIONS] [-- MARKER OPTIONS]

Options:
  --batch-multiplier X   Factor for marker's batch sizes, such as 0.5, the default
  --preset NAME          default, optimized (half), conservative (a quarter) or
                         minimal (a tenth), in place of --batch-multiplier
  --chunk-size N         Pages in a chunk; without it as many as fit
  --auto-chunk           Chunks of that size for documents above 10 MB only
  --no-auto-chunk        One piece, unless --chunk-size is given
  --workers N            Documents of a folder at the same time
  --memory SIZE          Limit for all of it: 2G, 8G, 50%; without it 75 % of the
                         memory that is free
  --pages LIST           Pages to convert, counted from 1: 1-20,25,30-
  --format NAME          markdown, html, json or chunks
  --threads N            Threads of the numerical libraries; 4 without it
  --precision NAME       Number format for the models, such as float16
  --pytorch-config TEXT  Settings for PyTorch's CUDA allocator
  --no-cuda-cache        Have PyTorch give GPU memory back at once
  --python PATH          The Python in which marker-pdf is installed
  --force                Overwrite files in a result's folder that memcap did not write

MARKER_BATCH_MULTIPLIER, MARKER_CHUNK_SIZE and MARKER_AUTO_CHUNK in the environment
mean the same. `memcap marker --help` tells of more.";

/// What is right, where a word is missing or one too many.
const FORM: &str = "write marker-pdf-optimized marker_single INPUT.pdf OUTPUT; \
    `marker-pdf-optimized --help` lists the options";

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
            | DropInError::TakesNoValue(_) => FORM.to_owned(),
        }
    }
}
