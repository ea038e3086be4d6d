//! The forward pass and the input gradient.
#![allow(unsafe_code)] // Calls the kernels, and writes interleaved parts of one output from many threads.

use rayon::prelude::*;

use super::{Grid, Phase, SIDE, TASK_VALUES, Tiles, phases};
use crate::axis::Axis;
use crate::buffer::Buffer;
use crate::correlation::{Epilogue, Filter, Output, Target};
use crate::kernel::{Activation, Correlate, WinogradOutput, WinogradWeights, tile_widths};
use crate::scratch;
use crate::shape::Dims;
use crate::simd::{Kernels, LANES};

/// A layer with transformed weights.
pub(crate) struct Winograd {
    /// Points per direction.
    points: usize,
    /// Output positions from one cell to the next.
    out_step: usize,
    /// Input channels of a part, a multiple of sixteen where there is more than one.
    part_channels: usize,
    phases: Vec<Phase>,
    out_blocks: usize,
    /// `[phase][output block][point][part][input channel][16 output channels]`, points a vector further apart than that.
    weights: Buffer,
}

impl Winograd {
    /// The plan for a layer, where it has one, still without weights.
    pub(crate) fn plan(axis: &Axis, filter: Filter) -> Option<Self> {
        let phases = phases(axis, filter.kernel)?;
        let (points, parts) = (phases.first()?.points, phases.first()?.reads.parts.len());
        let in_channels = filter.in_channels;
        let part_channels = if parts == 1 {
            in_channels
        } else {
            in_channels.next_multiple_of(LANES)
        };
        let out_blocks = filter.out_channels.div_ceil(LANES);
        Some(Self {
            points,
            out_step: axis.out_step,
            part_channels,
            phases,
            out_blocks,
            weights: Buffer::new(),
        })
    }

    /// The plan with transformed weights, kept in `memory`.
    pub(crate) fn packed(mut self, kernels: &Kernels, filter: Filter, mut memory: Buffer) -> Self {
        memory.grow(self.phases.len() * self.out_blocks * self.block_weights());
        let target = Target::new(&mut memory);
        let in_blocks = filter.in_channels.div_ceil(LANES);
        let transform = kernels.winograd(self.points).weights;
        (0..self.out_blocks * in_blocks).into_par_iter().for_each(|task| {
            let (block, first) = (task / in_blocks, task % in_blocks * LANES);
            let channels = LANES.min(filter.in_channels - first);
            // Of parts rounded up to whole blocks, the channels beyond the last weigh nothing.
            let padded = LANES.min(self.part_channels - first);
            let mut vectors = vec![[0.0; LANES]; padded * filter.taps()];
            filter.gather(block, first, &mut vectors[..channels * filter.taps()]);
            for (index, phase) in self.phases.iter().enumerate() {
                for (part, places) in phase.places.iter().enumerate() {
                    for (channel, vectors) in vectors.chunks_exact(filter.taps()).enumerate() {
                        let mut taps = [[0.0; LANES]; 9];
                        for (tap, &place) in taps.iter_mut().zip(places) {
                            *tap = vectors[place];
                        }
                        let at = (index * self.out_blocks + block) * self.block_weights()
                            + (part * self.part_channels + first + channel) * LANES;
                        let call = WinogradWeights {
                            weights: taps.as_ptr().cast(),
                            // SAFETY: the buffer was grown for every phase and block.
                            out: unsafe { target.at(at) },
                            point: self.point_weights(),
                        };
                        // SAFETY: `kernels` came from those that this machine has; `taps` holds all taps, and the buffer
                        // this channel's vector at every point. No other task has this block and channel.
                        unsafe { transform(&call) };
                    }
                }
            }
        });
        self.weights = memory;
        self
    }

    pub(crate) fn into_memory(self) -> Buffer {
        self.weights
    }

    /// Values from one point's weights to the next: one vector more than there are, so that a channel's points do not
    /// fall into one set of the cache.
    fn point_weights(&self) -> usize {
        (self.phases[0].reads.parts.len() * self.part_channels + 1) * LANES
    }

    /// Values of one output block's weights.
    fn block_weights(&self) -> usize {
        self.points * self.points * self.point_weights()
    }

