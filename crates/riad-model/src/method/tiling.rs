//! Large images by overlapping tiles, and one seamless map from the maps of the tiles.
//!
//! A tile's map is least reliable at the tile's border, because network and filters do not see the image beyond it. So
//! a tile's weight at a pixel grows with the distance to the tile's border, relative to the other tiles at that pixel.
//! If two tiles overlap, weights are linear ramps. They sum to 1 everywhere.

use riad_core::Size;
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    error::{ModelError, NeededSize},
};

/// Tiles for images that are larger than the network's input: at their own resolution, in the network's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiling {
    /// Smallest overlap of neighbouring tiles in pixels, in each direction. It is at most half a tile.
    pub overlap: usize,
}

impl Tiling {
    pub(crate) fn check(self, tile: Size) -> Result<()> {
        let most = tile.height.min(tile.width) / 2;
        if self.overlap <= most {
            return Ok(());
        }
        Err(ModelError::Setting(format!(
            "tiles of {tile} (height x width) can overlap by at most {most} pixels, half of their shorter side, not \
             by {}",
            self.overlap
        )))
    }
}

/// The tiles of an image in one direction, and their weights.
#[derive(Debug)]
struct Axis {
    /// Where each tile starts.
    starts: Vec<usize>,
    /// The weight of each tile at each of its pixels.
    weights: Vec<Vec<f32>>,
}

impl Axis {
    /// As few tiles as cover the axis with the overlap, at equal distances from end to end: no tile reaches beyond.
    fn new(size: usize, tile: usize, overlap: usize) -> Self {
        let steps = (size - tile).div_ceil(tile - overlap);
        let starts: Vec<usize> = (0..=steps).map(|i| i * (size - tile) / steps.max(1)).collect();
        // Distances to the tile's border, from 1.
        let trust = |start: usize, at: usize| ((at - start).min(start + tile - 1 - at) + 1) as f64;
        let mut sums = vec![0.0; size];
        for &start in &starts {
            for (at, sum) in (start..).zip(&mut sums[start..start + tile]) {
                *sum += trust(start, at);
            }
        }
        let weights = |&start: &usize| {
            let relative = |at: usize| (trust(start, at) / sums[at]) as f32;
            (start..start + tile).map(relative).collect()
        };
        let weights = starts.iter().map(weights).collect();
        Self { starts, weights }
    }
}

/// The tiles of an image.
#[derive(Debug)]
pub(crate) struct Grid {
    rows: Axis,
    columns: Axis,
    /// Of the image.
    size: Size,
    tile: Size,
}

impl Grid {
    /// The tiles of an image of this size.
    ///
    /// # Errors
    /// [`ModelError::ImageSize`] if it is smaller than a tile.
    pub(crate) fn new(size: Size, tile: Size, tiling: Tiling) -> Result<Self> {
        if size.height < tile.height || size.width < tile.width {
            return Err(ModelError::ImageSize {
                got: size,
                needed: NeededSize::AtLeast(tile),
            });
        }
        Ok(Self {
            rows: Axis::new(size.height, tile.height, tiling.overlap),
            columns: Axis::new(size.width, tile.width, tiling.overlap),
            size,
            tile,
        })
    }

