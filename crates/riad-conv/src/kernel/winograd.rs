//! The transforms of Winograd's convolution and their adjoints: F(4×4, 3×3) with 6 points (`N` = 6) and F(4×4, 2×2) with 5 (`N` = 5).
//!
//! A tile of 4×4 outputs is Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A of an N×N input tile d and a kernel g of side N − 3. The matrices
//! follow from evaluating polynomials at ±a, ±b, ∞, and 0 where N = 6 (Toom-Cook). The points below were picked by measured
//! error among those whose constants are exact in f32: at 512 channels it is 1.7 times (N = 6) and 1.5 times (N = 5) that
//! of the direct sum, where the usual ±1, ±2 give 3.6 and 5.9.
//!
//! Every kernel here transforms sixteen channels, which have nothing to do with each other, in vectors of `L::COUNT`: one
//! after another, so that a line of a tile fits into the registers.

use super::{Activation, store, tanh};
use crate::simd::{LANES, Lanes};

/// Side of a tile's outputs.
const SIDE: usize = 4;

/// The points a and b.
const fn points(n: usize) -> (f32, f32) {
    if n == 6 { (0.625, 1.5) } else { (0.5, 1.25) }
}

/// A patch of one block of channels, columns sixteen values apart.
pub(crate) struct WinogradInput {
    pub(crate) input: *const f32,
    /// From one row to the next.
    pub(crate) row: usize,
    /// N² transformed vectors, `point` values apart.
    pub(crate) out: *mut f32,
    pub(crate) point: usize,
}

pub(crate) type InputTile = unsafe fn(&WinogradInput);

/// out = Bᵀ·input·B, for each of sixteen channels.
///
/// # Safety
/// `L`'s instruction set is available; `input` is valid for reading sixteen values at N×N pixels, and `out` for writing
/// N² vectors that no other thread touches.
#[inline(always)]
pub(crate) unsafe fn input_tile<L: Lanes, const N: usize>(tile: &WinogradInput) {
    // SAFETY: rows and columns below N, as the contract promises.
    unsafe {
        let zero = L::splat(0.0);
        for lane in (0..LANES).step_by(L::COUNT) {
            let (input, out) = (tile.input.add(lane), tile.out.add(lane));
            let mut half = [[zero; 6]; 6];
            unrolled!(column < N <= 6, {
                let mut d = [zero; 6];
                unrolled!(row < N <= 6, { d[row] = L::load(input.add(row * tile.row + column * LANES)) });
                let v = input_line::<L, N>(d);
                unrolled!(row < N <= 6, { half[row][column] = v[row] });
            });
            unrolled!(row < N <= 6, {
                let v = input_line::<L, N>(half[row]);
                unrolled!(column < N <= 6, { v[column].store(out.add((row * N + column) * tile.point)) });
            });
        }
    }
}

/// Bᵀ·d.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn input_line<L: Lanes, const N: usize>(d: [L; 6]) -> [L; 6] {
    // SAFETY: by this function's own contract.
    unsafe {
        let (a, b) = points(N);
        let (a2, b2) = (a * a, b * b);
        let (product, sum) = (L::splat(a2 * b2), L::splat(-(a2 + b2)));
        // Where N = 6, the point 0 comes first, and the others see the input one further.
        let [d0, d1, d2, d3, d4] = if N == 6 {
            [d[1], d[2], d[3], d[4], d[5]]
        } else {
            [d[0], d[1], d[2], d[3], d[4]]
        };
        let (plus_a, minus_a) = input_pair([d0, d1, d2, d3], a, b);
        let (plus_b, minus_b) = input_pair([d0, d1, d2, d3], b, a);
        let infinity = d4.add_product(d2, sum).add_product(d0, product);
        if N == 6 {
            let origin = d[4].add_product(d[2], sum).add_product(d[0], product);
            [origin, plus_a, minus_a, plus_b, minus_b, infinity]
        } else {
            [plus_a, minus_a, plus_b, minus_b, infinity, infinity]
        }
    }
}

/// The values at `point` and −`point`, where ±`other` are points too.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn input_pair<L: Lanes>([d0, d1, d2, d3]: [L; 4], point: f32, other: f32) -> (L, L) {
    // SAFETY: by this function's own contract.
    unsafe {
        let even = d3.add_product(d1, L::splat(-other * other));
        let odd = d2
            .mul(L::splat(point))
            .add_product(d0, L::splat(-point * other * other));
        (even.add(odd), even.sub(odd))
    }
}

