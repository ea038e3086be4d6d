//! Winograd's convolution: a quarter to 2/5 of the direct algorithm's products, at the price of transforms.
//!
//! The plan covers every layer whose taps come as 3×3 or 2×2 neighbours once input and output are split into phases:
//! 3×3 stride 1 (one phase), 4×4 stride 2 (four input phases, summed before the output's transform), 4×4 stride 2
//! transposed and the input gradients of all of them (four output phases).
#![allow(unsafe_code)] // Calls the kernels, and writes interleaved parts of one output from many threads.

use rayon::prelude::*;

use crate::axis::Axis;
use crate::buffer::Buffer;
use crate::correlation::{Epilogue, Filter, Output, Target};
use crate::kernel::{Activation, Correlate, WinogradInput, WinogradOutput, WinogradWeights, tile_widths};
use crate::scratch;
use crate::shape::Dims;
use crate::simd::{Kernels, LANES};

/// Side of a tile's outputs.
const SIDE: usize = 4;

/// Transformed weights and where the tiles lie.
pub(crate) struct Winograd {
    /// Points per direction: 6 for 3×3 taps, 5 for 2×2.
    points: usize,
    /// Input positions from one cell to the next.
    step: usize,
    /// Output positions from one cell to the next.
    out_step: usize,
    /// Input channels, a multiple of sixteen where there is more than one part.
    part_channels: usize,
    phases: Vec<Phase>,
    out_blocks: usize,
    /// `[phase][output block][point][part][input channel][16 output channels]`, points a vector further apart than that.
    weights: Buffer,
}

/// One phase of the output.
struct Phase {
    row: usize,
    column: usize,
    /// For each phase of the input, the position of cell (0, 0)'s first tap.
    parts: Vec<(isize, isize)>,
    /// For each of them, the taps' places in the filter.
    places: Vec<Vec<usize>>,
}

/// Neighbouring taps along one axis: the position of cell 0's first tap, and their places in the kernel, in order.
struct Run {
    first: isize,
    kernel: Vec<usize>,
}

impl Winograd {
    /// Whether the transforms cost less than they save.
    pub(crate) fn pays(filter: Filter) -> bool {
        filter.in_channels >= LANES && filter.out_channels >= LANES
    }

