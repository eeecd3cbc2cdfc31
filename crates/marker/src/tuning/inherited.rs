//! Variables in the user's environment that advice on the web names, with
//! what they do on the installed marker.

use super::Target;
use super::lever::{Effect, Lever, LeverKind, SetBy, no};
use crate::device::Device;
use crate::version::{Family, Version};

/// One lever for each that is set and that no other lever covers.
pub(super) fn levers(target: &Target<'_>, covered: &[Lever]) -> Vec<Lever> {
    let is_covered = |name: &str| covered.iter().any(|lever| lever.passed_as.word() == name);
    NAMES
        .into_iter()
        .filter(|name| !is_covered(name))
        .filter_map(|name| {
            let value = target.world.variable(name)?.to_string_lossy();
            let kind = LeverKind::Environment;
            let set_by = SetBy::Environment;
            let lever = Lever::variable(kind, "from the environment", name, &value, set_by);
            Some(lever.with(effect(name, target)))
        })
        .collect()
}

const NAMES: [&str; 21] = [
    "RECOGNITION_BATCH_SIZE",
    "DETECTOR_BATCH_SIZE",
    "LAYOUT_BATCH_SIZE",
    "ORDER_BATCH_SIZE",
    "TEXIFY_BATCH_SIZE",
    "TABLE_REC_BATCH_SIZE",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TORCH_DTYPE",
    "MODEL_DTYPE",
    "MODEL_DTYPE_BFLOAT",
    "TORCH_DEVICE_MODEL",
    "INFERENCE_RAM",
    "VRAM_PER_TASK",
    "PDFTEXT_CPU_WORKERS",
    "FOUNDATION_MODEL_QUANTIZE",
    "FOUNDATION_CHUNK_SIZE",
    "FOUNDATION_MAX_TOKENS",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
];

fn effect(name: &str, target: &Target<'_>) -> Effect {
    match name {
        "OMP_NUM_THREADS" | "MKL_NUM_THREADS" => Effect::Yes,
        "TORCH_DTYPE" => no("no release of marker reads it"),
        "MODEL_DTYPE" | "MODEL_DTYPE_BFLOAT" | "TORCH_DEVICE_MODEL" => {
            no("it is computed by marker and cannot be set from outside")
        }
        "INFERENCE_RAM" | "VRAM_PER_TASK" => {
            no("only folder mode of marker 0.2.5 to 0.2.16 read it")
        }
        "PDFTEXT_CPU_WORKERS" => no("since 1.0 it is the option --pdftext_workers"),
        "FOUNDATION_MODEL_QUANTIZE" => no("surya declares it and never reads it"),
        "FOUNDATION_CHUNK_SIZE" | "FOUNDATION_MAX_TOKENS" => foundation(target.version),
        name if name.starts_with("PYTORCH_") => match target.device {
            Device::Cuda => Effect::Yes,
            Device::Cpu | Device::Mps => {
                no("only PyTorch's CUDA allocator reads it, and no CUDA device is used")
            }
        },
        _ => size(target.version),
    }
}

/// Of the recognition model that surya had from 0.15 to 0.17.
fn foundation(version: Version) -> Effect {
    if (Version::new(1, 8, 0)..Version::new(2, 0, 0)).contains(&version) {
        Effect::Yes
    } else {
        no("only marker 1.8 to 1.10 have the model that it is for")
    }
}

fn size(version: Version) -> Effect {
    match version.family() {
        Family::BeforePageRanges => no("this release has no such stage"),
        Family::ConfigFile | Family::Flags => {
            no("marker passes a size of its own, which wins over this variable")
        }
        Family::Servers => no("marker 2 has no such stage of its own any more"),
    }
}
