//! The spelling of marker-pdf-optimized, a wrapper whose command lines people
//! have in their scripts:
//!
//! ```text
//! marker-pdf-optimized marker_single input.pdf output/ --batch-multiplier 0.5 \
//!     --chunk-size 25 --auto-chunk
//! ```
//!
//! with `MARKER_BATCH_MULTIPLIER`, `MARKER_AUTO_CHUNK` and `MARKER_CHUNK_SIZE`
//! in the environment, which its options override. Every setting is given its
//! best meaning on the installed marker. Pure.

mod error;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::path::PathBuf;

pub use error::{DropInError, USAGE};

use memcap_linux::{ByteSize, SizeSpec};

use crate::chunks::Chunking;
use crate::environment::World;
use crate::pages::PageSelection;
use crate::plan::Request;
use crate::text::os_text;
use crate::tuning::{Multiplier, TuningRequest};

/// Documents above this size, in bytes, are cut by default: the original's
/// 10 MB.
pub const AUTO_CHUNK_ABOVE: u64 = 10_000_000;

/// Threads that the original asks for.
const THREADS: NonZeroU32 = NonZeroU32::new(4).expect("4 is not 0");

/// What a command line in this spelling asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct DropIn {
    /// The PDF.
    pub document: PathBuf,
    /// The folder for the result.
    pub output: PathBuf,
    /// The limit; `None` where none was named (the original has none).
    pub memory: Option<SizeSpec>,
    /// Marker's interpreter.
    pub python: Option<PathBuf>,
    /// The pages; `None` for all.
    pub pages: Option<PageSelection>,
    /// How to cut.
    pub chunking: Chunking,
    /// Settings for marker.
    pub tuning: TuningRequest,
    /// Whether foreign files may be overwritten.
    pub force: bool,
    /// Options behind `--`, for marker itself.
    pub marker_args: Vec<OsString>,
}

impl DropIn {
    /// The request under this limit.
    pub fn request(self, memory: ByteSize) -> Request {
        Request {
            python: self.python,
            pages: self.pages,
            chunking: self.chunking,
            tuning: self.tuning,
            force: self.force,
            marker_args: self.marker_args,
            ..Request::new(self.document, self.output, memory)
        }
    }
}

/// What was written, before it is put together.
#[derive(Default)]
struct Settings {
    names: Vec<OsString>,
    multiplier: Option<Multiplier>,
    chunk_size: Option<NonZeroU32>,
    auto_chunk: Option<bool>,
    allocator: Option<String>,
    threads: Option<NonZeroU32>,
    memory: Option<SizeSpec>,
    pages: Option<PageSelection>,
    python: Option<PathBuf>,
    force: bool,
    marker_args: Vec<OsString>,
}

/// Parses the words behind the program's name.
///
/// # Errors
/// For anything that is not understood; nothing is guessed.
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    world: &World,
) -> Result<DropIn, DropInError> {
    let mut words = words.into_iter();
    let command = words
        .next()
        .ok_or(DropInError::Missing("the command `marker_single`"))?;
    if command != "marker_single" {
        return Err(DropInError::UnknownCommand(os_text(&command)));
    }
    let mut settings = from_environment(world)?;
    while let Some(word) = words.next() {
        if word == "--" {
            settings.marker_args = words.collect();
            break;
        }
        match option(&word) {
            Some((name, value)) => settings.take(&name, value, &mut words)?,
            None => settings.names.push(word),
        }
    }
    settings.finish()
}

fn from_environment(world: &World) -> Result<Settings, DropInError> {
    let text = |name| world.variable(name).map(os_text);
    let mut settings = Settings::default();
    if let Some(value) = text("MARKER_BATCH_MULTIPLIER") {
        settings.multiplier = Some(value.parse()?);
    }
    if let Some(value) = text("MARKER_CHUNK_SIZE") {
        settings.chunk_size = Some(count("MARKER_CHUNK_SIZE", &value)?);
    }
    if let Some(value) = text("MARKER_AUTO_CHUNK") {
        settings.auto_chunk = Some(truth("MARKER_AUTO_CHUNK", &value)?);
    }
    Ok(settings)
}

