//! Correlation of a batch with packed weights: the forward pass and the input gradient of every layer here.
#![allow(unsafe_code)] // Calls the kernels, and writes interleaved parts of one output from many threads.

use rayon::prelude::*;

use crate::axis::{Axis, Tap};
use crate::kernel::{Activation, Correlate};
use crate::scratch::{self, Bands, Layout};
use crate::shape::Dims;
use crate::simd::{Kernels, LANES};

/// Weights as PyTorch lays them out, a kernel's rows and columns last.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) weights: &'a [f32],
    /// Side of the kernel.
    pub(crate) kernel: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    /// Whether the output channel is the slowest index (else the input channel is).
    pub(crate) out_first: bool,
}

impl Filter<'_> {
    fn at(&self, out: usize, input: usize, row: usize, column: usize) -> f32 {
        let pair = if self.out_first {
            out * self.in_channels + input
        } else {
            input * self.out_channels + out
        };
        self.weights[(pair * self.kernel + row) * self.kernel + column]
    }
}

/// A layer ready to run: its weights packed as
/// `[phase][block of 16 output channels][block of 16 input channels][tap][input channel][16 output channels]`.
pub(crate) struct Correlation {
    axis: Axis,
    in_channels: usize,
    out_channels: usize,
    phases: Vec<Phase>,
    bias: Vec<f32>,
    activation: Activation,
}

struct Phase {
    row: usize,
    column: usize,
    /// Row and column offsets.
    taps: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

/// A range of channels of a batch of images.
pub(crate) struct Output<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Values from one pixel to the next.
    pub(crate) pixel: usize,
    /// First channel to write.
    pub(crate) channel: usize,
}

impl Correlation {
    pub(crate) fn new(axis: Axis, filter: Filter, bias: Option<&[f32]>, activation: Activation) -> Self {
        let Filter {
            in_channels,
            out_channels,
            ..
        } = filter;
        let sides = axis.phases.iter().enumerate();
        let grid = sides
            .clone()
            .flat_map(|row| sides.clone().map(move |column| (row, column)));
        let phases = grid.map(|((row, row_taps), (column, column_taps))| {
            let taps: Vec<(Tap, Tap)> = row_taps
                .iter()
                .flat_map(|&r| column_taps.iter().map(move |&c| (r, c)))
                .collect();
            Phase {
                row,
                column,
                weights: pack(filter, &taps),
                taps: taps.iter().map(|(r, c)| (r.offset, c.offset)).collect(),
            }
        });
        let phases = phases.collect();
        let mut padded = vec![0.0; out_channels.next_multiple_of(LANES)];
        if let Some(bias) = bias {
            padded[..out_channels].copy_from_slice(bias);
        }
        Self {
            axis,
            in_channels,
            out_channels,
            phases,
            bias: padded,
            activation,
        }
    }

    /// Writes the correlation of `input` into `out`, whose size must be that of the geometry's output, or larger by
    /// less than a stride (the rest is then the activation of the bias).
    pub(crate) fn run(&self, kernels: &Kernels, input: &[f32], dims: Dims, out: Output) {
        let Output {
            height,
            width,
            pixel,
            channel,
            ..
        } = out;
        // The kernels write through a raw pointer, so the claim on it is checked here.
        assert!(channel + self.out_channels <= pixel);
        assert!(
            dims.images == 0
                || out.values.len() >= dims.images * height * width * pixel - (pixel - channel - self.out_channels)
        );
        assert!(
            dims.channels == self.in_channels && input.len() == dims.images * dims.height * dims.width * dims.channels
        );
        if dims.images == 0 {
            return;
        }
        let work = Work {
            rows: self.axis.cells(height),
            columns: self.axis.cells(width),
            images: dims.images,
        };
        let (bands, shares) = self.split(kernels, work);
        let target = Target(out.values.as_mut_ptr());
        (0..bands.count() * shares.len()).into_par_iter().for_each(|task| {
            let (band, share) = (bands.get(task / shares.len()), shares[task % shares.len()].clone());
            let layout = Layout::new(&self.axis, band, work.columns);
            scratch::with(|[source, _]| {
                layout.fill(&self.axis, band, input, dims, 0..self.in_channels, source);
                for phase in &self.phases {
                    let taps: Vec<usize> = phase
                        .taps
                        .iter()
                        .map(|&(row, column)| layout.tap(row, column))
                        .collect();
                    let columns = self.axis.phase_cells(phase.column, width);
                    let rows = self.axis.phase_cells(phase.row, height);
                    for block in share.clone().step_by(kernels.correlate.len()) {
                        let blocks = kernels.correlate.len().min(share.end - block);
                        let tiles = kernels.correlate[blocks - 1];
                        for image in 0..band.images {
                            for row in 0..band.rows.min(rows.saturating_sub(band.row)) {
                                let y = (band.row + row) * self.axis.out_step + phase.row;
                                let first = ((band.image + image) * height + y) * width + phase.column;
                                let mut column = 0;
                                for cells in tile_widths(columns, tiles.len()) {
                                    let x = first + column * self.axis.out_step;
                                    let at = layout.cells(image, row) + column * LANES;
                                    debug_assert!(
                                        at + taps.iter().max().unwrap_or(&0) + cells * LANES <= layout.block()
                                    );
                                    let tile = Correlate {
                                        source: source[at..].as_ptr(),
                                        source_block: layout.block(),
                                        channels: self.in_channels,
                                        taps: &taps,
                                        weights: phase.weights[block * self.weights_block(phase)..].as_ptr(),
                                        weights_block: self.weights_block(phase),
                                        bias: self.bias[block * LANES..].as_ptr(),
                                        // SAFETY: pixel `x` and these channels lie inside the output, whose length is
                                        // checked above.
                                        out: unsafe { target.at(x * pixel + channel + block * LANES) },
                                        out_cell: self.axis.out_step * pixel,
                                        out_channels: (self.out_channels - block * LANES).min(blocks * LANES),
                                        activation: self.activation,
                                    };
                                    // SAFETY: `kernels` came from those that this machine has. Cells `column..column +
                                    // cells` of this row lie in the band, so that the layout holds all that their taps
                                    // read, for every block of input channels; weights and bias hold `blocks` blocks
                                    // from `block`; the output's pixels are inside it as said above. No other task has
                                    // this band and share, and within a task tiles run one after another.
                                    unsafe { tiles[cells - 1](&tile) };
                                    column += cells;
                                }
                            }
                        }
                    }
                }
            });
        });
    }

