//! Bands of an image, copied with their borders into the layout that the kernels read.

use std::cell::RefCell;
use std::ops::Range;

use crate::axis::Axis;
use crate::batch::Batch;
use crate::buffer::Buffer;
use crate::kernel::{Deal, DealRow};
use crate::simd::LANES;

/// A run of rows of cells: of one image, or all rows of several images.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Band {
    pub(crate) image: usize,
    pub(crate) images: usize,
    pub(crate) row: usize,
    pub(crate) rows: usize,
}

/// The bands of a batch, in order, all but each image's last of the same size.
pub(crate) struct Bands {
    images: usize,
    rows: usize,
    images_per_band: usize,
    rows_per_band: usize,
}

impl Bands {
    /// Splits `images` of `rows` rows of cells so that a band has at most `limit` rows (at least one).
    pub(crate) fn new(images: usize, rows: usize, limit: usize) -> Self {
        let limit = limit.max(1);
        // Even bands: 20 rows in bands of up to 16 are 10 and 10.
        let rows_per_band = rows.div_ceil(rows.div_ceil(limit));
        let images_per_band = if rows_per_band == rows {
            (limit / rows).clamp(1, images.max(1))
        } else {
            1
        };
        Self {
            images,
            rows,
            images_per_band,
            rows_per_band,
        }
    }

    fn per_image(&self) -> usize {
        self.rows.div_ceil(self.rows_per_band)
    }

    pub(crate) fn count(&self) -> usize {
        self.images.div_ceil(self.images_per_band) * self.per_image()
    }

    pub(crate) fn get(&self, index: usize) -> Band {
        let image = index / self.per_image() * self.images_per_band;
        let row = index % self.per_image() * self.rows_per_band;
        Band {
            image,
            images: self.images_per_band.min(self.images - image),
            row,
            rows: self.rows_per_band.min(self.rows - row),
        }
    }
}

/// Where a band's values lie in scratch: `[block of 16 channels][image][row][column mod step][column / step][16]`, or with
/// channels in bf16 blocks of 32, two to a value.
///
/// Columns are dealt out by their remainder so that neighbouring cells are always sixteen values apart. Where all pixels
/// of a row that a cell sees have sixteen values or less, they are folded into one vector instead, `[image][row][cell]\
/// [column, channel]`: kernels that walk channels then have more to walk, and fewer taps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    step: usize,
    /// Pixels in a vector.
    fold: usize,
    /// Remainders that some tap reads.
    remainders: usize,
    /// Columns of one remainder.
    columns: usize,
    /// Rows of one image in the band.
    rows: usize,
    images: usize,
}

/// Whether a cell's row of pixels fits into one vector, and there is more than one of them.
pub(crate) fn folds(axis: &Axis, channels: usize) -> bool {
    axis.extent > 1 && axis.extent * channels <= LANES
}

impl Layout {
    /// For a band of an image with `columns` cells in a row.
    pub(crate) fn new(axis: &Axis, band: Band, columns: usize) -> Self {
        Self {
            step: axis.step,
            fold: 1,
            remainders: axis.step.min(axis.extent),
            columns: columns + (axis.extent - 1) / axis.step,
            rows: axis.span(band.rows),
            images: band.images,
        }
    }

    /// The same with folded pixels.
    pub(crate) fn folded(axis: &Axis, band: Band, columns: usize) -> Self {
        Self {
            fold: axis.extent,
            remainders: 1,
            columns,
            ..Self::new(axis, band, columns)
        }
    }

    /// Values from one input row to the next.
    pub(crate) fn row(&self) -> usize {
        self.remainders * self.columns * LANES
    }

    /// Values from one image to the next.
    pub(crate) fn image(&self) -> usize {
        self.rows * self.row()
    }

    /// Values from one block of channels to the next.
    pub(crate) fn block(&self) -> usize {
        self.images * self.image()
    }

    /// Where a cell's tap lies from the cell's own place. Folded pixels have no column but the first.
    pub(crate) fn tap(&self, row: usize, column: usize) -> usize {
        row * self.row() + (column % self.step * self.columns + column / self.step) * LANES
    }

    /// Where the first cell of a row of cells lies.
    pub(crate) fn cells(&self, image: usize, row: usize) -> usize {
        image * self.image() + row * self.step * self.row()
    }

