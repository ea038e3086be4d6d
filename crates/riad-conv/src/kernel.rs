//! The two inner loops, written once over [`Lanes`]; `simd` compiles them for every instruction set.
//!
//! Both read images from the scratch layout of [`crate::scratch`]: channels in blocks of sixteen, pixels of a block
//! sixteen values apart, so that neighbouring cells are a compile-time constant apart whatever the stride.
#![allow(unsafe_code)] // Raw pointers: bounds checks in these loops cost a third of their speed.

use crate::simd::{LANES, Lanes};

// Accumulators in arrays stay in registers only where the optimiser sees no loop over them, not even that of `[x; N]`.

/// Sixteen copies, as straight code.
macro_rules! sixteen {
    ($value:expr) => {{
        let v = $value;
        [v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v]
    }};
}

/// The body for every index below the count, which the second bound limits, as straight code.
macro_rules! unrolled {
    ($index:ident < $count:ident <= 2, $body:block) => {
        unrolled!(@ $index $count $body 0 1)
    };
    ($index:ident < $count:ident <= 16, $body:block) => {
        unrolled!(@ $index $count $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $index:ident $count:ident $body:block $($i:literal)*) => {
        $(if $i < $count {
            let $index = $i;
            $body
        })*
    };
}

/// What an output value goes through last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// max(0, x); NaN stays NaN.
    Relu,
    /// Hyperbolic tangent, to about 4 units in the last place.
    Tanh,
}

/// A tile of `P` neighbouring cells by `B` blocks of output channels.
pub(crate) struct Correlate<'a> {
    /// Block 0 of the first cell, at tap offset 0.
    pub(crate) source: *const f32,
    /// From one block of input channels to the next.
    pub(crate) source_block: usize,
    /// Input channels.
    pub(crate) channels: usize,
    /// Where each tap reads, relative to the cell.
    pub(crate) taps: &'a [usize],
    /// Packed weights of the first output block: input block, tap, input channel, output lane.
    pub(crate) weights: *const f32,
    /// From one output block's weights to the next.
    pub(crate) weights_block: usize,
    /// Bias, a full vector per output block.
    pub(crate) bias: *const f32,
    /// First output value of the first cell.
    pub(crate) out: *mut f32,
    /// From one cell's output to the next.
    pub(crate) out_cell: usize,
    /// Output channels to write, over all blocks of the tile.
    pub(crate) out_channels: usize,
    pub(crate) activation: Activation,
}

pub(crate) type CorrelateTile = unsafe fn(&Correlate);

/// out\[cell]\[co] = activation(bias\[co] + Σ source\[cell + tap]\[ci] · weights\[tap]\[ci]\[co]).
///
/// # Safety
/// `L`'s instruction set is available. `source` is valid for reading at every tap and channel of `P` cells,
/// `weights` for `B` blocks, `bias` for `16·B` values, and `out` for writing `out_channels` values, more than
/// `16·(B − 1)` and at most `16·B`, of `P` cells, which no other thread touches.
#[inline(always)]
pub(crate) unsafe fn correlate_tile<L: Lanes, const P: usize, const B: usize>(tile: &Correlate) {
    // SAFETY: every pointer below stays inside what the function's contract promises: channels and taps are walked as
    // they were packed, cells `P` and blocks `B` as promised.
    unsafe {
        let zero = L::splat(0.0);
        let mut sums = sixteen!([zero, zero]);
        unrolled!(b < B <= 2, {
            let bias = L::load(tile.bias.add(b * LANES));
            unrolled!(p < P <= 16, { sums[p][b] = bias });
        });
        let mut weights = tile.weights;
        let mut block = tile.source;
        let mut left = tile.channels;
        while left > 0 {
            let channels = left.min(LANES);
            for &tap in tile.taps {
                let cells = block.add(tap);
                for channel in 0..channels {
                    let mut w = [zero, zero];
                    unrolled!(b < B <= 2, { w[b] = L::load(weights.add(b * tile.weights_block)) });
                    unrolled!(p < P <= 16, {
                        let x = L::splat(*cells.add(p * LANES + channel));
                        unrolled!(b < B <= 2, {
                            sums[p][b] = sums[p][b].add_product(x, w[b]);
                        });
                    });
                    weights = weights.add(LANES);
                }
            }
            left -= channels;
            block = block.wrapping_add(tile.source_block); // Wrapping: past the last block it may leave the scratch.
        }
        unrolled!(p < P <= 16, {
            unrolled!(b < B <= 2, {
                let lanes = (tile.out_channels - b * LANES).min(LANES);
                store(
                    activate(sums[p][b], tile.activation),
                    tile.out.add(p * tile.out_cell + b * LANES),
                    lanes,
                );
            });
        });
    }
}

