//! Copies pixels into the scratch layout, see [`crate::scratch`].

use crate::simd::{LANES, Lanes};

/// Pixels of one row of an image, and the row of vectors that they go to.
pub(crate) struct DealRow {
    pub(crate) source: *const f32,
    /// From one pixel to the next.
    pub(crate) pixel: usize,
    pub(crate) pixels: usize,
    /// Channels of each pixel; the last vector is filled up with zeros.
    pub(crate) channels: usize,
    pub(crate) to: *mut f32,
    /// From one block to the next.
    pub(crate) block: usize,
}

pub(crate) type DealKernel = unsafe fn(&DealRow);

/// A kernel that copies pixels, and the channels that it puts into a vector of 64 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Deal {
    pub(crate) row: DealKernel,
    pub(crate) channels: usize,
}

/// to\[block]\[pixel] = source\[pixel]\[block], in vectors of sixteen.
///
/// # Safety
/// `L`'s instruction set is available. `source` is valid for reading `channels` values of every pixel, and `to` for writing
/// `pixels` vectors in every block; no other thread touches them.
#[inline(always)]
pub(crate) unsafe fn deal_row<L: Lanes>(row: &DealRow) {
    let (blocks, rest) = (row.channels / LANES, row.channels % LANES);
    for pixel in 0..row.pixels {
        // SAFETY: pixels, channels and blocks as the contract promises.
        unsafe {
            let source = row.source.add(pixel * row.pixel);
            for block in 0..blocks {
                L::load(source.add(block * LANES)).store(row.to.add(block * row.block + pixel * LANES));
            }
            if rest > 0 {
                let mut vector = [0.0; LANES];
                source
                    .add(blocks * LANES)
                    .copy_to_nonoverlapping(vector.as_mut_ptr(), rest);
                L::load(vector.as_ptr()).store(row.to.add(blocks * row.block + pixel * LANES));
            }
        }
    }
}
