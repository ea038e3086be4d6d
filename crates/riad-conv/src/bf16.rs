//! The direct algorithm with bf16 products, which some processors have many more of than of f32 ones.
//!
//! Pixels are rounded on their way into the bands, weights once; sums and outputs are f32.
#![allow(unsafe_code)] // Calls the kernels, and writes interleaved parts of one output from many threads.

use rayon::prelude::*;

use crate::axis::{Axis, PlanePhase};
use crate::batch::{Batch, BatchMut, Place};
use crate::buffer::Buffer;
use crate::correlation::{Epilogue, Filter, Target};
use crate::direct::{Cells, split};
use crate::kernel::{Bf16Panel, PAIRED, SEGMENT, Segment, pair};
use crate::scratch::{self, Layout};
use crate::simd::{Bf16Kernels, LANES};

/// Blocks of output channels that a panel has at most.
const BLOCKS: usize = 2;

/// Values of a step's weights: 16 pairs of input channels by 16 output channels.
const STEP: usize = LANES * LANES;

/// Whether a layer has enough input channels to fill a fair share of the tiles. Few output channels leave most of them empty,
/// and yet take less time than in f32.
pub(crate) fn pays(in_channels: usize) -> bool {
    in_channels >= LANES
}

pub(crate) struct Bf16 {
    kernels: &'static Bf16Kernels,
    axis: Axis,
    in_channels: usize,
    phases: Vec<(PlanePhase, usize)>,
    /// `[phase][block of 16 output channels][block of 32 input channels][tap][pair of input channels][16 output channels]`, two
    /// bf16 in each value.
    weights: Buffer,
}

impl Bf16 {
    pub(crate) fn new(kernels: &'static Bf16Kernels, axis: Axis, filter: Filter, mut weights: Buffer) -> Self {
        let blocks = filter.out_channels.div_ceil(LANES);
        let in_blocks = filter.in_channels.div_ceil(PAIRED);
        let mut total = 0;
        let mut phases = Vec::new();
        for phase in axis.plane(filter.kernel) {
            let start = total;
            total += blocks * in_blocks * phase.taps.len() * STEP;
            phases.push((phase, start));
        }
        weights.grow(total);
        let mut vectors = vec![[0.0; LANES]; PAIRED * filter.taps()];
        for (block, in_block) in (0..blocks).flat_map(|block| (0..in_blocks).map(move |in_block| (block, in_block))) {
            let channels = PAIRED.min(filter.in_channels - in_block * PAIRED);
            vectors[channels * filter.taps()..].fill([0.0; LANES]);
            filter.gather(block, in_block * PAIRED, &mut vectors[..channels * filter.taps()]);
            for (phase, start) in &phases {
                let start = start + (block * in_blocks + in_block) * phase.taps.len() * STEP;
                let steps = weights[start..].chunks_exact_mut(STEP);
                for (tap, packed) in phase.taps.iter().zip(steps) {
                    for (index, packed) in packed.chunks_exact_mut(LANES).enumerate() {
                        let [first, second] =
                            [2 * index, 2 * index + 1].map(|channel| vectors[channel * filter.taps() + tap.kernel]);
                        for (packed, (first, second)) in packed.iter_mut().zip(first.into_iter().zip(second)) {
                            *packed = pair(first, second);
                        }
                    }
                }
            }
        }
        Self {
            kernels,
            axis,
            in_channels: filter.in_channels,
            phases,
            weights,
        }
    }

    pub(crate) fn into_memory(self) -> Buffer {
        self.weights
    }

    /// See [`crate::correlation::Correlation::run`], which checks what this relies on.
    pub(crate) fn run(&self, input: Batch<'_>, epilogue: &Epilogue, mut out: BatchMut<'_>) {
        let Place { dims, pixel, channel } = out.place();
        let cells = Cells {
            images: dims.images,
            rows: self.axis.cells(dims.height),
            columns: self.axis.cells(dims.width),
        };
        let in_blocks = self.in_channels.div_ceil(PAIRED);
        let blocks = epilogue.out_channels.div_ceil(LANES);
        let (bands, shares) = split(&self.axis, cells, in_blocks * LANES, blocks, BLOCKS);
        let target = Target::new(out.as_mut_ptr());
        (0..bands.count() * shares.len()).into_par_iter().for_each(|task| {
            let (band, share) = (bands.get(task / shares.len()), shares[task % shares.len()].clone());
            let layout = Layout::new(&self.axis, band, cells.columns);
            scratch::with(|[source, ..]| {
                // A tile reads whole segments, the last of a row beyond its end.
                source.grow(in_blocks * layout.block() + SEGMENT * LANES);
                layout.fill(self.kernels.deal, &self.axis, band, input, 0..self.in_channels, source);
                let (mut steps, mut segments) = (Vec::new(), Vec::new());
                for (phase, start) in &self.phases {
                    steps.clear();
                    for block in 0..in_blocks {
                        let taps = phase.taps.iter().map(|tap| layout.tap(tap.offset.0, tap.offset.1));
                        steps.extend(taps.map(|tap| (block * layout.block() + tap) * size_of::<f32>()));
                    }
                    let columns = self.axis.phase_cells(phase.column, dims.width);
                    let rows = self.axis.phase_cells(phase.row, dims.height);
                    let rows = rows.saturating_sub(band.row).min(band.rows);
                    for block in share.clone().step_by(BLOCKS) {
                        segments.clear();
                        for (image, row) in (0..band.images).flat_map(|image| (0..rows).map(move |row| (image, row))) {
                            let y = (band.row + row) * self.axis.out_step + phase.row;
                            let first = ((band.image + image) * dims.height + y) * dims.width + phase.column;
                            segments.extend((0..columns).step_by(SEGMENT).map(|column| {
                                let x = first + column * self.axis.out_step;
                                Segment {
                                    source: source[layout.cells(image, row) + column * LANES..].as_ptr(),
                                    // SAFETY: pixel `x` and this block's channels lie inside the output, whose length was
                                    // checked.
                                    out: unsafe { target.at(x * pixel + channel + block * LANES) },
                                    cells: SEGMENT.min(columns - column),
                                }
                            }));
                        }
                        let weights_block = steps.len() * STEP;
                        let blocks = BLOCKS.min(share.end - block);
                        let panel = Bf16Panel {
                            segments: &segments,
                            steps: &steps,
                            weights: self.weights[start + block * weights_block..].as_ptr(),
                            weights_block,
                            bias: epilogue.bias[block * LANES..].as_ptr(),
                            out_cell: self.axis.out_step * pixel,
                            out_channels: (epilogue.out_channels - block * LANES).min(blocks * LANES),
                            activation: epilogue.activation,
                        };
                        // SAFETY: `kernels` came from what this machine has. The band holds what the segments' cells read, and
                        // what a tile reads beyond them, 15 cells more at most, is room that the source was grown by; it starts
                        // on a cache line and is addressed in whole ones. Weights and bias hold `blocks` blocks from `block`;
                        // the pixels lie inside the output as said above. No other task has this band and share.
                        unsafe { (self.kernels.panel)(&panel) };
                    }
                }
            });
        });
    }
}
