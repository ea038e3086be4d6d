//! Every public function, at every instruction set of the machine, against the definition in f64.

use std::ops::Range;

use proptest::prelude::*;

use crate::correlation::WINOGRAD;
use crate::simd::{Bf16Kernels, FORCED, Kernels};
use crate::*;

mod bf16;

/// A layer and a batch to run it on.
#[derive(Debug, Clone, Copy)]
struct Case {
    transposed: bool,
    dims: Dims,
    out_channels: usize,
    geometry: Geometry,
}

impl Case {
    fn out_dims(&self) -> Result<Dims, ConvError> {
        if self.transposed {
            self.dims.conv_transpose2d(self.out_channels, self.geometry)
        } else {
            self.dims.conv2d(self.out_channels, self.geometry)
        }
    }

    fn weights(&self) -> usize {
        self.dims.channels * self.out_channels * self.geometry.kernel.pow(2)
    }

    fn forward(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let run = if self.transposed { conv_transpose2d } else { conv2d };
        let (x, dims) = (Wide::new(x, self.dims), self.out_dims().unwrap());
        Wide::filled(dims, |out| run(x.batch(), weight, bias, self.geometry, out))
    }

    fn grad_input(&self, dy: &[f32], weight: &[f32]) -> Vec<f32> {
        let run = if self.transposed {
            conv_transpose2d_grad_input
        } else {
            conv2d_grad_input
        };
        let dy = Wide::new(dy, self.out_dims().unwrap());
        Wide::filled(self.dims, |dx| run(dy.batch(), weight, self.geometry, dx))
    }

    fn grad_weight(&self, x: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let run = if self.transposed {
            conv_transpose2d_grad_weight
        } else {
            conv2d_grad_weight
        };
        let (x, dy) = (Wide::new(x, self.dims), Wide::new(dy, self.out_dims().unwrap()));
        let (mut dw, mut db) = (vec![f32::NAN; self.weights()], vec![f32::NAN; self.out_channels]);
        run(x.batch(), dy.batch(), self.geometry, &mut dw).unwrap();
        grad_bias(dy.batch(), &mut db).unwrap();
        (dw, db)
    }

