//! The device that PyTorch will compute on, told without starting PyTorch
//! (which takes seconds and half a gigabyte).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::environment::World;

/// Where the models run. Marker's batch sizes depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// The processor.
    Cpu,
    /// Apple's GPU; on Linux only when asked for by `TORCH_DEVICE`.
    Mps,
    /// An NVIDIA GPU.
    Cuda,
}

impl fmt::Display for Device {
    /// For people, behind "on".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Device::Cpu => "the processor",
            Device::Mps => "Apple's GPU",
            Device::Cuda => "the NVIDIA GPU",
        })
    }
}

/// The device, and how sure that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceFinding {
    /// The device.
    pub device: Device,
    /// What it was told from, for people.
    pub because: String,
    /// Whether the machine has a GPU of NVIDIA, whatever the device is. Marker
    /// 2 looks for one by itself.
    pub nvidia_gpu: bool,
}

/// Tells the device from the environment, PyTorch's build tag (`2.7.1+cpu`)
/// and the machine's device files.
pub fn find(world: &World, torch: Option<&str>) -> DeviceFinding {
    let gpu = nvidia_gpu(world);
    let finding = |device, because: &str| DeviceFinding {
        device,
        because: because.to_owned(),
        nvidia_gpu: gpu.is_some(),
    };
    if let Some(wanted) = world
        .variable("TORCH_DEVICE")
        .and_then(|value| value.to_str())
    {
        let device = match wanted.split(':').next() {
            Some("cuda") => Device::Cuda,
            Some("mps") => Device::Mps,
            _ => Device::Cpu,
        };
        return finding(device, &format!("TORCH_DEVICE is {wanted}"));
    }
    if torch.is_some_and(|version| version.ends_with("+cpu")) {
        return finding(Device::Cpu, "PyTorch is built for the processor alone");
    }
    let hidden = |value: &std::ffi::OsStr| value.is_empty() || value == "-1";
    if world
        .raw_variable("CUDA_VISIBLE_DEVICES")
        .is_some_and(hidden)
    {
        return finding(Device::Cpu, "CUDA_VISIBLE_DEVICES hides all GPUs");
    }
    match gpu {
        Some(path) => finding(Device::Cuda, &format!("{path} is there")),
        None => finding(Device::Cpu, "no NVIDIA device is visible"),
    }
}

/// A file that is there only with a GPU of NVIDIA. On WSL2 `/dev/dxg` is there
/// for any GPU; the driver's library only for NVIDIA's.
fn nvidia_gpu(world: &World) -> Option<&'static str> {
    ["/dev/nvidia0", "/usr/lib/wsl/lib/libcuda.so.1"]
        .into_iter()
        .find(|path| world.machine_path(path).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_told_without_pytorch() {
        let machine = tempfile::tempdir().unwrap();
        let bare = tempfile::tempdir().unwrap();
        std::fs::create_dir(machine.path().join("dev")).unwrap();
        std::fs::write(machine.path().join("dev/nvidia0"), "").unwrap();
        type Case = (
            &'static [(&'static str, &'static str)],
            Option<&'static str>,
            bool,
            Device,
        );
        let cases: [Case; 8] = [
            (&[], Some("2.7.1"), true, Device::Cuda),
            (&[], Some("2.7.1+cpu"), true, Device::Cpu),
            (&[], Some("2.7.1"), false, Device::Cpu),
            (&[], None, true, Device::Cuda),
            (&[("CUDA_VISIBLE_DEVICES", "")], None, true, Device::Cpu),
            (&[("CUDA_VISIBLE_DEVICES", "0")], None, true, Device::Cuda),
            (&[("TORCH_DEVICE", "cpu")], None, true, Device::Cpu),
            (&[("TORCH_DEVICE", "cuda:1")], None, false, Device::Cuda),
        ];
        for (variables, torch, gpu, device) in cases {
            let variables = variables
                .iter()
                .map(|(name, value)| (name.into(), value.into()));
            let mut world = World::new(variables, "/");
            world.root = if gpu { machine.path() } else { bare.path() }.to_owned();
            assert_eq!(find(&world, torch).device, device, "{world:?}");
        }
    }
}
