//! The weight gradient: as the forward pass is linear in the transformed weights, their gradient is a sum over tiles of
//! transformed input by transformed output gradient, and the adjoint of the weights' transform brings it back.
#![allow(unsafe_code)] // Calls the kernels.

use std::ops::Range;

use super::{Grid, Phase, Reads, SIDE, TASK_VALUES, Tiles, phases};
use crate::axis::Axis;
use crate::gradient::{Pair, Sums, TILE};
use crate::kernel::{GradWeight, WinogradWeightGrad};
use crate::scratch;
use crate::simd::{Kernels, LANES};

/// Output blocks of a task, which share its transformed input.
const BLOCKS: usize = 4;

pub(crate) struct WinogradGrad<'a> {
    kernels: &'a Kernels,
    phase: Phase,
    grid: Grid,
    /// Tiles of the batch, and of a piece of it.
    tiles: usize,
    piece: usize,
}

impl<'a> WinogradGrad<'a> {
    pub(crate) fn new(kernels: &'a Kernels, axis: &Axis, pair: Pair) -> Option<Self> {
        let phase = phases(axis, pair.geometry.kernel)?.pop()?;
        let grid = Grid::new(pair.grad_dims.height, pair.grad_dims.width);
        let tiles = pair.grad_dims.images * grid.rows * grid.columns;
        let vectors = phase.reads.parts.len() * pair.in_blocks() + BLOCKS;
        let piece = (TASK_VALUES / (phase.points * phase.points * vectors * LANES)).clamp(32, 256);
        Some(Self {
            kernels,
            phase,
            grid,
            tiles,
            piece,
        })
    }
}

impl Sums for WinogradGrad<'_> {
    fn group(&self) -> usize {
        BLOCKS
    }

    fn pieces(&self) -> usize {
        self.tiles.div_ceil(self.piece)
    }

    fn sum(&self, pair: Pair, group: usize, pieces: Range<usize>) -> Vec<f32> {
        let taps = pair.geometry.kernel * pair.geometry.kernel;
        let channels = pair.channels(group, BLOCKS);
        let blocks = channels.len().div_ceil(LANES);
        let points = self.phase.points * self.phase.points;
        let parts = self.phase.reads.parts.len();
        let in_vectors = parts * pair.in_blocks();
        let transforms = self.kernels.winograd(self.phase.points);
        let grad_reads = Reads {
            side: SIDE,
            step: 1,
            parts: vec![(0, 0)],
        };
        // [block][point][part][input block][input channel][16], points a vector further apart than that.
        let sums_point = in_vectors * TILE + LANES;
        let mut weights = vec![0.0; blocks * pair.in_blocks() * taps * TILE];
        scratch::with(|[transformed, grads, sums]| {
            sums.grow(blocks * points * sums_point);
            sums[..blocks * points * sums_point].fill(0.0);
            for piece in pieces {
                let first = piece * self.piece;
                let run = Tiles {
                    grid: self.grid,
                    first,
                    count: self.piece.min(self.tiles - first),
                };
                let input = (pair.input, pair.dims);
                let in_point = self.phase.reads.transform(
                    (transforms.input, points),
                    input,
                    0..pair.dims.channels,
                    run,
                    transformed,
                );
                let grad = (pair.grad, pair.grad_dims);
                let grad_point = grad_reads.transform((transforms.grad, points), grad, channels.clone(), run, grads);
                for (block, point) in (0..blocks).flat_map(|block| (0..points).map(move |point| (block, point))) {
                    for vector in 0..in_vectors {
                        let call = GradWeight {
                            input: transformed[point * in_point + vector * run.count * LANES..].as_ptr(),
                            input_row: 0,
                            grad: grads[point * grad_point + block * run.count * LANES..].as_ptr(),
                            grad_row: 0,
                            rows: 1,
                            columns: run.count,
                            channels: LANES.min(pair.dims.channels - vector % pair.in_blocks() * LANES),
                            sums: sums[(block * points + point) * sums_point + vector * TILE..].as_mut_ptr(),
                        };
                        // SAFETY: `kernels` came from those that this machine has. At this point, both transforms hold
                        // `count` vectors for each block, and `sums` was grown for a tile of each pair of them.
                        unsafe { (self.kernels.grad_weight)(&call) };
                    }
                }
            }
            for (block, vector) in (0..blocks).flat_map(|block| (0..in_vectors).map(move |vector| (block, vector))) {
                let (part, in_block) = (vector / pair.in_blocks(), vector % pair.in_blocks());
                for channel in 0..LANES {
                    let mut out = [[0.0; LANES]; 9];
                    let call = WinogradWeightGrad {
                        sums: sums[block * points * sums_point + vector * TILE + channel * LANES..].as_ptr(),
                        point: sums_point,
                        out: out.as_mut_ptr().cast(),
                    };
                    // SAFETY: `kernels` came from those that this machine has; `sums` holds this vector at every point,
                    // and `out` all taps.
                    unsafe { (transforms.weight_grad)(&call) };
                    for (vector, place) in out.iter().zip(&self.phase.places[part]) {
                        let at = ((block * pair.in_blocks() + in_block) * taps + place) * TILE + channel * LANES;
                        weights[at..][..LANES].copy_from_slice(vector);
                    }
                }
            }
        });
        weights
    }
}