/// A tile's products of one block of output channels.
pub(crate) struct WinogradOutput {
    /// N² vectors, `point` values apart.
    pub(crate) products: *const f32,
    pub(crate) point: usize,
    /// A vector.
    pub(crate) bias: *const f32,
    pub(crate) activation: Activation,
    pub(crate) out: *mut f32,
    /// From one output to the next row's, and to the next column's.
    pub(crate) row: usize,
    pub(crate) column: usize,
    /// Rows, columns and channels to write, at most 4, 4 and 16.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) channels: usize,
}

pub(crate) type OutputTile = unsafe fn(&WinogradOutput);

/// out = activation(bias + Aᵀ·products·A).
///
/// # Safety
/// `L`'s instruction set is available; `products` is valid for reading N² vectors, `bias` for one, and `out` for writing
/// `channels` values at `rows` by `columns` pixels that no other thread touches.
#[inline(always)]
pub(crate) unsafe fn output_tile<L: Lanes, const N: usize>(tile: &WinogradOutput) {
    // SAFETY: rows and columns below N are read, and those that the contract promises written.
    unsafe {
        let zero = L::splat(0.0);
        let floor = L::splat(if tile.activation == Activation::Relu {
            0.0
        } else {
            f32::NEG_INFINITY
        });
        for lane in (0..tile.channels).step_by(L::COUNT) {
            let products = tile.products.add(lane);
            let bias = L::load(tile.bias.add(lane));
            let mut half = [[zero; 6]; SIDE];
            unrolled!(column < N <= 6, {
                let mut m = [zero; 6];
                unrolled!(row < N <= 6, { m[row] = L::load(products.add((row * N + column) * tile.point)) });
                let y = output_line::<L, N>(m);
                unrolled!(row < SIDE <= 4, { half[row][column] = y[row] });
            });
            for (row, half) in half[..tile.rows].iter().enumerate() {
                let y = output_line::<L, N>(*half);
                let out = tile.out.add(row * tile.row + lane);
                for (column, &y) in y[..tile.columns].iter().enumerate() {
                    let y = y.add(bias).at_least(floor);
                    let y = if tile.activation == Activation::Tanh {
                        tanh(y)
                    } else {
                        y
                    };
                    store(y, out.add(column * tile.column), tile.channels - lane);
                }
            }
        }
    }
}

/// Aᵀ·m.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn output_line<L: Lanes, const N: usize>(m: [L; 6]) -> [L; SIDE] {
    // SAFETY: by this function's own contract.
    unsafe {
        let (a, b) = points(N);
        let [plus_a, minus_a, plus_b, minus_b, infinity] = if N == 6 {
            [m[1], m[2], m[3], m[4], m[5]]
        } else {
            [m[0], m[1], m[2], m[3], m[4]]
        };
        let (even_a, odd_a) = (plus_a.add(minus_a), plus_a.sub(minus_a));
        let (even_b, odd_b) = (plus_b.add(minus_b), plus_b.sub(minus_b));
        let sum = even_a.add(even_b);
        [
            if N == 6 { m[0].add(sum) } else { sum },
            odd_a.mul(L::splat(a)).add_product(odd_b, L::splat(b)),
            even_a.mul(L::splat(a * a)).add_product(even_b, L::splat(b * b)),
            infinity
                .add_product(odd_a, L::splat(a * a * a))
                .add_product(odd_b, L::splat(b * b * b)),
        ]
    }
}

