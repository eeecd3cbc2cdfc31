//! Settings as data: what was asked for, how the installed marker takes it,
//! and whether it has any effect there. Pure.
//!
//! Much advice about marker's memory is handed on although no release follows
//! it. So a setting without effect is not dropped silently: it is listed with
//! the reason.

mod batch;
mod effort;
mod preset;

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;

use serde::Serialize;

use batch::stages;
pub use batch::{Multiplier, MultiplierError};
pub use preset::{Preset, PresetError};

use crate::device::Device;
use crate::environment::World;
use crate::version::{Family, Version};

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
    /// Whether text may be extracted in several processes (200 to 315 MiB
    /// each, up to four, from 20 pages on).
    pub multiprocessing: bool,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lever {
    /// What it is, for people: `batch size: layout`.
    pub name: String,
    /// Its value; empty for a plain switch.
    pub value: String,
    /// How it reaches marker.
    pub passed_as: PassedAs,
    /// Whether it does anything.
    pub effect: Effect,
}

/// How a setting reaches marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassedAs {
    /// As an option of `marker_single`.
    Flag(String),
    /// As a key of the file for `--config_json`.
    ConfigFile(String),
    /// As an environment variable.
    Environment(String),
}

impl fmt::Display for PassedAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PassedAs::Flag(word) | PassedAs::ConfigFile(word) | PassedAs::Environment(word) => {
                f.write_str(word)
            }
        }
    }
}

/// Whether a setting does anything in the installed marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It does what it says.
    Yes,
    /// It does not, and why; memcap does not pass it.
    No {
        /// One sentence without its full stop.
        because: String,
    },
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
        for lever in self.effective() {
            if let PassedAs::Flag(flag) = &lever.passed_as {
                flags.push(flag.into());
                flags.extend((!lever.value.is_empty()).then(|| OsString::from(&lever.value)));
            }
        }
        flags
    }

    /// Variables to set.
    pub fn variables(&self) -> Vec<(OsString, Option<OsString>)> {
        self.effective()
            .filter_map(|lever| match &lever.passed_as {
                PassedAs::Environment(name) => Some((name.into(), Some((&lever.value).into()))),
                PassedAs::Flag(_) | PassedAs::ConfigFile(_) => None,
            })
            .collect()
    }

    /// What belongs into a file for `--config_json`; `None` for nothing.
    pub fn config(&self) -> Option<serde_json::Value> {
        let mut config = serde_json::Map::new();
        for lever in self.effective() {
            if let (PassedAs::ConfigFile(key), Ok(size)) =
                (&lever.passed_as, lever.value.parse::<u32>())
            {
                config.insert(key.clone(), size.into());
            }
        }
        (!config.is_empty()).then_some(serde_json::Value::Object(config))
    }

    fn effective(&self) -> impl Iterator<Item = &Lever> {
        self.levers
            .iter()
            .filter(|lever| lever.effect == Effect::Yes)
    }
}

/// Turns what was asked for into what the installed marker understands.
pub fn tune(request: &TuningRequest, version: Version, device: Device, world: &World) -> Tuning {
    let mut levers = batch_levers(request, version, device);
    levers.extend(process_lever(request));
    levers.extend(thread_levers(request));
    levers.extend(precision_lever(request));
    levers.extend(cuda_levers(request, device));
    levers.extend(heap_levers(world));
    levers.extend(idle_variables(version, world));
    Tuning { levers }
}

/// Size of the layout stage's batches, which decides part of the memory.
pub fn layout_batch(request: &TuningRequest, version: Version, device: Device) -> u32 {
    let default = stages(version, device)
        .into_iter()
        .find(|stage| stage.name == "layout")
        .map_or(1, |stage| stage.default);
    request
        .multiplier
        .map_or(default, |multiplier| multiplier.apply(default))
}

