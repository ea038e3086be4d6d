use riad_cuda::{ConvolutionSpec, CudaError, Epilogue, Gpu, Kind, Precision};

use super::{devices, download, noise, rounded, upload};

/// What lies between pixels, exact in bf16, and must stay.
const BETWEEN: f32 = 77.0;

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

const WHAT: [(Kind, Epilogue); 4] = [
    (Kind::Forward, Epilogue::None),
    (Kind::Forward, Epilogue::BiasRelu),
    (Kind::GradInput, Epilogue::None),
    (Kind::GradWeight, Epilogue::None),
];

/// All kinds in all precisions; `shape` is kernel, stride, padding, and the gaps between the pixels of x and y.
fn specs([kernel, stride, padding, x_gap, y_gap]: [usize; 5]) -> impl Iterator<Item = ConvolutionSpec> {
    PRECISIONS.into_iter().flat_map(move |precision| {
        WHAT.map(|(kind, epilogue)| ConvolutionSpec {
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
        })
    })
}

/// Pixels of `channels` values, with a gap behind each.
fn spread(dense: &[f32], channels: usize, pixel: usize) -> Vec<f32> {
    let wider = |values: &[f32]| {
        let mut wide = values.to_vec();
        wide.resize(pixel, BETWEEN);
        wide
    };
    dense.chunks_exact(channels).flat_map(wider).collect()
}

/// A factor as tensor cores see it: 10 bits behind the first, of two that are as near the even one.
fn factor(value: f32, precision: Precision) -> f64 {
    let value = f64::from(value);
    if precision != Precision::Tf32 || value == 0.0 {
        return value;
    }
    let unit = 2f64.powi(value.abs().log2().floor() as i32 - 10);
    (value / unit).round_ties_even() * unit
}

