//! The direct algorithm, for any geometry.
#![allow(unsafe_code)] // Calls the kernels, and writes interleaved parts of one output from many threads.

mod grad_weight;

pub(crate) use grad_weight::DirectGrad;

use std::ops::Range;
use std::ptr;

use rayon::prelude::*;

use crate::axis::{Axis, PlanePhase};
use crate::batch::{Batch, BatchMut, Place};
use crate::buffer::Buffer;
use crate::correlation::{Epilogue, Filter, Target};
use crate::kernel::{Correlate, tile_widths};
use crate::scratch::{self, Bands, Layout};
use crate::simd::{Kernels, LANES};

/// A layer for any axis.
pub(crate) struct Direct {
    axis: Axis,
    in_channels: usize,
    /// Whether the input's pixels are folded, see [`Layout`]: a tap is then a row, its channels those of the whole row.
    folded: bool,
    phases: Vec<Phase>,
    /// `[phase][block of 16 output channels][block of 16 input channels][tap][input channel][16 output channels]`.
    weights: Buffer,
}

struct Phase {
    row: usize,
    column: usize,
    /// Row and column offsets.
    taps: Vec<(usize, usize)>,
    /// Where its weights start.
    weights: usize,
}

impl Direct {
    pub(crate) fn new(axis: Axis, filter: Filter, mut weights: Buffer) -> Self {
        let folded = axis.phases.len() == 1 && scratch::folds(&axis, filter.in_channels);
        let blocks = filter.out_channels.div_ceil(LANES);
        let mut phases = Vec::new();
        let mut places = Vec::new(); // Of each phase, the taps' places in the filter.
        let mut total = 0;
        for PlanePhase { row, column, taps } in axis.plane(filter.kernel) {
            // Folded pixels lie in the order of their columns, as the taps do.
            let offsets = taps.iter().map(|tap| tap.offset);
            let offsets = offsets.filter(|&(_, column)| !folded || column == 0).collect();
            places.push(taps.iter().map(|tap| tap.kernel).collect());
            phases.push(Phase {
                row,
                column,
                taps: offsets,
                weights: total,
            });
            total += blocks * filter.in_channels * taps.len() * LANES;
        }
        weights.grow(total);
        pack(filter, &phases, &places, &mut weights);
        Self {
            axis,
            in_channels: filter.in_channels,
            folded,
            phases,
            weights,
        }
    }

    pub(crate) fn into_memory(self) -> Buffer {
        self.weights
    }

    /// See [`crate::correlation::Correlation::run`], which checks what this relies on.
    pub(crate) fn run(&self, kernels: &Kernels, input: Batch<'_>, epilogue: &Epilogue, mut out: BatchMut<'_>) {
        let Place { dims, pixel, channel } = out.place();
        let cells = Cells {
            images: dims.images,
            rows: self.axis.cells(dims.height),
            columns: self.axis.cells(dims.width),
        };
        let values = self.in_channels.next_multiple_of(LANES);
        let blocks = epilogue.out_channels.div_ceil(LANES);
        let (bands, shares) = split(&self.axis, cells, values, blocks, kernels.correlate.len());
        let target = Target::new(out.as_mut_ptr());
        (0..bands.count() * shares.len()).into_par_iter().for_each(|task| {
            let (band, share) = (bands.get(task / shares.len()), shares[task % shares.len()].clone());
            let new = if self.folded { Layout::folded } else { Layout::new };
            let layout = new(&self.axis, band, cells.columns);
            let channels = if self.folded {
                self.axis.extent * self.in_channels
            } else {
                self.in_channels
            };
            scratch::with(|[source, ..]| {
                layout.fill(kernels.deal, &self.axis, band, input, 0..self.in_channels, source);
                for phase in &self.phases {
                    let taps: Vec<usize> = phase
                        .taps
                        .iter()
                        .map(|&(row, column)| layout.tap(row, column))
                        .collect();
                    let weights_block = taps.len() * channels * LANES;
                    let columns = self.axis.phase_cells(phase.column, dims.width);
                    let rows = self
                        .axis
                        .phase_cells(phase.row, dims.height)
                        .saturating_sub(band.row)
                        .min(band.rows);
                    for block in share.clone().step_by(kernels.correlate.len()) {
                        let blocks = kernels.correlate.len().min(share.end - block);
                        let tiles = kernels.correlate[blocks - 1];
                        for (image, row) in (0..band.images).flat_map(|image| (0..rows).map(move |row| (image, row))) {
                            let y = (band.row + row) * self.axis.out_step + phase.row;
                            let first = ((band.image + image) * dims.height + y) * dims.width + phase.column;
                            let mut column = 0;
                            for cells in tile_widths(columns, tiles.len()) {
                                let x = first + column * self.axis.out_step;
                                let at = layout.cells(image, row) + column * LANES;
                                let tile = Correlate {
                                    source: source[at..].as_ptr(),
                                    source_block: layout.block(),
                                    channels,
                                    taps: &taps,
                                    weights: self.weights[phase.weights + block * weights_block..].as_ptr(),
                                    weights_block,
                                    next: ptr::null(),
                                    next_lines: 0,
                                    bias: epilogue.bias[block * LANES..].as_ptr(),
                                    // SAFETY: pixel `x` and these channels lie inside the output, whose length was
                                    // checked.
                                    out: unsafe { target.at(x * pixel + channel + block * LANES) },
                                    out_cell: self.axis.out_step * pixel,
                                    out_channels: (epilogue.out_channels - block * LANES).min(blocks * LANES),
                                    activation: epilogue.activation,
                                };
                                // SAFETY: `kernels` came from those that this machine has. Cells `column..column + cells`
                                // of this row lie in the band, so that the layout holds all that their taps read, for
                                // every block of input channels; weights and bias hold `blocks` blocks from `block`; the
                                // pixels lie inside the output as said above. No other task has this band and share, and
                                // within a task tiles run one after another.
                                unsafe { tiles[cells - 1](&tile) };
                                column += cells;
                            }
                        }
                    }
                }
            });
        });
    }
}

