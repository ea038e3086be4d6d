//! Images as input of a network, and their sizes.

use std::cmp::Ordering;
use std::path::Path;

use riad_core::{LengthError, Size, mirrored};

use crate::DataError;

/// An image in planes of values in [0, 1]: all of the first channel row by row, then all of the second, and so on. With
/// three channels these are red, green and blue.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    channels: usize,
    size: Size,
    /// `channels * size.pixels()` of them.
    values: Vec<f32>,
}

impl Image {
    /// Takes `channels` · `size.pixels()` values in [0, 1], channel by channel.
    ///
    /// # Errors
    /// Another number of values.
    pub fn new(channels: usize, size: Size, values: Vec<f32>) -> Result<Self, LengthError> {
        LengthError::check("an image", values.len(), channels.saturating_mul(size.pixels()))?;
        Ok(Self { channels, size, values })
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height and width.
    pub fn size(&self) -> Size {
        self.size
    }

    /// All values, channel by channel.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, channel by channel, without a copy.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The same image, moved down by a number of rows and right by a number of columns. The free part shows the mirror
    /// image of the part beside it.
    pub(crate) fn moved(&self, down: isize, right: isize) -> Self {
        let Size { height, width } = self.size;
        let from = |to: usize, by: isize, side: usize| mirrored(to as isize - by, side);
        let mut values = Vec::with_capacity(self.values.len());
        for plane in self.planes() {
            for y in 0..height {
                let row = &plane[from(y, down, height) * width..][..width];
                values.extend((0..width).map(|x| row[from(x, right, width)]));
            }
        }
        Self { values, ..self.clone() }
    }

    /// The values of each channel, row by row.
    pub fn planes(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.size.pixels().max(1))
    }
}

/// An [`Image`] at its final size, and facts about its file.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedImage {
    /// The image, fitted.
    pub image: Image,
    /// The size of the upright original.
    pub original_size: Size,
    /// Other facts about its files.
    pub found: FileFacts,
}

/// Facts about the files of an image that its values do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileFacts {
    /// Number of pictures in the file: pages of a TIFF, or frames of an animation. One was read. With several files,
    /// the largest number.
    pub pictures: usize,
    /// The brightest sample, if samples are integers of more than 8 bits.
    pub brightest: Option<Brightest>,
}

impl FileFacts {
    /// One picture. Nothing is known of its samples.
    pub(crate) fn one() -> Self {
        Self {
            pictures: 1,
            brightest: None,
        }
    }

    /// The facts of two files together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            pictures: self.pictures.max(other.pictures),
            brightest: self.brightest.max(other.brightest),
        }
    }
}

/// The brightest sample of one or several images. The comparison is by the share of the range that it uses.
#[derive(Clone, Copy, Debug)]
pub struct Brightest {
    /// The sample.
    pub sample: u16,
    /// The largest value that it could have.
    pub full: u16,
}

impl Brightest {
    /// The likely white level of a camera of 10, 12 or 14 bits that stores samples in 16 bits. `None` if samples use
    /// more than a quarter of the range, because then the images have 16 bits.
    pub fn likely_white_level(self) -> Option<u16> {
        let levels = [1023, 4095, 16_383];
        let fitting = levels.into_iter().find(|&level| self.sample <= level);
        fitting.filter(|&level| u32::from(level) * 4 <= u32::from(self.full) + 4)
    }

    /// Compares the shares of the range that are used.
    fn products(self, other: Self) -> (u32, u32) {
        let product = |a: u16, b: u16| u32::from(a) * u32::from(b);
        (product(self.sample, other.full), product(other.sample, self.full))
    }
}

impl Ord for Brightest {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, other) = self.products(*other);
        own.cmp(&other)
    }
}

impl PartialOrd for Brightest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Brightest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Brightest {}

/// The size of loaded images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fit {
    /// Their own size.
    Own,
    /// This size, without keeping the aspect ratio. Resizing is antialiased, and within 1/255 of Pillow's `BILINEAR`.
    Resized(Size),
    /// Their own size, which must be at least this in both directions.
    AtLeast(Size),
    /// Their own size, which must be equal to this size of a region of interest.
    Exactly(Size),
}

impl Fit {
    /// Checks that an image of this size can be used.
    ///
    /// # Errors
    /// [`DataError::Size`], which names `path`.
    pub fn check(self, path: &Path, size: Size) -> Result<(), DataError> {
        let reason = match self {
            Self::AtLeast(tile) if size.height < tile.height || size.width < tile.width => format!(
                "the image has {size} pixels (height x width), but a tile {tile}; leave it out, or train a model with \
                 smaller tiles"
            ),
            Self::Exactly(region) if size != region => format!(
                "the image has {size} pixels (height x width), but the region of interest {region}; leave it out, or use a \
                 model without that region"
            ),
            _ => return Ok(()),
        };
        Err(DataError::size(path, reason))
    }
}
