//! The settings of a command line in this spelling, as they are collected.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

use memcap_linux::SizeSpec;

use super::{AUTO_CHUNK_ABOVE, DropIn, DropInError};
use crate::chunks::Chunking;
use crate::environment::World;
use crate::format::OutputFormat;
use crate::many::Jobs;
use crate::pages::PageSelection;
use crate::text::os_text;
use crate::tuning::{Multiplier, Preset, TuningRequest};

/// Threads that the original asks for.
const THREADS: NonZeroU32 = NonZeroU32::new(4).expect("4 is not 0");

/// The allocator setting of the original's examples.
const ALLOCATOR: &str = "max_split_size_mb:128,garbage_collection_threshold:0.6";

/// What was written, before it is put together.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) names: Vec<OsString>,
    output: Option<OsString>,
    multiplier: Option<Multiplier>,
    preset: Option<Preset>,
    chunk_size: Option<NonZeroU32>,
    auto_chunk: Option<bool>,
    allocator: Option<String>,
    no_cuda_cache: bool,
    precision: Option<String>,
    threads: Option<NonZeroU32>,
    memory: Option<SizeSpec>,
    pages: Option<PageSelection>,
    format: OutputFormat,
    jobs: Jobs,
    python: Option<PathBuf>,
    force: bool,
    pub(super) marker_args: Vec<OsString>,
}

/// `--name`, `--name=value` or `-o`-like words, the name as it was typed;
/// `None` for what has no leading dash.
pub(super) fn option(word: &OsStr) -> Option<(String, Option<OsString>)> {
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
    Some((os_text(OsStr::from_bytes(name)), value))
}

impl Settings {
    /// What the environment sets.
    pub(super) fn from_environment(world: &World) -> Result<Settings, DropInError> {
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

    /// Takes an option; its value is the joined one, else the next word.
    /// Underscores count as dashes, as both were in use.
    pub(super) fn take(
        &mut self,
        name: &str,
        joined: Option<OsString>,
        words: &mut dyn Iterator<Item = OsString>,
    ) -> Result<(), DropInError> {
        let dashed = name.replace('_', "-");
        if let Some(switch) = Settings::switch(&dashed) {
            return match joined {
                None => {
                    switch(self);
                    Ok(())
                }
                Some(_) => Err(DropInError::TakesNoValue(name.to_owned())),
            };
        }
        let mut value = || {
            joined
                .clone()
                .or_else(|| words.next())
                .ok_or_else(|| DropInError::NeedsValue(name.to_owned()))
        };
        let mut text = || value().map(|value| os_text(&value));
        match dashed.as_str() {
            "--batch-multiplier" => self.multiplier = Some(text()?.parse()?),
            "--preset" => self.preset = Some(text()?.parse()?),
            "--chunk-size" => self.chunk_size = Some(count("--chunk-size", &text()?)?),
            "--threads" => self.threads = Some(count("--threads", &text()?)?),
            "--pytorch-config" => self.allocator = Some(text()?),
            "--precision" => self.precision = Some(text()?),
            "--memory" => self.memory = Some(text()?.parse()?),
            "--pages" => self.pages = Some(text()?.parse()?),
            "--format" | "--output-format" => self.format = text()?.parse()?,
            "--workers" => self.jobs = Jobs::Exactly(count("--workers", &text()?)?),
            "--output-dir" => self.output = Some(value()?),
            "--python" => self.python = Some(value()?.into()),
            _ => return Err(DropInError::UnknownOption(name.to_owned())),
        }
        Ok(())
    }

    /// What an option without a value does.
    fn switch(dashed: &str) -> Option<fn(&mut Settings)> {
        match dashed {
            "--auto-chunk" => Some(|settings| settings.auto_chunk = Some(true)),
            "--no-auto-chunk" => Some(|settings| settings.auto_chunk = Some(false)),
            "--no-cuda-cache" => Some(|settings| settings.no_cuda_cache = true),
            "--force" => Some(|settings| settings.force = true),
            _ => None,
        }
    }

    /// Puts everything together, with the original's defaults.
    pub(super) fn finish(self) -> Result<DropIn, DropInError> {
        let chunking = self.chunking();
        let tuning = self.tuning();
        let mut names = self.names.into_iter();
        let document = names.next().ok_or(DropInError::Missing("the PDF file"))?;
        let output = self
            .output
            .or_else(|| names.next())
            .ok_or(DropInError::Missing("the output folder"))?;
        if let Some(third) = names.next() {
            return Err(DropInError::TooMany(os_text(&third)));
        }
        Ok(DropIn {
            document: document.into(),
            jobs: self.jobs,
            output: output.into(),
            memory: self.memory,
            python: self.python,
            pages: self.pages,
            format: self.format,
            chunking,
            tuning,
            force: self.force,
            marker_args: self.marker_args,
        })
    }

    fn chunking(&self) -> Chunking {
        match (self.auto_chunk, self.chunk_size) {
            (Some(false), None) => Chunking::Whole,
            // Naming a size without `--auto-chunk` asks for chunks as well.
            (Some(false) | None, Some(pages)) => Chunking::Fixed(pages),
            (Some(true), Some(pages)) => Chunking::FixedAbove {
                bytes: AUTO_CHUNK_ABOVE,
                pages,
            },
            (Some(true) | None, None) => Chunking::Fit,
        }
    }

    /// The original lowers the precision too; no version of marker has one to
    /// lower, so it is named only where it was asked for.
    fn tuning(&self) -> TuningRequest {
        let preset = self.preset.map(Preset::multiplier);
        let allocator = self.allocator.clone();
        TuningRequest {
            multiplier: Some(self.multiplier.or(preset).unwrap_or(Multiplier::HALF)),
            threads: Some(self.threads.unwrap_or(THREADS)),
            precision: self.precision.clone(),
            allocator: Some(allocator.unwrap_or_else(|| ALLOCATOR.to_owned())),
            no_cuda_cache: self.no_cuda_cache,
            ..TuningRequest::default()
        }
    }
}

fn count<T: FromStr>(setting: &'static str, value: &str) -> Result<T, DropInError> {
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
