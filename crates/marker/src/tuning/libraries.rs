//! Settings of the libraries below marker: threads, number formats, PyTorch's
//! allocator.

use super::lever::{Effect, Lever, LeverKind, SetBy, no};
use super::{Target, TuningRequest};
use crate::device::Device;
use crate::version::{Family, Version};

/// All of them.
pub(super) fn levers(request: &TuningRequest, target: &Target<'_>) -> Vec<Lever> {
    let mut levers = threads(request, target);
    levers.extend(precision(request, target.version));
    levers.extend(cuda(request, target));
    levers
}

fn ours(kind: LeverKind, name: &str, variable: &str, value: &str) -> Lever {
    Lever::variable(kind, name, variable, value, SetBy::Memcap)
}

fn threads(request: &TuningRequest, target: &Target<'_>) -> Vec<Lever> {
    let Some(threads) = request.threads else {
        return Vec::new();
    };
    let mut names = vec!["OMP_NUM_THREADS", "MKL_NUM_THREADS"];
    match target.version.family() {
        Family::Servers => names.push("FAST_LAYOUT_NUM_THREADS"),
        Family::BeforePageRanges | Family::ConfigFile | Family::Flags => {}
    }
    let value = threads.to_string();
    names
        .into_iter()
        .map(|name| ours(LeverKind::Threads, "threads", name, &value))
        .collect()
}

fn precision(request: &TuningRequest, version: Version) -> Option<Lever> {
    let value = request.precision.as_ref()?;
    let because = match version.family() {
        Family::BeforePageRanges | Family::ConfigFile | Family::Flags => {
            "no release of marker reads TORCH_DTYPE; the processor computes in 32 bits and CUDA in \
             16 already"
        }
        Family::Servers => {
            "no release of marker reads TORCH_DTYPE, and the models of marker 2 are in servers that \
             choose for themselves"
        }
    };
    Some(ours(LeverKind::Precision, "precision", "TORCH_DTYPE", value).with(no(because)))
}

fn cuda(request: &TuningRequest, target: &Target<'_>) -> Vec<Lever> {
    let effect = || match target.device {
        Device::Cuda => Effect::Yes,
        Device::Cpu | Device::Mps => {
            no("only PyTorch's CUDA allocator reads it, and no CUDA device is used")
        }
    };
    let lever = |name, variable, value: &str| {
        ours(LeverKind::CudaAllocator, name, variable, value).with(effect())
    };
    let mut levers = Vec::new();
    if let Some(value) = &request.allocator {
        let variable = allocator_variable(target.torch);
        let mut allocator = lever("CUDA allocator", variable, value);
        if request.no_cuda_cache && allocator.effect == Effect::Yes {
            allocator = allocator.with(no("without its cache the allocator has nothing to set"));
        }
        levers.push(allocator);
    }
    if request.no_cuda_cache {
        let variable = "PYTORCH_NO_CUDA_MEMORY_CACHING";
        levers.push(lever("CUDA allocator without cache", variable, "1"));
    }
    levers
}

/// PyTorch 2.9 renamed the variable, but 2.9.1 ignored `expandable_segments`
/// under the new name and took it under the old one only
/// (pytorch/pytorch issue 183387, where 2.11 is said to take both). The old
/// name works everywhere, with a warning where it is deprecated.
fn allocator_variable(torch: Option<Version>) -> &'static str {
    match torch {
        Some(torch) if torch >= Version::new(2, 11, 0) => "PYTORCH_ALLOC_CONF",
        Some(_) | None => "PYTORCH_CUDA_ALLOC_CONF",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocators_variable_is_the_one_that_the_installed_pytorch_obeys() {
        let named = |torch: &str| allocator_variable(torch.parse().ok());
        for torch in ["2.2.2", "2.7.1+cu126", "2.9.1", "2.10.0", "unknown"] {
            assert_eq!(named(torch), "PYTORCH_CUDA_ALLOC_CONF", "{torch}");
        }
        for torch in ["2.11.0", "2.15.0+cu130", "3.0"] {
            assert_eq!(named(torch), "PYTORCH_ALLOC_CONF", "{torch}");
        }
    }
}
