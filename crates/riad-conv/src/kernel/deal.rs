//! Copies pixels into the scratch layout, see [`crate::scratch`].

use crate::simd::{LANES, Lanes};

/// Pixels of one row of an image, and the row of vectors that they go to.
pub(crate) struct DealRow {
    pub(crate) source: *const f32,
    /// From one pixel to the next.
    pub(crate) pixel: usize,
    pub(crate) pixels: usize,
    /// Whole vectors of each pixel.
    pub(crate) blocks: usize,
    pub(crate) to: *mut f32,
    /// From one block to the next.
    pub(crate) block: usize,
}

pub(crate) type DealKernel = unsafe fn(&DealRow);

/// to\[block]\[pixel] = source\[pixel]\[block], in vectors of sixteen.
///
/// # Safety
/// `L`'s instruction set is available. `source` is valid for reading `blocks` vectors of every pixel, and `to` for writing
/// `pixels` vectors in every block; no other thread touches them.
#[inline(always)]
pub(crate) unsafe fn deal_row<L: Lanes>(row: &DealRow) {
    for pixel in 0..row.pixels {
        for block in 0..row.blocks {
            // SAFETY: pixels and blocks as the contract promises.
            unsafe {
                let value = L::load(row.source.add(pixel * row.pixel + block * LANES));
                value.store(row.to.add(block * row.block + pixel * LANES));
            }
        }
    }
}