fn batch_levers(request: &TuningRequest, version: Version, device: Device) -> Vec<Lever> {
    let Some(multiplier) = request.multiplier else {
        return Vec::new();
    };
    let mut levers: Vec<_> = stages(version, device)
        .into_iter()
        .map(|stage| Lever {
            name: format!("batch size: {}", stage.name),
            value: multiplier.apply(stage.default).to_string(),
            passed_as: stage.passed_as,
            effect: Effect::Yes,
        })
        .collect();
    match version.family() {
        // Included in the sizes above.
        Family::BeforePageRanges => {
            levers.push(flag("batch multiplier", "--batch_multiplier", "1"));
        }
        Family::ConfigFile | Family::Flags | Family::Servers => {}
    }
    levers
}

fn process_lever(request: &TuningRequest) -> Option<Lever> {
    (!request.multiprocessing).then(|| {
        flag(
            "text extraction in one process",
            "--disable_multiprocessing",
            "",
        )
    })
}

fn thread_levers(request: &TuningRequest) -> Vec<Lever> {
    let Some(threads) = request.threads else {
        return Vec::new();
    };
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]
        .map(|name| variable("threads", name, &threads.to_string(), Effect::Yes))
        .into()
}

fn precision_lever(request: &TuningRequest) -> Option<Lever> {
    let because = "no release of marker reads TORCH_DTYPE; the processor computes in 32 bits and \
                   CUDA in 16 already";
    let precision = request.precision.as_ref()?;
    Some(variable("precision", "TORCH_DTYPE", precision, no(because)))
}

fn cuda_levers(request: &TuningRequest, device: Device) -> Vec<Lever> {
    let effect = || match device {
        Device::Cuda => Effect::Yes,
        Device::Cpu | Device::Mps => {
            no("only PyTorch's CUDA allocator reads it, and no CUDA device is used")
        }
    };
    let mut levers = Vec::new();
    if let Some(value) = &request.allocator {
        levers.push(variable(
            "CUDA allocator",
            "PYTORCH_CUDA_ALLOC_CONF",
            value,
            effect(),
        ));
    }
    if request.no_cuda_cache {
        let name = "PYTORCH_NO_CUDA_MEMORY_CACHING";
        levers.push(variable(
            "CUDA allocator without cache",
            name,
            "1",
            effect(),
        ));
    }
    levers
}

