//! Choosing the device that a network runs on.

use candle_core::{DType, Tensor};
use riad_cuda::Gpu;

use crate::{Result, error::ModelError};

/// What a network runs on.
#[derive(Debug, Clone)]
pub enum Device {
    /// The processor, with kernels of our own.
    Cpu,
    /// An NVIDIA GPU, with cuDNN and kernels of our own.
    Cuda(Gpu),
    /// An Apple GPU, with candle's operations.
    Metal(candle_core::Device),
}

impl Device {
    /// Its kind: `cpu`, `cuda` or `metal`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda(_) => "cuda",
            Self::Metal(_) => "metal",
        }
    }

    /// Bytes of the GPU's memory that this program has had allocated at once, at most; `None` where the device does not tell.
    pub fn peak_memory(&self) -> Option<usize> {
        match self {
            Self::Cuda(gpu) => gpu.peak_memory().ok(),
            Self::Cpu | Self::Metal(_) => None,
        }
    }
}

/// The device that `name` asks for: `cpu`, `cuda`, `cuda:N`, `metal`, or `auto` for [`gpu`] where there is one, else the
/// CPU.
///
/// # Errors
/// [`ModelError::Device`] if this build cannot drive the device, if it is not there, or if it does not work; with the way out.
pub fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(gpu().unwrap_or(Device::Cpu)),
        "cuda" => cuda(0),
        "metal" => metal(),
        _ => match name.strip_prefix("cuda:").map(str::parse::<usize>) {
            Some(Ok(index)) => cuda(index),
            _ => Err(ModelError::Device(format!(
                "there is no device {name:?}; choose cpu, cuda, cuda:N, metal or auto"
            ))),
        },
    }
}

/// The first GPU of the kind that this build drives.
///
/// # Errors
/// [`ModelError::Device`] where there is none, or it does not work: why `auto` falls back to the CPU.
pub fn gpu() -> Result<Device> {
    if candle_core::utils::metal_is_available() {
        metal()
    } else {
        cuda(0)
    }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device> {
    Ok(Device::Cuda(Gpu::open(index)?))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device> {
    Err(ModelError::Device(
        "this riad was built without CUDA; build it with `cargo build --release -p riad-cli --features cuda`".into(),
    ))
}

fn metal() -> Result<Device> {
    if !candle_core::utils::metal_is_available() {
        return Err(ModelError::Device(
            "this riad was built without Metal; build it on a Mac with `cargo build --release -p riad-cli --features metal`"
                .into(),
        ));
    }
    let tried = candle_core::Device::new_metal(0).and_then(|device| {
        // Kernels that do not fit are noticed only when they are first called.
        let ones = Tensor::ones((1, 1, 3, 3), DType::F32, &device)?;
        ones.conv2d(&ones, 1, 1, 1, 1)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(device)
    });
    tried.map(Device::Metal).map_err(|error| {
        ModelError::Device(format!(
            "the Metal device cannot be used: {}",
            first_line(&error.to_string())
        ))
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_unbuilt_devices_say_the_way_out() {
        assert!(matches!(device("cpu"), Ok(Device::Cpu)));
        assert!(device("tpu").unwrap_err().to_string().contains("choose cpu, cuda"));
        assert!(device("cuda:-1").unwrap_err().to_string().contains("choose cpu, cuda"));
        #[cfg(not(feature = "cuda"))]
        assert!(device("cuda:1").unwrap_err().to_string().contains("--features cuda"));
        #[cfg(not(feature = "metal"))]
        assert!(device("metal").unwrap_err().to_string().contains("--features metal"));
        assert!(device("auto").is_ok());
    }

    /// No machine has so many; without a driver, libraries or a GPU the reason is another, but in one line as well.
    #[cfg(feature = "cuda")]
    #[test]
    fn a_cuda_device_that_is_not_there_is_refused_in_one_line() {
        let message = device("cuda:99").unwrap_err().to_string();
        assert!(message.starts_with("CUDA device 99 cannot be used: "), "{message}");
        assert!(!message.contains('\n') && !message.contains("CUDA_ERROR"), "{message}");
    }
}
