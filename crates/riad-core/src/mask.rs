//! Disjoint random masks: the cells of the image that are hidden from the network in each pass.
//!
//! The image is a grid of square cells. They are assigned at random to `sets` sets of equal size. In pass *i* the cells
//! of set *i* are hidden, and the network must fill them in. Every cell is in exactly one set. So the hidden parts of
//! all passes together are a whole reconstruction. The network did not see the pixels that it fills in.

use std::iter;

use thiserror::Error;

use crate::{LengthError, Size, random::Random};

/// A partition of an image's grid of cells into disjoint sets of equal size.
///
/// Equal arguments give equal masks on every platform. The masks keep one byte for each cell, so even masks of 2-pixel
/// cells are small. Pixels are computed when they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masks {
    region_size: usize,
    sets: usize,
    size: Size,
    /// The set of each cell, row by row, `width.div_ceil(region_size)` cells to a row.
    cells: Vec<u8>,
}

/// Why there is no mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The region size is zero.
    #[error("the region size is 0; a region needs a side of at least 1 pixel")]
    ZeroRegionSize,
    /// The image has no pixels.
    #[error("an image of {size} (height x width) has no pixels to mask")]
    EmptyImage {
        /// Size that was asked for.
        size: Size,
    },
    /// The image has more pixels than memory can hold.
    #[error("an image of {size} (height x width) has more pixels than memory can hold; use a smaller image")]
    TooLarge {
        /// Size that was asked for.
        size: Size,
    },
    /// The number of sets is outside 1 to [`Masks::MAX_SETS`].
    #[error("{sets} disjoint sets are not possible; choose 1 to {max}", max = Masks::MAX_SETS)]
    SetCount {
        /// Number of sets that was asked for.
        sets: usize,
    },
    /// There are fewer cells than sets, so a set would hide nothing.
    #[error("{sets} sets cannot share {cells} cells; use fewer sets, smaller regions or a larger image")]
    TooFewCells {
        /// Number of sets that was asked for.
        sets: usize,
        /// Number of cells in the grid.
        cells: usize,
    },
    /// The grid has more cells than a 32-bit draw can tell apart.
    #[error("an image of {size} (height x width) has too many regions of {region_size} pixels; use larger regions")]
    TooManyCells {
        /// Region size that was asked for, in pixels.
        region_size: usize,
        /// Size that was asked for.
        size: Size,
    },
    /// There is no set of that number.
    #[error("there is no set {set}; the {sets} disjoint sets are numbered from 0")]
    NoSuchSet {
        /// Number of the set that was asked for.
        set: usize,
        /// How many sets there are.
        sets: usize,
    },
    /// A mask must have one value for each pixel of the image.
    #[error(transparent)]
    Length(#[from] LengthError),
}

impl Masks {
    /// The largest number of sets: a cell's set is kept in one byte.
    pub const MAX_SETS: usize = 255;

    /// Assigns the cells of an image of `size` at random to `sets` disjoint sets.
    ///
    /// Cells are squares of `region_size` pixels. If that does not divide the image, the last row and column of cells
    /// are cut off at the image's edge. The sets' numbers of cells differ by at most one. Time and memory are linear in
    /// the number of cells.
    ///
    /// # Errors
    /// A zero size, no or more than [`MAX_SETS`](Self::MAX_SETS) sets, more sets than cells, 2³² cells and more, or more
    /// pixels than a `usize` can count.
    pub fn sample(region_size: usize, sets: usize, size: Size, seed: u64) -> Result<Self, MaskError> {
        let (set_count, count) = Self::counts(region_size, sets, size)?;
        let mut cells: Vec<u8> = (0..set_count).cycle().take(count).collect();
        Random::new(seed).shuffle(&mut cells);
        Ok(Self {
            region_size,
            sets,
            size,
            cells,
        })
    }