    /// The plan for a layer, where it has one, still without weights.
    pub(crate) fn plan(axis: &Axis, filter: Filter) -> Option<Self> {
        let runs: Vec<Vec<Run>> = (0..axis.phases.len()).map(|phase| runs(axis, phase)).collect();
        let taps = runs.first()?.first()?.kernel.len();
        let alike = runs.iter().flatten().all(|run| run.kernel.len() == taps);
        if !alike || !(taps == 2 || taps == 3) {
            return None;
        }
        let parts = runs[0].len() * runs[0].len();
        let in_channels = filter.in_channels;
        let part_channels = if parts == 1 {
            in_channels
        } else {
            in_channels.next_multiple_of(LANES)
        };
        let mut phases = Vec::new();
        for (row, row_runs) in runs.iter().enumerate() {
            for (column, column_runs) in runs.iter().enumerate() {
                let pairs: Vec<(&Run, &Run)> = row_runs
                    .iter()
                    .flat_map(|row| column_runs.iter().map(move |column| (row, column)))
                    .collect();
                let places = pairs.iter().map(|(row, column)| {
                    let row = row.kernel.iter();
                    row.flat_map(|row| column.kernel.iter().map(move |column| row * filter.kernel + column))
                        .collect()
                });
                phases.push(Phase {
                    row,
                    column,
                    places: places.collect(),
                    parts: pairs.iter().map(|(row, column)| (row.first, column.first)).collect(),
                });
            }
        }
        let out_blocks = filter.out_channels.div_ceil(LANES);
        let (points, step, out_step) = (taps + SIDE - 1, axis.step, axis.out_step);
        Some(Self {
            points,
            step,
            out_step,
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
        (self.phases[0].parts.len() * self.part_channels + 1) * LANES
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
            let grid = Grid {
                rows: rows.div_ceil(SIDE),
                columns: columns.div_ceil(SIDE),
            };
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
                scratch::with(|[transformed, products]| {
                    let in_point = self.transform_input(kernels, input, dims, grid, phase, first, tiles, transformed);
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
                                    channels: phase.parts.len() * self.part_channels,
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

    /// Transforms the input of `tiles` tiles into `[point][part][block][tile][16]`; returns the distance of points.
    #[expect(clippy::too_many_arguments, reason = "a part of `run`, cut out to keep it readable")]
    fn transform_input(
        &self,
        kernels: &Kernels,
        input: &[f32],
        dims: Dims,
        grid: Grid,
        phase: &Phase,
        first: usize,
        tiles: usize,
        transformed: &mut Buffer,
    ) -> usize {
        let Dims {
            height,
            width,
            channels,
            ..
        } = dims;
        let blocks = channels.div_ceil(LANES);
        let point = (phase.parts.len() * blocks * tiles + 1) * LANES;
        transformed.grow(self.points * self.points * point);
        let mut border = [0.0; 36 * LANES];
        for tile in 0..tiles {
            let (image, row, column) = grid.tile(first + tile);
            for (part, &(y, x)) in phase.parts.iter().enumerate() {
                let (y, x) = (y + (row * self.step) as isize, x + (column * self.step) as isize);
                let last = ((self.points - 1) * self.step) as isize;
                let inside = y >= 0 && x >= 0 && y + last < height as isize && x + last < width as isize;
                for block in 0..blocks {
                    let lanes = LANES.min(channels - block * LANES);
                    let (source, row_step, column_step) = if inside && lanes == LANES {
                        let at = ((image * height + y as usize) * width + x as usize) * channels + block * LANES;
                        (&input[at..], self.step * width * channels, self.step * channels)
                    } else {
                        for (at, vector) in border.as_chunks_mut::<LANES>().0[..self.points * self.points]
                            .iter_mut()
                            .enumerate()
                        {
                            let y = y
                                .checked_add_unsigned(at / self.points * self.step)
                                .and_then(|y| usize::try_from(y).ok());
                            let x = x
                                .checked_add_unsigned(at % self.points * self.step)
                                .and_then(|x| usize::try_from(x).ok());
                            *vector = [0.0; LANES];
                            if let (Some(y), Some(x)) = (y, x)
                                && y < height
                                && x < width
                            {
                                let from = ((image * height + y) * width + x) * channels + block * LANES;
                                vector[..lanes].copy_from_slice(&input[from..][..lanes]);
                            }
                        }
                        (&border[..], self.points * LANES, LANES)
                    };
                    let call = WinogradInput {
                        input: source.as_ptr(),
                        row: row_step,
                        column: column_step,
                        out: transformed[((part * blocks + block) * tiles + tile) * LANES..].as_mut_ptr(),
                        point,
                    };
                    // SAFETY: `kernels` came from those that this machine has. Either the whole tile lies inside the
                    // image, or `border` holds it; `transformed` was grown for every point of this tile and block.
                    unsafe { (kernels.winograd(self.points).input)(&call) };
                }
            }
        }
        point
    }

    /// As many tiles as keep transformed input and products in the second-level cache, but enough to reuse weights.
    fn tiles_per_task(&self, tiles: usize) -> usize {
        let per_tile = self.points * self.points * (self.phases[0].parts.len() * self.part_channels + 2 * LANES);
        let fitting = (TASK_VALUES / per_tile).clamp(28, 224);
        let even = if rayon::current_num_threads() == 1 {
            tiles
        } else {
            tiles.div_ceil(4 * rayon::current_num_threads())
        };
        fitting.min(even.max(28)).min(tiles.max(1))
    }
}

/// Values of scratch that a task aims at.
const TASK_VALUES: usize = 192 * 1024;

/// Tiles of each image.
#[derive(Clone, Copy)]
struct Grid {
    rows: usize,
    columns: usize,
}

impl Grid {
    /// Image, and first cell's row and column, of a tile of the batch.
    fn tile(self, index: usize) -> (usize, usize, usize) {
        let (image, within) = (index / (self.rows * self.columns), index % (self.rows * self.columns));
        (image, within / self.columns * SIDE, within % self.columns * SIDE)
    }
}

/// The runs of one output phase, one for each remainder of the input step.
fn runs(axis: &Axis, phase: usize) -> Vec<Run> {
    let of_remainder = |remainder: usize| {
        let mut taps: Vec<_> = axis.phases[phase]
            .iter()
            .filter(|tap| tap.offset % axis.step == remainder)
            .collect();
        taps.sort_by_key(|tap| tap.offset);
        let first = axis.origin + taps.first().map_or(0, |tap| tap.offset) as isize;
        Run {
            first,
            kernel: taps.iter().map(|tap| tap.kernel).collect(),
        }
    };
    (0..axis.step).map(of_remainder).collect()
}
