//! The sample value that is white.

use std::path::Path;

use image::{DynamicImage, ImageBuffer};

use crate::{Brightest, DataError};

/// An image without alpha whose samples lie in [0, `full`], with the greatest of its type for white: `full` is, or `level` if given.
/// Besides, its brightest sample, of more than 8 bits.
///
/// # Errors
/// If `level` contradicts the samples: a sample is brighter, or the type of the samples cannot hold it.
pub(super) fn to_white(
    path: &Path,
    image: DynamicImage,
    full: u16,
    level: Option<u16>,
) -> Result<(DynamicImage, Option<Brightest>), DataError> {
    let white = level.unwrap_or(full);
    if white > full {
        return Err(DataError::above_white(path, full, white));
    }
    let most = |samples: &[u16]| samples.iter().copied().max().unwrap_or(0);
    let sample = match &image {
        DynamicImage::ImageLuma16(image) => most(image.as_raw()),
        DynamicImage::ImageRgb16(image) => most(image.as_raw()),
        _ if white == full => return Ok((image, None)),
        other => other.as_bytes().iter().copied().max().unwrap_or(0).into(),
    };
    if sample > white {
        return Err(DataError::above_white(path, sample, white));
    }
    let brightest = (full > u8::MAX.into()).then_some(Brightest { sample, full });
    if white == u16::MAX {
        return Ok((image, brightest));
    }
    let (white, half) = (u32::from(white), u32::from(white) / 2);
    let scale = |samples: &mut [u16]| {
        for sample in samples {
            *sample = ((u32::from(*sample) * u32::from(u16::MAX) + half) / white) as u16;
        }
    };
    let widened = |samples: &[u8]| samples.iter().copied().map(u16::from).collect();
    let (width, height) = (image.width(), image.height());
    let scaled = match image {
        DynamicImage::ImageLuma16(mut image) => {
            scale(&mut image);
            DynamicImage::ImageLuma16(image)
        }
        DynamicImage::ImageRgb16(mut image) => {
            scale(&mut image);
            DynamicImage::ImageRgb16(image)
        }
        DynamicImage::ImageLuma8(image) => {
            let mut samples: Vec<u16> = widened(image.as_raw());
            scale(&mut samples);
            ImageBuffer::from_raw(width, height, samples)
                .map(DynamicImage::ImageLuma16)
                .unwrap_or_default()
        }
        other => {
            let mut samples: Vec<u16> = widened(other.into_rgb8().as_raw());
            scale(&mut samples);
            ImageBuffer::from_raw(width, height, samples)
                .map(DynamicImage::ImageRgb16)
                .unwrap_or_default()
        }
    };
    Ok((scaled, brightest))
}