    /// Checks whether [`sample`](Self::sample) would succeed with these numbers, without its work.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn check(region_size: usize, sets: usize, size: Size) -> Result<(), MaskError> {
        Self::counts(region_size, sets, size).map(|_| ())
    }

    /// The number of sets as a cell keeps it, and the number of cells.
    fn counts(region_size: usize, sets: usize, size: Size) -> Result<(u8, usize), MaskError> {
        if region_size == 0 {
            return Err(MaskError::ZeroRegionSize);
        }
        if size.is_empty() {
            return Err(MaskError::EmptyImage { size });
        }
        if size.checked_pixels().is_none() {
            return Err(MaskError::TooLarge { size });
        }
        let set_count = u8::try_from(sets).map_err(|_| MaskError::SetCount { sets })?;
        if set_count == 0 {
            return Err(MaskError::SetCount { sets });
        }
        // There are no more cells than pixels.
        let count = size.height.div_ceil(region_size) * size.width.div_ceil(region_size);
        if u32::try_from(count).is_err() {
            return Err(MaskError::TooManyCells { region_size, size });
        }
        if count < sets {
            return Err(MaskError::TooFewCells { sets, cells: count });
        }
        Ok((set_count, count))
    }

    /// Side of a cell in pixels.
    #[doc(alias = "k")]
    pub fn region_size(&self) -> usize {
        self.region_size
    }

    /// Number of disjoint sets. A reconstruction needs one pass for each.
    #[doc(alias = "n")]
    pub fn sets(&self) -> usize {
        self.sets
    }

    /// Size of the masked image.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The set, in `0..sets()`, in which the pixel is hidden. `None` for a pixel outside the image.
    pub fn set_of(&self, y: usize, x: usize) -> Option<usize> {
        let cells = self.cell_row(y)?;
        // The last cell may reach beyond the image.
        (x < self.size.width).then(|| usize::from(cells[x / self.region_size]))
    }

    /// Row `y` of the mask of `set`: one item for each column, true if the pixel is hidden. `None` for a row outside
    /// the image, or a set that does not exist.
    pub fn hidden_row(&self, set: usize, y: usize) -> Option<impl Iterator<Item = bool> + '_> {
        let cells = self.cell_row(y).filter(|_| set < self.sets)?;
        let hidden = cells
            .iter()
            .flat_map(move |&cell| iter::repeat_n(usize::from(cell) == set, self.region_size));
        Some(hidden.take(self.size.width))
    }

    /// Writes the mask of `set` as factors for the image, 1 where it is visible and 0 where it is hidden: one for each
    /// pixel, row by row.
    ///
    /// # Errors
    /// A set that does not exist, or an `out` of another length.
    pub fn write_visible(&self, set: usize, out: &mut [f32]) -> Result<(), MaskError> {
        if set >= self.sets {
            return Err(MaskError::NoSuchSet { set, sets: self.sets });
        }
        LengthError::check("a mask", out.len(), self.size.pixels())?;
        let width = self.size.width;
        let rows_of_cells = self.cells.chunks_exact(self.columns());
        let bands = out.chunks_mut(self.region_size.saturating_mul(width));
        for (band, cells) in bands.zip(rows_of_cells) {
            let (first, copies) = band.split_at_mut(width);
            for (pixels, &cell) in first.chunks_mut(self.region_size).zip(cells) {
                pixels.fill(if usize::from(cell) == set { 0.0 } else { 1.0 });
            }
            for copy in copies.chunks_exact_mut(width) {
                copy.copy_from_slice(first);
            }
        }
        Ok(())
    }

    /// Number of cells in a row of them.
    fn columns(&self) -> usize {
        self.size.width.div_ceil(self.region_size)
    }

    /// The sets of the cells that contain pixel row `y`.
    fn cell_row(&self, y: usize) -> Option<&[u8]> {
        let start = (y < self.size.height).then(|| y / self.region_size * self.columns())?;
        self.cells.get(start..start + self.columns())
    }
}