    /// Packed weights of one block of output channels.
    fn weights_block(&self, phase: &Phase) -> usize {
        phase.taps.len() * self.in_channels * LANES
    }

    /// Cuts the work into bands of rows and shares of output blocks. The cut changes no result, since every output is
    /// one sum in one order, so it may look at the number of threads.
    fn split(&self, kernels: &Kernels, work: Work) -> (Bands, Vec<std::ops::Range<usize>>) {
        let step = kernels.correlate.len();
        let blocks = self.out_channels.div_ceil(LANES);
        let threads = rayon::current_num_threads();
        let wanted = if threads == 1 { 1 } else { 4 * threads };
        let row = work.columns * self.axis.step * self.in_channels.next_multiple_of(LANES);
        let fitting = scratch::rows_in_cache(row * self.axis.step, row * (self.axis.extent - 1));
        // Thin bands copy their borders too often and reuse the weights too rarely: 128 cells are enough to hide both.
        let thinnest = 128_usize.div_ceil(work.columns);
        let even = (work.images * work.rows).div_ceil(wanted);
        let bands = Bands::new(work.images, work.rows, fitting.min(even.max(thinnest)));
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
}

#[derive(Clone, Copy)]
struct Work {
    images: usize,
    /// Rows of cells.
    rows: usize,
    /// Cells in a row.
    columns: usize,
}

/// The output's start, shared by tasks that write different pixels or channels.
#[derive(Clone, Copy)]
struct Target(*mut f32);

// SAFETY: the pointer comes from an exclusive borrow that outlives the parallel loop, and each task writes only the
// pixels of its band and the channels of its share.
unsafe impl Sync for Target {}

impl Target {
    /// # Safety
    /// `index` lies inside the slice that the pointer came from.
    unsafe fn at(&self, index: usize) -> *mut f32 {
        // SAFETY: by this function's own contract.
        unsafe { self.0.add(index) }
    }
}

/// Splits a row into tiles of at most `widest` cells and nearly equal width.
fn tile_widths(cells: usize, widest: usize) -> impl Iterator<Item = usize> {
    let tiles = cells.div_ceil(widest);
    (0..tiles).map(move |tile| cells / tiles + usize::from(tile < cells % tiles))
}

fn pack(filter: Filter, taps: &[(Tap, Tap)]) -> Vec<f32> {
    let Filter {
        in_channels,
        out_channels,
        ..
    } = filter;
    let block_len = taps.len() * in_channels * LANES;
    let mut packed = vec![0.0; out_channels.div_ceil(LANES) * block_len];
    if block_len == 0 {
        return packed;
    }
    packed
        .par_chunks_exact_mut(block_len)
        .enumerate()
        .for_each(|(block, packed)| {
            let lanes = LANES.min(out_channels - block * LANES);
            let mut vectors = packed.as_chunks_mut::<LANES>().0.iter_mut();
            for first in (0..in_channels).step_by(LANES) {
                for (row, column) in taps {
                    for (channel, vector) in (first..in_channels.min(first + LANES)).zip(&mut vectors) {
                        for (lane, value) in vector[..lanes].iter_mut().enumerate() {
                            *value = filter.at(block * LANES + lane, channel, row.kernel, column.kernel);
                        }
                    }
                }
            }
        });
    packed
}
