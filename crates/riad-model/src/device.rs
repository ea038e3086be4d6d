//! Choosing the device that a network runs on.

use candle_core::{DType, Device, Tensor};

use crate::{Result, error::ModelError};

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

fn cuda(index: usize) -> Result<Device> {
    if !candle_core::utils::cuda_is_available() {
        return Err(ModelError::Device(
            "this riad was built without CUDA; build it with `cargo build --release -p riad-cli --features cuda`"
                .into(),
        ));
    }
    Device::new_cuda(index).and_then(tried).map_err(|error| {
        ModelError::Device(format!(
            "CUDA device {index} cannot be used: {}",
            cuda_reason(&error.to_string())
        ))
    })
}

fn metal() -> Result<Device> {
    if !candle_core::utils::metal_is_available() {
        return Err(ModelError::Device(
            "this riad was built without Metal; build it on a Mac with `cargo build --release -p riad-cli --features metal`"
                .into(),
        ));
    }
    Device::new_metal(0).and_then(tried).map_err(|error| {
        ModelError::Device(format!(
            "the Metal device cannot be used: {}",
            first_line(&error.to_string())
        ))
    })
}

/// Convolves on a device: libraries are missing and kernels do not fit only when they are first called.
fn tried(device: Device) -> candle_core::Result<Device> {
    let ones = Tensor::ones((1, 1, 3, 3), DType::F32, &device)?;
    ones.conv2d(&ones, 1, 1, 1, 1)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(device)
}

/// What an error of candle's CUDA means for whoever runs the program. They carry the libraries' status by name, and may
/// carry a backtrace.
fn cuda_reason(error: &str) -> &str {
    const REASONS: [(&str, &str); 8] = [
        (
            "CUDA_ERROR_SHARED_OBJECT_INIT_FAILED",
            "there is no NVIDIA driver (libcuda.so.1); install it",
        ),
        (
            "CUDA_ERROR_NO_DEVICE",
            "there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it",
        ),
        (
            "CUDA_ERROR_INVALID_DEVICE",
            "there are not as many; `nvidia-smi -L` numbers them",
        ),
        (
            "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            "its driver is older than the CUDA that this riad was built with; update the driver",
        ),
        (
            "CUDA_ERROR_INVALID_PTX",
            "this riad was built for newer GPUs; build it with CUDA_COMPUTE_CAP set to this one's",
        ),
        (
            "CUBLAS_STATUS_NOT_INITIALIZED",
            "cuBLAS does not start; libcublas.so.13 must lie where the loader looks (LD_LIBRARY_PATH)",
        ),
        (
            "CURAND_STATUS_NOT_INITIALIZED",
            "cuRAND does not start; libcurand.so.10 must lie where the loader looks (LD_LIBRARY_PATH)",
        ),
        (
            "CUDNN_STATUS_NOT_INITIALIZED",
            "cuDNN does not start; libcudnn.so.9 must lie where the loader looks (LD_LIBRARY_PATH)",
        ),
    ];
    let known = REASONS.iter().find(|(status, _)| error.contains(status));
    known.map_or_else(|| first_line(error), |(_, reason)| reason)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_unbuilt_devices_say_the_way_out() {
        assert!(device("cpu").unwrap().is_cpu());
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

    #[test]
    fn errors_of_cuda_are_put_in_one_line() {
        let absent = "DriverError(CUDA_ERROR_SHARED_OBJECT_INIT_FAILED, \"<Failure>\")\n   0: candle_core::error\n";
        assert!(cuda_reason(absent).contains("libcuda.so.1"));
        assert!(cuda_reason("CublasError(CUBLAS_STATUS_NOT_INITIALIZED)").contains("libcublas.so.13"));
        assert_eq!(cuda_reason("something else\nbacktrace"), "something else");
    }
}
