//! The settings of a command line with meaning. Neither the machine nor a file
//! is looked at, but for a password that is in one.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use memcap_linux::{ByteSize, ParseSizeError, SizeSpec};
use memcap_marker::many::{Jobs, JobsError};
use memcap_marker::{
    Chunking, Drive, FormatError, Multiplier, MultiplierError, OcrBackendError, OutputFormat,
    PageSelection, PagesError, ParseDriveError, Password, Preset, PresetError, Request,
    TuningRequest,
};
use memcap_supervisor::MechanismChoice;

use super::args::SettingArgs;
use super::refuse;
use crate::error::CliError;

/// What is asked for, whatever the document.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) memory: Option<SizeSpec>,
    pub(super) mechanism: MechanismChoice,
    pub(super) pages: Option<PageSelection>,
    pub(super) format: OutputFormat,
    pub(super) chunking: Chunking,
    pub(super) chunk_time: Option<Duration>,
    pub(super) drive: Drive,
    pub(super) tuning: TuningRequest,
    pub(super) python: Option<PathBuf>,
    pub(super) password: Option<Password>,
    pub(super) drop_caches: bool,
    pub(super) force: bool,
    pub(super) marker_args: Vec<OsString>,
}

impl Wish {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first mistake, with what to write instead.
    pub(super) fn of(args: SettingArgs, marker_args: Vec<OsString>) -> Result<Wish, CliError> {
        let preset = option("--preset", args.preset.as_deref(), |error: &PresetError| {
            error.hint().to_owned()
        })?;
        let multiplier = option(
            "--batch-multiplier",
            args.batch_multiplier.as_deref(),
            |error: &MultiplierError| error.hint().to_owned(),
        )?;
        let multiplier: Option<Multiplier> = multiplier.or(preset.map(Preset::multiplier));
        let chunking = args
            .chunk_size
            .as_deref()
            .map_or(Ok(Chunking::Fit), |text| chunk_size("--chunk-size", text))?;
        Ok(Wish {
            memory: option(
                "--memory",
                args.memory.as_deref(),
                |error: &ParseSizeError| error.hint().to_owned(),
            )?,
            mechanism: mechanism(&args.mechanism)?,
            pages: option("--pages", args.pages.as_deref(), PagesError::hint)?,
            format: value("--format", &args.format, |error: &FormatError| {
                error.hint().to_owned()
            })?,
            chunking,
            chunk_time: args.chunk_time.as_deref().map(chunk_time).transpose()?,
            drive: value("--drive", &args.drive, |error: &ParseDriveError| {
                error.hint().to_owned()
            })?,
            tuning: TuningRequest {
                multiplier,
                threads: number("--threads", args.threads.as_deref(), "threads")?,
                text_workers: number("--text-workers", args.text_workers.as_deref(), "processes")?,
                ocr_backend: option(
                    "--ocr-backend",
                    args.ocr_backend.as_deref(),
                    |error: &OcrBackendError| error.hint().to_owned(),
                )?,
                precision: args.precision,
                allocator: args.pytorch_config,
                no_cuda_cache: args.no_cuda_cache,
                heap: None,
            },
            python: args.python,
            password: args.password.read()?,
            drop_caches: args.drop_caches,
            force: args.force,
            marker_args,
        })
    }

    /// The request for one document under this limit.
    pub(super) fn request(&self, document: PathBuf, output: PathBuf, memory: ByteSize) -> Request {
        Request {
            python: self.python.clone(),
            password: self.password.clone(),
            pages: self.pages.clone(),
            format: self.format,
            chunking: self.chunking,
            tuning: self.tuning.clone(),
            chunk_time: self.chunk_time,
            drive: self.drive,
            processors: std::thread::available_parallelism().ok(),
            force: self.force,
            marker_args: self.marker_args.clone(),
            ..Request::new(document, output, memory)
        }
    }
}

/// `--jobs`.
pub(super) fn jobs(text: &str) -> Result<Jobs, CliError> {
    value("--jobs", text, JobsError::hint)
}

/// A number of pages, or `fit`.
pub(super) fn chunk_size(name: &str, text: &str) -> Result<Chunking, CliError> {
    if text.trim() == "fit" {
        return Ok(Chunking::Fit);
    }
    text.trim().parse().map(Chunking::Fixed).map_err(|_| {
        refuse(
            format!("{name}: `{text}` is no number of pages"),
            "write how many pages a chunk shall have, 1 or more, or fit",
        )
    })
}

