//! Sums of bf16 products, and what follows them.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // Only AMX runs these, and tests.

use super::{Activation, store, tanh};
use crate::simd::{LANES, Lanes};

/// Input channels in a vector of 64 bytes.
pub(crate) const PAIRED: usize = 2 * LANES;

/// Cells that one tile register holds.
pub(crate) const SEGMENT: usize = 16;

/// Up to [`SEGMENT`] neighbouring cells of a row.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    /// The first cell in scratch, at step offset 0.
    pub(crate) source: *const f32,
    /// First output value of the first cell.
    pub(crate) out: *mut f32,
    pub(crate) cells: usize,
}

/// Segments by one or two blocks of output channels. Scratch and weights hold two bf16 in each value, the first in the lower
/// half.
pub(crate) struct Bf16Panel<'a> {
    pub(crate) segments: &'a [Segment],
    /// Where each step of [`PAIRED`] input channels reads, in bytes from the cell.
    pub(crate) steps: &'a [usize],
    /// Packed weights of the first block: step, pair of input channels, output channel, channel of the pair.
    pub(crate) weights: *const f32,
    /// From one block's weights to the next.
    pub(crate) weights_block: usize,
    /// Bias, a full vector per block.
    pub(crate) bias: *const f32,
    /// From one cell's output to the next.
    pub(crate) out_cell: usize,
    /// Output channels to write, over all blocks.
    pub(crate) out_channels: usize,
    pub(crate) activation: Activation,
}

impl Bf16Panel<'_> {
    pub(crate) fn blocks(&self) -> usize {
        self.out_channels.div_ceil(LANES)
    }
}

/// out\[cell]\[co] = activation(bias\[co] + Σ source\[cell + step]\[ci] · weights\[step]\[ci]\[co]), sums in f32.
///
/// # Safety
/// The instruction set is available. For every segment, `source` is valid for reading a vector of 64 bytes at every step of
/// [`SEGMENT`] cells and aligned to 64 bytes, and `out` for writing `out_channels` values, 1 to 32, of its cells, which no
/// other thread touches. `weights` is valid for every step of [`Bf16Panel::blocks`] blocks, and `bias` for 16 values in each.
pub(crate) type Bf16Kernel = unsafe fn(&Bf16Panel);

/// Writes a segment's channels of one block from their sums, `[SEGMENT][16]`.
///
/// # Safety
/// `L`'s instruction set is available, `sums` is valid for reading, `block` is one of the panel's, and the rest is as
/// [`Bf16Kernel`] asks.
#[inline(always)]
pub(crate) unsafe fn finish<L: Lanes>(panel: &Bf16Panel, segment: &Segment, block: usize, sums: *const f32) {
    let channels = panel.out_channels - block * LANES;
    // SAFETY: cells and channels as the contract promises.
    unsafe {
        let bias = L::load(panel.bias.add(block * LANES));
        for cell in 0..segment.cells {
            let sum = L::load(sums.add(cell * LANES)).add(bias);
            let value = match panel.activation {
                Activation::None => sum,
                Activation::Relu => sum.at_least(L::splat(0.0)),
                Activation::Tanh => tanh(sum),
            };
            store(value, segment.out.add(cell * panel.out_cell + block * LANES), channels);
        }
    }
}

/// The nearest bf16, ties to even; a NaN stays one.
pub(crate) fn rounded(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16) as u16
}

/// Two bf16 in one value.
pub(crate) fn pair(first: f32, second: f32) -> f32 {
    f32::from_bits(u32::from(rounded(first)) | u32::from(rounded(second)) << 16)
}

#[cfg(test)]
mod tests {
    /// torch.tensor(…).bfloat16().view(torch.int16)
    #[test]
    fn values_are_rounded_as_pytorch_rounds_them() {
        for (value, bits) in [
            (1.0, 0x3F80),
            (1.0 + 1.0 / 256.0, 0x3F80), // between two
            (1.0 + 3.0 / 256.0, 0x3F82), // between two
            (1.004, 0x3F81),
            (-0.1, 0xBDCD_u16),
            (3.402_823_5e38, 0x7F80),
            (f32::NEG_INFINITY, 0xFF80),
        ] {
            assert_eq!(super::rounded(value), bits, "{value}");
        }
        // A NaN whose bits lie in the lower half alone.
        let nan = super::rounded(f32::from_bits(0x7F80_0001));
        assert!(f32::from_bits(u32::from(nan) << 16).is_nan());
    }
}

/// The loops as they read, for machines without tiles: what tests hold the packing to.
#[cfg(test)]
pub(crate) mod portable {
    use super::*;
    use crate::kernel::DealRow;
    use crate::simd::Portable;

    pub(crate) unsafe fn panel(panel: &Bf16Panel) {
        let halves = |pair: f32| [pair.to_bits() << 16, pair.to_bits() & 0xFFFF_0000].map(f32::from_bits);
        for segment in panel.segments {
            for block in 0..panel.blocks() {
                let mut sums = [[0.0; LANES]; SEGMENT];
                // Cells beyond the segment's, which a tile has too, are read as well: the memory must be there.
                for (cell, sums) in sums.iter_mut().enumerate() {
                    for (index, step) in panel.steps.iter().enumerate() {
                        // SAFETY: as `Bf16Kernel` asks.
                        let (source, weights) = unsafe {
                            (
                                segment.source.byte_add(*step).add(cell * LANES),
                                panel.weights.add(block * panel.weights_block + index * LANES * LANES),
                            )
                        };
                        for pair in 0..LANES {
                            for (channel, sum) in sums.iter_mut().enumerate() {
                                // SAFETY: as above.
                                let (x, w) =
                                    unsafe { (source.add(pair).read(), weights.add(pair * LANES + channel).read()) };
                                let ([x0, x1], [w0, w1]) = (halves(x), halves(w));
                                *sum += x0 * w0 + x1 * w1;
                            }
                        }
                    }
                }
                // SAFETY: as `Bf16Kernel` asks; portable code needs no instruction set.
                unsafe { finish::<Portable>(panel, segment, block, sums.as_ptr().cast()) };
            }
        }
    }

    pub(crate) unsafe fn deal(row: &DealRow) {
        for pixel in 0..row.pixels {
            for channel in (0..row.channels.next_multiple_of(PAIRED)).step_by(2) {
                let at = |channel: usize| match channel < row.channels {
                    // SAFETY: pixels and channels as `deal_row` asks.
                    true => unsafe { row.source.add(pixel * row.pixel + channel).read() },
                    false => 0.0,
                };
                let (block, place) = (channel / PAIRED, channel % PAIRED / 2);
                let value = pair(at(channel), at(channel + 1));
                // SAFETY: pixels and blocks as `deal_row` asks.
                unsafe { row.to.add(block * row.block + pixel * LANES + place).write(value) };
            }
        }
    }
}
