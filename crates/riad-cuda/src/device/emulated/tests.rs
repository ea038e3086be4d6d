use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use half::bf16;

use super::{convolution::tf32, *};

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn upload(device: &Emulated, bytes: &[u8]) -> Allocation {
    let memory = device.allocate(bytes.len()).unwrap();
    // SAFETY: the allocation is as long.
    unsafe { device.write(memory.pointer, bytes) }.unwrap();
    memory
}

#[test]
fn tf32_has_ten_bits_rounded_to_even() {
    let step = 2.0_f32.powi(-10);
    assert_eq!(tf32(1.0 + step), 1.0 + step);
    assert_eq!(tf32(1.0 + 0.5 * step), 1.0);
    assert_eq!(tf32(1.0 + 0.5 * step + f32::EPSILON), 1.0 + step);
    assert_eq!(tf32(-1.0 - 1.5 * step), -1.0 - 2.0 * step);
    assert_eq!(tf32(2.0 - f32::EPSILON), 2.0);
    assert_eq!(tf32(f32::INFINITY), f32::INFINITY);
    assert!(tf32(f32::NAN).is_nan());
}

#[test]
fn memory_is_zeroed_aligned_and_only_reached_where_it_is() {
    let device = Emulated::new();
    let memory = device.allocate(24).unwrap();
    assert_eq!(memory.pointer % 256, 0);
    let mut bytes = [1; 24];
    // SAFETY: the allocation has as many bytes.
    unsafe { device.read(memory.pointer, &mut bytes) }.unwrap();
    assert_eq!(bytes, [0; 24]);

    let mut bytes = [0; 8];
    // SAFETY: what is not of the allocation is an error here.
    let (beyond, before) = unsafe {
        (
            device.read(memory.pointer + 20, &mut bytes),
            device.write(memory.pointer - 1, &bytes),
        )
    };
    assert!(beyond.is_err() && before.is_err());
    assert!(matches!(device.allocate(usize::MAX), Err(CudaError::Memory { .. })));

    let at = memory.pointer;
    drop(memory);
    // SAFETY: as above.
    assert!(unsafe { device.read(at, &mut bytes) }.is_err());
}

/// What the kernels `emulated_reverse` and `emulated_round` take.
#[repr(C)]
struct Reverse {
    from: u64,
    to: u64,
    length: u32,
}
// As in emulated.cpp.
const _: () = assert!(size_of::<Reverse>() == 24);

fn reverse(device: &Emulated, grid: [u32; 3], block: u32, arguments: &Reverse) -> Result<(), CudaError> {
    // SAFETY: the callers pass memory with room, guards included, for all that the kernel touches.
    unsafe { device.launch("emulated_reverse", grid, block, ptr::from_ref(arguments).cast()) }
}

#[test]
fn kernels_run_on_all_threads_and_wait_at_barriers() {
    let device = Emulated::new();
    // Each twice, for both orders of the threads.
    for (grid, block) in [([1, 1, 1], 1), ([3, 2, 2], 48), ([5, 1, 1], 256)]
        .into_iter()
        .flat_map(|l| [l, l])
    {
        let length = grid.iter().product::<u32>() * block;
        let values: Vec<u32> = (0..length).map(|i| i * i + 1).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let (from, to) = (upload(&device, &bytes), device.allocate(bytes.len()).unwrap());
        let arguments = Reverse {
            from: from.pointer,
            to: to.pointer,
            length,
        };
        reverse(&device, grid, block, &arguments).unwrap();
        let mut found = vec![0; bytes.len()];
        // SAFETY: both have as many bytes.
        unsafe { device.read(to.pointer, &mut found) }.unwrap();
        let found: Vec<u32> = found
            .chunks_exact(4)
            .map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let expected: Vec<u32> = values
            .chunks_exact(block as usize)
            .flat_map(|part| part.iter().rev().copied())
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn kernels_round_to_bf16_as_the_convolutions_do() {
    // All exponents and signs, NaN among them, with mantissas around halfway between two bf16.
    let bits = (0..0x1_0000_u32).flat_map(|high| [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].map(|low| high << 16 | low));
    let values: Vec<f32> = bits.map(f32::from_bits).collect();
    let device = Emulated::new();
    let (from, to) = (
        upload(&device, &bytes_of(&values)),
        device.allocate(values.len() * 2).unwrap(),
    );
    let length = u32::try_from(values.len()).unwrap();
    let arguments = Reverse {
        from: from.pointer,
        to: to.pointer,
        length,
    };
    let grid = [length.div_ceil(256), 1, 1];
    // SAFETY: the struct is laid out as the kernel's, and both allocations have room for `length` values.
    unsafe { device.launch("emulated_round", grid, 256, ptr::from_ref(&arguments).cast()) }.unwrap();
    let mut found = vec![0; values.len() * 2];
    // SAFETY: the allocation has as many bytes.
    unsafe { device.read(to.pointer, &mut found) }.unwrap();
    for (value, found) in values.iter().zip(found.chunks_exact(2)) {
        let (found, expected) = (bf16::from_ne_bytes([found[0], found[1]]), bf16::from_f32(*value));
        assert_eq!(found.to_bits(), expected.to_bits(), "{value}");
    }
}

#[test]
fn launches_that_no_gpu_takes_are_refused() {
    let device = Emulated::new();
    let arguments = Reverse {
        from: 0,
        to: 0,
        length: 0,
    };
    for (grid, block) in [([1, 1, 1], 0), ([1, 1, 1], 257), ([1, 0, 1], 32), ([1, 1, 65536], 32)] {
        assert!(reverse(&device, grid, block, &arguments).is_err(), "{grid:?} × {block}");
    }
    // SAFETY: no kernel reads the arguments.
    let unknown = unsafe { device.launch("emulated_nothing", [1, 1, 1], 32, ptr::from_ref(&arguments).cast()) };
    assert!(unknown.is_err());
}

#[test]
fn a_write_beyond_an_allocation_panics_when_it_is_dropped() {
    let device = Emulated::new();
    let from = upload(&device, &[1; 64 * 4]);
    for (bytes, shift, damaged) in [(63 * 4, 0, "byte 252 "), (64 * 4, -4, "byte -4 ")] {
        let to = device.allocate(bytes).unwrap();
        let arguments = Reverse {
            from: from.pointer,
            to: to.pointer.wrapping_add_signed(shift),
            length: 64,
        };
        reverse(&device, [2, 1, 1], 32, &arguments).unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| drop(to))).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.starts_with(damaged), "{message}");
    }
}

/// Runs a test anew, in a process that may end badly.
#[test]
fn a_barrier_that_not_all_threads_reach_ends_the_process() {
    const HERE: &str = "RIAD_CUDA_TEST_HALF_A_BARRIER";
    if env::var_os(HERE).is_some() {
        let device = Emulated::new();
        let (from, to) = (device.allocate(32 * 4).unwrap(), device.allocate(32 * 4).unwrap());
        let arguments = Reverse {
            from: from.pointer,
            to: to.pointer,
            length: 20,
        };
        reverse(&device, [1, 1, 1], 32, &arguments).unwrap();
        return;
    }
    let name = "device::emulated::tests::a_barrier_that_not_all_threads_reach_ends_the_process";
    let mut again = Command::new(env::current_exe().unwrap());
    let output = again
        .args([name, "--exact", "--nocapture"])
        .env(HERE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("20 of 32 threads wait here"), "{text}");
    assert!(text.contains("kernel emulated_reverse, block (0, 0, 0)"), "{text}");
}