/// One value of an option.
pub(super) fn value<T, E>(
    name: &str,
    text: &str,
    hint: impl Fn(&E) -> String,
) -> Result<T, CliError>
where
    T: std::str::FromStr<Err = E>,
    E: std::error::Error,
{
    text.parse()
        .map_err(|error: E| refuse(format!("{name}: {error}"), &hint(&error)))
}

fn option<T, E>(
    name: &str,
    text: Option<&str>,
    hint: impl Fn(&E) -> String,
) -> Result<Option<T>, CliError>
where
    T: std::str::FromStr<Err = E>,
    E: std::error::Error,
{
    text.map(|text| value(name, text, hint)).transpose()
}

fn mechanism(text: &str) -> Result<MechanismChoice, CliError> {
    text.parse().map_err(|error| {
        let hint = "write auto, cgroup-v2, systemd, cgroup-v1, watchdog or rlimit";
        refuse(format!("--mechanism: {error}"), hint)
    })
}

/// A number of something.
fn number(name: &str, text: Option<&str>, what: &str) -> Result<Option<NonZeroU32>, CliError> {
    let Some(text) = text else {
        return Ok(None);
    };
    text.trim().parse().map(Some).map_err(|_| {
        refuse(
            format!("{name}: `{text}` is no number of {what}"),
            "write a whole number from 1 on",
        )
    })
}

fn chunk_time(text: &str) -> Result<Duration, CliError> {
    let hint = "write a duration such as 90s, 20m or 2h";
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err(refuse(
            "--chunk-time: nothing can be done in no time".to_owned(),
            hint,
        )),
        Ok(time) => Ok(time),
        Err(error) => Err(refuse(
            format!("--chunk-time: `{text}` is no duration: {error}"),
            hint,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: SettingArgs,
    }

    fn wish(line: &str) -> Result<Wish, CliError> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Wish::of(Line::parse_from(words).settings, Vec::new())
    }

    #[test]
    fn a_multiplier_wins_over_a_preset() {
        let multiplier = |line| wish(line).expect("good").tuning.multiplier;
        assert_eq!(multiplier(""), None);
        assert_eq!(multiplier("--preset minimal"), "0.1".parse().ok());
        assert_eq!(
            multiplier("--preset minimal --batch-multiplier 2"),
            "2".parse().ok()
        );
    }

    #[test]
    fn settings_have_meaning() {
        let wish = wish(
            "--memory 8G --chunk-size 25 --pages 3- --format html --chunk-time 20m --threads 2 \
             --precision float16 --pytorch-config max_split_size_mb:64 --no-cuda-cache",
        )
        .expect("good");
        let request = wish.request("a.pdf".into(), "out".into(), ByteSize::from_gib(8));
        assert_eq!(request.format, OutputFormat::Html);
        assert_eq!(request.chunk_time, Some(Duration::from_secs(1200)));
        assert_eq!(request.tuning.threads, NonZeroU32::new(2));
        assert_eq!(request.tuning.precision.as_deref(), Some("float16"));
        assert!(request.tuning.no_cuda_cache);
        assert!(matches!(request.chunking, Chunking::Fixed(pages) if pages.get() == 25));
    }

    #[test]
    fn mistakes_name_the_option_and_what_to_write() {
        let cases = [
            ("--memory 8X", "--memory: unknown unit", "512M"),
            ("--chunk-size 0", "--chunk-size: `0`", "1 or more"),
            ("--preset tiny", "--preset: `tiny`", "minimal"),
            ("--batch-multiplier x", "--batch-multiplier: `x`", "0.5"),
            ("--pages 0", "--pages: `0`", "1-20"),
            ("--format md", "--format: `md`", "markdown"),
            ("--chunk-time 0s", "--chunk-time: nothing", "20m"),
            ("--chunk-time soon", "--chunk-time: `soon`", "20m"),
            ("--threads none", "--threads: `none`", "from 1"),
            ("--text-workers 0", "--text-workers: `0`", "from 1"),
            ("--ocr-backend x", "--ocr-backend: `x`", "llamacpp"),
            ("--mechanism magic", "--mechanism: ", "watchdog"),
        ];
        for (line, message, hint) in cases {
            let error = wish(line).expect_err(line);
            assert!(error.source.to_string().starts_with(message), "{error:?}");
            let told = error.hint.unwrap_or_default();
            assert!(told.contains(hint), "{line}: {told}");
        }
    }
}