/// `--name`, `--name=value` or `-o`-like words; names without a leading dash
/// are none. Underscores count as dashes, as both were in use.
fn option(word: &OsStr) -> Option<(String, Option<OsString>)> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = word.as_bytes();
    if !bytes.starts_with(b"-") || bytes == b"-" {
        return None;
    }
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(end) => (
            &bytes[..end],
            Some(OsString::from_vec(bytes[end + 1..].to_vec())),
        ),
        None => (bytes, None),
    };
    Some((os_text(OsStr::from_bytes(name)).replace('_', "-"), value))
}

impl Settings {
    fn take(
        &mut self,
        name: &str,
        value: Option<OsString>,
        words: &mut dyn Iterator<Item = OsString>,
    ) -> Result<(), DropInError> {
        if let "--auto-chunk" | "--no-auto-chunk" | "--force" = name {
            if value.is_some() {
                return Err(DropInError::TakesNoValue(name.to_owned()));
            }
            match name {
                "--force" => self.force = true,
                _ => self.auto_chunk = Some(name == "--auto-chunk"),
            }
            return Ok(());
        }
        let mut value = || {
            value
                .clone()
                .or_else(|| words.next())
                .ok_or_else(|| DropInError::NeedsValue(name.into()))
        };
        let mut text = || value().map(|value| os_text(&value));
        match name {
            "--batch-multiplier" => self.multiplier = Some(text()?.parse()?),
            "--chunk-size" => self.chunk_size = Some(count("--chunk-size", &text()?)?),
            "--threads" => self.threads = Some(count("--threads", &text()?)?),
            "--pytorch-config" => self.allocator = Some(text()?),
            "--memory" => self.memory = Some(text()?.parse()?),
            "--pages" => self.pages = Some(text()?.parse()?),
            "--python" => self.python = Some(value()?.into()),
            _ => return Err(DropInError::UnknownOption(name.to_owned())),
        }
        Ok(())
    }

    fn finish(self) -> Result<DropIn, DropInError> {
        let chunking = match (self.auto_chunk, self.chunk_size) {
            (Some(false), None) => Chunking::Whole,
            // Naming a size without `--auto-chunk` asks for chunks as well.
            (Some(false) | None, Some(pages)) => Chunking::Fixed(pages),
            (Some(true), Some(pages)) => Chunking::FixedAbove {
                bytes: AUTO_CHUNK_ABOVE,
                pages,
            },
            (Some(true) | None, None) => Chunking::Fit,
        };
        let mut names = self.names.into_iter();
        let document = names.next().ok_or(DropInError::Missing("the PDF file"))?;
        let output = names
            .next()
            .ok_or(DropInError::Missing("the output folder"))?;
        if let Some(third) = names.next() {
            return Err(DropInError::TooMany(os_text(&third)));
        }
        Ok(DropIn {
            document: document.into(),
            output: output.into(),
            memory: self.memory,
            python: self.python,
            pages: self.pages,
            chunking,
            tuning: TuningRequest {
                multiplier: Some(self.multiplier.unwrap_or(Multiplier::HALF)),
                threads: Some(self.threads.unwrap_or(THREADS)),
                precision: Some("float16".to_owned()),
                allocator: Some(self.allocator.unwrap_or_else(|| ALLOCATOR.to_owned())),
                no_cuda_cache: false,
                text_workers: None,
                ocr_backend: None,
            },
            force: self.force,
            marker_args: self.marker_args,
        })
    }
}

/// The allocator setting of the original's examples.
const ALLOCATOR: &str = "max_split_size_mb:128,garbage_collection_threshold:0.6";

fn count(setting: &'static str, value: &str) -> Result<NonZeroU32, DropInError> {
    value.trim().parse().map_err(|_| DropInError::BadValue {
        setting,
        value: value.to_owned(),
        expected: "a whole number from 1 on",
    })
}

