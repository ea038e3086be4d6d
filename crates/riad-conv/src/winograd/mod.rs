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
use crate::scratch::{Band, Layout};
use crate::simd::LANES;

/// Side of a tile's outputs.
const SIDE: usize = 4;

/// Values of transformed input and products that a run of tiles aims at.
const RUN_VALUES: usize = 192 * 1024;
/// Tiles that a run of them should have, so that weights and sums are used often enough for each time they are read.
const FEWEST_TILES: usize = 28;

/// Whether the transforms cost less than they save.
pub(crate) fn pays(in_channels: usize, out_channels: usize) -> bool {
    in_channels >= LANES && out_channels >= LANES
}

/// One phase of the output.
struct Phase {
    row: usize,
    column: usize,
    /// Points per direction: 6 for 3×3 taps, 5 for 2×2.
    points: usize,
    /// One for each phase of the input.
    parts: Vec<Part>,
}

/// Neighbouring taps.
struct Part {
    /// Where the first reads, see [`Axis`].
    row: usize,
    column: usize,
    /// Their places in the filter.
    places: Vec<usize>,
}

/// The phases of a layer whose kernel has side `kernel`, if it splits into 3×3 or 2×2 neighbours.
fn phases(axis: &Axis, kernel: usize) -> Option<Vec<Phase>> {
    let lines: Vec<Vec<Line>> = (0..axis.phases.len()).map(|phase| lines(axis, phase)).collect();
    let taps = lines.first()?.first()?.kernel.len();
    let alike = lines.iter().flatten().all(|line| line.kernel.len() == taps);
    if !alike || !(taps == 2 || taps == 3) {
        return None;
    }
    let part = |rows: &Line, columns: &Line| Part {
        row: rows.first,
        column: columns.first,
        places: rows
            .kernel
            .iter()
            .flat_map(|row| columns.kernel.iter().map(move |column| row * kernel + column))
            .collect(),
    };
    let phase = |row: usize, column: usize| Phase {
        row,
        column,
        points: taps + SIDE - 1,
        parts: lines[row]
            .iter()
            .flat_map(|rows| lines[column].iter().map(|columns| part(rows, columns)))
            .collect(),
    };
    let phases = lines.len();
    Some(
        (0..phases)
            .flat_map(|row| (0..phases).map(move |column| (row, column)))
            .map(|(r, c)| phase(r, c))
            .collect(),
    )
}

/// Neighbouring taps along one axis: where the first reads, and their places in the kernel, in order.
struct Line {
    first: usize,
    kernel: Vec<usize>,
}

/// The lines of one output phase, one for each remainder of the input step.
fn lines(axis: &Axis, phase: usize) -> Vec<Line> {
    let of_remainder = |remainder: usize| {
        let mut taps: Vec<_> = axis.phases[phase]
            .iter()
            .filter(|tap| tap.offset % axis.step == remainder)
            .collect();
        taps.sort_by_key(|tap| tap.offset);
        let first = taps.first().map_or(0, |tap| tap.offset);
        Line {
            first,
            kernel: taps.iter().map(|tap| tap.kernel).collect(),
        }
    };
    (0..axis.step).map(of_remainder).collect()
}

/// Some tiles of a band. Bands count in rows of tiles here.
#[derive(Clone, Copy)]
struct Run {
    band: Band,
    /// Tiles in a row.
    columns: usize,
    first: usize,
    count: usize,
}

impl Run {
    /// The tiles of a band, in nearly equal runs of at most `limit`.
    fn all(band: Band, columns: usize, limit: usize) -> impl Iterator<Item = Self> {
        let tiles = band.images * band.rows * columns;
        let count = tiles.div_ceil(tiles.div_ceil(limit));
        (0..tiles).step_by(count).map(move |first| Self {
            band,
            columns,
            first,
            count: count.min(tiles - first),
        })
    }

    /// Image, row and column of a tile, within the band.
    fn tile(self, index: usize) -> (usize, usize, usize) {
        let index = self.first + index;
        (
            index / self.columns / self.band.rows,
            index / self.columns % self.band.rows,
            index % self.columns,
        )
    }

    /// Transforms the tiles' patches of `blocks` blocks of channels to `points` vectors each,
    /// `[point][part][block][tile][16]`; returns the distance of points, which is a vector more than they need: a tile's
    /// vectors must not fall into one set of the cache.
    #[allow(unsafe_code)] // Calls the kernels.
    fn transform(
        self,
        (transform, points): (InputTile, usize),
        (source, layout): (&Buffer, &Layout),
        parts: &[usize],
        blocks: usize,
        out: &mut Buffer,
    ) -> usize {
        let point = (parts.len() * blocks * self.count + 1) * LANES;
        out.grow(points * point);
        for (part, place) in parts.iter().enumerate() {
            for block in 0..blocks {
                for tile in 0..self.count {
                    let (image, row, column) = self.tile(tile);
                    let at = block * layout.block() + layout.cells(image, row * SIDE) + column * SIDE * LANES + place;
                    let call = WinogradInput {
                        input: source[at..].as_ptr(),
                        row: layout.cells(0, 1),
                        out: out[((part * blocks + block) * self.count + tile) * LANES..].as_mut_ptr(),
                        point,
                    };
                    // SAFETY: the kernels came from those that this machine has. The layout holds whole tiles of cells
                    // and all that their taps read; `out` was grown for every point of this part, block and tile.
                    unsafe { transform(&call) };
                }
            }
        }
        point
    }
}

/// A band of rows of tiles as one of rows of cells.
fn cells(band: Band) -> Band {
    Band {
        row: band.row * SIDE,
        rows: band.rows * SIDE,
        ..band
    }
}