/// The three tensors after the convolution, by its definition, in f64.
fn by_definition(spec: &ConvolutionSpec, tensors: [&[f32]; 3], bias: &[f32]) -> [Vec<f64>; 3] {
    let [mut x, mut w, mut y] = tensors.map(|values| {
        let factors = values.iter().map(|&value| factor(value, spec.precision));
        factors.collect::<Vec<_>>()
    });
    let (out_height, out_width) = spec.y_size().unwrap();
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

/// The largest error of a convolution of values of this kind, beyond one rounding to the precision of its result.
fn error(gpu: &Gpu, spec: &ConvolutionSpec, values: impl Fn(usize, u32) -> Vec<f32>) -> Result<f64, CudaError> {
    let (out_height, out_width) = spec.y_size()?;
    let counts = [
        spec.images * spec.height * spec.width,
        spec.outputs * spec.kernel * spec.kernel,
        spec.images * out_height * out_width,
    ];
    let channels = [spec.inputs, spec.inputs, spec.outputs];
    let pixels = [spec.x_pixel, spec.inputs, spec.y_pixel];
    let before = [0, 1, 2].map(|i| {
        let dense = rounded(&values(counts[i] * channels[i], i as u32 + 1), spec.precision);
        spread(&dense, channels[i], pixels[i])
    });
    let bias = values(spec.outputs, 4);

    let [x, w, y] = [0, 1, 2].map(|i| upload(gpu, &before[i], spec.precision));
    let on_bias = upload(gpu, &bias, Precision::F32);
    let view = |buffer, i: usize| -> Result<_, CudaError> {
        let buffer: &riad_cuda::Buffer = buffer;
        buffer
            .pixels(spec.precision, counts[i], pixels[i])?
            .channels(0, channels[i])
    };
    let (x_pixels, y_pixels) = (view(&x, 0)?, view(&y, 2)?);
    let convolution = gpu.convolution(*spec)?;
    convolution.run(x_pixels, w.span(), y_pixels, Some(on_bias.span()))?;

    let [all_x, all_w, all_y] = &before;
    let expected = by_definition(spec, [all_x, all_w, all_y], &bias);
    let written = match spec.kind {
        Kind::GradInput => 0,
        Kind::GradWeight => 1,
        Kind::Forward => 2,
    };
    let mut worst = 0.0;
    for (i, buffer) in [x, w, y].iter().enumerate() {
        let found = download(buffer, spec.precision);
        if i != written {
            assert_eq!(found, before[i], "{spec:?}: tensor {i} is not to be written");
            continue;
        }
        for (&found, &expected) in found.iter().zip(&expected[i]) {
            let rounding = match spec.precision {
                Precision::Bf16 => expected.abs() * 2f64.powi(-8),
                Precision::F32 | Precision::Tf32 => 0.0,
            };
            let beyond = (f64::from(found) - expected).abs() - rounding;
            // Not a number is no error that a maximum would keep.
            worst = if beyond.is_nan() {
                f64::INFINITY
            } else {
                beyond.max(worst)
            };
        }
    }
    Ok(worst)
}

/// Small whole numbers, which all precisions hold and sum exactly; but transforms are not exact.
#[test]
fn convolutions_of_whole_numbers_are_those_of_their_definition() {
    let whole = |length, seed| noise(length, seed).iter().map(|value| (2.5 * value).round()).collect();
    for gpu in devices() {
        let mut wrong = Vec::new();
        let shapes = [
            [3, 1, 1, 0, 0],
            [3, 2, 1, 0, 0],
            [1, 1, 0, 0, 0],
            [2, 2, 0, 0, 0],
            [3, 1, 1, 8, 0],
            [3, 1, 1, 0, 16],
            [2, 2, 0, 16, 8],
        ];
        for spec in shapes.into_iter().flat_map(specs) {
            match error(&gpu, &spec, whole) {
                Ok(error) if error < 0.01 => {}
                Ok(error) => wrong.push(format!("{spec:?}: wrong by {error}")),
                Err(error) => wrong.push(format!("{spec:?}: {error}")),
            }
        }
        assert!(wrong.is_empty(), "{gpu:?}: {}", wrong.join("\n"));
    }
}

/// Each device rounds sums in its own way, so the bound is that of the emulated one alone.
#[cfg(all(feature = "emulated", target_os = "linux"))]
#[test]
fn convolutions_are_those_of_their_definition_on_the_emulated_device() {
    let gpu = Gpu::emulated();
    // The last geometry does not use every pixel of x: the others' gradient is 0.
    let geometries = [[3, 1, 1], [4, 2, 1], [1, 2, 0]];
    let gaps = [[0, 0], [8, 0], [16, 8]];
    let shapes = geometries
        .into_iter()
        .flat_map(|[k, s, p]| gaps.map(|[x, y]| [k, s, p, x, y]));
    for spec in shapes.flat_map(specs).map(|spec| ConvolutionSpec {
        height: 9,
        width: 7,
        ..spec
    }) {
        let error = error(&gpu, &spec, noise).unwrap();
        assert!(error <= 3e-5, "{spec:?}: wrong by {error}");
    }
}

#[test]
fn specs_of_no_convolution_are_refused_on_every_device() {
    let good = ConvolutionSpec {
        kind: Kind::GradInput,
        precision: Precision::F32,
        images: 2,
        height: 9,
        width: 6,
        inputs: 8,
        outputs: 16,
        kernel: 3,
        stride: 1,
        padding: 1,
        x_pixel: 8,
        y_pixel: 16,
        epilogue: Epilogue::None,
    };
    let bad = [
        ConvolutionSpec { inputs: 4, ..good },
        ConvolutionSpec { y_pixel: 20, ..good },
        ConvolutionSpec { x_pixel: 0, ..good },
        ConvolutionSpec { outputs: 24, ..good },
        ConvolutionSpec { images: 0, ..good },
        ConvolutionSpec { stride: 0, ..good },
        ConvolutionSpec { kernel: 0, ..good },
        ConvolutionSpec { kernel: 12, ..good },
        ConvolutionSpec {
            images: usize::MAX / 2,
            ..good
        },
        ConvolutionSpec {
            padding: usize::MAX,
            ..good
        },
        ConvolutionSpec {
            epilogue: Epilogue::BiasRelu,
            ..good
        },
    ];
    for gpu in devices() {
        assert!(gpu.convolution(good).is_ok());
        for spec in bad {
            let error = gpu.convolution(spec).err();
            assert!(
                matches!(error, Some(CudaError::Unsupported { .. })),
                "{spec:?}: {error:?}"
            );
        }
    }
}

#[test]
fn tensors_that_are_not_of_the_spec_are_refused_on_every_device() {
    for gpu in devices() {
        let with_bias = |spec: &ConvolutionSpec| spec.epilogue == Epilogue::BiasRelu;
        let spec = specs([3, 1, 1, 0, 0]).find(with_bias).unwrap();
        let convolution = gpu.convolution(spec).unwrap();
        let count = 2 * 6 * 10;
        let x = gpu.buffer(count * 16 * 4).unwrap();
        let w = gpu.buffer(8 * 9 * 16 * 4).unwrap();
        let y = gpu.buffer(count * 8 * 4).unwrap();
        let bias = gpu.buffer(9 * 4).unwrap();
        let x = x.pixels(Precision::F32, count, 16).unwrap();
        let y = y.pixels(Precision::F32, count, 8).unwrap();
        let whole = bias.part::<f32>(0, 8).unwrap();
        convolution.run(x, w.span(), y, Some(whole)).unwrap();
        let shorter = [
            convolution.run(x.part(0, count - 1).unwrap(), w.span(), y, Some(whole)),
            convolution.run(x, w.part::<f32>(0, 8 * 9 * 16 - 1).unwrap(), y, Some(whole)),
            convolution.run(x.channels(0, 8).unwrap(), w.span(), y, Some(whole)),
            convolution.run(x, w.span(), y, None),
            convolution.run(x, w.span(), y, Some(bias.part::<f32>(0, 7).unwrap())),
            // At an address that kernels do not take sixteen bytes from.
            convolution.run(x, w.span(), y, Some(bias.part::<f32>(1, 8).unwrap())),
        ];
        for (at, result) in shorter.into_iter().enumerate() {
            assert!(result.is_err(), "call {at}");
        }
    }
}

/// That an overflow is seen at the end. What cuDNN's engines do of it is theirs.
#[cfg(all(feature = "emulated", target_os = "linux"))]
#[test]
fn not_a_number_goes_through_relu_on_the_emulated_device() {
    let gpu = Gpu::emulated();
    for precision in PRECISIONS {
        let spec = ConvolutionSpec {
            kind: Kind::Forward,
            precision,
            images: 1,
            height: 1,
            width: 2,
            inputs: 8,
            outputs: 8,
            kernel: 1,
            stride: 1,
            padding: 0,
            x_pixel: 8,
            y_pixel: 8,
            epilogue: Epilogue::BiasRelu,
        };
        let mut values = vec![-1.0; 16];
        values[3] = f32::NAN;
        let x = upload(&gpu, &values, precision);
        let w = upload(&gpu, &[1.0; 64], precision);
        let (y, bias) = (upload(&gpu, &[5.0; 16], precision), gpu.buffer(8 * 4).unwrap());
        let x = x.pixels(precision, 2, 8).unwrap();
        let convolution = gpu.convolution(spec).unwrap();
        let y_pixels = y.pixels(precision, 2, 8).unwrap();
        convolution.run(x, w.span(), y_pixels, Some(bias.span())).unwrap();
        let found = download(&y, precision);
        assert!(found[..8].iter().all(|value| value.is_nan()), "{found:?}");
        assert_eq!(found[8..], [0.0; 8], "sums are negative");
    }
}
