//! A picture as its file stores it, before it is made opaque.

use std::path::Path;

use image::{DynamicImage, ImageBuffer, Luma, Rgb};

use crate::DataError;

/// A picture as its file stores it, upright.
pub(crate) struct Stored {
    /// Gray or colours of 8 or 16 bits, with or without alpha.
    pub(crate) image: DynamicImage,
    /// Whether the colours were multiplied by alpha already.
    pub(crate) is_premultiplied: bool,
    /// The greatest value that a sample can have. Alpha has this value for opaque pixels.
    pub(crate) full: u16,
    /// Whether a lossy compression may have changed values.
    pub(crate) is_lossy: bool,
    /// The number of pictures in its file, including this one.
    pub(crate) pictures: usize,
}

impl Stored {
    /// Blends transparent pixels with black: one of `ImageLuma8`, `ImageLuma16`, `ImageRgb8` and `ImageRgb16`, and the
    /// greatest value that a sample of it can have.
    pub(crate) fn opaque(self, path: &Path) -> Result<(DynamicImage, u16), DataError> {
        if !self.image.color().has_alpha() {
            return Ok((self.image, self.full));
        }
        let (is_seen, is_opaque) = self.alpha();
        if !is_seen {
            let reason = "the image is transparent everywhere (alpha is 0), so nothing can be seen; save it without \
                alpha";
            return Err(DataError::unsupported(path, reason));
        }
        if is_opaque || self.is_premultiplied {
            let opaque = match self.image {
                DynamicImage::ImageLumaA8(_) => self.image.into_luma8().into(),
                DynamicImage::ImageLumaA16(_) => self.image.into_luma16().into(),
                DynamicImage::ImageRgba8(_) => self.image.into_rgb8().into(),
                image => image.into_rgb16().into(),
            };
            return Ok((opaque, self.full));
        }
        // 8 bits become 16.
        let full = match self.image {
            DynamicImage::ImageLumaA8(_) | DynamicImage::ImageRgba8(_) => u16::MAX,
            _ => self.full,
        };
        let most = u32::from(full);
        // v·a/full rounded to nearest, and v for opaque pixels.
        let shown = |value: u16, alpha: u16| ((u32::from(value) * u32::from(alpha) + most / 2) / most) as u16;
        let opaque = if self.image.color().has_color() {
            let image = self.image.into_rgba16();
            ImageBuffer::from_fn(image.width(), image.height(), |x, y| {
                let [r, g, b, alpha] = image.get_pixel(x, y).0;
                Rgb([shown(r, alpha), shown(g, alpha), shown(b, alpha)])
            })
            .into()
        } else {
            let image = self.image.into_luma_alpha16();
            ImageBuffer::from_fn(image.width(), image.height(), |x, y| {
                let [value, alpha] = image.get_pixel(x, y).0;
                Luma([shown(value, alpha)])
            })
            .into()
        };
        Ok((opaque, full))
    }

    /// Whether any pixel is visible, and whether all are opaque.
    pub(crate) fn alpha(&self) -> (bool, bool) {
        fn of<T: Copy + Into<u16>>(samples: &[T], channels: usize, full: u16) -> (bool, bool) {
            let alpha = || {
                samples
                    .iter()
                    .skip(channels - 1)
                    .step_by(channels)
                    .map(|&alpha| alpha.into())
            };
            (alpha().any(|alpha| alpha > 0), alpha().all(|alpha| alpha >= full))
        }
        match &self.image {
            DynamicImage::ImageLumaA8(image) => of(image.as_raw(), 2, self.full),
            DynamicImage::ImageLumaA16(image) => of(image.as_raw(), 2, self.full),
            DynamicImage::ImageRgba8(image) => of(image.as_raw(), 4, self.full),
            DynamicImage::ImageRgba16(image) => of(image.as_raw(), 4, self.full),
            _ => (true, true),
        }
    }
}
