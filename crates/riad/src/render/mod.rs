//! Pictures of results: heat maps, overlays, and maps as numbers.

mod colour;
pub mod raw;
pub(crate) mod thumbnail;

use std::path::Path;

use image::{ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, imageops};
use riad_core::{Map, Size};

pub use colour::Scale;
pub use thumbnail::{Thumbnail, ThumbnailKind};

use crate::{Error, Result, files::write_whole};

/// The line around what a model found.
const FOUND: Rgb<u8> = Rgb([255, 0, 200]);

/// The dashes around the ground truth, whose colours no scale has.
const TRUTH: [Rgb<u8>; 2] = [Rgb([255; 3]), Rgb([0; 3])];

/// Length of a dash in pixels.
const DASH: u32 = 4;

/// A picture's side in pixels as the image library counts.
fn side(pixels: usize) -> Result<u32> {
    u32::try_from(pixels).map_err(Error::render("a picture of an image so large"))
}

/// One value for each pixel: a map that can be drawn.
pub struct Plane(ImageBuffer<Luma<f32>, Vec<f32>>);

impl Plane {
    /// Takes a map's values without a copy.
    ///
    /// # Errors
    /// If it is too large to be drawn.
    pub fn new(map: Map) -> Result<Self> {
        let Size { height, width } = map.size();
        let buffer = ImageBuffer::from_raw(side(width)?, side(height)?, map.into_values());
        buffer
            .map(Self)
            .ok_or("it has not its size")
            .map_err(Error::render("a picture of a map"))
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.0.dimensions()
    }

    /// The map, without a copy.
    pub(crate) fn into_map(self) -> Result<Map> {
        let (width, height) = self.size();
        let size = Size::new(height as usize, width as usize);
        Map::new(size, self.0.into_raw()).map_err(Error::render("a map"))
    }

    /// The values, row by row.
    pub fn values(&self) -> &[f32] {
        self.0.as_raw()
    }

    /// The value of a pixel.
    ///
    /// # Panics
    /// If the pixel lies outside.
    pub fn at(&self, x: u32, y: u32) -> f32 {
        self.0.get_pixel(x, y).0[0]
    }

    /// The values at another size. Enlarging is bilinear, reducing averages.
    ///
    /// # Errors
    /// If the size is too large to be drawn.
    pub fn resized(&self, size: Size) -> Result<Self> {
        let (width, height) = (side(size.width)?, side(size.height)?);
        if self.size() == (width, height) {
            return Ok(Self(self.0.clone()));
        }
        // The library cuts off what is not in [0, 1]. Most maps lie in [-1, 1]; a region of interest holds less outside of it.
        let bound = self
            .values()
            .iter()
            .fold(1.0, |bound: f32, value| bound.max(value.abs()));
        let mut values = self.0.clone();
        values
            .iter_mut()
            .for_each(|value| *value = 0.5 + 0.5 * (*value / bound));
        let mut values = imageops::resize(&values, width, height, imageops::FilterType::Triangle);
        values
            .iter_mut()
            .for_each(|value| *value = bound * (2.0 * *value - 1.0));
        Ok(Self(values))
    }
}

/// The picture of an image `[C, H, W]` in [0, 1]. Three channels are red, green and blue. One channel is grey. For any
/// other number, the mean of the channels is grey, because lights and bands have no common colours.
///
/// # Errors
/// If it is too large to be drawn.
pub fn drawn(image: &[f32], size: Size) -> Result<RgbImage> {
    let Size { height, width } = size;
    let planes: Vec<&[f32]> = image.chunks_exact(size.pixels().max(1)).collect();
    let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    let bytes = (0..size.pixels())
        .flat_map(|at| match planes.as_slice() {
            [red, green, blue] => [red[at], green[at], blue[at]].map(byte),
            planes => [byte(planes.iter().map(|plane| plane[at]).sum::<f32>() / planes.len() as f32); 3],
        })
        .collect();
    RgbImage::from_raw(side(width)?, side(height)?, bytes)
        .ok_or("it has not its size")
        .map_err(Error::render("a picture of an image"))
}

/// Height and width of a picture.
pub(crate) fn size_of(picture: &RgbImage) -> Size {
    Size::new(picture.height() as usize, picture.width() as usize)
}

/// `picture` in grey.
fn grey(picture: &RgbImage) -> RgbImage {
    let grey = imageops::grayscale(picture);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        Rgb([grey.get_pixel(x, y).0[0]; 3])
    })
}

/// Draws a line around the pixels that a model found. The line is outside of them, so even a single pixel stays
/// visible.
pub fn outline_found(picture: &mut RgbImage, is_found: impl Fn(u32, u32) -> bool) {
    outline(picture, is_found, |_, _| FOUND);
}

/// Draws a dashed line around the ground truth, which nobody takes for that around what was found.
pub(crate) fn outline_truth(picture: &mut RgbImage, is_defective: impl Fn(u32, u32) -> bool) {
    outline(picture, is_defective, |x, y| TRUTH[((x + y) / DASH % 2) as usize]);
}

fn outline(picture: &mut RgbImage, is_inside: impl Fn(u32, u32) -> bool, colour: impl Fn(u32, u32) -> Rgb<u8>) {
    let (width, height) = picture.dimensions();
    let near = |at: u32, end: u32| at.saturating_sub(2)..(at + 3).min(end);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let is_beside = || near(y, height).any(|y| near(x, width).any(|x| is_inside(x, y)));
        if !is_inside(x, y) && is_beside() {
            *pixel = colour(x, y);
        }
    }
}

/// Writes a picture as PNG. If the program is killed at any time, the file is the old one or the new one. Missing
/// folders are made.
///
/// # Errors
/// If the file cannot be written.
pub fn save(picture: &RgbImage, path: &Path) -> Result<()> {
    write_whole(path, &png(picture)?)
}

/// The content of a picture's PNG file, without writing it.
///
/// # Errors
/// If the picture has no pixel.
pub fn png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut png = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut png, ImageFormat::Png)
        .map_err(Error::render("a PNG file"))?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_channels_are_colours_and_others_grey() {
        let pixel = |channels: &[f32]| drawn(channels, Size::new(1, 1)).unwrap().get_pixel(0, 0).0;
        assert_eq!(pixel(&[0.2, 0.4, 1.0]), [51, 102, 255]);
        assert_eq!(pixel(&[0.2]), [51; 3]);
        assert_eq!(pixel(&[0.2, 0.6]), [102; 3]);
        assert_eq!(pixel(&[0.2, 0.4, 0.6, 0.8]), [128; 3], "0.5 is 127.5");
        // Channel by channel, row by row.
        let drawn = drawn(&[0.0, 1.0, 0.0, 0.2, 1.0, 0.4], Size::new(1, 2)).unwrap();
        assert_eq!(
            [drawn.get_pixel(0, 0).0, drawn.get_pixel(1, 0).0],
            [[0, 0, 255], [255, 51, 102]]
        );
    }
}
