//! The forward pass and the input gradient.
#![allow(unsafe_code)] // Calls the kernels, and writes interleaved parts of one output from many threads.

use std::ops::Range;

use rayon::prelude::*;

use super::{FEWEST_TILES, Phase, RUN_VALUES, Run, SIDE, cells, phases};
use crate::axis::Axis;
use crate::batch::{Batch, BatchMut, Place};
use crate::buffer::Buffer;
use crate::correlation::{Epilogue, Filter, Target};
use crate::kernel::{Activation, Correlate, WinogradOutput, WinogradWeights, tile_widths};
use crate::scratch::{self, Bands, Layout};
use crate::simd::{Kernels, LANES};

/// What products of one point begin with: the bias is added where points become pixels.
static NO_BIAS: [f32; 2 * LANES] = [0.0; 2 * LANES];

/// A layer with transformed weights.
pub(crate) struct Winograd {
    axis: Axis,
    /// Points per direction.
    points: usize,
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
        let (points, parts) = (phases.first()?.points, phases.first()?.parts.len());
        let in_channels = filter.in_channels;
        let part_channels = if parts == 1 {
            in_channels
        } else {
            in_channels.next_multiple_of(LANES)
        };
        let out_blocks = filter.out_channels.div_ceil(LANES);
        Some(Self {
            axis: axis.clone(),
            points,
            part_channels,
            phases,
            out_blocks,
            weights: Buffer::new(),
        })
    }

    /// The plan with transformed weights, kept in `memory`.
    pub(crate) fn packed(mut self, kernels: &Kernels, filter: Filter, mut memory: Buffer) -> Self {
        memory.grow(self.phases.len() * self.out_blocks * self.block_weights());
        let target = Target::new(memory.as_mut_ptr());
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
                for (part, places) in phase.parts.iter().map(|part| &part.places).enumerate() {
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
    pub(crate) fn run(&self, kernels: &Kernels, input: Batch<'_>, epilogue: &Epilogue, mut out: BatchMut<'_>) {
        let (place, channels) = (out.place(), input.dims().channels);
        let dims = place.dims;
        let columns = self.axis.cells(dims.width).div_ceil(SIDE);
        let rows = self.axis.cells(dims.height).div_ceil(SIDE);
        let threads = rayon::current_num_threads();
        let wanted = if threads == 1 { 1 } else { 4 * threads };
        let input_row = (columns * SIDE + self.axis.extent) * self.axis.step * channels.next_multiple_of(LANES);
        let fitting = scratch::rows_in_cache(SIDE * self.axis.step * input_row, 0);
        let even = (dims.images * rows).div_ceil(wanted);
        let bands = Bands::new(dims.images, rows, fitting.min(even).max(FEWEST_TILES.div_ceil(columns)));
        let step = kernels.correlate.len();
        let groups = self.out_blocks.div_ceil(step);
        // Few bands are split again by output channels, at the price of copying and transforming them again.
        let shares = wanted.div_ceil(bands.count()).clamp(1, groups);
        let share = groups.div_ceil(shares) * step;
        let vectors = self.phases[0].parts.len() * self.part_channels + step * LANES;
        let limit = (RUN_VALUES / (self.points * self.points * vectors)).clamp(FEWEST_TILES, 8 * FEWEST_TILES);
        let transform = (kernels.winograd(self.points).input, self.points * self.points);
        let target = Target::new(out.as_mut_ptr());
        (0..bands.count() * shares).into_par_iter().for_each(|task| {
            let band = bands.get(task / shares);
            let start = task % shares * share;
            let layout = Layout::new(&self.axis, cells(band), columns * SIDE);
            scratch::with(|[source, transformed, products, ..]| {
                layout.fill(kernels.deal, &self.axis, cells(band), input, 0..channels, source);
                for run in Run::all(band, columns, limit) {
                    for (index, phase) in self.phases.iter().enumerate() {
                        let parts: Vec<usize> = phase
                            .parts
                            .iter()
                            .map(|part| layout.tap(part.row, part.column))
                            .collect();
                        let blocks = channels.div_ceil(LANES);
                        let point = run.transform(transform, (source, &layout), &parts, blocks, transformed);
                        for block in (start..self.out_blocks.min(start + share)).step_by(step) {
                            let blocks = block..self.out_blocks.min(block + step);
                            let point =
                                self.multiply(kernels, index, blocks.clone(), (transformed, point), run, products);
                            // SAFETY: `target` is the output that `place` describes, whose length was checked. No other
                            // task has this band and these blocks.
                            unsafe {
                                self.write(kernels, phase, blocks, (products, point), run, epilogue, place, target)
                            };
                        }
                    }
                }
            });
        });
    }

    /// Multiplies transformed input by the weights of some output blocks, for each point: `[point][tile][block][16]`;
    /// returns the distance of points.
    fn multiply(
        &self,
        kernels: &Kernels,
        phase: usize,
        blocks: Range<usize>,
        (transformed, in_point): (&Buffer, usize),
        run: Run,
        products: &mut Buffer,
    ) -> usize {
        let point_len = (run.count * blocks.len() + 1) * LANES;
        products.grow(self.points * self.points * point_len);
        let tiles = kernels.correlate[blocks.len() - 1];
        let channels = self.phases[phase].parts.len() * self.part_channels;
        for point in 0..self.points * self.points {
            let weights =
                (phase * self.out_blocks + blocks.start) * self.block_weights() + point * self.point_weights();
            // Weights come from far: while the tiles of one point are multiplied, each brings its share of the next point's,
            // which lie behind, or the next block's behind the last.
            let next_lines = LANES.div_ceil(run.count.div_ceil(tiles.len()));
            let mut next = self.weights.as_ptr().wrapping_add(weights + self.point_weights());
            let mut tile = 0;
            for cells in tile_widths(run.count, tiles.len()) {
                let call = Correlate {
                    source: transformed[point * in_point + tile * LANES..].as_ptr(),
                    source_block: run.count * LANES,
                    channels,
                    taps: &[0],
                    weights: self.weights[weights..].as_ptr(),
                    weights_block: self.block_weights(),
                    next,
                    next_lines,
                    bias: NO_BIAS.as_ptr(),
                    out: products[point * point_len + tile * blocks.len() * LANES..].as_mut_ptr(),
                    out_cell: blocks.len() * LANES,
                    out_channels: blocks.len() * LANES,
                    activation: Activation::None,
                };
                // SAFETY: `kernels` came from those that this machine has. At this point, `transformed` holds `count`
                // vectors for every block of input channels, and `products` as many for each of `blocks`, whose weights
                // lie one after another.
                unsafe { tiles[cells - 1](&call) };
                tile += cells;
                next = next.wrapping_add(channels.div_ceil(LANES) * next_lines * LANES);
            }
        }
        point_len
    }

    /// Transforms products back and writes them.
    ///
    /// # Safety
    /// `target` is the start of a whole output that `place` describes, and no other thread touches these tiles' pixels in
    /// these blocks' channels.
    #[expect(clippy::too_many_arguments, reason = "the second half of a task of `run`")]
    unsafe fn write(
        &self,
        kernels: &Kernels,
        phase: &Phase,
        blocks: Range<usize>,
        (products, point): (&Buffer, usize),
        run: Run,
        epilogue: &Epilogue,
        place: Place,
        target: Target,
    ) {
        let rows = place.dims.height.saturating_sub(phase.row).div_ceil(self.axis.out_step);
        let columns = place
            .dims
            .width
            .saturating_sub(phase.column)
            .div_ceil(self.axis.out_step);
        for tile in 0..run.count {
            let (image, row, column) = run.tile(tile);
            let (image, row, column) = (run.band.image + image, (run.band.row + row) * SIDE, column * SIDE);
            // Later phases may have a row or column of cells less than the first, and so none of a last tile.
            let (tile_rows, tile_columns) = (
                rows.saturating_sub(row).min(SIDE),
                columns.saturating_sub(column).min(SIDE),
            );
            if tile_rows == 0 || tile_columns == 0 {
                continue;
            }
            let (y, x) = (
                row * self.axis.out_step + phase.row,
                column * self.axis.out_step + phase.column,
            );
            let pixel = ((image * place.dims.height + y) * place.dims.width + x) * place.pixel + place.channel;
            for (index, block) in blocks.clone().enumerate() {
                let call = WinogradOutput {
                    products: products[(tile * blocks.len() + index) * LANES..].as_ptr(),
                    point,
                    bias: epilogue.bias[block * LANES..].as_ptr(),
                    activation: epilogue.activation,
                    // SAFETY: this pixel lies inside the output, by the contract.
                    out: unsafe { target.at(pixel + block * LANES) },
                    row: self.axis.out_step * place.dims.width * place.pixel,
                    column: self.axis.out_step * place.pixel,
                    rows: tile_rows,
                    columns: tile_columns,
                    channels: (epilogue.out_channels - block * LANES).min(LANES),
                };
                // SAFETY: `kernels` came from those that this machine has; `products` holds this tile and block at every
                // point; rows, columns and channels are cut to the output.
                unsafe { (kernels.winograd(self.points).output)(&call) };
            }
        }
    }
}