/// out = A·grad·Aᵀ, the gradient of a tile's products, for each of sixteen channels: the adjoint of [`output_tile`].
///
/// # Safety
/// `L`'s instruction set is available; `input` is valid for reading sixteen values at 4×4 pixels, and `out` for writing
/// N² vectors that no other thread touches.
#[inline(always)]
pub(crate) unsafe fn grad_tile<L: Lanes, const N: usize>(tile: &WinogradInput) {
    // SAFETY: rows and columns below 4 and N, as the contract promises.
    unsafe {
        let zero = L::splat(0.0);
        for lane in (0..LANES).step_by(L::COUNT) {
            let (input, out) = (tile.input.add(lane), tile.out.add(lane));
            let mut half = [[zero; SIDE]; 6];
            unrolled!(column < SIDE <= 4, {
                let mut y = [zero; SIDE];
                unrolled!(row < SIDE <= 4, { y[row] = L::load(input.add(row * tile.row + column * LANES)) });
                let m = grad_line::<L, N>(y);
                unrolled!(row < N <= 6, { half[row][column] = m[row] });
            });
            unrolled!(row < N <= 6, {
                let m = grad_line::<L, N>(half[row]);
                unrolled!(column < N <= 6, { m[column].store(out.add((row * N + column) * tile.point)) });
            });
        }
    }
}

/// A·y.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn grad_line<L: Lanes, const N: usize>(y: [L; SIDE]) -> [L; 6] {
    // SAFETY: by this function's own contract.
    unsafe {
        let (a, b) = points(N);
        let ((plus_a, minus_a), (plus_b, minus_b)) = (grad_pair(y, a), grad_pair(y, b));
        if N == 6 {
            [y[0], plus_a, minus_a, plus_b, minus_b, y[3]]
        } else {
            [plus_a, minus_a, plus_b, minus_b, y[3], y[3]]
        }
    }
}

/// The values at `point` and −`point`.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn grad_pair<L: Lanes>(y: [L; SIDE], point: f32) -> (L, L) {
    // SAFETY: by this function's own contract.
    unsafe {
        let even = y[0].add_product(y[2], L::splat(point * point));
        let odd = y[1]
            .mul(L::splat(point))
            .add_product(y[3], L::splat(point * point * point));
        (even.add(odd), even.sub(odd))
    }
}

/// A kernel between one input channel and one block of output channels.
pub(crate) struct WinogradWeights {
    /// (N − 3)² vectors.
    pub(crate) weights: *const f32,
    /// N² vectors, `point` values apart.
    pub(crate) out: *mut f32,
    pub(crate) point: usize,
}

pub(crate) type WeightTile = unsafe fn(&WinogradWeights);

/// out = G·weights·Gᵀ.
///
/// # Safety
/// `L`'s instruction set is available; `weights` is valid for reading (N − 3)² vectors and `out` for writing N².
#[inline(always)]
pub(crate) unsafe fn weight_tile<L: Lanes, const N: usize>(tile: &WinogradWeights) {
    // SAFETY: rows and columns below N − 3 and N, as the contract promises.
    unsafe {
        let zero = L::splat(0.0);
        let taps = N - 3;
        for lane in (0..LANES).step_by(L::COUNT) {
            let (weights, out) = (tile.weights.add(lane), tile.out.add(lane));
            let mut half = [[zero; 3]; 6];
            for column in 0..taps {
                let mut g = [zero; 3];
                for (row, g) in g[..taps].iter_mut().enumerate() {
                    *g = L::load(weights.add((row * taps + column) * LANES));
                }
                for (half, u) in half.iter_mut().zip(weight_line::<L, N>(g)) {
                    half[column] = u;
                }
            }
            for (row, half) in half[..N].iter().enumerate() {
                let u = weight_line::<L, N>(*half);
                unrolled!(column < N <= 6, { u[column].store(out.add((row * N + column) * tile.point)) });
            }
        }
    }
}

/// G·g.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn weight_line<L: Lanes, const N: usize>(g: [L; 3]) -> [L; 6] {
    // SAFETY: by this function's own contract.
    unsafe {
        let (a, b) = points(N);
        let (a2, b2) = (a * a, b * b);
        let (plus_a, minus_a) = weight_pair::<L, N>(g, a, a2 - b2);
        let (plus_b, minus_b) = weight_pair::<L, N>(g, b, b2 - a2);
        if N == 6 {
            [
                g[0].mul(L::splat(1.0 / (a2 * b2))),
                plus_a,
                minus_a,
                plus_b,
                minus_b,
                g[2],
            ]
        } else {
            [plus_a, minus_a, plus_b, minus_b, g[1], g[1]]
        }
    }
}

