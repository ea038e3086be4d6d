//! Winograd's convolution: a quarter to 2/5 of the direct algorithm's products, at the price of transforms.
//!
//! It covers every layer whose taps come as 3×3 or 2×2 neighbours once input and output are split into phases: 3×3 stride 1
//! (one phase), 4×4 stride 2 (four input phases, summed before the output's transform), 4×4 stride 2 transposed and the
//! input gradients of all of them (four output phases), and the weight gradients. What is in one tile's input reaches the
//! whole tile: rounding errors follow the largest value of a neighbourhood, and a NaN spreads up to five pixels further.

mod correlate;
mod grad_weight;

pub(crate) use correlate::Winograd;
pub(crate) use grad_weight::WinogradGrad;

use crate::axis::Axis;
use crate::buffer::Buffer;
use crate::kernel::{InputTile, WinogradInput};
use crate::shape::Dims;
use crate::simd::LANES;

/// Side of a tile's outputs.
const SIDE: usize = 4;

/// Values of scratch that a task aims at.
const TASK_VALUES: usize = 192 * 1024;

/// Whether the transforms cost less than they save.
pub(crate) fn pays(in_channels: usize, out_channels: usize) -> bool {
    in_channels >= LANES && out_channels >= LANES
}

/// Tiles of each image.
#[derive(Clone, Copy)]
struct Grid {
    rows: usize,
    columns: usize,
}

impl Grid {
    /// Covers this many cells.
    fn new(rows: usize, columns: usize) -> Self {
        Self {
            rows: rows.div_ceil(SIDE),
            columns: columns.div_ceil(SIDE),
        }
    }

    /// Image, and first cell's row and column, of a tile of the batch.
    fn tile(self, index: usize) -> (usize, usize, usize) {
        let (image, within) = (index / (self.rows * self.columns), index % (self.rows * self.columns));
        (image, within / self.columns * SIDE, within % self.columns * SIDE)
    }
}

/// One phase of the output: which pixels its tiles read, for each phase of the input ("part").
struct Phase {
    row: usize,
    column: usize,
    /// Points per direction: 6 for 3×3 taps, 5 for 2×2.
    points: usize,
    reads: Reads,
    /// For each part, its taps' places in the filter.
    places: Vec<Vec<usize>>,
}

/// Square patches of an image.
struct Reads {
    /// Pixels per direction.
    side: usize,
    /// From one pixel to the next, and from one cell to the next.
    step: usize,
    /// The first pixel of cell (0, 0), for each part.
    parts: Vec<(isize, isize)>,
}

/// The phases of a layer whose kernel has side `kernel`, if it splits into 3×3 or 2×2 neighbours.
fn phases(axis: &Axis, kernel: usize) -> Option<Vec<Phase>> {
    let runs: Vec<Vec<Run>> = (0..axis.phases.len()).map(|phase| runs(axis, phase)).collect();
    let taps = runs.first()?.first()?.kernel.len();
    let alike = runs.iter().flatten().all(|run| run.kernel.len() == taps);
    if !alike || !(taps == 2 || taps == 3) {
        return None;
    }
    let points = taps + SIDE - 1;
    let mut phases = Vec::new();
    for (row, row_runs) in runs.iter().enumerate() {
        for (column, column_runs) in runs.iter().enumerate() {
            let parts: Vec<(&Run, &Run)> = row_runs
                .iter()
                .flat_map(|row| column_runs.iter().map(move |column| (row, column)))
                .collect();
            let places = parts.iter().map(|(row, column)| {
                row.kernel
                    .iter()
                    .flat_map(|row| column.kernel.iter().map(move |column| row * kernel + column))
                    .collect()
            });
            let places = places.collect();
            let parts = parts.iter().map(|(row, column)| (row.first, column.first)).collect();
            phases.push(Phase {
                row,
                column,
                points,
                reads: Reads {
                    side: points,
                    step: axis.step,
                    parts,
                },
                places,
            });
        }
    }
    Some(phases)
}

/// Neighbouring taps along one axis: the position of cell 0's first tap, and their places in the kernel, in order.
struct Run {
    first: isize,
    kernel: Vec<usize>,
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

/// A run of tiles of a batch.
#[derive(Clone, Copy)]
struct Tiles {
    grid: Grid,
    first: usize,
    count: usize,
}

impl Reads {
    /// Transforms `channels` of the tiles' patches to `points` vectors each, `[point][part][block][tile][16]`; returns the
    /// distance of points, which is a vector more than they need: a tile's vectors must not fall into one set of the cache.
    #[allow(unsafe_code)] // Calls the kernels.
    fn transform(
        &self,
        (transform, points): (InputTile, usize),
        (input, dims): (&[f32], Dims),
        channels: std::ops::Range<usize>,
        tiles: Tiles,
        out: &mut Buffer,
    ) -> usize {
        let Dims { height, width, .. } = dims;
        let blocks = channels.len().div_ceil(LANES);
        let point = (self.parts.len() * blocks * tiles.count + 1) * LANES;
        out.grow(points * point);
        let last = (self.side - 1) * self.step;
        let fits = |first: isize, size: usize| first >= 0 && first as usize + last < size;
        let mut patch = [0.0; 36 * LANES];
        for tile in 0..tiles.count {
            let (image, row, column) = tiles.grid.tile(tiles.first + tile);
            for (part, &(y, x)) in self.parts.iter().enumerate() {
                let (y, x) = (y + (row * self.step) as isize, x + (column * self.step) as isize);
                let inside = fits(y, height) && fits(x, width);
                for block in 0..blocks {
                    let channel = channels.start + block * LANES;
                    let lanes = LANES.min(channels.end - channel);
                    let (source, row_step, column_step) = if inside && lanes == LANES {
                        let at = ((image * height + y as usize) * width + x as usize) * dims.channels + channel;
                        (
                            &input[at..],
                            self.step * width * dims.channels,
                            self.step * dims.channels,
                        )
                    } else {
                        self.copy(&mut patch, input, dims, (image, y, x), channel, lanes);
                        (&patch[..], self.side * LANES, LANES)
                    };
                    let call = WinogradInput {
                        input: source.as_ptr(),
                        row: row_step,
                        column: column_step,
                        out: out[((part * blocks + block) * tiles.count + tile) * LANES..].as_mut_ptr(),
                        point,
                    };
                    // SAFETY: the kernels came from those that this machine has. Either the whole patch lies inside the
                    // image, or `patch` holds it; `out` was grown for every point of this part, block and tile.
                    unsafe { transform(&call) };
                }
            }
        }
        point
    }

    /// Copies a patch that leaves the image, or has less than sixteen channels, with zeros around.
    fn copy(
        &self,
        patch: &mut [f32],
        input: &[f32],
        dims: Dims,
        (image, y, x): (usize, isize, isize),
        channel: usize,
        lanes: usize,
    ) {
        let at = |first: isize, index: usize, size: usize| {
            let position = first + (index * self.step) as isize;
            usize::try_from(position).ok().filter(|&position| position < size)
        };
        for (index, vector) in patch.as_chunks_mut::<LANES>().0[..self.side * self.side]
            .iter_mut()
            .enumerate()
        {
            *vector = [0.0; LANES];
            let place = (
                at(y, index / self.side, dims.height),
                at(x, index % self.side, dims.width),
            );
            if let (Some(y), Some(x)) = place {
                let from = ((image * dims.height + y) * dims.width + x) * dims.channels + channel;
                vector[..lanes].copy_from_slice(&input[from..][..lanes]);
            }
        }
    }
}
