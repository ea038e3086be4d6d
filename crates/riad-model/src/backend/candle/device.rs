//! The devices that candle supports.

use candle_core::{DType, Device, Tensor};

use crate::{Result, error::ModelError};

/// What a device is called.
pub(crate) fn kind(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "candle-cpu",
        Device::Cuda(_) => "candle-cuda",
        Device::Metal(_) => "metal",
    }
}

/// An NVIDIA GPU.
pub(crate) fn cuda(index: usize) -> Result<Device> {
    if !candle_core::utils::cuda_is_available() {
        return Err(ModelError::NotBuilt {
            device: "candle's CUDA",
            feature: "candle-cuda",
        });
    }
    tried("CUDA", Device::new_cuda(index))
}

/// An Apple GPU.
pub(crate) fn metal() -> Result<Device> {
    if !candle_core::utils::metal_is_available() {
        return Err(ModelError::NotBuilt {
            device: "Metal",
            feature: "metal",
        });
    }
    tried("Metal", Device::new_metal(0))
}

/// A device, once it has computed something.
fn tried(name: &str, device: candle_core::Result<Device>) -> Result<Device> {
    let tried = device.and_then(|device| {
        // Kernels that do not fit are noticed only when they are first called.
        let ones = Tensor::ones((1, 1, 3, 3), DType::F32, &device)?;
        ones.conv2d(&ones, 1, 1, 1, 1)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(device)
    });
    tried.map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().next().unwrap_or_default();
        ModelError::Device(format!("candle's {name} device cannot be used: {reason}"))
    })
}
