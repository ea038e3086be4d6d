//! Chooses the method by the good images.

use riad_core::{
    Map, Size,
    similarity::{Shape, gray},
    smooth::mean_filter,
};

use super::{InputFilter, Method};
use crate::{ModelError, Result, network::Architecture};

/// Side in pixels of the mean filter over edges: they are taken to be at the same place if they are within about as much.
const TOLERANCE: usize = 9;

/// What is added to the brightness that edges are divided by, so that noise in the dark is no edge.
const DARK: f32 = 0.1;

/// The alignment of good images: how well a place in the image predicts edges. The whole image counts, also outside of
/// a region of interest.
///
/// This is the intraclass correlation ICC(1,1) of Shrout and Fleiss (1979,
/// <https://doi.org/10.1037/0033-2909.86.2.420>), with places rated by images: the share of the variance of edges that
/// places explain. It is 1 if all images have the same edges, and about 0 for a texture.
///
/// ```
/// use riad_model::{Alignment, Method};
///
/// let mut alignment = Alignment::new(1)?;
/// let size = Alignment::SIZE;
/// for image in 0..8 {
///     // A square in the middle, in every image brighter.
///     let inside = |at: usize| (40..80).contains(&(at / size.width)) && (40..80).contains(&(at % size.width));
///     let values = |at| if inside(at) { 0.5 + 0.05 * image as f32 } else { 0.1 };
///     alignment.add(&(0..size.pixels()).map(values).collect::<Vec<_>>())?;
/// }
/// assert!(alignment.value() > 0.9);
/// assert_eq!(alignment.method(), Method::RESTORE);
/// # Ok::<(), riad_model::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Alignment {
    channels: usize,
    images: usize,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Alignment {
    /// The size at which alignment is measured. It does not depend on the network's size, because aligned products are
    /// aligned at any size.
    pub const SIZE: Size = Size::new(128, 128);

    /// From this alignment on, restoration is the better method. Four classes of paper have up to 0.01 and a fabric 0.02, and RIAD
    /// finds more of their defects. Pills turned by any angle have 0.23, and restoration finds more (docs/results.md).
    pub const ALIGNED: f64 = 0.1;

    /// An alignment of images with this number of channels, without an image yet.
    ///
    /// # Errors
    /// [`ModelError::Setting`] if no network has this number of channels.
    pub fn new(channels: usize) -> Result<Self> {
        Architecture::u_net(1).with_channels(channels).check()?;
        Ok(Self {
            channels,
            images: 0,
            sums: vec![0.0; Self::SIZE.pixels()],
            squares: vec![0.0; Self::SIZE.pixels()],
        })
    }

    /// Adds an image `[C, H, W]` in [0, 1], of the size [`Self::SIZE`].
    ///
    /// # Errors
    /// If it is of another size, or has other channels.
    pub fn add(&mut self, image: &[f32]) -> Result<()> {
        let shape = Shape {
            images: 1,
            channels: self.channels,
            size: Self::SIZE,
        };
        ModelError::length("an image", image.len(), shape.batch_len())?;
        let edges = InputFilter::EdgesGrey.of(image, shape)?.into_owned();
        let edges = mean_filter(&Map::new(Self::SIZE, edges)?, TOLERANCE)?;
        let light = mean_filter(&Map::new(Self::SIZE, gray(image, shape)?)?, TOLERANCE)?;
        // Relative to the light: else a texture would be aligned by a lens that is darker towards the corners.
        let edges = edges.values().iter().zip(light.values());
        let edges = edges.map(|(edge, light)| f64::from(edge / (light + DARK)));
        for ((sum, square), edge) in self.sums.iter_mut().zip(&mut self.squares).zip(edges) {
            *sum += edge;
            *square += edge * edge;
        }
        self.images += 1;
        Ok(())
    }

    /// The alignment of the images so far, at most 1. It is around 0 if places explain nothing, and 0 for fewer than
    /// two images and for images without edges.
    pub fn value(&self) -> f64 {
        intraclass_correlation(self.images, &self.sums, &self.squares)
    }

    /// The method that finds more in such images.
    pub fn method(&self) -> Method {
        if self.value() >= Self::ALIGNED {
            Method::RESTORE
        } else {
            Method::RIAD
        }
    }
}

