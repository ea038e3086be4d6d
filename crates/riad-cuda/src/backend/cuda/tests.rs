//! Most of these need a GPU, and say on standard error where they stand down without one.

use std::sync::OnceLock;

use half::bf16;

use super::{staging::PIECE, *};

/// What lies between pixels, and must stay.
const GAP: f32 = -7.0;

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

/// In small whole numbers, which all precisions hold and sum exactly. Says all that is wrong at once.
#[test]
fn convolutions_are_exact_in_whole_numbers() {
    let Some(gpu) = gpu() else { return };
    let mut wrong = Vec::new();
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        for [kernel, stride, padding, x_gap, y_gap] in [
            [3, 1, 1, 0, 0],
            [3, 2, 1, 0, 0],
            [1, 1, 0, 0, 0],
            [2, 2, 0, 0, 0],
            [3, 1, 1, 8, 0],
            [3, 1, 1, 0, 16],
            [2, 2, 0, 16, 8],
        ] {
            for (kind, epilogue) in [
                (Kind::Forward, Epilogue::None),
                (Kind::Forward, Epilogue::BiasRelu),
                (Kind::GradInput, Epilogue::None),
                (Kind::GradWeight, Epilogue::None),
            ] {
                let spec = ConvolutionSpec {
                    kind,
                    precision,
                    images: 2,
                    height: 6,
                    width: 10,
                    inputs: 16,
                    outputs: 8,
                    kernel,
                    stride,
                    padding,
                    x_pixel: 16 + x_gap,
                    y_pixel: 8 + y_gap,
                    epilogue,
                };
                match compare(gpu, &spec) {
                    Ok(0) => {}
                    Ok(count) => wrong.push(format!("{spec:?}: {count} values are wrong")),
                    Err(error) => wrong.push(format!("{spec:?}: {error}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many values a plan gets wrong, run twice.
fn compare(gpu: &Cuda, spec: &ConvolutionSpec) -> Result<usize, CudaError> {
    let (height, width) = spec.y_size();
    let (x_pixels, y_pixels) = (spec.images * spec.height * spec.width, spec.images * height * width);
    let mut x = tensor(x_pixels, spec.inputs, spec.x_pixel, 5);
    let mut w = tensor(spec.outputs * spec.kernel * spec.kernel, spec.inputs, spec.inputs, 3);
    let mut y = tensor(y_pixels, spec.outputs, spec.y_pixel, 3);
    let bias = tensor(1, spec.outputs, spec.outputs, 5);
    let before = [&x, &w, &y].map(|values| encode(values, spec.precision));
    convolve(spec, &mut x, &mut w, &mut y, &bias);
    let expected = match spec.kind {
        Kind::Forward => y,
        Kind::GradInput => x,
        Kind::GradWeight => w,
    };
    let expected = decode(&encode(&expected, spec.precision), spec.precision);
    let written = match spec.kind {
        Kind::Forward => 2,
        Kind::GradInput => 0,
        Kind::GradWeight => 1,
    };

    let bias_bytes = encode(&bias, Precision::F32);
    let plan = gpu.plan(spec)?;
    let bias = gpu.allocate(bias_bytes.len())?;
    let mut wrong = 0;
    for _ in 0..2 {
        let memory = [0, 1, 2].map(|tensor| gpu.allocate(before[tensor].len()).unwrap());
        let mut found = vec![0; before[written].len()];
        // SAFETY: the buffers are as long as their contents, and those as the spec says.
        unsafe {
            for (memory, values) in memory.iter().zip(&before) {
                gpu.write(memory.pointer, values)?;
            }
            gpu.write(bias.pointer, &bias_bytes)?;
            let [x, w, y] = [0, 1, 2].map(|tensor| memory[tensor].pointer);
            plan.run(gpu, x, w, y, bias.pointer)?;
            gpu.read(memory[written].pointer, &mut found)?;
        }
        let found = decode(&found, spec.precision);
        // Transforms are not exact. Not a number is not within either.
        let right = |(found, expected): (&f32, &f32)| (found - expected).abs() < 0.01;
        let count = found.iter().zip(&expected).filter(|&pair| right(pair)).count();
        wrong += expected.len() - count;
    }
    Ok(wrong)
}

/// Whole numbers around 0, as many as `range`, with gaps after each pixel's channels.
fn tensor(pixels: usize, channels: usize, pixel: usize, range: u32) -> Vec<f32> {
    let mut state = range;
    let mut values = vec![GAP; pixels * pixel];
    for pixel in values.chunks_mut(pixel) {
        for value in &mut pixel[..channels] {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            *value = ((state >> 16) % range) as f32 - (range / 2) as f32;
        }
    }
    values
}

fn encode(values: &[f32], precision: Precision) -> Vec<u8> {
    let bytes = |&value: &f32| match precision {
        Precision::F32 | Precision::Tf32 => value.to_ne_bytes().to_vec(),
        Precision::Bf16 => bf16::from_f32(value).to_ne_bytes().to_vec(),
    };
    values.iter().flat_map(bytes).collect()
}

fn decode(bytes: &[u8], precision: Precision) -> Vec<f32> {
    let value = |bytes: &[u8]| match *bytes {
        [a, b, c, d] => f32::from_ne_bytes([a, b, c, d]),
        [a, b] => bf16::from_ne_bytes([a, b]).to_f32(),
        _ => f32::NAN,
    };
    bytes.chunks(precision.bytes()).map(value).collect()
}

/// What a plan of this spec does, by the definition.
fn convolve(spec: &ConvolutionSpec, x: &mut [f32], w: &mut [f32], y: &mut [f32], bias: &[f32]) {
    let (height, width) = spec.y_size();
    let clear = |values: &mut [f32], channels: usize, pixel: usize| {
        values.chunks_mut(pixel).for_each(|pixel| pixel[..channels].fill(0.0));
    };
    match spec.kind {
        Kind::Forward => clear(y, spec.outputs, spec.y_pixel),
        Kind::GradInput => clear(x, spec.inputs, spec.x_pixel),
        Kind::GradWeight => clear(w, spec.inputs, spec.inputs),
    }
    let side = 0..spec.kernel * spec.kernel;
    for (pixel, tap) in (0..spec.images * height * width).flat_map(|pixel| side.clone().map(move |tap| (pixel, tap))) {
        let (image, row, column) = (pixel / (height * width), pixel / width % height, pixel % width);
        let row = row * spec.stride + tap / spec.kernel;
        let column = column * spec.stride + tap % spec.kernel;
        let inside = (spec.padding..spec.padding + spec.height).contains(&row)
            && (spec.padding..spec.padding + spec.width).contains(&column);
        if !inside {
            continue;
        }
        let x_at = ((image * spec.height + row - spec.padding) * spec.width + column - spec.padding) * spec.x_pixel;
        for output in 0..spec.outputs {
            let w_at = (output * spec.kernel * spec.kernel + tap) * spec.inputs;
            let y_at = pixel * spec.y_pixel + output;
            for input in 0..spec.inputs {
                let (x, w, y) = (&mut x[x_at + input], &mut w[w_at + input], &mut y[y_at]);
                match spec.kind {
                    Kind::Forward => *y += *x * *w,
                    Kind::GradInput => *x += *w * *y,
                    Kind::GradWeight => *w += *x * *y,
                }
            }
        }
    }
    if spec.epilogue == Epilogue::BiasRelu {
        for pixel in y.chunks_mut(spec.y_pixel) {
            for (value, bias) in pixel.iter_mut().zip(bias) {
                *value = (*value + bias).max(0.0);
            }
        }
    }
}