/// g(±`point`) / M'(±`point`), for the kernel's polynomial g and the product M of (x − p) over all finite points p; `gap` is
/// the difference of this point's square and the other's.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn weight_pair<L: Lanes, const N: usize>(g: [L; 3], point: f32, gap: f32) -> (L, L) {
    // SAFETY: by this function's own contract.
    unsafe {
        if N == 6 {
            let scale = 1.0 / (2.0 * point * point * gap);
            let even = g[0]
                .mul(L::splat(scale))
                .add_product(g[2], L::splat(scale * point * point));
            let odd = g[1].mul(L::splat(scale * point));
            (even.add(odd), even.sub(odd))
        } else {
            let scale = 1.0 / (2.0 * point * gap);
            let (even, odd) = (g[0].mul(L::splat(scale)), g[1].mul(L::splat(scale * point)));
            (odd.add(even), odd.sub(even))
        }
    }
}

/// The gradient of a kernel's transform, between one input channel and one block of output channels.
pub(crate) struct WinogradWeightGrad {
    /// N² vectors, `point` values apart.
    pub(crate) sums: *const f32,
    pub(crate) point: usize,
    /// (N − 3)² vectors.
    pub(crate) out: *mut f32,
}

pub(crate) type WeightGradTile = unsafe fn(&WinogradWeightGrad);

/// out = Gᵀ·sums·G: the adjoint of [`weight_tile`].
///
/// # Safety
/// `L`'s instruction set is available; `sums` is valid for reading N² vectors and `out` for writing (N − 3)².
#[inline(always)]
pub(crate) unsafe fn weight_grad_tile<L: Lanes, const N: usize>(tile: &WinogradWeightGrad) {
    // SAFETY: rows and columns below N and N − 3, as the contract promises.
    unsafe {
        let zero = L::splat(0.0);
        let taps = N - 3;
        for lane in (0..LANES).step_by(L::COUNT) {
            let (sums, out) = (tile.sums.add(lane), tile.out.add(lane));
            let mut half = [[zero; 6]; 3];
            unrolled!(column < N <= 6, {
                let mut u = [zero; 6];
                unrolled!(row < N <= 6, { u[row] = L::load(sums.add((row * N + column) * tile.point)) });
                let g = weight_grad_line::<L, N>(u);
                for (half, g) in half.iter_mut().zip(g) {
                    half[column] = g;
                }
            });
            for (row, half) in half[..taps].iter().enumerate() {
                let g = weight_grad_line::<L, N>(*half);
                for (column, g) in g[..taps].iter().enumerate() {
                    g.store(out.add((row * taps + column) * LANES));
                }
            }
        }
    }
}

/// Gᵀ·u.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn weight_grad_line<L: Lanes, const N: usize>(u: [L; 6]) -> [L; 3] {
    // SAFETY: by this function's own contract.
    unsafe {
        let (a, b) = points(N);
        let (a2, b2) = (a * a, b * b);
        if N == 6 {
            let (scale_a, scale_b) = (1.0 / (2.0 * a2 * (a2 - b2)), 1.0 / (2.0 * b2 * (b2 - a2)));
            let (even_a, odd_a) = (u[1].add(u[2]), u[1].sub(u[2]));
            let (even_b, odd_b) = (u[3].add(u[4]), u[3].sub(u[4]));
            [
                u[0].mul(L::splat(1.0 / (a2 * b2)))
                    .add_product(even_a, L::splat(scale_a))
                    .add_product(even_b, L::splat(scale_b)),
                odd_a
                    .mul(L::splat(scale_a * a))
                    .add_product(odd_b, L::splat(scale_b * b)),
                u[5].add_product(even_a, L::splat(scale_a * a2))
                    .add_product(even_b, L::splat(scale_b * b2)),
            ]
        } else {
            let (scale_a, scale_b) = (1.0 / (2.0 * a * (a2 - b2)), 1.0 / (2.0 * b * (b2 - a2)));
            let (even_a, odd_a) = (u[0].add(u[1]), u[0].sub(u[1]));
            let (even_b, odd_b) = (u[2].add(u[3]), u[2].sub(u[3]));
            let first = odd_a.mul(L::splat(scale_a)).add_product(odd_b, L::splat(scale_b));
            let second = u[4]
                .add_product(even_a, L::splat(scale_a * a))
                .add_product(even_b, L::splat(scale_b * b));
            [first, second, second]
        }
    }
}
