//! Pictures: one gray or colour image, as the formats of photography and drawing hold it.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat, ImageReader, Luma, Rgb};
use riad_core::Size;

use super::upright;
use crate::{DataError, Limits};

/// A picture whose header was read.
pub(super) struct Picture<'a> {
    path: &'a Path,
    decoder: Box<dyn ImageDecoder + 'a>,
    orientation: Orientation,
}

impl<'a> Picture<'a> {
    /// Reads the header and holds it against the limits.
    pub(super) fn open(
        path: &'a Path,
        file: &'a [u8],
        format: ImageFormat,
        limits: &Limits,
    ) -> Result<Self, DataError> {
        if format == ImageFormat::Jpeg && !jpeg_is_complete(file) {
            return Err(DataError::decode(path, "the JPEG data is cut off"));
        }
        let mut reader = ImageReader::with_format(Cursor::new(file), format);
        let mut within = image::Limits::default();
        within.max_image_width = Some(limits.max_side);
        within.max_image_height = Some(limits.max_side);
        within.max_alloc = Some(limits.max_bytes);
        reader.limits(within);
        let mut decoder = reader.into_decoder().map_err(|e| error(path, e))?;
        let (width, height) = decoder.dimensions();
        limits.check(path, width.into(), height.into(), decoder.total_bytes())?;
        let orientation = decoder.orientation().map_err(|e| error(path, e))?;
        Ok(Self {
            path,
            decoder: Box::new(decoder),
            orientation,
        })
    }

    /// Height and width when upright.
    pub(super) fn size(&self) -> Size {
        let (width, height) = self.decoder.dimensions();
        upright(self.orientation, width, height)
    }

    /// 1 for gray, 3 for colours. Transparency is none.
    pub(super) fn channels(&self) -> usize {
        if self.decoder.color_type().has_color() { 3 } else { 1 }
    }

    /// The pixels, upright and opaque: one of `ImageLuma8`, `ImageLuma16`, `ImageRgb8` and `ImageRgb16`.
    pub(super) fn decode(self) -> Result<DynamicImage, DataError> {
        let image = DynamicImage::from_decoder(self.decoder).map_err(|e| error(self.path, e))?;
        let mut image = opaque(self.path, image)?;
        image.apply_orientation(self.orientation);
        Ok(image)
    }
}

/// Whether an end-of-image marker follows the last scan. The JPEG decoder fills what is missing with gray and tells no
/// one; half an image in a training set would be learned as normal. Inside a scan 0xFF is followed by 0 or a restart
/// marker only, so neither marker can be mistaken; end markers of thumbnails stand before the scan.
fn jpeg_is_complete(file: &[u8]) -> bool {
    let last = |marker: [u8; 2]| file.windows(2).rposition(|pair| pair == marker);
    match (last([0xFF, 0xDA]), last([0xFF, 0xD9])) {
        (Some(scan), Some(end)) => scan < end,
        _ => false,
    }
}

/// Lays transparent pixels over black and refuses floating-point samples.
fn opaque(path: &Path, image: DynamicImage) -> Result<DynamicImage, DataError> {
    // (v·a + 32767) / 65535 is v·a/65535 rounded to nearest, and v for opaque pixels.
    let shown = |value: u16, alpha: u16| ((u32::from(value) * u32::from(alpha) + 32_767) / 65_535) as u16;
    match image {
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageRgb8(_)
        | DynamicImage::ImageRgb16(_) => Ok(image),
        DynamicImage::ImageLumaA8(_) | DynamicImage::ImageLumaA16(_) => {
            let image = image.into_luma_alpha16();
            Ok(ImageBuffer::from_fn(image.width(), image.height(), |x, y| {
                let [value, alpha] = image.get_pixel(x, y).0;
                Luma([shown(value, alpha)])
            })
            .into())
        }
        DynamicImage::ImageRgba8(_) | DynamicImage::ImageRgba16(_) => {
            let image = image.into_rgba16();
            Ok(ImageBuffer::from_fn(image.width(), image.height(), |x, y| {
                let [r, g, b, alpha] = image.get_pixel(x, y).0;
                Rgb([shown(r, alpha), shown(g, alpha), shown(b, alpha)])
            })
            .into())
        }
        _ => Err(DataError::unsupported(path, super::pages::NO_WHITE_POINT)),
    }
}

fn error(path: &Path, error: ImageError) -> DataError {
    match error {
        ImageError::Limits(e) => DataError::limit(path, format!("{e}; see Limits")),
        ImageError::Unsupported(e) => DataError::unsupported(path, format!("{e}; convert it to PNG")),
        // The whole file is in memory, so reading past its end is the only input error left.
        ImageError::IoError(_) => DataError::decode(path, "the image data is cut off"),
        e => DataError::decode(path, e.to_string()),
    }
}