    /// How many tiles there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.starts.len() * self.columns.starts.len()
    }

    /// Rows of the tile numbered `index`: of each, where it lies in a plane of the image, and its weight as a whole.
    fn tile_rows(&self, index: usize) -> impl Iterator<Item = (std::ops::Range<usize>, f32)> + '_ {
        let (row, column) = self.place(index);
        let (top, left) = (self.rows.starts[row], self.columns.starts[column]);
        self.rows.weights[row].iter().enumerate().map(move |(y, &weight)| {
            let start = (top + y) * self.size.width + left;
            (start..start + self.tile.width, weight)
        })
    }

    fn place(&self, index: usize) -> (usize, usize) {
        (index / self.columns.starts.len(), index % self.columns.starts.len())
    }

    /// Appends the tile numbered `index` to `tiles`: its part of each plane of `image`, which has the image's size.
    pub(crate) fn cut(&self, image: &[f32], index: usize, tiles: &mut Vec<f32>) {
        for plane in image.chunks_exact(self.size.pixels()) {
            for (row, _) in self.tile_rows(index) {
                tiles.extend_from_slice(&plane[row]);
            }
        }
    }

    /// Whether `marks`, one for each pixel of the image, has any in the tile numbered `index`.
    pub(crate) fn has_any(&self, marks: &[bool], index: usize) -> bool {
        self.tile_rows(index).any(|(row, _)| marks[row].contains(&true))
    }

    /// Adds the planes of the tile numbered `index`, weighted, to those of the image. Over all tiles the weights of a
    /// pixel sum to 1.
    pub(crate) fn blend(&self, tile: &[f32], index: usize, image: &mut [f32]) {
        let weights = &self.columns.weights[self.place(index).1];
        let planes = tile.chunks_exact(self.tile.pixels());
        for (tile, plane) in planes.zip(image.chunks_exact_mut(self.size.pixels())) {
            for (values, (row, weight)) in tile.chunks_exact(self.tile.width).zip(self.tile_rows(index)) {
                for ((out, value), across) in plane[row].iter_mut().zip(values).zip(weights) {
                    *out += weight * across * value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tiles_cover_the_image_and_their_weights_sum_to_1(
            tile in (16usize..40, 16usize..40),
            more in (0usize..150, 0usize..150),
            share in 0usize..=16,
        ) {
            let overlap = tile.0.min(tile.1) / 2 * share / 16;
            let size = (tile.0 + more.0, tile.1 + more.1);
            let grid = Grid::new(Size::new(size.0, size.1), Size::new(tile.0, tile.1), Tiling { overlap }).unwrap();
            for (axis, size, tile) in [(&grid.rows, size.0, tile.0), (&grid.columns, size.1, tile.1)] {
                prop_assert_eq!(axis.starts[0], 0);
                prop_assert_eq!(axis.starts[axis.starts.len() - 1] + tile, size);
                prop_assert!(axis.starts.windows(2).all(|pair| pair[0] < pair[1] && pair[0] + tile >= pair[1] + overlap));
            }
            // A constant map stays what it is, and what is cut out is blended back.
            let image: Vec<f32> = (0..2 * size.0 * size.1)
                .map(|i| if i < size.0 * size.1 { 0.75 } else { (i as f32 * 0.1).sin() })
                .collect();
            let mut blended = vec![0.0; image.len()];
            for index in 0..grid.len() {
                let mut cut = Vec::new();
                grid.cut(&image, index, &mut cut);
                prop_assert_eq!(cut.len(), 2 * tile.0 * tile.1);
                grid.blend(&cut, index, &mut blended);
            }
            for (a, b) in image.iter().zip(&blended) {
                prop_assert!((a - b).abs() < 1e-6, "{} {}", a, b);
            }
        }
    }

    #[test]
    fn weights_are_linear_ramps_between_two_tiles_and_1_elsewhere() {
        let axis = Axis::new(28, 16, 4);
        assert_eq!(axis.starts, [0, 12]);
        let expected = [0.8, 0.6, 0.4, 0.2].map(|weight: f64| weight as f32);
        assert_eq!(axis.weights[0][..12], [1.0; 12]);
        assert_eq!(axis.weights[0][12..], expected);
        assert!(axis.weights[1][..4].iter().rev().eq(&expected));
        assert_eq!(axis.weights[1][4..], [1.0; 12]);
    }

    #[test]
    fn an_image_of_one_tile_has_one_that_counts_whole() {
        let grid = Grid::new(Size::new(16, 20), Size::new(16, 20), Tiling { overlap: 8 }).unwrap();
        assert_eq!(grid.len(), 1);
        assert!(
            grid.rows
                .weights
                .iter()
                .chain(&grid.columns.weights)
                .flatten()
                .all(|weight| *weight == 1.0)
        );
        assert!(Grid::new(Size::new(15, 20), Size::new(16, 20), Tiling { overlap: 8 }).is_err());
    }
}
