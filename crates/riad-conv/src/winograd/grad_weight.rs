//! The weight gradient: as the forward pass is linear in the transformed weights, their gradient is a sum over tiles of
//! transformed input by transformed output gradient, and the adjoint of the weights' transform brings it back.
#![allow(unsafe_code)] // Calls the kernels.

use std::ops::Range;

use super::{FEWEST_TILES, Phase, RUN_VALUES, Run, SIDE, cells, phases};
use crate::axis::Axis;
use crate::gradient::{Pair, Sums, TILE};
use crate::kernel::{GradWeight, WinogradWeightGrad};
use crate::scratch::{self, Bands, Layout};
use crate::shape::Geometry;
use crate::simd::{Kernels, LANES};

/// Output blocks of a task, which share its transformed input.
const BLOCKS: usize = 4;

pub(crate) struct WinogradGrad<'a> {
    kernels: &'a Kernels,
    axis: Axis,
    phase: Phase,
    /// Tiles in a row.
    columns: usize,
    /// In rows of tiles.
    bands: Bands,
}

impl<'a> WinogradGrad<'a> {
    pub(crate) fn new(kernels: &'a Kernels, axis: &Axis, pair: Pair) -> Option<Self> {
        let phase = phases(axis, pair.geometry.kernel)?.pop()?;
        let (rows, columns) = (
            pair.grad.dims().height.div_ceil(SIDE),
            pair.grad.dims().width.div_ceil(SIDE),
        );
        let input_row = (columns * SIDE + axis.extent) * axis.step * pair.in_blocks() * LANES;
        let grad_row = columns * SIDE * BLOCKS * LANES;
        let fitting = scratch::rows_in_cache(SIDE * (axis.step * input_row + grad_row), 0);
        let bands = Bands::new(
            pair.input.dims().images,
            rows,
            fitting.max(FEWEST_TILES.div_ceil(columns)),
        );
        Some(Self {
            kernels,
            axis: axis.clone(),
            phase,
            columns,
            bands,
        })
    }
}

impl Sums for WinogradGrad<'_> {
    fn group(&self) -> usize {
        BLOCKS
    }

    fn pieces(&self) -> usize {
        self.bands.count()
    }

    fn sum(&self, pair: Pair, group: usize, pieces: Range<usize>) -> Vec<f32> {
        let taps = pair.geometry.kernel * pair.geometry.kernel;
        let channels = pair.channels(group, BLOCKS);
        let blocks = channels.len().div_ceil(LANES);
        let points = self.phase.points * self.phase.points;
        let in_vectors = self.phase.parts.len() * pair.in_blocks();
        let transforms = self.kernels.winograd(self.phase.points);
        let pointwise = Axis::conv(Geometry::new(1, 1, 0));
        let limit = (RUN_VALUES / (points * (in_vectors + blocks) * LANES)).clamp(FEWEST_TILES, 8 * FEWEST_TILES);
        // [block][point][part][input block][input channel][16], points a vector further apart than that.
        let sums_point = in_vectors * TILE + LANES;
        let mut weights = vec![0.0; blocks * pair.in_blocks() * taps * TILE];
        scratch::with(|[source, grad_source, transformed, grads, sums]| {
            sums.grow(blocks * points * sums_point);
            sums[..blocks * points * sums_point].fill(0.0);
            for band in pieces.map(|piece| self.bands.get(piece)) {
                let layout = Layout::new(&self.axis, cells(band), self.columns * SIDE);
                layout.fill(
                    self.kernels.deal,
                    &self.axis,
                    cells(band),
                    pair.input,
                    0..pair.input.dims().channels,
                    source,
                );
                let grad_layout = Layout::new(&pointwise, cells(band), self.columns * SIDE);
                grad_layout.fill(
                    self.kernels.deal,
                    &pointwise,
                    cells(band),
                    pair.grad,
                    channels.clone(),
                    grad_source,
                );
                let parts: Vec<usize> = self
                    .phase
                    .parts
                    .iter()
                    .map(|part| layout.tap(part.row, part.column))
                    .collect();
                for run in Run::all(band, self.columns, limit) {
                    let transform = (transforms.input, points);
                    let in_point = run.transform(transform, (source, &layout), &parts, pair.in_blocks(), transformed);
                    let transform = (transforms.grad, points);
                    let grad_point = run.transform(transform, (grad_source, &grad_layout), &[0], blocks, grads);
                    for (block, point) in (0..blocks).flat_map(|block| (0..points).map(move |point| (block, point))) {
                        for vector in 0..in_vectors {
                            let call = GradWeight {
                                input: transformed[point * in_point + vector * run.count * LANES..].as_ptr(),
                                input_row: 0,
                                grad: grads[point * grad_point + block * run.count * LANES..].as_ptr(),
                                grad_row: 0,
                                rows: 1,
                                columns: run.count,
                                channels: LANES.min(pair.input.dims().channels - vector % pair.in_blocks() * LANES),
                                sums: sums[(block * points + point) * sums_point + vector * TILE..].as_mut_ptr(),
                            };
                            // SAFETY: `kernels` came from those that this machine has. At this point, both transforms
                            // hold `count` vectors for each block, and `sums` was grown for a tile of each pair of them.
                            unsafe { (self.kernels.grad_weight)(&call) };
                        }
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
                    for (vector, place) in out.iter().zip(&self.phase.parts[part].places) {
                        let at = ((block * pair.in_blocks() + in_block) * taps + place) * TILE + channel * LANES;
                        weights[at..][..LANES].copy_from_slice(vector);
                    }
                }
            }
        });
        weights
    }
}
