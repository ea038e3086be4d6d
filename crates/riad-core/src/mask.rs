//! Disjoint random masks: which cells of the image the network may not see in which pass.
//!
//! The image is a grid of square cells, dealt at random into `sets` sets of equal size. In pass *i* the cells of set *i*
//! are hidden and the network has to invent them; since every cell is in exactly one set, the hidden parts of all passes
//! make up one whole reconstruction in which no pixel was ever copied from itself.

use std::iter;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use thiserror::Error;

use crate::random::shuffle;

/// A partition of an image's grid of cells into disjoint sets that hide equally much.
///
/// Equal arguments give equal masks on every platform. One byte per cell is kept, so that even masks of 2-pixel cells
/// are small; pixels are expanded on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masks {
    region_size: usize,
    sets: usize,
    height: usize,
    width: usize,
    /// The set of each cell, row by row, `width.div_ceil(region_size)` cells to a row.
    cells: Vec<u8>,
}

/// Why no masks can be made from the arguments of [`Masks::sample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The region size is zero.
    #[error("the region size is 0; a region needs a side of at least 1 pixel")]
    ZeroRegionSize,
    /// The image has no pixels.
    #[error("an image of {height}x{width} (height x width) has no pixels to mask")]
    EmptyImage {
        /// Height that was asked for, in pixels.
        height: usize,
        /// Width that was asked for, in pixels.
        width: usize,
    },
    /// The number of sets is outside 1 to [`Masks::MAX_SETS`].
    #[error("{sets} disjoint sets were asked for; possible are 1 to {max}", max = Masks::MAX_SETS)]
    SetCount {
        /// Number of sets that was asked for.
        sets: usize,
    },
    /// There are fewer cells than sets, so that a set would hide nothing.
    #[error("{sets} sets cannot share {cells} cells; use fewer sets, smaller regions or a larger image")]
    TooFewCells {
        /// Number of sets that was asked for.
        sets: usize,
        /// Number of cells in the grid.
        cells: usize,
    },
    /// The grid has more cells than a 32-bit draw can tell apart.
    #[error("an image of {height}x{width} has too many regions of {region_size} pixels; use larger regions")]
    TooManyCells {
        /// Region size that was asked for, in pixels.
        region_size: usize,
        /// Height that was asked for, in pixels.
        height: usize,
        /// Width that was asked for, in pixels.
        width: usize,
    },
}

impl Masks {
    /// The largest number of sets: a cell's set is kept in one byte.
    pub const MAX_SETS: usize = 255;

    /// Deals the cells of a `height` x `width` image into `sets` random disjoint sets.
    ///
    /// Cells are squares of `region_size` pixels; where that does not divide the image, the last row and column of cells
    /// are cut off at the image's edge. The sets' numbers of cells differ by at most one. Time and memory are linear in
    /// the number of cells.
    ///
    /// # Errors
    /// A zero size, no or more than [`MAX_SETS`](Self::MAX_SETS) sets, more sets than cells, or 2³² cells and more.
    pub fn sample(region_size: usize, sets: usize, height: usize, width: usize, seed: u64) -> Result<Self, MaskError> {
        if region_size == 0 {
            return Err(MaskError::ZeroRegionSize);
        }
        if height == 0 || width == 0 {
            return Err(MaskError::EmptyImage { height, width });
        }
        let set_count = u8::try_from(sets).map_err(|_| MaskError::SetCount { sets })?;
        if set_count == 0 {
            return Err(MaskError::SetCount { sets });
        }
        let too_many = MaskError::TooManyCells {
            region_size,
            height,
            width,
        };
        let count = height
            .div_ceil(region_size)
            .checked_mul(width.div_ceil(region_size))
            .and_then(|count| u32::try_from(count).ok())
            .ok_or(too_many)?;
        if count < u32::from(set_count) {
            return Err(MaskError::TooFewCells {
                sets,
                cells: count as usize,
            });
        }

        let mut cells: Vec<u8> = (0..set_count).cycle().take(count as usize).collect();
        shuffle(&mut cells, &mut ChaCha8Rng::seed_from_u64(seed));
        Ok(Self {
            region_size,
            sets,
            height,
            width,
            cells,
        })
    }

    /// Side of a cell in pixels.
    pub fn region_size(&self) -> usize {
        self.region_size
    }

    /// Number of disjoint sets, which is the number of passes that a reconstruction takes.
    pub fn sets(&self) -> usize {
        self.sets
    }

    /// Height of the masked image in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width of the masked image in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The one set, in `0..sets()`, in which the pixel is hidden.
    ///
    /// # Panics
    /// If the pixel lies outside the image.
    pub fn set_of(&self, y: usize, x: usize) -> usize {
        assert!(x < self.width, "column {x} is outside a mask of width {}", self.width);
        usize::from(self.cell_row(y)[x / self.region_size])
    }

    /// Row `y` of the mask of `set`: true where the pixel is hidden, `width()` items.
    ///
    /// # Panics
    /// If the row lies outside the image.
    pub fn hidden_row(&self, set: usize, y: usize) -> impl Iterator<Item = bool> + '_ {
        self.cell_row(y)
            .iter()
            .flat_map(move |&cell| iter::repeat_n(usize::from(cell) == set, self.region_size))
            .take(self.width)
    }

    /// Writes the mask of `set` as factors for the image: 1 where it is visible, 0 where it is hidden.
    ///
    /// `out` is one plane of `height() * width()` values; a set outside `0..sets()` hides nothing.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn write_visible(&self, set: usize, out: &mut [f32]) {
        assert_eq!(
            out.len(),
            self.height * self.width,
            "a mask plane has height x width values"
        );
        for (row, band) in out.chunks_mut(self.region_size.saturating_mul(self.width)).enumerate() {
            let (first, copies) = band.split_at_mut(self.width);
            let cells = self.cell_row(row * self.region_size);
            for (pixels, &cell) in first.chunks_mut(self.region_size).zip(cells) {
                pixels.fill(if usize::from(cell) == set { 0.0 } else { 1.0 });
            }
            for copy in copies.chunks_exact_mut(self.width) {
                copy.copy_from_slice(first);
            }
        }
    }

    /// The sets of the cells that pixel row `y` runs through.
    fn cell_row(&self, y: usize) -> &[u8] {
        assert!(y < self.height, "row {y} is outside a mask of height {}", self.height);
        let columns = self.width.div_ceil(self.region_size);
        &self.cells[y / self.region_size * columns..][..columns]
    }
}
