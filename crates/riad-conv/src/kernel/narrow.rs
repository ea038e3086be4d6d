//! The second half of layers with few output channels, see [`crate::narrow`].

use super::{Activation, store, tanh};
use crate::simd::{LANES, Lanes};

/// A row of cells whose products by column lie side by side in their vectors.
pub(crate) struct NarrowRow {
    /// A vector per cell, and one for each column of the kernel but the first: `[column][output channel]`.
    pub(crate) products: *const f32,
    /// Columns of the kernel.
    pub(crate) columns: usize,
    /// A vector.
    pub(crate) bias: *const f32,
    pub(crate) activation: Activation,
    /// First output value of the first cell.
    pub(crate) out: *mut f32,
    /// From one cell's output to the next.
    pub(crate) out_cell: usize,
    pub(crate) cells: usize,
    pub(crate) channels: usize,
}

pub(crate) type NarrowKernel = unsafe fn(&NarrowRow);

/// out\[cell]\[co] = activation(bias\[co] + Σ over columns of products\[cell + column]\[column]\[co]).
///
/// # Safety
/// `L`'s instruction set is available. `products` is valid for reading `cells + columns` vectors, `bias` for one, and
/// `out` for writing `channels` values of each cell that no other thread touches; `columns·channels` is at most sixteen.
#[inline(always)]
pub(crate) unsafe fn narrow_row<L: Lanes>(row: &NarrowRow) {
    // SAFETY: a load starts in one of `cells + columns − 1` vectors and ends in the next; the rest is as promised.
    unsafe {
        let bias = L::load(row.bias);
        let floor = L::splat(if row.activation == Activation::Relu {
            0.0
        } else {
            f32::NEG_INFINITY
        });
        for cell in 0..row.cells {
            let mut sum = bias;
            for column in 0..row.columns {
                sum = sum.add(L::load(
                    row.products.add((cell + column) * LANES + column * row.channels),
                ));
            }
            let value = if row.activation == Activation::Tanh {
                tanh(sum)
            } else {
                sum.at_least(floor)
            };
            store(value, row.out.add(cell * row.out_cell), row.channels);
        }
    }
}