fn truth(setting: &'static str, value: &str) -> Result<bool, DropInError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(DropInError::BadValue {
            setting,
            value: value.to_owned(),
            expected: "true or false",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str, variables: &[(&str, &str)]) -> Result<DropIn, DropInError> {
        let world = World::new(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
            "/",
        );
        parse(line.split_whitespace().map(OsString::from), &world)
    }

    fn size(pages: u32) -> NonZeroU32 {
        NonZeroU32::new(pages).unwrap()
    }

    #[test]
    fn the_originals_examples_are_understood() {
        let line = "marker_single input.pdf output/ --batch-multiplier 0.25 --chunk-size 25 \
                    --auto-chunk --pytorch-config max_split_size_mb:64";
        let request = parsed(line, &[]).unwrap();
        assert_eq!(request.document, PathBuf::from("input.pdf"));
        assert_eq!(request.output, PathBuf::from("output/"));
        assert_eq!(request.tuning.multiplier, Some("0.25".parse().unwrap()));
        assert_eq!(
            request.tuning.allocator.as_deref(),
            Some("max_split_size_mb:64")
        );
        assert_eq!(
            request.chunking,
            Chunking::FixedAbove {
                bytes: AUTO_CHUNK_ABOVE,
                pages: size(25)
            }
        );

        let usual = parsed("marker_single input.pdf output/", &[]).unwrap();
        assert_eq!(usual.tuning.multiplier, Some(Multiplier::HALF));
        assert_eq!(usual.tuning.threads, NonZeroU32::new(4));
        assert_eq!((usual.chunking, usual.memory), (Chunking::Fit, None));
    }

    #[test]
    fn options_win_over_the_environment() {
        let variables = [
            ("MARKER_BATCH_MULTIPLIER", "0.1"),
            ("MARKER_AUTO_CHUNK", "true"),
            ("MARKER_CHUNK_SIZE", "50"),
        ];
        let from_environment = parsed("marker_single a b", &variables).unwrap();
        assert_eq!(
            from_environment.tuning.multiplier,
            Some("0.1".parse().unwrap())
        );
        let above = Chunking::FixedAbove {
            bytes: AUTO_CHUNK_ABOVE,
            pages: size(50),
        };
        assert_eq!(from_environment.chunking, above);

        let line = "marker_single a b --no-auto-chunk --chunk_size=7 --batch_multiplier=1";
        let from_options = parsed(line, &variables).unwrap();
        assert_eq!(from_options.chunking, Chunking::Fixed(size(7)));
        assert_eq!(from_options.tuning.multiplier, Some("1".parse().unwrap()));
    }

    #[test]
    fn what_belongs_to_marker_is_handed_on() {
        let request = parsed(
            "marker_single a b --memory 8G --pages 1-3 -- --force_ocr",
            &[],
        )
        .unwrap();
        assert_eq!(request.marker_args, ["--force_ocr"]);
        assert_eq!(request.memory, Some("8G".parse().unwrap()));
        assert_eq!(request.pages, Some("1-3".parse().unwrap()));
    }

    #[test]
    fn mistakes_are_named() {
        type Case = (
            &'static str,
            &'static [(&'static str, &'static str)],
            &'static str,
        );
        let cases: [Case; 13] = [
            ("", &[], "the command `marker_single` is missing"),
            (
                "marker in out",
                &[],
                "`marker` is not a command of this form",
            ),
            ("marker_single", &[], "the PDF file is missing"),
            ("marker_single a", &[], "the output folder is missing"),
            ("marker_single a b c", &[], "`c` is one argument too many"),
            (
                "marker_single a b --force_ocr",
                &[],
                "unknown option `--force-ocr`",
            ),
            (
                "marker_single a b --chunk-size",
                &[],
                "`--chunk-size` needs a value",
            ),
            (
                "marker_single a b --chunk-size 0",
                &[],
                "`0` is no value for --chunk-size",
            ),
            (
                "marker_single a b --auto-chunk=1",
                &[],
                "`--auto-chunk` takes no value",
            ),
            (
                "marker_single a b --batch-multiplier -1",
                &[],
                "`-1` is not a batch multiplier",
            ),
            (
                "marker_single a b --memory 8X",
                &[],
                "unknown unit `X` in `8X`",
            ),
            (
                "marker_single a b",
                &[("MARKER_CHUNK_SIZE", "many")],
                "`many` is no value for MARKER_CHUNK_SIZE",
            ),
            (
                "marker_single a b",
                &[("MARKER_AUTO_CHUNK", "perhaps")],
                "`perhaps` is no value for MARKER_AUTO_CHUNK",
            ),
        ];
        for (line, variables, message) in cases {
            let error = parsed(line, variables).unwrap_err();
            assert_eq!(error.to_string(), message, "{line}");
            assert!(!error.hint().is_empty());
        }
    }
}
