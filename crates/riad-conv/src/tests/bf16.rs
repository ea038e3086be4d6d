//! Layers in bf16, with the kernels of the machine and with portable ones.

use super::{Case, Sum, assert_layer, bits, noise};
use crate::bf16::pays;
use crate::simd::{Bf16Kernels, FORCED, FORCED_BF16, Kernels};
use crate::*;

/// In bf16 a layer is its definition over rounded values.
pub(super) fn check(case: Case, x: &[f32], weight: &[f32], bias: &[f32]) {
    if !pays(case.dims.channels) {
        return;
    }
    let [rounded_x, rounded_weight] =
        [x, weight].map(|values| values.iter().map(|&value| nearest_bf16(value)).collect::<Vec<_>>());
    let mut out = vec![Sum::default(); case.out_dims().unwrap().values().unwrap()];
    for (out, &bias) in out.iter_mut().zip(bias.iter().cycle()) {
        out.add(f64::from(bias));
    }
    case.products(|xi, wi, oi| out[oi].add(f64::from(rounded_x[xi]) * f64::from(rounded_weight[wi])));
    for kernels in Bf16Kernels::available() {
        FORCED_BF16.set(Some(kernels));
        assert_layer(case, x, weight, bias, Precision::Bf16, &out);
        FORCED_BF16.set(None);
    }
}

/// The bf16 nearest to a value that none is infinitely far from, by the spacing of 8 significant bits.
fn nearest_bf16(value: f32) -> f32 {
    if value == 0.0 {
        return value;
    }
    let spacing = 2.0_f64.powi(f64::from(value).abs().log2().floor() as i32 - 7);
    ((f64::from(value) / spacing).round_ties_even() * spacing) as f32
}

/// Channels that fill no block on either side, and phases without a tap.
#[test]
fn small_layers_are_their_definition() {
    for (transposed, channels, out_channels, geometry) in [
        (false, 17, 18, Geometry::new(3, 1, 1)),
        (false, 33, 1, Geometry::new(4, 2, 1)),
        (true, 16, 34, Geometry::new(4, 2, 1)),
        (true, 16, 2, Geometry::new(1, 3, 0)), // Phases without a tap.
    ] {
        let case = Case {
            transposed,
            dims: Dims::new(1, 2, 3, channels),
            out_channels,
            geometry,
        };
        let x = noise(case.dims.values().unwrap(), 1);
        check(case, &x, &noise(case.weights(), 2), &noise(out_channels, 3));
    }
}

/// Bits must not depend on the number of threads, nor an image's on its neighbours in the batch.
#[test]
fn threads_and_neighbours_change_no_bit() {
    for kernels in Bf16Kernels::available() {
        for (channels, side) in [(16, 40), (96, 9)] {
            let dims = Dims::new(5, side, side, channels);
            let geometry = Geometry::new(3, 1, 1);
            let x = noise(dims.values().unwrap(), 8);
            let weight = noise(channels * 48 * 9, 9);
            let run = |threads: usize, dims: Dims| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let out_dims = dims.conv2d(48, geometry).unwrap();
                let mut out = vec![f32::NAN; out_dims.values().unwrap()];
                pool.install(|| {
                    FORCED_BF16.set(Some(kernels)); // On the pool's thread, which is where the layer is made.
                    let layer = Conv2d::new(&weight, channels, 48, None, geometry, Activation::None, Precision::Bf16);
                    let x = Batch::new(&x[..dims.values().unwrap()], dims).unwrap();
                    layer
                        .unwrap()
                        .forward(x, BatchMut::new(&mut out, out_dims).unwrap())
                        .unwrap();
                });
                out
            };
            let one = run(1, dims);
            assert!(one.iter().all(|value| value.is_finite()));
            for threads in [2, 5] {
                assert!(
                    bits(&[run(threads, dims)]) == bits(std::slice::from_ref(&one)),
                    "{threads} threads"
                );
            }
            let alone = run(2, Dims { images: 1, ..dims });
            assert!(bits(&[alone]) == bits(&[one[..one.len() / 5].to_vec()]));
        }
    }
}

#[test]
fn nan_is_never_hidden() {
    let dims = Dims::new(1, 1, 1, 16);
    for kernels in Bf16Kernels::available() {
        FORCED_BF16.set(Some(kernels));
        for activation in [Activation::None, Activation::Relu, Activation::Tanh] {
            let geometry = Geometry::new(1, 1, 0);
            let layer = Conv2d::new(&[1.0; 256], 16, 16, None, geometry, activation, Precision::Bf16).unwrap();
            let mut out = [0.0; 16];
            let mut x = [1.0; 16];
            x[3] = f32::NAN;
            let x = Batch::new(&x, dims).unwrap();
            layer.forward(x, BatchMut::new(&mut out, dims).unwrap()).unwrap();
            assert!(out.iter().all(|v| v.is_nan()), "{activation:?} at {}", kernels.name);
        }
        FORCED_BF16.set(None);
    }
}

/// Who asks for another instruction set than the machine's best gets no better one behind his back.
#[test]
fn it_is_refused_where_less_than_all_is_asked_for() {
    let levels = Kernels::available();
    FORCED.set(levels.last().copied());
    assert_eq!(Precision::Bf16.check().is_ok(), levels.len() == 1);
    FORCED.set(None);
    assert_eq!(Precision::F32.check(), Ok(()));
}
