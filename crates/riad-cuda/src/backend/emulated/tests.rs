use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use super::*;

/// What lies between pixels, exact in bf16.
const BETWEEN: f32 = 77.0;

struct Shape {
    kind: Kind,
    precision: Precision,
    kernel: (usize, usize, usize),
    between: (usize, usize),
    epilogue: Epilogue,
}

impl Shape {
    fn spec(&self) -> ConvolutionSpec {
        let (kernel, stride, padding) = self.kernel;
        ConvolutionSpec {
            kind: self.kind,
            precision: self.precision,
            images: 2,
            height: 9,
            width: 6,
            inputs: 8,
            outputs: 16,
            kernel,
            stride,
            padding,
            x_pixel: 8 + self.between.0,
            y_pixel: 16 + self.between.1,
            epilogue: self.epilogue,
        }
    }
}

/// Values in −1..1 that are not short in binary.
fn noise(length: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0) as f32
    };
    (0..length).map(|_| next()).collect()
}

fn rounded(values: &[f32], precision: Precision) -> Vec<f32> {
    let round = |&value: &f32| match precision {
        Precision::Bf16 => bf16::from_f32(value).to_f32(),
        Precision::F32 | Precision::Tf32 => value,
    };
    values.iter().map(round).collect()
}

fn bytes_of(values: &[f32], precision: Precision) -> Vec<u8> {
    match precision {
        Precision::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_ne_bytes()).collect(),
        Precision::F32 | Precision::Tf32 => values.iter().flat_map(|v| v.to_ne_bytes()).collect(),
    }
}

fn upload(device: &Emulated, bytes: &[u8]) -> Allocation {
    let memory = device.allocate(bytes.len()).unwrap();
    // SAFETY: the allocation is as long.
    unsafe { device.write(memory.pointer, bytes) }.unwrap();
    memory
}

fn download(device: &Emulated, memory: &Allocation, length: usize, precision: Precision) -> Vec<f32> {
    let mut bytes = vec![0; length * precision.bytes()];
    // SAFETY: the callers allocated as many.
    unsafe { device.read(memory.pointer, &mut bytes) }.unwrap();
    match precision {
        Precision::Bf16 => bytes
            .chunks_exact(2)
            .map(|b| bf16::from_ne_bytes([b[0], b[1]]).to_f32())
            .collect(),
        Precision::F32 | Precision::Tf32 => bytes
            .chunks_exact(4)
            .map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
    }
}

/// Spreads dense pixels of `channels` values to such of `pixel`.
fn spread(dense: &[f32], channels: usize, pixel: usize) -> Vec<f32> {
    let wider = |values: &[f32]| {
        let mut wide = values.to_vec();
        wide.resize(pixel, BETWEEN);
        wide
    };
    dense.chunks_exact(channels).flat_map(wider).collect()
}

/// The three tensors after the convolution, by its definition, in f64; `x` and `y` with their pixels.
fn naive(spec: &ConvolutionSpec, tensors: [&[f32]; 3], bias: &[f32]) -> [Vec<f64>; 3] {
    let factor = |&value: &f32| match spec.precision {
        Precision::Tf32 => f64::from(tf32(value)),
        Precision::F32 | Precision::Bf16 => f64::from(value),
    };
    let [mut x, mut w, mut y] = tensors.map(|values| values.iter().map(factor).collect::<Vec<_>>());
    let (out_height, out_width) = spec.y_size();
    let clear = |values: &mut [f64], channels: usize, pixel: usize| {
        values.chunks_mut(pixel).for_each(|values| values[..channels].fill(0.0));
    };
    match spec.kind {
        Kind::Forward => clear(&mut y, spec.outputs, spec.y_pixel),
        Kind::GradInput => clear(&mut x, spec.inputs, spec.x_pixel),
        Kind::GradWeight => clear(&mut w, spec.inputs, spec.inputs),
    }
    for n in 0..spec.images {
        for (oy, ox) in (0..out_height).flat_map(|oy| (0..out_width).map(move |ox| (oy, ox))) {
            for (r, s) in (0..spec.kernel).flat_map(|r| (0..spec.kernel).map(move |s| (r, s))) {
                let place = |out: usize, tap: usize, size: usize| {
                    (out * spec.stride + tap)
                        .checked_sub(spec.padding)
                        .filter(|&at| at < size)
                };
                let (Some(in_y), Some(in_x)) = (place(oy, r, spec.height), place(ox, s, spec.width)) else {
                    continue;
                };
                for (k, c) in (0..spec.outputs).flat_map(|k| (0..spec.inputs).map(move |c| (k, c))) {
                    let at_x = ((n * spec.height + in_y) * spec.width + in_x) * spec.x_pixel + c;
                    let at_w = ((k * spec.kernel + r) * spec.kernel + s) * spec.inputs + c;
                    let at_y = ((n * out_height + oy) * out_width + ox) * spec.y_pixel + k;
                    match spec.kind {
                        Kind::Forward => y[at_y] += x[at_x] * w[at_w],
                        Kind::GradInput => x[at_x] += y[at_y] * w[at_w],
                        Kind::GradWeight => w[at_w] += x[at_x] * y[at_y],
                    }
                }
            }
        }
    }
    if spec.epilogue == Epilogue::BiasRelu {
        for pixel in y.chunks_mut(spec.y_pixel) {
            for (value, &bias) in pixel.iter_mut().zip(bias) {
                *value = (*value + f64::from(bias)).max(0.0);
            }
        }
    }
    [x, w, y]
}

