//! Settings as data: what was asked for, how the installed marker takes it,
//! and whether it has any effect there. Pure.
//!
//! [`tune`] lists every setting that decides memory or time on the installed
//! version and device, also those that are left as they are: a [`Lever`] says
//! what a setting is worth in this run, who set it, how it reaches marker and
//! whether it does anything. Much advice about marker's memory is handed on
//! although no release follows it, so a setting without effect is not dropped
//! silently: it is listed with the reason.

mod batch;
mod by_hand;
mod effort;
mod heap;
mod inherited;
mod lever;
mod libraries;
mod models;
mod pages;
mod preset;
mod sizes;

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::Path;

use serde::Serialize;

pub use batch::{Multiplier, MultiplierError};
pub use by_hand::ByHandError;
pub use heap::Heap;
pub use lever::{Effect, Lever, LeverKind, PassedAs, SetBy};

pub(crate) use heap::choose as choose_heap;
use lever::ON;
pub use models::{OcrBackend, OcrBackendError};
pub use preset::{Preset, PresetError};

use crate::device::Device;
use crate::environment::World;
use crate::secrets::without_secrets;
use crate::version::Version;

/// The settings that a user may ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TuningRequest {
    /// Factor for all batch sizes; `None` leaves them to marker.
    pub multiplier: Option<Multiplier>,
    /// Threads of the numerical libraries; `None` leaves them alone.
    pub threads: Option<NonZeroU32>,
    /// A number format for the models, such as `float16`.
    pub precision: Option<String>,
    /// Value for PyTorch's CUDA allocator, such as `max_split_size_mb:128`.
    pub allocator: Option<String>,
    /// Whether PyTorch's CUDA allocator is to keep no cache.
    pub no_cuda_cache: bool,
    /// Processes that extract text (200 to 315 MiB each, at most one for ten
    /// pages, from 20 pages on); `None` for one, within marker itself.
    pub text_workers: Option<NonZeroU32>,
    /// What runs the text recognition of marker 2; `None` leaves it to marker.
    pub ocr_backend: Option<OcrBackend>,
    /// What becomes of freed memory; `None` has it given back, unless a plan finds
    /// that there is room by far.
    pub heap: Option<Heap>,
}

/// What the settings are for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The installed marker.
    pub version: Version,
    /// The device that it computes on.
    pub device: Device,
    /// Whether the machine has a GPU of NVIDIA, used or not.
    pub nvidia: bool,
    /// PyTorch's version, where it is known.
    pub torch: Option<Version>,
    /// Marker's interpreter.
    pub python: &'a Path,
    /// Whether the document is a PDF.
    pub is_pdf: bool,
    /// The user's environment.
    pub world: &'a World,
}

/// All settings of a conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tuning {
    /// In the order in which people should read them.
    pub levers: Vec<Lever>,
}

impl Tuning {
    /// Options for `marker_single`, with their values.
    pub fn flags(&self) -> Vec<OsString> {
        let mut flags = Vec::new();
        for lever in self.passed() {
            match &lever.passed_as {
                PassedAs::Flag(flag) => flags.extend([flag.into(), (&lever.value).into()]),
                PassedAs::Switch(switch) if lever.value == ON => flags.push(switch.into()),
                PassedAs::Switch(_) | PassedAs::ConfigFile(_) | PassedAs::Environment(_) => {}
            }
        }
        flags
    }

    /// Variables to set.
    pub fn variables(&self) -> Vec<(OsString, Option<OsString>)> {
        self.passed()
            .filter_map(|lever| match &lever.passed_as {
                PassedAs::Environment(name) => Some((name.into(), Some((&lever.value).into()))),
                PassedAs::Flag(_) | PassedAs::Switch(_) | PassedAs::ConfigFile(_) => None,
            })
            .collect()
    }

    /// What belongs into a file for `--config_json`; `None` for nothing.
    pub fn config(&self) -> Option<serde_json::Value> {
        let mut config = serde_json::Map::new();
        for lever in self.passed() {
            if let (PassedAs::ConfigFile(key), Ok(size)) =
                (&lever.passed_as, lever.value.parse::<u32>())
            {
                config.insert(key.clone(), size.into());
            }
        }
        (!config.is_empty()).then_some(serde_json::Value::Object(config))
    }

    /// Size of the layout stage's batches, which decides part of the memory.
    pub fn layout_batch(&self) -> u32 {
        self.levers
            .iter()
            .find(|lever| lever.name == sizes::LAYOUT)
            .and_then(|lever| lever.value.parse().ok())
            .unwrap_or(1)
    }

    /// Processes that extract text, at most; 1 for marker's own.
    pub fn text_workers(&self) -> u32 {
        self.levers
            .iter()
            .find(|lever| lever.kind == LeverKind::TextWorkers)
            .and_then(|lever| lever.value.parse().ok())
            .unwrap_or(1)
    }

    /// What runs the text recognition beside marker; `None` where marker does
    /// it itself, and where the user named something unknown.
    pub fn ocr_backend(&self) -> Option<OcrBackend> {
        models::backend(&self.levers)
    }

    /// A hash over what changes the memory of a run and is no feature of an
    /// estimate: which models run, what is left out, and the options handed on
    /// to marker, secrets aside.
    pub fn deciding_memory(&self, marker_args: &[OsString]) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("memcap 2026 memory of marker 1");
        let mut add = |text: &str| {
            hasher.update(text.as_bytes());
            hasher.update(&[0]);
        };
        for lever in &self.levers {
            match lever.kind {
                LeverKind::Models | LeverKind::Content | LeverKind::Precision => {
                    add(&format!("{}={}", lever.name, lever.value));
                }
                LeverKind::BatchSize
                | LeverKind::Resolution
                | LeverKind::TextWorkers
                | LeverKind::Threads
                | LeverKind::CudaAllocator
                | LeverKind::Heap
                | LeverKind::Environment => {}
            }
        }
        without_secrets(marker_args).iter().for_each(|arg| add(arg));
        hasher.finalize().to_hex()[..16].to_owned()
    }

    fn passed(&self) -> impl Iterator<Item = &Lever> {
        self.levers.iter().filter(|lever| lever.is_passed())
    }
}

/// Turns what was asked for into what the installed marker understands.
pub fn tune(request: &TuningRequest, target: &Target<'_>) -> Tuning {
    let mut levers = pages::levers(request, target);
    levers.extend(sizes::levers(request, target));
    levers.extend(models::levers(request, target));
    levers.extend(libraries::levers(request, target));
    levers.extend(heap::levers(request, target));
    levers.extend(inherited::levers(target, &levers));
    Tuning { levers }
}

#[cfg(test)]
mod tests;
