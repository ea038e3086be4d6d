//! The kernel behind every weight gradient.

use crate::simd::{LANES, Lanes};

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
