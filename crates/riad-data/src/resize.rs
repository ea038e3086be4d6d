//! From decoded pixels to the network's size.

use std::path::Path;

use fast_image_resize::{
    FilterType, IntoImageView, IntoImageViewMut, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    pixels::{U16, U16x3},
};
use image::DynamicImage;

use crate::{DataError, Limits, decode};

/// An RGB image in planes: `data[(channel · height + y) · width + x]`, each value in [0, 1]. A gray image has three
/// equal planes.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 3 · `height` · `width` values: all of red, then green, then blue, each row by row.
    pub data: Vec<f32>,
}

/// An [`Image`] as it is to be looked at, and the size of the file that it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedImage {
    /// The image, fitted.
    pub image: Image,
    /// `(height, width)` of the upright original.
    pub original_size: (usize, usize),
}

/// What sizes images are to have; heights and widths in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// They are resized to this size; see [`resize`].
    Resized {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// They keep their own size, which must not be smaller in either direction.
    AtLeast {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// They keep their own size, which must be this: that of a region of interest.
    Exactly {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

impl Fit {
    /// Checks that an image of this `(height, width)` need not be refused.
    ///
    /// # Errors
    /// [`DataError::Layout`], which names `path`.
    pub fn check(self, path: &Path, (height, width): (usize, usize)) -> Result<(), DataError> {
        let reason = match self {
            Self::AtLeast { height: h, width: w } if height < h || width < w => format!(
                "the image has {height}x{width} pixels (height x width), but a tile {h}x{w}; leave it out, or train a model \
                 with smaller tiles"
            ),
            Self::Exactly { height: h, width: w } if (height, width) != (h, w) => format!(
                "the image has {height}x{width} pixels (height x width), but the region of interest {h}x{w}; leave it out, or \
                 use a model without that region"
            ),
            _ => return Ok(()),
        };
        Err(DataError::layout(path, reason))
    }
}

/// Decodes a file and resizes it to `height` × `width`; see [`decode`] and [`resize`].
///
/// # Errors
/// As [`decode`] and [`resize`].
pub fn load(path: &Path, height: usize, width: usize, limits: &Limits) -> Result<Image, DataError> {
    Ok(load_fitted(path, Fit::Resized { height, width }, limits)?.image)
}

/// Decodes a file and fits it.
pub(crate) fn load_fitted(path: &Path, fit: Fit, limits: &Limits) -> Result<LoadedImage, DataError> {
    let original = decode(path, limits)?;
    let original_size = (original.height() as usize, original.width() as usize);
    fit.check(path, original_size)?;
    let (height, width) = match fit {
        Fit::Resized { height, width } => (height, width),
        Fit::AtLeast { .. } | Fit::Exactly { .. } => original_size,
    };
    Ok(LoadedImage {
        image: resize(&original, height, width)?,
        original_size,
    })
}

/// Resizes to `height` × `width`, without keeping the aspect ratio, as the paper does with its square images.
///
/// The filter is a triangle whose support grows with the scale when shrinking, so that detail is averaged, not
/// aliased: Pillow's `BILINEAR`, from which it differs by at most 1/255 (Pillow rounds to 8 bits after each axis; here
/// samples have 16 bits throughout). It runs in integers, so the result is the same for every instruction set. An image
/// that has the wanted size already keeps its pixels exactly: value/255, or value/65535 from 16 bits. Transparency is
/// not looked at; [`decode`] leaves none.
///
/// # Errors
/// [`DataError::Parameter`] if a side of `image` or of the result is 0 or exceeds 2³² − 1.
pub fn resize(image: &DynamicImage, height: usize, width: usize) -> Result<Image, DataError> {
    let invalid = || {
        DataError::Parameter(format!(
            "cannot resize {}x{} pixels to {width}x{height}: sides must be at least 1 and fit 32 bits",
            image.width(),
            image.height()
        ))
    };
    let (new_width, new_height) = (u32::try_from(width).ok(), u32::try_from(height).ok());
    let (Some(new_width @ 1..), Some(new_height @ 1..)) = (new_width, new_height) else {
        return Err(invalid());
    };
    if image.width() == 0 || image.height() == 0 {
        return Err(invalid());
    }
    let is_gray = !image.color().has_color();
    let in_16_bits: DynamicImage = if is_gray {
        image.to_luma16().into()
    } else {
        image.to_rgb16().into()
    };
    let resized = if (in_16_bits.width(), in_16_bits.height()) == (new_width, new_height) {
        in_16_bits
    } else {
        let mut resized = DynamicImage::new(new_width, new_height, in_16_bits.color());
        let is_done = if is_gray {
            resize_pixels::<U16>(&in_16_bits, &mut resized)
        } else {
            resize_pixels::<U16x3>(&in_16_bits, &mut resized)
        };
        is_done.ok_or_else(invalid)?;
        resized
    };

    let unit = |value: u16| f32::from(value) / 65_535.0;
    let data = match resized {
        DynamicImage::ImageLuma16(gray) => {
            let plane: Vec<f32> = gray.into_raw().into_iter().map(unit).collect();
            plane.repeat(3)
        }
        rgb => {
            let samples = rgb.into_rgb16().into_raw();
            let plane = |channel| samples.iter().skip(channel).step_by(3).copied().map(unit);
            plane(0).chain(plane(1)).chain(plane(2)).collect()
        }
    };
    Ok(Image { height, width, data })
}

/// Resizes between images whose pixels are both `P`; `None` if one's are not. The resizer's own choice of the pixel by
/// the image would compile its kernels for all kinds of pixels into this crate, which takes minutes.
fn resize_pixels<P: PixelTrait>(from: &DynamicImage, to: &mut DynamicImage) -> Option<()> {
    let triangle = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let (from, mut to) = (from.image_view::<P>()?, to.image_view_mut::<P>()?);
    Resizer::new().resize_typed(&from, &mut to, &triangle).ok()
}