/// glibc keeps freed memory for later; with these it gives more of it back
/// between the stages. A user's own values stay.
fn heap_levers(world: &World) -> Vec<Lever> {
    [
        ("MALLOC_ARENA_MAX", "2"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ]
    .into_iter()
    .filter(|(name, _)| world.raw_variable(name).is_none())
    .map(|(name, value)| variable("heap", name, value, Effect::Yes))
    .collect()
}

/// Variables found in the user's environment that advice on the web names,
/// and that this release does not read.
fn idle_variables(version: Version, world: &World) -> Vec<Lever> {
    let sizes = match version.family() {
        Family::BeforePageRanges => return Vec::new(),
        Family::ConfigFile | Family::Flags => {
            "marker passes a size of its own, which wins over this variable"
        }
        Family::Servers => "marker 2 has no such stage of its own any more",
    };
    let dtype = "it is computed by marker and cannot be set from outside";
    let folders = "only folder mode of marker 0.2.5 to 0.2.16 read it";
    let quantize = "surya declares it and never reads it";
    [
        ("RECOGNITION_BATCH_SIZE", sizes),
        ("DETECTOR_BATCH_SIZE", sizes),
        ("LAYOUT_BATCH_SIZE", sizes),
        ("ORDER_BATCH_SIZE", sizes),
        ("TEXIFY_BATCH_SIZE", sizes),
        ("TABLE_REC_BATCH_SIZE", sizes),
        ("TORCH_DTYPE", "no release of marker reads it"),
        ("MODEL_DTYPE", dtype),
        ("INFERENCE_RAM", folders),
        ("VRAM_PER_TASK", folders),
        ("FOUNDATION_MODEL_QUANTIZE", quantize),
    ]
    .into_iter()
    .filter_map(|(name, because)| {
        let value = world.variable(name)?.to_string_lossy();
        Some(variable("from the environment", name, &value, no(because)))
    })
    .collect()
}

fn flag(name: &str, flag: &str, value: &str) -> Lever {
    Lever {
        name: name.to_owned(),
        value: value.to_owned(),
        passed_as: PassedAs::Flag(flag.to_owned()),
        effect: Effect::Yes,
    }
}

fn variable(name: &str, variable: &str, value: &str, effect: Effect) -> Lever {
    Lever {
        name: name.to_owned(),
        value: value.to_owned(),
        passed_as: PassedAs::Environment(variable.to_owned()),
        effect,
    }
}

fn no(because: &str) -> Effect {
    Effect::No {
        because: because.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(variables: &[(&str, &str)]) -> World {
        World::new(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
            "/",
        )
    }

    fn tuned(request: &TuningRequest, version: &str, device: Device) -> Tuning {
        tune(request, version.parse().unwrap(), device, &world(&[]))
    }

    fn everything() -> TuningRequest {
        TuningRequest {
            multiplier: Some(Multiplier::HALF),
            threads: NonZeroU32::new(4),
            precision: Some("float16".into()),
            allocator: Some("max_split_size_mb:128".into()),
            no_cuda_cache: true,
            multiprocessing: false,
        }
    }

    #[test]
    fn flags_go_to_releases_that_have_them_and_a_file_to_the_others() {
        let new = tuned(&everything(), "1.10.2", Device::Cpu);
        assert_eq!(new.flags()[..2], ["--layout_batch_size", "3"]);
        assert_eq!(new.flags().last().unwrap(), "--disable_multiprocessing");
        assert_eq!(new.config(), None);

        let old = tuned(&everything(), "1.6.2", Device::Cpu);
        assert_eq!(old.flags(), ["--disable_multiprocessing"]);
        assert_eq!(old.config().unwrap()["layout_batch_size"], 3);
    }

    #[test]
    fn settings_without_effect_are_listed_and_not_passed() {
        let cpu = tuned(&everything(), "1.10.2", Device::Cpu);
        let idle: Vec<_> = cpu
            .levers
            .iter()
            .filter(|lever| lever.effect != Effect::Yes)
            .map(|lever| lever.passed_as.to_string())
            .collect();
        let expected = [
            "TORCH_DTYPE",
            "PYTORCH_CUDA_ALLOC_CONF",
            "PYTORCH_NO_CUDA_MEMORY_CACHING",
        ];
        assert_eq!(idle, expected);
        let set = |tuning: &Tuning, name: &str| {
            tuning
                .variables()
                .iter()
                .any(|(variable, _)| variable == name)
        };
        assert!(set(&cpu, "OMP_NUM_THREADS") && set(&cpu, "MALLOC_ARENA_MAX"));
        assert!(!set(&cpu, "TORCH_DTYPE") && !set(&cpu, "PYTORCH_CUDA_ALLOC_CONF"));
        assert!(set(
            &tuned(&everything(), "1.10.2", Device::Cuda),
            "PYTORCH_CUDA_ALLOC_CONF"
        ));
    }

    #[test]
    fn by_default_marker_chooses_its_sizes() {
        let tuning = tuned(&TuningRequest::default(), "1.10.2", Device::Cpu);
        assert_eq!(tuning.flags(), ["--disable_multiprocessing"]);
        assert_eq!(
            layout_batch(
                &TuningRequest::default(),
                Version::new(1, 10, 2),
                Device::Cuda
            ),
            12
        );
        assert_eq!(
            layout_batch(&everything(), Version::new(1, 10, 2), Device::Cuda),
            6
        );
    }

    #[test]
    fn the_users_environment_stays_and_what_it_cannot_do_is_said() {
        let world = world(&[("MALLOC_ARENA_MAX", "8"), ("LAYOUT_BATCH_SIZE", "1")]);
        let request = TuningRequest::default();
        let tuning = tune(&request, Version::new(1, 10, 2), Device::Cpu, &world);
        let named = |name: &str| {
            tuning
                .levers
                .iter()
                .find(|lever| lever.passed_as.to_string() == name)
        };
        assert_eq!(named("MALLOC_ARENA_MAX"), None);
        assert!(matches!(
            named("LAYOUT_BATCH_SIZE").unwrap().effect,
            Effect::No { .. }
        ));
    }
}