/// # Safety
/// `L`'s instruction set is available, and `out` is valid for writing `lanes` values, at most sixteen.
#[inline(always)]
unsafe fn store<L: Lanes>(value: L, out: *mut f32, lanes: usize) {
    // SAFETY: by this function's own contract.
    unsafe {
        if lanes == LANES {
            value.store(out);
        } else {
            let mut all = [0.0; LANES];
            value.store(all.as_mut_ptr());
            out.copy_from_nonoverlapping(all.as_ptr(), lanes);
        }
    }
}

/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn activate<L: Lanes>(value: L, activation: Activation) -> L {
    // SAFETY: by this function's own contract.
    unsafe {
        match activation {
            Activation::None => value,
            Activation::Relu => value.at_least(L::splat(0.0)),
            Activation::Tanh => tanh(value),
        }
    }
}

/// The rational approximation x·P(x²) / Q(x²) that Eigen and XLA use, beyond whose bound tanh rounds to ±1.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn tanh<L: Lanes>(value: L) -> L {
    const BOUND: f32 = 7.905_311;
    const P: [f32; 7] = [
        -2.760_768_5e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297_1e-8,
        1.485_722_4e-5,
        6.372_619_3e-4,
        4.893_525e-3,
    ];
    const Q: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    // SAFETY: by this function's own contract.
    unsafe {
        let x = value.at_most(L::splat(BOUND)).at_least(L::splat(-BOUND));
        let square = x.mul(x);
        let horner = |coefficients: &[f32]| {
            coefficients[1..].iter().fold(L::splat(coefficients[0]), |sum, &c| {
                L::splat(c).add_product(sum, square)
            })
        };
        x.mul(horner(&P)).div(horner(&Q))
    }
}

/// One block of input channels by one block of output channels, at one tap.
pub(crate) struct GradWeight {
    /// The input at the first cell, shifted by the tap.
    pub(crate) input: *const f32,
    /// From one row of cells to the next in the input.
    pub(crate) input_row: usize,
    /// The output's gradient at the first cell.
    pub(crate) grad: *const f32,
    /// From one row of cells to the next in the gradient.
    pub(crate) grad_row: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Input channels in the block, at most sixteen.
    pub(crate) channels: usize,
    /// Sums, input channel by output lane, added to.
    pub(crate) sums: *mut f32,
}

pub(crate) type GradWeightTile = unsafe fn(&GradWeight);

/// sums\[ci]\[co] += Σ over cells input\[cell + tap]\[ci] · grad\[cell]\[co], `C` input channels at a time.
///
/// # Safety
/// `L`'s instruction set is available and `C` divides sixteen. `input` and `grad` are valid for reading sixteen
/// channels of `rows` by `columns` cells, and `sums` for reading and writing sixteen channels by sixteen lanes that no
/// other thread touches.
#[inline(always)]
pub(crate) unsafe fn grad_weight_tile<L: Lanes, const C: usize>(tile: &GradWeight) {
    // SAFETY: rows, columns and channels are walked within what the function's contract promises; a chunk of `C`
    // channels starts below `channels` ≤ 16 and `C` divides 16, so it ends within the sixteen.
    unsafe {
        for first in (0..tile.channels).step_by(C) {
            let sums = tile.sums.add(first * LANES);
            let mut acc = sixteen!(L::splat(0.0));
            unrolled!(c < C <= 16, { acc[c] = L::load(sums.add(c * LANES)) });
            for row in 0..tile.rows {
                let input = tile.input.add(row * tile.input_row + first);
                let grad = tile.grad.add(row * tile.grad_row);
                for column in 0..tile.columns {
                    let g = L::load(grad.add(column * LANES));
                    unrolled!(c < C <= 16, {
                        acc[c] = acc[c].add_product(L::splat(*input.add(column * LANES + c)), g);
                    });
                }
            }
            unrolled!(c < C <= 16, { acc[c].store(sums.add(c * LANES)) });
        }
    }
}