/// Cuts the work into bands of rows and shares of output blocks, which are taken `step` at a time. A pixel brings `values` of
/// scratch.
///
/// The cut changes no result, since every output is one sum in one order, so it may look at the number of threads.
pub(crate) fn split(
    axis: &Axis,
    cells: Cells,
    values: usize,
    blocks: usize,
    step: usize,
) -> (Bands, Vec<Range<usize>>) {
    let threads = rayon::current_num_threads();
    let wanted = if threads == 1 { 1 } else { 4 * threads };
    let row = cells.columns * axis.step * values;
    let fitting = scratch::rows_in_cache(row * axis.step, row * (axis.extent - 1));
    // Thin bands copy their borders too often and reuse the weights too rarely: 128 cells are enough to hide both.
    let thinnest = 128_usize.div_ceil(cells.columns);
    let even = (cells.images * cells.rows).div_ceil(wanted);
    let bands = Bands::new(cells.images, cells.rows, fitting.min(even.max(thinnest)));
    let shares = wanted.div_ceil(bands.count()).min(blocks.div_ceil(step));
    let share = blocks.div_ceil(step).div_ceil(shares) * step;
    (
        bands,
        (0..blocks)
            .step_by(share)
            .map(|first| first..blocks.min(first + share))
            .collect(),
    )
}

#[derive(Clone, Copy)]
pub(crate) struct Cells {
    pub(crate) images: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Packs the weights of all phases, which together use every tap once.
fn pack(filter: Filter, phases: &[Phase], places: &[Vec<usize>], weights: &mut Buffer) {
    let target = Target::new(weights.as_mut_ptr());
    let in_channels = filter.in_channels;
    let blocks = filter.out_channels.div_ceil(LANES);
    let in_blocks = in_channels.div_ceil(LANES);
    (0..blocks * in_blocks).into_par_iter().for_each(|task| {
        let (block, first) = (task / in_blocks, task % in_blocks * LANES);
        let channels = LANES.min(in_channels - first);
        let mut vectors = vec![[0.0; LANES]; channels * filter.taps()];
        filter.gather(block, first, &mut vectors);
        for (phase, places) in phases.iter().zip(places) {
            let start = phase.weights + (block * in_channels + first) * places.len() * LANES;
            for (tap, place) in places.iter().enumerate() {
                for channel in 0..channels {
                    let vector = &vectors[channel * filter.taps() + place];
                    let at = start + (tap * channels + channel) * LANES;
                    // SAFETY: the buffer was grown for every phase, block, tap and channel; no other task has these
                    // blocks.
                    unsafe { target.at(at).copy_from_nonoverlapping(vector.as_ptr(), LANES) };
                }
            }
        }
    });
}