    /// Copies `channels` of the band out of `batch`, zeros around the image and in unused lanes.
    pub(crate) fn fill(
        &self,
        deal: Deal,
        axis: &Axis,
        band: Band,
        batch: Batch<'_>,
        channels: Range<usize>,
        scratch: &mut Buffer,
    ) {
        let blocks = channels.len().div_ceil(deal.channels);
        scratch.grow(blocks * self.block());
        let dims = batch.dims();
        for (image, row) in (0..self.images).flat_map(|image| (0..self.rows).map(move |row| (image, row))) {
            let start = image * self.image() + row * self.row();
            let y = (band.row * self.step + row)
                .checked_add_signed(axis.origin)
                .filter(|&y| y < dims.height);
            let Some(y) = y else {
                for block in 0..blocks {
                    scratch[start + block * self.block()..][..self.row()].fill(0.0);
                }
                continue;
            };
            let source = batch.row(band.image + image, y);
            if self.fold > 1 {
                self.fold_row(
                    axis,
                    (source, batch.pixel()),
                    dims.channels,
                    scratch[start..][..self.row()].as_chunks_mut().0,
                );
            } else {
                self.deal_row(
                    deal,
                    axis,
                    (source, batch.pixel()),
                    channels.clone(),
                    &mut scratch[start..],
                );
            }
        }
    }

    #[allow(unsafe_code)] // Calls the kernels.
    fn deal_row(
        &self,
        deal: Deal,
        axis: &Axis,
        (source, pixel): (&[f32], usize),
        channels: Range<usize>,
        scratch: &mut [f32],
    ) {
        let blocks = channels.len().div_ceil(deal.channels);
        let width = source.len().div_ceil(pixel) as isize;
        for remainder in 0..self.remainders {
            // Columns in the image: 0 ≤ column · step + position < width.
            let position = remainder as isize + axis.origin;
            let column = |x: isize| (x.max(0) as usize).div_ceil(self.step).min(self.columns);
            let inside = column(-position)..column(width - position).max(column(-position));
            let start = remainder * self.columns * LANES;
            for block in 0..blocks {
                let row = &mut scratch[block * self.block() + start..][..self.columns * LANES];
                row[..inside.start * LANES].fill(0.0);
                row[inside.end * LANES..].fill(0.0);
            }
            if inside.is_empty() {
                continue;
            }
            let first = (position + (inside.start * self.step) as isize).unsigned_abs() * pixel + channels.start;
            let start = start + inside.start * LANES;
            let last = inside.len() - 1;
            assert!(first + last * self.step * pixel + channels.len() <= source.len());
            assert!((blocks - 1) * self.block() + start + inside.len() * LANES <= scratch.len());
            let call = DealRow {
                source: source[first..].as_ptr(),
                pixel: self.step * pixel,
                pixels: inside.len(),
                channels: channels.len(),
                to: scratch[start..].as_mut_ptr(),
                block: self.block(),
            };
            // SAFETY: `deal` is of kernels that this machine has; both ends were just checked.
            unsafe { (deal.row)(&call) };
        }
    }

    fn fold_row(&self, axis: &Axis, (source, pixel): (&[f32], usize), channels: usize, vectors: &mut [[f32; LANES]]) {
        let width = source.len().div_ceil(pixel);
        for (cell, vector) in vectors.iter_mut().enumerate() {
            *vector = [0.0; LANES];
            let first = (cell * self.step) as isize + axis.origin;
            let outside = (first.min(0).unsigned_abs()).min(self.fold);
            let start = first.max(0).unsigned_abs().min(width);
            let end = (start + self.fold - outside).min(width);
            for (x, lanes) in (start..end).zip(vector[outside * channels..].chunks_exact_mut(channels)) {
                lanes.copy_from_slice(&source[x * pixel..][..channels]);
            }
        }
    }
}

/// Values of scratch that a band aims at: half of a usual second-level cache.
const BAND_VALUES: usize = 96 * 1024;

/// Rows of cells that fit into a band when each brings `row` values of scratch and all share `shared`.
pub(crate) fn rows_in_cache(row: usize, shared: usize) -> usize {
    BAND_VALUES.saturating_sub(shared) / row.max(1)
}

thread_local! {
    static SCRATCH: RefCell<[Buffer; 5]> = const { RefCell::new([const { Buffer::new() }; 5]) };
}

/// Lends this thread's scratch buffers, which grow to the largest band seen.
///
/// `work` must not wait on other rayon tasks: the thread could then start another task that borrows them again.
pub(crate) fn with<R>(work: impl FnOnce(&mut [Buffer; 5]) -> R) -> R {
    SCRATCH.with_borrow_mut(work)
}
