//! Pictures: heat maps, overlays, and what the report shows of an image.

mod colour;
mod thumbnail;

use std::path::Path;

use anyhow::{Context, Result};
use image::{ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, imageops};

pub(crate) use colour::Scale;
pub(crate) use thumbnail::{Painter, Shows, Thumbnail};

use crate::files::write_whole;

/// The line around a defect.
const OUTLINE: Rgb<u8> = Rgb([255, 0, 200]);

/// A picture's side in pixels as the image library counts.
fn side(pixels: usize) -> Result<u32> {
    u32::try_from(pixels).context("an image is too large to be drawn")
}

/// One value for each pixel, in [-1, 1].
pub(crate) struct Plane(ImageBuffer<Luma<f32>, Vec<f32>>);

impl Plane {
    /// Takes `height` · `width` values, row by row.
    pub(crate) fn new(values: &[f32], height: usize, width: usize) -> Result<Self> {
        let buffer = ImageBuffer::from_raw(side(width)?, side(height)?, values.to_vec());
        buffer.map(Self).context("a map has not the size of its image")
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.0.dimensions()
    }

    /// The values, row by row.
    pub(crate) fn values(&self) -> &[f32] {
        self.0.as_raw()
    }

    /// The value of a pixel.
    pub(crate) fn at(&self, x: u32, y: u32) -> f32 {
        self.0.get_pixel(x, y).0[0]
    }

    /// The values at another size: bilinear when enlarged, averaged when reduced.
    pub(crate) fn resized(&self, width: u32, height: u32) -> Self {
        if self.size() == (width, height) {
            return Self(self.0.clone());
        }
        // The library cuts off what is not in [0, 1].
        let mut values = self.0.clone();
        values.iter_mut().for_each(|value| *value = 0.5 + 0.5 * *value);
        let mut values = imageops::resize(&values, width, height, imageops::FilterType::Triangle);
        values.iter_mut().for_each(|value| *value = 2.0 * *value - 1.0);
        Self(values)
    }
}

/// The picture of an image `[3, H, W]` in [0, 1].
pub(crate) fn rgb(image: &[f32], height: usize, width: usize) -> Result<RgbImage> {
    let pixels = height * width;
    let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    let bytes = (0..pixels)
        .flat_map(|at| [0, 1, 2].map(|channel| byte(image[channel * pixels + at])))
        .collect();
    RgbImage::from_raw(side(width)?, side(height)?, bytes).context("an image has not its size")
}

/// `picture` in grey.
fn grey(picture: &RgbImage) -> RgbImage {
    let grey = imageops::grayscale(picture);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        Rgb([grey.get_pixel(x, y).0[0]; 3])
    })
}

/// Draws a line around what is inside. It lies outside, so that a single pixel can be seen in it.
pub(crate) fn outline(picture: &mut RgbImage, is_inside: impl Fn(u32, u32) -> bool) {
    let (width, height) = picture.dimensions();
    let near = |at: u32, end: u32| at.saturating_sub(2)..(at + 3).min(end);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let is_beside = || near(y, height).any(|y| near(x, width).any(|x| is_inside(x, y)));
        if !is_inside(x, y) && is_beside() {
            *pixel = OUTLINE;
        }
    }
}

/// Writes a picture as PNG, whole.
pub(crate) fn save(picture: &RgbImage, path: &Path) -> Result<()> {
    let mut png = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut png, ImageFormat::Png)
        .with_context(|| format!("cannot encode {}", path.display()))?;
    write_whole(path, png.get_ref())
}
