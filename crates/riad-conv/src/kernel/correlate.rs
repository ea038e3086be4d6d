//! The kernel behind every forward pass and input gradient.

use super::{Activation, store, tanh};
use crate::simd::{LANES, Lanes};

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
    /// Weights of the first output block that a later tile reads, to be brought near: so many vectors for every block of
    /// input channels and tap. Any address will do.
    pub(crate) next: *const f32,
    pub(crate) next_lines: usize,
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
        let mut next = tile.next;
        while left > 0 {
            let channels = left.min(LANES);
            for &tap in tile.taps {
                for _ in 0..tile.next_lines {
                    unrolled!(b < B <= 2, { L::prefetch(next.wrapping_add(b * tile.weights_block)) });
                    next = next.wrapping_add(LANES);
                }
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
        if tile.activation == Activation::Tanh {
            // A loop and not straight code: tanh is long, and P·B copies of it would push the kernels out of cache.
            let mut values = [[[0.0; LANES]; 2]; 16];
            unrolled!(p < P <= 16, {
                unrolled!(b < B <= 2, { sums[p][b].store(values[p][b].as_mut_ptr()) });
            });
            for (p, values) in values[..P].iter().enumerate() {
                for (b, value) in values[..B].iter().enumerate() {
                    let value = tanh(L::load(value.as_ptr()));
                    store(
                        value,
                        tile.out.add(p * tile.out_cell + b * LANES),
                        tile.out_channels - b * LANES,
                    );
                }
            }
            return;
        }
        let floor = L::splat(if tile.activation == Activation::Relu {
            0.0
        } else {
            f32::NEG_INFINITY
        });
        unrolled!(p < P <= 16, {
            unrolled!(b < B <= 2, {
                let out = tile.out.add(p * tile.out_cell + b * LANES);
                store(sums[p][b].at_least(floor), out, tile.out_channels - b * LANES);
            });
        });
    }
}

/// Splits a row of cells into tiles of at most `widest` and nearly equal width.
pub(crate) fn tile_widths(cells: usize, widest: usize) -> impl Iterator<Item = usize> {
    let tiles = cells.div_ceil(widest);
    (0..tiles).map(move |tile| cells / tiles + usize::from(tile < cells % tiles))
}
