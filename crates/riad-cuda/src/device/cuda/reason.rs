//! What the libraries' errors mean, in words.

/// What an error means for whoever runs the program. Errors carry the libraries' status by name, and behind it in brackets
/// what cuDNN has to say, if it is there.
pub(super) fn reason(error: &str) -> &str {
    const REASONS: [(&str, &str); 11] = [
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
            "there are fewer GPUs; `nvidia-smi -L` lists them",
        ),
        (
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
            "its driver was updated, but the new one is not loaded; restart the machine",
        ),
        (
            "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            "its driver is older than the CUDA of this build; update the driver",
        ),
        (
            "CUDA_ERROR_INVALID_PTX",
            "this riad was built for newer GPUs; build it with CUDA_COMPUTE_CAP set to this one's",
        ),
        (
            "CUDA_ERROR_NO_BINARY_FOR_GPU",
            "this riad was built for newer GPUs; build it with CUDA_COMPUTE_CAP set to this one's",
        ),
        (
            "CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
            "its driver is incomplete; put libnvidia-ptxjitcompiler.so.1 into a folder that the loader searches",
        ),
        (
            "CUDA_ERROR_OUT_OF_MEMORY",
            "it has no free memory; stop other programs that use it",
        ),
        (
            "CUDNN_STATUS_NOT_INITIALIZED",
            "cuDNN does not start; libcudnn.so.9 must lie where the loader looks (LD_LIBRARY_PATH)",
        ),
        (
            "CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED",
            "cuDNN is incomplete; all its libraries must lie beside libcudnn.so.9",
        ),
    ];
    let started = error.contains("CUDNN_STATUS_NOT_INITIALIZED (");
    let known = REASONS.iter().find(|(status, _)| error.contains(status) && !started);
    known.map_or_else(|| error.lines().next().unwrap_or_default(), |(_, reason)| reason)
}
