//! Choosing the device that a network runs on.

use std::fmt;

use riad_cuda::Gpu;

#[cfg(feature = "candle")]
use super::candle;
use crate::{Result, error::ModelError};

/// The device that a network runs on. [`device`] and [`gpu`] give one.
#[derive(Clone)]
pub struct Device(Backend);

/// Who drives a device.
#[derive(Clone)]
pub(crate) enum Backend {
    /// The processor, with our own kernels.
    Cpu,
    /// An NVIDIA GPU, with cuDNN and our own kernels. Without the feature `cuda`, only tests on Linux have one.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Cuda(Gpu),
    /// candle's operations, on an Apple GPU or any other device that candle supports.
    #[cfg(feature = "candle")]
    Candle(candle_core::Device),
}

impl Device {
    /// The processor.
    pub const CPU: Self = Self(Backend::Cpu);

    #[cfg(test)]
    pub(crate) fn new(backend: Backend) -> Self {
        Self(backend)
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.0
    }

    /// Its kind, as a name for [`device`]: `cpu`, `cuda`, `metal` or `candle-cuda`. `candle-cpu` is for tests alone.
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Backend::Cpu => "cpu",
            Backend::Cuda(_) => "cuda",
            #[cfg(feature = "candle")]
            Backend::Candle(device) => candle::kind(device),
        }
    }

    /// The largest number of bytes of GPU memory that this program has had at once. `None` if the device does not say.
    pub fn peak_memory(&self) -> Option<usize> {
        match &self.0 {
            Backend::Cuda(gpu) => gpu.peak_memory().ok(),
            _ => None,
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// The device of a name: `cpu`, `cuda`, `cuda:N`, `metal`, `candle-cuda`, `candle-cuda:N`, or `auto`. `auto` is [`gpu`]
/// if there is one, otherwise the CPU. `cuda` uses our own kernels, `candle-cuda` uses candle's.
///
/// # Errors
/// [`ModelError::Device`] with the way out, if this build does not support the device, if it is missing, or if it does
/// not work.
pub fn device(name: &str) -> Result<Device> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, index.parse::<usize>().ok()),
        None => (name, Some(0)),
    };
    match (kind, index) {
        ("cpu", _) if name == kind => Ok(Device::CPU),
        ("auto", _) if name == kind => Ok(gpu().unwrap_or(Device::CPU)),
        ("metal", _) if name == kind => metal(),
        ("cuda", Some(index)) => cuda(index),
        ("candle-cuda", Some(index)) => candle_cuda(index),
        _ => Err(ModelError::Device(format!(
            "there is no device {name:?}; choose cpu, cuda, cuda:N, candle-cuda, candle-cuda:N, metal or auto"
        ))),
    }
}

/// The first GPU of the kind that this build supports: Apple's, NVIDIA's with our own kernels, or NVIDIA's with
/// candle's.
///
/// # Errors
/// [`ModelError::Device`] if there is none, or if it does not work. It says why `auto` uses the CPU.
pub fn gpu() -> Result<Device> {
    if cfg!(feature = "metal") {
        metal()
    } else if cfg!(feature = "candle-cuda") && !cfg!(feature = "cuda") {
        candle_cuda(0)
    } else {
        cuda(0)
    }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device> {
    Ok(Device(Backend::Cuda(Gpu::open(index)?)))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device> {
    Err(ModelError::NotBuilt {
        device: "CUDA",
        feature: "cuda",
    })
}

#[cfg(feature = "candle")]
fn candle_cuda(index: usize) -> Result<Device> {
    candle::cuda(index).map(Backend::Candle).map(Device)
}

#[cfg(not(feature = "candle"))]
fn candle_cuda(_: usize) -> Result<Device> {
    Err(ModelError::NotBuilt {
        device: "candle's CUDA",
        feature: "candle-cuda",
    })
}

#[cfg(feature = "candle")]
fn metal() -> Result<Device> {
    candle::metal().map(Backend::Candle).map(Device)
}

#[cfg(not(feature = "candle"))]
fn metal() -> Result<Device> {
    Err(ModelError::NotBuilt {
        device: "Metal",
        feature: "metal",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_unbuilt_devices_say_the_way_out() {
        assert_eq!(device("cpu").unwrap().kind(), "cpu");
        for unknown in ["tpu", "cuda:-1", "cuda:", "cpu:0", "metal:1", "auto:0", ""] {
            assert!(
                device(unknown).unwrap_err().to_string().contains("choose cpu, cuda"),
                "{unknown}"
            );
        }
        #[cfg(not(feature = "cuda"))]
        assert!(device("cuda:1").unwrap_err().to_string().contains("the feature cuda"));
        #[cfg(not(feature = "candle-cuda"))]
        assert!(
            device("candle-cuda")
                .unwrap_err()
                .to_string()
                .contains("the feature candle-cuda")
        );
        #[cfg(not(feature = "metal"))]
        assert!(device("metal").unwrap_err().to_string().contains("the feature metal"));
        let auto = gpu().map_or("cpu", |gpu| gpu.kind());
        assert_eq!(device("auto").unwrap().kind(), auto);
    }

    /// No machine has a hundred; without a driver, libraries or a GPU the reason is another, but in one line as well.
    #[cfg(feature = "cuda")]
    #[test]
    fn a_cuda_device_that_is_not_there_is_refused_in_one_line() {
        let message = device("cuda:99").unwrap_err().to_string();
        assert!(message.starts_with("CUDA device 99 cannot be used: "), "{message}");
        assert!(!message.contains('\n') && !message.contains("CUDA_ERROR"), "{message}");
    }
}
