//! Options that the user hands on to marker, and those that memcap keeps for
//! itself.

use std::ffi::OsString;

use crate::secrets::redacted;
use crate::tuning::ByHandError;

/// Why an option is not handed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkerArgError {
    /// It would change what memcap relies on.
    #[error("marker's `{option}` cannot be given here: memcap sets it")]
    Reserved {
        /// The option.
        option: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// It is not an option, but would be taken for a second document.
    #[error("`{0}` is not an option of marker")]
    NotAnOption(String),
    /// The value of a setting.
    #[error(transparent)]
    Value(#[from] ByHandError),
}

impl MarkerArgError {
    /// What to do instead.
    pub fn hint(&self) -> &'static str {
        match self {
            MarkerArgError::Reserved { instead, .. } => instead,
            MarkerArgError::NotAnOption(_) => {
                "behind `--` stand options of marker_single alone, such as -- --force_ocr"
            }
            MarkerArgError::Value(_) => "write a whole number from 1 on",
        }
    }
}

const PAGES: &str = "name the pages with --pages 1-20,25, counted from 1";
const FOLDER: &str = "memcap converts many documents by itself: name them, or their folder, in place \
    of the document";
const DEBUG: &str = "run marker_single by hand to debug it: it writes pictures into its own folder";

/// Options of marker that memcap sets itself, or that would make marker do
/// something else than convert the document.
const RESERVED: [(&str, &str); 18] = [
    ("--output_dir", "name the folder with -o OUT"),
    (
        "--output_format",
        "choose with --format markdown, html, json or chunks",
    ),
    ("--page_range", PAGES),
    ("--start_page", PAGES),
    ("--max_pages", PAGES),
    (
        "--batch_multiplier",
        "write --batch-multiplier X before the `--`",
    ),
    (
        "--parallel_factor",
        "write --batch-multiplier X before the `--`",
    ),
    (
        "--config_json",
        "write its keys as options of their own, such as -- --force_ocr --lowres_image_dpi 72",
    ),
    (
        "--help",
        "run `marker_single --help` to see marker's options",
    ),
    ("--debug", DEBUG),
    ("-d", DEBUG),
    (
        "--workers",
        "how many documents are converted at once is --jobs N",
    ),
    ("--chunk_idx", FOLDER),
    ("--num_chunks", FOLDER),
    ("--max_files", FOLDER),
    ("--skip_existing", "memcap skips what is complete by itself"),
    ("--metadata_file", FOLDER),
    ("--min_length", FOLDER),
];

/// Checks the options that are to be handed on to marker.
///
/// # Errors
/// For an option of memcap's own, and where the first is no option at all.
pub fn check_marker_args(args: &[OsString]) -> Result<(), MarkerArgError> {
    let texts = redacted(args);
    if let Some(first) = texts.first()
        && !first.starts_with('-')
    {
        return Err(MarkerArgError::NotAnOption(first.clone()));
    }
    texts
        .iter()
        .find_map(|text| reserved(text.split('=').next().unwrap_or_default()))
        .map_or(Ok(()), Err)
}

/// What to use in place of an option of marker that memcap sets itself; `None`
/// for every other word.
pub fn instead_of(word: &str) -> Option<&'static str> {
    match reserved(word)? {
        MarkerArgError::Reserved { instead, .. } => Some(instead),
        MarkerArgError::NotAnOption(_) | MarkerArgError::Value(_) => None,
    }
}

/// Early releases take the beginning of an option for the whole of it
/// (argparse), so beginnings are refused too, and everything about debugging.
fn reserved(word: &str) -> Option<MarkerArgError> {
    let is_beginning = |option: &str| word.len() > 2 && option.starts_with(word);
    let (_, instead) = RESERVED.into_iter().find(|(option, _)| {
        word == *option || is_beginning(option) || *option == "--debug" && word.starts_with(option)
    })?;
    Some(MarkerArgError::Reserved {
        option: word.to_owned(),
        instead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<(), MarkerArgError> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        check_marker_args(&args)
    }

    #[test]
    fn options_of_marker_are_handed_on() {
        for line in [
            "",
            "--force_ocr --highres_image_dpi 96",
            "--use_llm --gemini_api_key x --llm_service marker.services.claude.ClaudeService",
            "--disable_multiprocessing",
            "--pdftext_workers 2",
            "--paginate_output --disable_image_extraction --strip_existing_ocr",
            "--langs English,German",
            "--mode fast",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn options_of_memcap_are_refused_with_what_to_use_instead() {
        let cases = [
            ("--page_range 1", "--page_range", "--pages"),
            ("--page_range=1", "--page_range", "--pages"),
            ("--force_ocr --output_dir x", "--output_dir", "-o OUT"),
            ("--output_format json", "--output_format", "--format"),
            ("--start_page 3", "--start_page", "--pages"),
            ("--max 3", "--max", "--pages"),
            (
                "--batch_multiplier 2",
                "--batch_multiplier",
                "--batch-multiplier",
            ),
            ("--config_json x", "--config_json", "options of their own"),
            ("--workers 4", "--workers", "--jobs"),
            ("--help", "--help", "marker_single --help"),
            ("-d", "-d", "by hand"),
            ("--debug_json", "--debug_json", "by hand"),
        ];
        for (line, option, instead) in cases {
            let error = check(line).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("marker's `{option}` cannot be given here: memcap sets it")
            );
            assert!(error.hint().contains(instead), "{line}: {}", error.hint());
        }
        let second = check("other.pdf").unwrap_err();
        assert_eq!(second.to_string(), "`other.pdf` is not an option of marker");
    }
}