fn check_convolution(shape: &Shape) {
    let spec = shape.spec();
    let (out_height, out_width) = spec.y_size();
    let x = noise(spec.images * spec.height * spec.width * spec.inputs, 1);
    let w = noise(spec.outputs * spec.kernel * spec.kernel * spec.inputs, 2);
    let y = noise(spec.images * out_height * out_width * spec.outputs, 3);
    let bias = noise(spec.outputs, 4);
    let x = spread(&rounded(&x, spec.precision), spec.inputs, spec.x_pixel);
    let w = rounded(&w, spec.precision);
    let y = spread(&rounded(&y, spec.precision), spec.outputs, spec.y_pixel);

    let device = Emulated::new();
    let [on_x, on_w, on_y] = [&x, &w, &y].map(|values| upload(&device, &bytes_of(values, spec.precision)));
    let on_bias = upload(&device, &bytes_of(&bias, Precision::F32));
    let plan = device.plan(&spec).unwrap();
    let at_bias = match spec.epilogue {
        Epilogue::None => 0,
        Epilogue::BiasRelu => on_bias.pointer,
    };
    // SAFETY: the tensors are as the spec says.
    unsafe { plan.run(&device, on_x.pointer, on_w.pointer, on_y.pointer, at_bias) }.unwrap();

    let expected = naive(&spec, [&x, &w, &y], &bias);
    let found = [(&on_x, &x), (&on_w, &w), (&on_y, &y)]
        .map(|(memory, values)| download(&device, memory, values.len(), spec.precision));
    let written = match spec.kind {
        Kind::GradInput => 0,
        Kind::GradWeight => 1,
        Kind::Forward => 2,
    };
    let one_bf16 = 2.0_f64.powi(-8);
    for (i, before) in [&x, &w, &y].into_iter().enumerate() {
        if i != written {
            assert_eq!(&found[i], before, "tensor {i} is not to be written");
            continue;
        }
        for (at, (&found, &expected)) in found[i].iter().zip(&expected[i]).enumerate() {
            let rounding = match spec.precision {
                Precision::Bf16 => expected.abs() * one_bf16,
                Precision::F32 | Precision::Tf32 => 0.0,
            };
            let error = (f64::from(found) - expected).abs();
            assert!(
                error <= 3e-5 + rounding,
                "{spec:?}: {found} in place of {expected} at {at}"
            );
        }
    }
}

#[test]
fn convolutions_are_those_of_their_definition() {
    for kind in [Kind::Forward, Kind::GradInput, Kind::GradWeight] {
        for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
            // The last one does not use every pixel of x: the others' gradient is 0.
            for kernel in [(3, 1, 1), (4, 2, 1), (1, 2, 0)] {
                for between in [(0, 0), (8, 0), (16, 8)] {
                    check_convolution(&Shape {
                        kind,
                        precision,
                        kernel,
                        between,
                        epilogue: Epilogue::None,
                    });
                }
            }
        }
    }
}

#[test]
fn an_epilogue_adds_the_bias_and_cuts_off_what_is_negative() {
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        for between in [(0, 0), (8, 8)] {
            check_convolution(&Shape {
                kind: Kind::Forward,
                precision,
                kernel: (3, 1, 1),
                between,
                epilogue: Epilogue::BiasRelu,
            });
        }
    }
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
fn specs_that_no_gpu_takes_are_refused() {
    let good = Shape {
        kind: Kind::GradInput,
        precision: Precision::F32,
        kernel: (3, 1, 1),
        between: (0, 0),
        epilogue: Epilogue::None,
    }
    .spec();
    let device = Emulated::new();
    assert!(device.plan(&good).is_ok());
    let bad = [
        ConvolutionSpec { inputs: 4, ..good },
        ConvolutionSpec { y_pixel: 20, ..good },
        ConvolutionSpec { x_pixel: 0, ..good },
        ConvolutionSpec { outputs: 24, ..good },
        ConvolutionSpec { images: 0, ..good },
        ConvolutionSpec { stride: 0, ..good },
        ConvolutionSpec { kernel: 12, ..good },
        ConvolutionSpec {
            epilogue: Epilogue::BiasRelu,
            ..good
        },
    ];
    for spec in bad {
        let error = device.plan(&spec).err();
        assert!(matches!(error, Some(CudaError::Failed { .. })), "{spec:?}: {error:?}");
    }
}

#[test]
fn memory_is_zeroed_aligned_and_only_reached_where_it_is() {
    let device = Emulated::new();
    let memory = device.allocate(24).unwrap();
    assert_eq!(memory.pointer % 256, 0);
    assert_eq!(download(&device, &memory, 6, Precision::F32), [0.0; 6]);

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
        upload(&device, &bytes_of(&values, Precision::F32)),
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
    let name = "backend::emulated::tests::a_barrier_that_not_all_threads_reach_ends_the_process";
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
