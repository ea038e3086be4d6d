//! Choosing the device that a network runs on.

use std::fmt;

use riad_cuda::Gpu;

#[cfg(feature = "candle")]
use super::candle;
use crate::{Result, error::ModelError};

/// What a network runs on: made by [`device`] and [`gpu`].
#[derive(Clone)]
pub struct Device(Backend);

/// Who drives a device.
#[derive(Clone)]
pub(crate) enum Backend {
    /// Kernels of our own on the processor.
    Cpu,
    /// cuDNN and kernels of our own on an NVIDIA GPU. Without the feature `cuda` only tests have one, and those on Linux alone.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Cuda(Gpu),
    /// candle's operations, on an Apple GPU or any other device that candle drives.
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

    /// Its kind, as [`device`] takes it: `cpu`, `cuda`, `metal` or `candle-cuda`. `candle-cpu` is for tests alone.
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Backend::Cpu => "cpu",
            Backend::Cuda(_) => "cuda",
            #[cfg(feature = "candle")]
            Backend::Candle(device) => candle::kind(device),
        }
    }

    /// Bytes of the GPU's memory that this program has had allocated at once, at most; `None` where the device does not tell.
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

/// The device that `name` asks for: `cpu`, `cuda`, `cuda:N`, `metal`, `candle-cuda`, `candle-cuda:N`, or `auto` for [`gpu`]
/// if there is one, else the CPU. `cuda` runs kernels of our own, `candle-cuda` those of candle.
///
/// # Errors
/// [`ModelError::Device`] if this build cannot drive the device, if it is not there, or if it does not work; with the way out.
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

/// The first GPU of the kind that this build drives: Apple's, NVIDIA's by our own kernels, or NVIDIA's by candle's.
///
/// # Errors
/// [`ModelError::Device`] if there is none, or it does not work: why `auto` falls back to the CPU.
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
        assert!(device("auto").is_ok());
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
