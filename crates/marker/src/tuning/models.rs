//! Which models run and where, and what they need beside them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::lever::{Effect, Lever, LeverKind, PassedAs, SetBy, no};
use super::{Target, TuningRequest};
use crate::device::Device;
use crate::version::{Family, Version};

/// What runs the text recognition of marker 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OcrBackend {
    /// `llama-server`, a process of the run's own tree.
    #[serde(rename = "llamacpp")]
    LlamaCpp,
    /// vLLM in a docker container, which is a child of the docker daemon: no
    /// limit of the run reaches it.
    Vllm,
}

/// A word that names no backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no backend for text recognition")]
pub struct OcrBackendError(String);

impl OcrBackendError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write llamacpp (held by the limit) or vllm (a docker container, which no limit reaches)"
    }
}

impl OcrBackend {
    /// Marker's word for it.
    pub fn word(self) -> &'static str {
        match self {
            OcrBackend::LlamaCpp => "llamacpp",
            OcrBackend::Vllm => "vllm",
        }
    }
}

impl fmt::Display for OcrBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for OcrBackend {
    type Err = OcrBackendError;

    fn from_str(text: &str) -> Result<Self, OcrBackendError> {
        [OcrBackend::LlamaCpp, OcrBackend::Vllm]
            .into_iter()
            .find(|backend| backend.word() == text)
            .ok_or_else(|| OcrBackendError(text.to_owned()))
    }
}

const BACKEND: &str = "SURYA_INFERENCE_BACKEND";

/// The levers of this subject.
pub(super) fn levers(request: &TuningRequest, target: &Target<'_>) -> Vec<Lever> {
    let mut levers: Vec<Lever> = font(target).into_iter().collect();
    match target.version.family() {
        Family::BeforePageRanges | Family::ConfigFile | Family::Flags => {
            levers.extend(request.ocr_backend.map(unread_backend));
        }
        Family::Servers => levers.extend(servers(request, target)),
    }
    levers
}

/// What was asked for of a marker that has no choice.
fn unread_backend(backend: OcrBackend) -> Lever {
    let (name, value) = ("text recognition", backend.word());
    Lever::variable(LeverKind::Models, name, BACKEND, value, SetBy::Memcap)
        .with(no("before 2.0 marker recognises text within itself"))
}

/// The backend that the text recognition will use; `None` before marker 2.
pub(super) fn backend(levers: &[Lever]) -> Option<OcrBackend> {
    let lever = levers
        .iter()
        .find(|lever| lever.effect == Effect::Yes && lever.passed_as.word() == BACKEND)?;
    lever.value.parse().ok()
}

/// From 1.6 on a font is downloaded into marker's own folder before the first
/// page, unless this variable names a file that is there. For PDFs it is used
/// by the debugging options alone, so any file will do, and neither a network
/// nor the right to write there is needed.
fn font(target: &Target<'_>) -> Option<Lever> {
    let needed = target.version >= Version::new(1, 6, 0);
    let theirs = target.world.raw_variable("FONT_PATH").is_some();
    (needed && target.is_pdf && !theirs).then(|| {
        let stand_in = target.python.to_str()?;
        Some(Lever::variable(
            LeverKind::Models,
            "no download of a font",
            "FONT_PATH",
            stand_in,
            SetBy::Memcap,
        ))
    })?
}

fn servers(request: &TuningRequest, target: &Target<'_>) -> Vec<Lever> {
    let mode = match target.device {
        Device::Cuda => "balanced",
        Device::Cpu | Device::Mps => "fast",
    };
    let mode = Lever::of_marker(
        LeverKind::Models,
        "mode",
        mode,
        PassedAs::Flag("--mode".to_owned()),
    );
    let backend_lever = backend_lever(request, target);
    let contained = backend_lever.value != OcrBackend::Vllm.word();
    let mut levers = vec![mode, backend_lever];
    levers.extend(layout_device(target));
    levers.push(if contained {
        theirs_or(
            target,
            "context of a recognition slot",
            "SURYA_INFERENCE_CTX_PER_SLOT",
            "12288",
        )
    } else {
        theirs_or(
            target,
            "share of video memory",
            "VLLM_GPU_MEMORY_UTILIZATION",
            "0.85",
        )
        .with(no(
            "it counts memory of the GPU, which no limit of memcap holds",
        ))
    });
    levers
}

/// A variable of marker's with the user's value, else marker's own.
fn theirs_or(target: &Target<'_>, name: &str, variable: &str, own: &str) -> Lever {
    match target.world.variable(variable) {
        Some(value) => {
            let value = value.to_string_lossy();
            Lever::variable(
                LeverKind::Models,
                name,
                variable,
                &value,
                SetBy::Environment,
            )
        }
        None => Lever::variable(LeverKind::Models, name, variable, own, SetBy::Marker),
    }
}

/// Marker looks for a GPU by itself here: neither `TORCH_DEVICE=cpu` nor an
/// empty `CUDA_VISIBLE_DEVICES` keeps it from the container.
fn backend_lever(request: &TuningRequest, target: &Target<'_>) -> Lever {
    let own = if target.nvidia {
        OcrBackend::Vllm
    } else {
        OcrBackend::LlamaCpp
    };
    let lever = theirs_or(target, "text recognition", BACKEND, own.word());
    match request.ocr_backend {
        Some(backend) => lever.set(backend.word()),
        None => lever,
    }
}

/// The layout model ignores `TORCH_DEVICE`; whoever asked for the processor
/// means this model too.
fn layout_device(target: &Target<'_>) -> Option<Lever> {
    let variable = "FAST_DETECTOR_DEVICE";
    let asked = target.world.variable("TORCH_DEVICE").is_some();
    let theirs = target.world.raw_variable(variable).is_some();
    (asked && target.device == Device::Cpu && !theirs).then(|| {
        Lever::variable(
            LeverKind::Models,
            "device of the layout model",
            variable,
            "cpu",
            SetBy::Memcap,
        )
    })
}