    /// As [`crate::correlation::Correlation::run`], which checks what this relies on.
    pub(crate) fn run(&self, kernels: &Kernels, input: &[f32], dims: Dims, epilogue: &Epilogue, out: Output) {
        let Output {
            height,
            width,
            pixel,
            channel,
            ..
        } = out;
        let target = Target::new(out.values);
        for (index, phase) in self.phases.iter().enumerate() {
            let rows = height.saturating_sub(phase.row).div_ceil(self.out_step);
            let columns = width.saturating_sub(phase.column).div_ceil(self.out_step);
            let grid = Grid::new(rows, columns);
            let tiles = dims.images * grid.rows * grid.columns;
            let batch = self.tiles_per_task(tiles);
            let blocks = self.out_blocks;
            let step = kernels.correlate.len();
            let groups = blocks.div_ceil(step);
            let shares = if rayon::current_num_threads() == 1 {
                1
            } else {
                (4 * rayon::current_num_threads())
                    .div_ceil(tiles.div_ceil(batch).max(1))
                    .clamp(1, groups)
            };
            let share = groups.div_ceil(shares) * step;
            (0..tiles.div_ceil(batch) * shares).into_par_iter().for_each(|task| {
                let first = task / shares * batch;
                let tiles = batch.min(tiles - first);
                let start = task % shares * share;
                let end = blocks.min(start + share);
                scratch::with(|[transformed, products, _]| {
                    let transform = (kernels.winograd(self.points).input, self.points * self.points);
                    let run = Tiles {
                        grid,
                        first,
                        count: tiles,
                    };
                    let in_point = phase
                        .reads
                        .transform(transform, (input, dims), 0..dims.channels, run, transformed);
                    // Odd distances between points, so that a tile's vectors do not fall into one set of the cache.
                    let out_point = (tiles * step + 1) * LANES;
                    products.grow(self.points * self.points * out_point);
                    for block in (start..end).step_by(step) {
                        let count = step.min(end - block);
                        for point in 0..self.points * self.points {
                            let kernel = kernels.correlate[count - 1];
                            let mut tile = 0;
                            for cells in tile_widths(tiles, kernel.len()) {
                                let call = Correlate {
                                    source: transformed[point * in_point + tile * LANES..].as_ptr(),
                                    source_block: tiles * LANES,
                                    channels: phase.reads.parts.len() * self.part_channels,
                                    taps: &[0],
                                    weights: self.weights[(index * blocks + block) * self.block_weights()
                                        + point * self.point_weights()..]
                                        .as_ptr(),
                                    weights_block: self.block_weights(),
                                    bias: [0.0; 2 * LANES].as_ptr(),
                                    out: products[point * out_point + tile * count * LANES..].as_mut_ptr(),
                                    out_cell: count * LANES,
                                    out_channels: count * LANES,
                                    activation: Activation::None,
                                };
                                // SAFETY: `kernels` came from those that this machine has. `transformed` holds, at this
                                // point, `tiles` vectors for every block of input channels, `products` as many for
                                // every block of the group; the weights hold `count` blocks from `block`.
                                unsafe { kernel[cells - 1](&call) };
                                tile += cells;
                            }
                        }
                        for tile in 0..tiles {
                            let (image, row, column) = grid.tile(first + tile);
                            let (rows, columns) = ((rows - row).min(SIDE), (columns - column).min(SIDE));
                            let y = row * self.out_step + phase.row;
                            let x = column * self.out_step + phase.column;
                            for b in 0..count {
                                let at = ((image * height + y) * width + x) * pixel + channel + (block + b) * LANES;
                                let call = WinogradOutput {
                                    products: products[(tile * count + b) * LANES..].as_ptr(),
                                    point: out_point,
                                    bias: epilogue.bias[(block + b) * LANES..].as_ptr(),
                                    activation: epilogue.activation,
                                    // SAFETY: this pixel and channel lie inside the output, whose length the caller
                                    // checked.
                                    out: unsafe { target.at(at) },
                                    row: self.out_step * width * pixel,
                                    column: self.out_step * pixel,
                                    rows,
                                    columns,
                                    channels: (epilogue.out_channels - (block + b) * LANES).min(LANES),
                                };
                                // SAFETY: `products` holds this tile at every point; rows, columns and channels are
                                // cut to the output. No other task has these tiles and blocks.
                                unsafe { (kernels.winograd(self.points).output)(&call) };
                            }
                        }
                    }
                });
            });
        }
    }

    /// As many tiles as keep transformed input and products in the second-level cache, but enough to reuse weights.
    fn tiles_per_task(&self, tiles: usize) -> usize {
        let per_tile = self.points * self.points * (self.phases[0].reads.parts.len() * self.part_channels + 2 * LANES);
        let fitting = (TASK_VALUES / per_tile).clamp(28, 224);
        let even = if rayon::current_num_threads() == 1 {
            tiles
        } else {
            tiles.div_ceil(4 * rayon::current_num_threads())
        };
        fitting.min(even.max(28)).min(tiles.max(1))
    }
}