/// ICC(1,1) of targets with so many ratings each, by the sum of each target's ratings and that of their squares.
fn intraclass_correlation(ratings: usize, sums: &[f64], squares: &[f64]) -> f64 {
    if ratings < 2 || sums.len() < 2 {
        return 0.0;
    }
    let (n, targets) = (ratings as f64, sums.len() as f64);
    let mean = sums.iter().sum::<f64>() / (n * targets);
    let between = sums.iter().map(|sum| n * (sum / n - mean).powi(2)).sum::<f64>() / (targets - 1.0);
    let within = sums.iter().zip(squares).map(|(sum, square)| square - sum * sum / n);
    let within = within.sum::<f64>() / (targets * (n - 1.0));
    let all = between + (n - 1.0) * within;
    if all > 0.0 { (between - within) / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Alignment::SIZE;

    /// Table 2 of Shrout and Fleiss (1979), whose table 4 has 0.17 for it.
    #[test]
    fn the_correlation_is_that_of_the_paper() {
        let rated = [
            [9.0, 2.0, 5.0, 8.0],
            [6.0, 1.0, 3.0, 2.0],
            [8.0, 4.0, 6.0, 8.0],
            [7.0, 1.0, 2.0, 6.0],
            [10.0, 5.0, 6.0, 9.0],
            [6.0, 2.0, 4.0, 7.0],
        ];
        let sums = rated.map(|ratings| ratings.iter().sum());
        let squares = rated.map(|ratings| ratings.iter().map(|rating| rating * rating).sum());
        let correlation: f64 = intraclass_correlation(4, &sums, &squares);
        assert_eq!((100.0 * correlation).round(), 17.0, "{correlation}");
    }

    /// Dots that lie elsewhere in every image, as few images as can be told apart, and images with nothing on them.
    #[test]
    fn what_lies_anywhere_is_left_to_riad() {
        let mut alignment = Alignment::new(3).unwrap();
        assert_eq!((alignment.value(), alignment.method()), (0.0, Method::RIAD));
        let mut random = riad_core::Random::new(1);
        for _ in 0..12 {
            let mut image = vec![0.5; 3 * SIZE.pixels()];
            for _ in 0..200 {
                let at = (random.next_u64() % SIZE.pixels() as u64) as usize;
                image[at] = 1.0;
            }
            alignment.add(&image).unwrap();
        }
        assert!(alignment.value().abs() < 0.02, "{}", alignment.value());
        assert_eq!(alignment.method(), Method::RIAD);

        // The same dots under a lens that lets half of the light through in the corners.
        let mut dark = Alignment::new(1).unwrap();
        for _ in 0..24 {
            let mut image = vec![0.5; SIZE.pixels()];
            for _ in 0..2000 {
                image[(random.next_u64() % SIZE.pixels() as u64) as usize] = 1.0;
            }
            let from_middle = |at: usize| (at as f32 - 63.5).powi(2) / (2.0 * 63.5 * 63.5);
            for (at, value) in image.iter_mut().enumerate() {
                *value *= 1.0 - 0.5 * (from_middle(at / SIZE.width) + from_middle(at % SIZE.width));
            }
            dark.add(&image).unwrap();
        }
        assert!(dark.value() < 0.05, "{}", dark.value());

        let mut blank = Alignment::new(1).unwrap();
        (0..3).for_each(|_| blank.add(&vec![0.5; SIZE.pixels()]).unwrap());
        assert_eq!((blank.value(), blank.method()), (0.0, Method::RIAD));
        assert!(blank.add(&vec![0.5; 3 * SIZE.pixels()]).is_err());
        assert!(Alignment::new(0).is_err());
    }
}
