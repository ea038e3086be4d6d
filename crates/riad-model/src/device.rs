//! Choosing the device that a network runs on.

use candle_core::Device;

use crate::{Result, error::ModelError};

/// The device that `name` asks for: `cpu`, `cuda`, `cuda:N`, `metal`, or `auto` for the first GPU that this build drives
/// and the machine has, else the CPU. A device that this build cannot drive is an error that says how to build it.
pub fn device(name: &str) -> Result<Device> {
    let refuse = |reason: String| Err(ModelError::Device(reason));
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" => {
            let gpu = cuda(0).or_else(|_| metal());
            Ok(gpu.unwrap_or(Device::Cpu))
        }
        "cuda" => cuda(0),
        "metal" => metal(),
        _ => match name.strip_prefix("cuda:").map(str::parse::<usize>) {
            Some(Ok(index)) => cuda(index),
            _ => refuse(format!(
                "there is no device {name:?}; choose cpu, cuda, cuda:N, metal or auto"
            )),
        },
    }
}

fn cuda(index: usize) -> Result<Device> {
    if !candle_core::utils::cuda_is_available() {
        return Err(ModelError::Device(
            "this riad was built without CUDA; build it with `cargo build --release -p riad-cli --features cuda`"
                .into(),
        ));
    }
    Device::new_cuda(index).map_err(|error| ModelError::Device(format!("CUDA device {index} cannot be used: {error}")))
}

fn metal() -> Result<Device> {
    if !candle_core::utils::metal_is_available() {
        return Err(ModelError::Device(
            "this riad was built without Metal; build it on a Mac with `cargo build --release -p riad-cli --features metal`"
                .into(),
        ));
    }
    Device::new_metal(0).map_err(|error| ModelError::Device(format!("the Metal device cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_unbuilt_devices_say_the_way_out() {
        assert!(device("cpu").unwrap().is_cpu());
        assert!(device("tpu").unwrap_err().to_string().contains("choose cpu, cuda"));
        #[cfg(not(feature = "cuda"))]
        assert!(device("cuda:1").unwrap_err().to_string().contains("--features cuda"));
        #[cfg(not(feature = "metal"))]
        assert!(device("metal").unwrap_err().to_string().contains("--features metal"));
    }
}
