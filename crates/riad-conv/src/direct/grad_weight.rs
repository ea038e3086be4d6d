//! The weight gradient.
#![allow(unsafe_code)] // Calls the kernels.

use std::ops::Range;

use crate::axis::Axis;
use crate::gradient::{Pair, Sums, TILE};
use crate::kernel::GradWeight;
use crate::scratch::{self, Bands, Layout};
use crate::shape::Geometry;
use crate::simd::{Kernels, LANES};

/// Output blocks of a task: each costs a pass over the input in cache, each task a copy of it.
const BLOCKS: usize = 2;

pub(crate) struct DirectGrad<'a> {
    kernels: &'a Kernels,
    axis: Axis,
    /// See [`Layout`].
    folded: bool,
    bands: Bands,
}

impl<'a> DirectGrad<'a> {
    pub(crate) fn new(kernels: &'a Kernels, axis: Axis, pair: Pair) -> Self {
        let columns = pair.grad.dims().width;
        let input_row = columns * axis.step * pair.in_blocks() * LANES;
        let row = input_row * axis.step + columns * BLOCKS * LANES;
        let fitting = scratch::rows_in_cache(row, input_row * (axis.extent - 1));
        let bands = Bands::new(pair.input.dims().images, pair.grad.dims().height, fitting);
        let folded = scratch::folds(&axis, pair.input.dims().channels);
        Self {
            kernels,
            axis,
            folded,
            bands,
        }
    }
}

impl Sums for DirectGrad<'_> {
    fn group(&self) -> usize {
        BLOCKS
    }

    fn pieces(&self) -> usize {
        self.bands.count()
    }

    fn sum(&self, pair: Pair, group: usize, pieces: Range<usize>) -> Vec<f32> {
        let side = pair.geometry.kernel;
        let taps = if self.folded { side } else { side * side };
        let in_channels = if self.folded {
            side * pair.input.dims().channels
        } else {
            pair.input.dims().channels
        };
        let columns = pair.grad.dims().width;
        let channels = pair.channels(group, BLOCKS);
        let blocks = channels.len().div_ceil(LANES);
        let mut sums = vec![0.0; blocks * pair.in_blocks() * taps * TILE];
        let pointwise = Axis::conv(Geometry::new(1, 1, 0));
        scratch::with(|[source, grads, ..]| {
            for band in pieces.map(|piece| self.bands.get(piece)) {
                let new = if self.folded { Layout::folded } else { Layout::new };
                let layout = new(&self.axis, band, columns);
                layout.fill(
                    self.kernels.deal,
                    &self.axis,
                    band,
                    pair.input,
                    0..pair.input.dims().channels,
                    source,
                );
                let grad_layout = Layout::new(&pointwise, band, columns);
                grad_layout.fill(self.kernels.deal, &pointwise, band, pair.grad, channels.clone(), grads);
                for (index, sums) in sums.chunks_exact_mut(TILE).enumerate() {
                    let (block, rest) = (index / (pair.in_blocks() * taps), index % (pair.in_blocks() * taps));
                    let (in_block, tap) = (rest / taps, rest % taps);
                    for image in 0..band.images {
                        let tap = if self.folded {
                            layout.tap(tap, 0)
                        } else {
                            layout.tap(tap / side, tap % side)
                        };
                        let at = in_block * layout.block() + layout.cells(image, 0) + tap;
                        let grad_at = block * grad_layout.block() + grad_layout.cells(image, 0);
                        let tile = GradWeight {
                            input: source[at..].as_ptr(),
                            input_row: layout.cells(0, 1),
                            grad: grads[grad_at..].as_ptr(),
                            grad_row: grad_layout.cells(0, 1),
                            rows: band.rows,
                            columns,
                            channels: LANES.min(in_channels - in_block * LANES),
                            sums: sums.as_mut_ptr(),
                        };
                        // SAFETY: `kernels` came from those that this machine has. Both layouts hold this band's rows and
                        // columns of cells with their taps, in whole blocks of channels, and `sums` is one block by one
                        // block of them.
                        unsafe { (self.kernels.grad_weight)(&tile) };
                    }
                }
            }
        });
        if self.folded {
            unfold(&sums, side, pair.input.dims().channels)
        } else {
            sums
        }
    }
}

/// Sums of folded pixels, `[output block][row][column, input channel][16]`, as those of plain ones,
/// `[output block][row, column][input channel][16]`.
fn unfold(sums: &[f32], side: usize, channels: usize) -> Vec<f32> {
    let mut plain = vec![0.0; sums.len() * side];
    for (plain, sums) in plain.chunks_exact_mut(side * TILE).zip(sums.chunks_exact(TILE)) {
        for (plain, sums) in plain.chunks_exact_mut(TILE).zip(sums.chunks_exact(channels * LANES)) {
            plain[..channels * LANES].copy_from_slice(sums);
        }
    }
    plain
}