    /// Calls `each` with the indices of x, weight and output of every product in the layer's definition.
    fn products(&self, mut each: impl FnMut(usize, usize, usize)) {
        let (out, dims) = (self.out_dims().unwrap(), self.dims);
        let Geometry {
            kernel,
            stride,
            padding,
        } = self.geometry;
        // The strided side is the input of a convolution and the output of a transposed one.
        let (strided, dense) = if self.transposed { (out, dims) } else { (dims, out) };
        let meets = |at: usize, tap: usize, size: usize| (at * stride + tap).checked_sub(padding).filter(|&i| i < size);
        for image in 0..dims.images {
            for y in 0..dense.height {
                for x in 0..dense.width {
                    for (ky, kx) in (0..kernel * kernel).map(|tap| (tap / kernel, tap % kernel)) {
                        let (Some(sy), Some(sx)) = (meets(y, ky, strided.height), meets(x, kx, strided.width)) else {
                            continue;
                        };
                        let dense_pixel = (image * dense.height + y) * dense.width + x;
                        let strided_pixel = (image * strided.height + sy) * strided.width + sx;
                        let (x_pixel, out_pixel) = if self.transposed {
                            (dense_pixel, strided_pixel)
                        } else {
                            (strided_pixel, dense_pixel)
                        };
                        for ci in 0..dims.channels {
                            for co in 0..self.out_channels {
                                let (outer, inner, inners) = if self.transposed {
                                    (ci, co, self.out_channels)
                                } else {
                                    (co, ci, dims.channels)
                                };
                                let weight = ((outer * inners + inner) * kernel + ky) * kernel + kx;
                                each(x_pixel * dims.channels + ci, weight, out_pixel * self.out_channels + co);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A batch between two channels of a neighbour on each side, which no layer may read or write.
struct Wide {
    values: Vec<f32>,
    dims: Dims,
}

const NEIGHBOUR: f32 = 7e9;

impl Wide {
    fn new(values: &[f32], dims: Dims) -> Self {
        let pixels = values.chunks_exact(dims.channels);
        let values = pixels.flat_map(|pixel| [&[NEIGHBOUR; 2], pixel, &[NEIGHBOUR; 2]].concat());
        Self {
            values: values.collect(),
            dims: Dims {
                channels: dims.channels + 4,
                ..dims
            },
        }
    }

    fn range(&self) -> Range<usize> {
        2..self.dims.channels - 2
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.values, self.dims)
            .unwrap()
            .channels(self.range())
            .unwrap()
    }

    /// The batch that `write` fills.
    fn filled(dims: Dims, write: impl FnOnce(BatchMut<'_>) -> Result<(), ConvError>) -> Vec<f32> {
        let mut wide = Self::new(&vec![f32::NAN; dims.values().unwrap()], dims);
        let range = wide.range();
        write(
            BatchMut::new(&mut wide.values, wide.dims)
                .unwrap()
                .channels(range.clone())
                .unwrap(),
        )
        .unwrap();
        let pixels = wide.values.chunks_exact(wide.dims.channels);
        pixels
            .flat_map(|pixel| {
                assert!([pixel[0], pixel[1], pixel[range.end], pixel[range.end + 1]] == [NEIGHBOUR; 4]);
                pixel[range.clone()].iter().copied()
            })
            .collect()
    }
}

/// Values in [−1, 1] from an integer hash, so that a failing case is the same everywhere.
fn noise(len: usize, salt: u32) -> Vec<f32> {
    let hash = |i: u32| {
        (i.wrapping_add(salt.wrapping_mul(977)))
            .wrapping_mul(2_654_435_761)
            .rotate_left(13)
            ^ salt
    };
    (0..len as u32)
        .map(|i| (hash(i).wrapping_mul(2_246_822_519) >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}

/// A sum of products and the sum of their magnitudes, which bounds the rounding error that any order may make.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: f64,
    magnitude: f64,
}

impl Sum {
    fn add(&mut self, term: f64) {
        self.value += term;
        self.magnitude += term.abs();
    }
}

fn assert_close(what: &str, level: &str, found: &[f32], expected: &[Sum]) {
    assert_eq!(found.len(), expected.len(), "{what} at {level}");
    let largest = expected
        .iter()
        .fold(0.0, |largest: f64, sum| largest.max(sum.magnitude));
    for (index, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected.value).abs();
        // Winograd's method mixes neighbouring outputs, so that each inherits the rounding of the largest.
        let bound = if WINOGRAD.get() == Some(true) {
            2e-6 * largest
        } else {
            1e-6 * expected.magnitude
        };
        assert!(
            error <= bound,
            "{what} at {level}, value {index}: {found} for {expected:?}"
        );
    }
}

fn check(case: Case) {
    let out_dims = case.out_dims().unwrap();
    let x = noise(case.dims.values().unwrap(), 1);
    let weight = noise(case.weights(), 2);
    let bias = noise(case.out_channels, 3);
    let dy = noise(out_dims.values().unwrap(), 4);

    let [mut out, mut dx, mut dw, mut db] =
        [dy.len(), x.len(), weight.len(), bias.len()].map(|len| vec![Sum::default(); len]);
    for (index, (out, &dy)) in out.iter_mut().zip(&dy).enumerate() {
        out.add(f64::from(bias[index % case.out_channels]));
        db[index % case.out_channels].add(f64::from(dy));
    }
    case.products(|xi, wi, oi| {
        let (x, w, g) = (f64::from(x[xi]), f64::from(weight[wi]), f64::from(dy[oi]));
        out[oi].add(x * w);
        dx[xi].add(g * w);
        dw[wi].add(x * g);
    });

    for (level, winograd) in Kernels::available()
        .into_iter()
        .flat_map(|level| [(level, false), (level, true)])
    {
        FORCED.set(Some(level));
        WINOGRAD.set(Some(winograd));
        assert_close("forward", level.name, &case.forward(&x, &weight, Some(&bias)), &out);
        assert_close("input gradient", level.name, &case.grad_input(&dy, &weight), &dx);
        let (weight_grad, bias_grad) = case.grad_weight(&x, &dy);
        assert_close("weight gradient", level.name, &weight_grad, &dw);
        assert_close("bias gradient", level.name, &bias_grad, &db);
        assert_layer(case, &x, &weight, &bias, Precision::F32, &out);
        FORCED.set(None);
        WINOGRAD.set(None);
    }
    bf16::check(case, &x, &weight, &bias);
}

/// The packed layer, with every activation.
fn assert_layer(case: Case, x: &[f32], weight: &[f32], bias: &[f32], precision: Precision, plain: &[Sum]) {
    let Case {
        dims,
        out_channels,
        geometry,
        ..
    } = case;
    let level = match precision {
        Precision::F32 => Kernels::active().unwrap().name,
        Precision::Bf16 => Bf16Kernels::active().unwrap().name,
    };
    let x = Wide::new(x, dims);
    for activation in [Activation::None, Activation::Relu, Activation::Tanh] {
        let inside = Wide::filled(case.out_dims().unwrap(), |out| {
            if case.transposed {
                ConvTranspose2d::new(
                    weight,
                    dims.channels,
                    out_channels,
                    Some(bias),
                    geometry,
                    activation,
                    precision,
                )?
                .forward(x.batch(), out)
            } else {
                Conv2d::new(
                    weight,
                    dims.channels,
                    out_channels,
                    Some(bias),
                    geometry,
                    activation,
                    precision,
                )?
                .forward(x.batch(), out)
            }
        });
        let expected = plain.iter().map(|sum| match activation {
            Activation::None => *sum,
            Activation::Relu => Sum {
                value: sum.value.max(0.0),
                ..*sum
            },
            Activation::Tanh => Sum {
                value: sum.value.tanh(),
                magnitude: sum.magnitude.max(1.0),
            },
        });
        assert_close(
            &format!("{activation:?}"),
            level,
            &inside,
            &expected.collect::<Vec<_>>(),
        );
    }
}

fn case() -> impl Strategy<Value = Case> {
    let dims = (0_usize..4, 1_usize..20, 1_usize..36, 1_usize..40);
    (any::<bool>(), dims, 1_usize..40, 1_usize..6, 1_usize..4, 0_usize..4)
        .prop_map(
            |(transposed, (images, height, width, channels), out_channels, kernel, stride, padding)| Case {
                transposed,
                dims: Dims {
                    images,
                    height,
                    width,
                    channels,
                },
                out_channels,
                geometry: Geometry {
                    kernel,
                    stride,
                    padding,
                },
            },
        )
        .prop_filter("the kernel fits", |case| case.out_dims().is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_layer_is_its_definition(case in case()) {
        check(case);
    }

    /// <conv(x), dy> = <x, grad_input(dy)> = <w, grad_weight(x, dy)>: the layer is linear in each.
    #[test]
    fn gradients_are_adjoint(case in case()) {
        let x = noise(case.dims.values().unwrap(), 5);
        let weight = noise(case.weights(), 6);
        let dy = noise(case.out_dims().unwrap().values().unwrap(), 7);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let forward = dot(&case.forward(&x, &weight, None), &dy);
        let input = dot(&x, &case.grad_input(&dy, &weight));
        let weights = dot(&weight, &case.grad_weight(&x, &dy).0);
        let tolerance = 1e-5 * (1.0 + (x.len() as f64).sqrt() * (weight.len() as f64).sqrt());
        prop_assert!((forward - input).abs() < tolerance, "{forward} {input}");
        prop_assert!((forward - weights).abs() < tolerance, "{forward} {weights}");
    }
}

#[test]
fn the_network_s_layers_are_their_definition() {
    let case = |transposed, (height, width, channels), out_channels, (kernel, stride, padding)| Case {
        transposed,
        dims: Dims {
            images: 2,
            height,
            width,
            channels,
        },
        out_channels,
        geometry: Geometry {
            kernel,
            stride,
            padding,
        },
    };
    check(case(false, (32, 48, 3), 16, (3, 1, 1)));
    check(case(false, (32, 32, 32), 32, (3, 1, 1)));
    check(case(false, (31, 33, 16), 32, (4, 2, 1)));
    check(case(false, (8, 8, 96), 80, (3, 1, 1)));
    check(case(false, (2, 2, 130), 70, (4, 2, 1)));
    check(case(true, (16, 16, 32), 16, (4, 2, 1)));
    check(case(true, (5, 9, 16), 16, (2, 3, 0)));
    check(case(false, (1, 1, 1), 1, (1, 1, 0)));
    check(case(false, (33, 65, 16), 3, (3, 1, 1)));
}

#[test]
fn strides_far_beyond_kernel_and_image_work() {
    for transposed in [false, true] {
        let dims = Dims::new(2, 3, 2, 3);
        check(Case {
            transposed,
            dims,
            out_channels: 2,
            geometry: Geometry::new(2, 17, 1),
        });
    }
    let one = Dims::new(1, 1, 1, 2);
    check(Case {
        transposed: false,
        dims: one,
        out_channels: 2,
        geometry: Geometry::new(3, 1024, 5),
    });
    check(Case {
        transposed: true,
        dims: one,
        out_channels: 2,
        geometry: Geometry::new(7, 64, 1),
    });
}

/// Bits must not depend on the number of threads, nor an image's on its neighbours in the batch.
#[test]
fn threads_and_neighbours_change_no_bit() {
    for (transposed, winograd) in [(false, false), (false, true), (true, false), (true, true)] {
        for (channels, side) in [(16, 40), (96, 9)] {
            let dims = Dims::new(5, side, side, channels);
            let case = Case {
                transposed,
                dims,
                out_channels: 48,
                geometry: Geometry::new(4, 2, 1),
            };
            let out_dims = case.out_dims().unwrap();
            let x = noise(dims.values().unwrap(), 8);
            let weight = noise(case.weights(), 9);
            let dy = noise(out_dims.values().unwrap(), 10);
            let all = |case: Case, x: &[f32], dy: &[f32]| {
                let (dw, db) = case.grad_weight(x, dy);
                [case.forward(x, &weight, None), case.grad_input(dy, &weight), dw, db]
            };
            let with_threads = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    WINOGRAD.set(Some(winograd)); // On the pool's thread, which is where the layer is called.
                    all(case, &x, &dy)
                })
            };
            let one = with_threads(1);
            for threads in [2, 5] {
                assert!(bits(&one) == bits(&with_threads(threads)), "{threads} threads");
            }
            WINOGRAD.set(Some(winograd));
            let alone = Case {
                dims: Dims { images: 1, ..dims },
                ..case
            };
            let [forward, grad_input, ..] = all(alone, &x[..x.len() / 5], &dy[..dy.len() / 5]);
            assert!(bits(&[forward]) == bits(&[one[0][..dy.len() / 5].to_vec()]));
            assert!(bits(&[grad_input]) == bits(&[one[1][..x.len() / 5].to_vec()]));
        }
    }
}

fn bits(values: &[Vec<f32>]) -> Vec<u32> {
    values.iter().flatten().map(|v| v.to_bits()).collect()
}

#[test]
fn nan_is_never_hidden() {
    let dims = Dims::new(1, 1, 1, 1);
    for level in Kernels::available() {
        FORCED.set(Some(level));
        for activation in [Activation::None, Activation::Relu, Activation::Tanh] {
            let layer = Conv2d::new(&[1.0], 1, 1, None, Geometry::new(1, 1, 0), activation, Precision::F32).unwrap();
            let mut out = [0.0];
            let x = Batch::new(&[f32::NAN], dims).unwrap();
            layer.forward(x, BatchMut::new(&mut out, dims).unwrap()).unwrap();
            assert!(out[0].is_nan(), "{activation:?} at {}", level.name);
        }
        FORCED.set(None);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (dims, geometry) = (Dims::new(1, 4, 4, 2), Geometry::new(3, 1, 1));
    let out_dims = Dims::new(1, 4, 4, 3);
    let (x, weight) = (vec![0.0; 32], vec![0.0; 3 * 2 * 9]);
    let run = |weight: &[f32], geometry| {
        let mut out = vec![0.0; 48];
        let out = BatchMut::new(&mut out, out_dims).unwrap();
        conv2d(Batch::new(&x, dims).unwrap(), weight, None, geometry, out)
    };
    assert_eq!(run(&weight, geometry), Ok(()));
    let length = |what, expected, found| Err(ConvError::Length { what, expected, found });
    assert_eq!(run(&weight[1..], geometry), length("weight", 54, 53));
    assert_eq!(
        run(&vec![0.0; 3 * 2 * 49], Geometry::new(7, 1, 1)),
        Err(ConvError::NoOutput {
            size: 4,
            kernel: 7,
            stride: 1,
            padding: 1
        })
    );
    assert_eq!(
        run(&weight, Geometry::new(3, 1, 0)),
        Err(ConvError::Shape {
            what: "output",
            expected: Dims::new(1, 2, 2, 3),
            found: out_dims
        })
    );
    assert_eq!(
        run(&weight, Geometry::new(3, 0, 1)),
        Err(ConvError::Zero { what: "stride" })
    );
    let stride = usize::MAX;
    assert_eq!(
        run(&weight, Geometry::new(3, stride, 1)),
        Err(ConvError::Stride { stride, limit: 1024 })
    );
    // A layer is packed before it sees an image, whose size would refuse such padding.
    for padding in [isize::MAX as usize / 4 + 1, isize::MAX as usize + 1, usize::MAX] {
        let (geometry, refused) = (Geometry::new(3, 2, padding), ConvError::TooLarge { what: "padding" });
        let (end, precision) = (crate::Activation::None, crate::Precision::F32);
        assert_eq!(
            crate::Conv2d::new(&weight, 2, 3, None, geometry, end, precision).err(),
            Some(refused.clone())
        );
        assert_eq!(
            crate::ConvTranspose2d::new(&weight, 2, 3, None, geometry, end, precision).err(),
            Some(refused.clone())
        );
        assert_eq!(run(&weight, geometry), Err(refused));
    }
    assert_eq!(
        run(&[], Geometry::new(0, 1, 1)),
        Err(ConvError::Zero { what: "kernel" })
    );

    let batch = |dims| Batch::new(&x, dims).map(|batch| batch.dims());
    assert_eq!(batch(Dims::new(2, 4, 4, 2)).map(|_| ()), length("batch", 64, 32));
    assert_eq!(
        batch(Dims::new(1, 1 << 40, 1 << 40, 2)),
        Err(ConvError::TooLarge { what: "image batch" })
    );
    assert_eq!(
        Dims::new(1, usize::MAX, 4, 2).conv2d(3, geometry),
        Err(ConvError::TooLarge { what: "padded image" })
    );
    assert_eq!(
        dims.conv_transpose2d(3, Geometry::new(3, 1, 3)),
        Err(ConvError::NoOutput {
            size: 4,
            kernel: 3,
            stride: 1,
            padding: 3
        })
    );
    let channels = |range| Batch::new(&x, dims).unwrap().channels(range).map(|batch| batch.dims());
    assert_eq!(channels(1..2), Ok(Dims::new(1, 4, 4, 1)));
    assert_eq!(
        channels(1..3),
        Err(ConvError::Mismatch {
            what: "end of the range of channels",
            expected: 2,
            found: 3
        })
    );
    #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
    let reversed = channels(2..1);
    assert_eq!(
        reversed,
        Err(ConvError::Zero {
            what: "number of channels"
        })
    );

    let (x, dx) = (vec![0.0; 32], vec![0.0; 48]);
    let (x, dy) = (Batch::new(&x, dims).unwrap(), Batch::new(&dx, out_dims).unwrap());
    assert_eq!(
        conv2d_grad_weight(x, dy, geometry, &mut [0.0; 53]),
        length("weight gradient", 54, 53)
    );
    assert_eq!(grad_bias(dy, &mut [0.0; 2]), length("bias gradient", 3, 2));
    let layer = Conv2d::new(&weight, 2, 3, None, geometry, Activation::None, Precision::F32).unwrap();
    let mut out = vec![0.0; 48];
    assert_eq!(
        layer.forward(dy, BatchMut::new(&mut out, out_dims).unwrap()),
        Err(ConvError::Mismatch {
            what: "number of input channels",
            expected: 2,
            found: 3
        })
    );
}
