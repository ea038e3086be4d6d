//! Most of these need a GPU, and say on standard error where they stand down without one.

use std::sync::OnceLock;

use super::{staging::PIECE, *};

/// The first GPU, where there is one.
fn gpu() -> Option<&'static Cuda> {
    static GPU: OnceLock<Result<Cuda, CudaError>> = OnceLock::new();
    let opened = GPU.get_or_init(|| Cuda::open(0));
    opened
        .as_ref()
        .inspect_err(|error| eprintln!("not tested: {error}"))
        .ok()
}

#[test]
fn without_a_driver_the_reason_is_told_in_one_line() {
    let Err(error) = Cuda::open(0) else { return };
    let message = error.to_string();
    assert!(message.starts_with("CUDA device 0 cannot be used: "), "{message}");
    assert!(!message.contains('\n'), "{message}");
    if !std::path::Path::new("/proc/driver/nvidia").exists() {
        let driver = message.contains("there is no NVIDIA driver (libcuda.so.1)");
        // Where the driver's library is there without the driver.
        assert!(driver || message.contains("there is no NVIDIA GPU"), "{message}");
    }
}

#[test]
fn a_gpu_that_is_not_there_is_refused_in_one_line() {
    for index in [99, usize::MAX] {
        let message = Cuda::open(index).err().unwrap().to_string();
        assert!(
            message.starts_with(&format!("CUDA device {index} cannot be used: ")),
            "{message}"
        );
        assert!(!message.contains('\n') && !message.contains("CUDA_ERROR"), "{message}");
    }
}

#[test]
fn reasons_are_found_by_the_status() {
    let absent = "starting cuDNN failed on the GPU: CUDNN_STATUS_NOT_INITIALIZED";
    assert!(reason(absent).contains("libcudnn.so.9 must lie where"));
    let present = format!("{absent} (cudaGetDeviceCount(&count) != cudaSuccess)");
    assert_eq!(reason(&present), present);
    assert_eq!(reason("something else\nand more"), "something else");
}

#[test]
fn copies_arrive_in_order_whatever_their_length() {
    let Some(gpu) = gpu() else { return };
    let long: Vec<u8> = (0..3 * PIECE as u32 + 5)
        .map(|at| (at.wrapping_mul(2654435761) >> 24) as u8)
        .collect();
    let memory = gpu.allocate(long.len()).unwrap();
    let mut found = vec![1; long.len()];
    // SAFETY: everything is as long as `long` or shorter.
    unsafe {
        gpu.read(memory.pointer, &mut found).unwrap();
        assert!(found.iter().all(|&byte| byte == 0));
        gpu.write(memory.pointer, &long).unwrap();
        for (at, byte) in (0..100u64).zip(1u8..) {
            gpu.write(memory.pointer + at, &[byte]).unwrap();
        }
        gpu.read(memory.pointer, &mut found).unwrap();
    }
    assert!(found[..100].iter().copied().eq(1..=100));
    assert!(found[100..] == long[100..]);
}

#[test]
fn memory_is_given_back_or_refused() {
    let Some(gpu) = gpu() else { return };
    let (free, all) = gpu.memory().unwrap();
    assert!(free <= all);
    let bytes = 2 * all;
    assert_eq!(gpu.allocate(bytes).err(), Some(CudaError::Memory { bytes }));
    let large = free / 2 + (1 << 20);
    for _ in 0..4 {
        drop(gpu.allocate(large).unwrap());
    }
    drop(gpu.allocate(0).unwrap());
}

#[test]
fn a_kernel_that_is_not_there_is_an_error() {
    let Some(gpu) = gpu() else { return };
    // SAFETY: there is no such kernel, which could read its arguments.
    let error = unsafe { gpu.launch("nonesuch", [1; 3], 32, ptr::null()) }.unwrap_err();
    assert!(error.to_string().contains("finding the kernel nonesuch"), "{error}");
}
