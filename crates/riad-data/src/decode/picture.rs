//! Pictures: one gray or colour image, in any format but TIFF.

use std::io::Cursor;
use std::path::Path;

use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use riad_core::Size;

use super::jpeg::{self, Fault};
use super::steps::Form;
use super::stored::Stored;
use super::{SAVE_AS, Within, frames, is_turned, upright};
use crate::DataError;

/// The memory that a header may take besides the pixels, and the codes of a WebP.
const HEADER_BYTES: u64 = 64 << 20;

/// A picture whose header was read.
pub(super) struct Picture<'a> {
    path: &'a Path,
    file: &'a [u8],
    format: ImageFormat,
    decoder: Box<dyn ImageDecoder + 'a>,
    orientation: Orientation,
    jpeg: Option<Box<jpeg::Header>>,
}

impl<'a> Picture<'a> {
    /// Reads the header.
    pub(super) fn open(
        path: &'a Path,
        file: &'a [u8],
        format: ImageFormat,
        within: &mut Within<'_, '_>,
    ) -> Result<Self, super::Stop> {
        let max_side = within.limits.max_side;
        let failed = |e| match e {
            ImageError::Limits(limit) if limit.kind() == LimitErrorKind::DimensionError => {
                let reason =
                    format!("it has a longer side than {max_side} pixels; make it smaller, or cut it into parts");
                DataError::too_large(path, reason)
            }
            e => error(path, format, e),
        };
        let jpeg = (format == ImageFormat::Jpeg).then(|| jpeg::header(file).map(Box::new));
        let jpeg = jpeg.transpose().map_err(|fault| of_jpeg(path, fault))?;
        // The decoder has a copy of the file, and parts of it.
        let copies = 2 * file.len() as u64;
        let header = match &jpeg {
            Some(jpeg) => {
                let (width, height) = jpeg.dimensions();
                let form = Form {
                    width: width as u64,
                    height: height as u64,
                    samples: if jpeg.components() == 1 { 1 } else { 3 },
                    bytes: 1,
                    has_alpha: false,
                    is_turned: false,
                    is_planar: false,
                };
                // This is before the decoder reads anything, so that it has our limits.
                within.cover(&form, form.decoded().saturating_add(copies))?;
                copies
            }
            None => copies.saturating_add(frames::profile_bytes(file).min(HEADER_BYTES)),
        };
        within.cover_header(header)?;
        if format == ImageFormat::WebP && frames::is_cut(file) {
            return Err(DataError::decode(path, "the WebP data is cut off").into());
        }
        if format == ImageFormat::Png && frames::has_broken_palette(file) {
            return Err(DataError::decode(path, "its palette has an incomplete colour").into());
        }
        let mut reader = ImageReader::with_format(Cursor::new(file), format);
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(max_side);
        limits.max_image_height = Some(max_side);
        // The memory that texts and profiles in a header may take when they are unpacked.
        limits.max_alloc = Some(HEADER_BYTES);
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder().map_err(failed)?;
        let orientation = decoder.orientation().map_err(failed)?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        let decoded = decoder.total_bytes();
        let beside = match (&jpeg, format) {
            (Some(jpeg), _) => jpeg.bytes().max(jpeg.decoder_bytes(file)),
            // Lossless data take 4 bytes a pixel before they are brought to colours, and tables of codes; lossy ones take their
            // planes and alpha; an animation takes its canvas besides.
            (_, ImageFormat::WebP) => {
                let pixels = pixels.max(frames::largest(file));
                pixels.saturating_mul(12) + HEADER_BYTES.min(400 * file.len() as u64)
            }
            // A canvas beside the frame.
            (_, ImageFormat::Gif) => pixels.saturating_mul(8),
            // A few rows.
            _ => 8 * decoded.div_ceil(u64::from(height).max(1)),
        };
        let beside = beside.saturating_add(header);
        let color = decoder.color_type();
        let form = Form {
            width: width.into(),
            height: height.into(),
            samples: if color.has_color() { 3 } else { 1 },
            bytes: if color.bytes_per_pixel() > color.channel_count() {
                2
            } else {
                1
            },
            has_alpha: color.has_alpha(),
            is_turned: is_turned(orientation),
            is_planar: false,
        };
        within.cover(&form, decoded.saturating_add(beside))?;
        limits.max_alloc = Some(decoded.saturating_add(beside).saturating_add(HEADER_BYTES));
        decoder.set_limits(limits).map_err(failed)?;
        Ok(Self {
            path,
            file,
            format,
            decoder: Box::new(decoder),
            orientation,
            jpeg,
        })
    }

    /// Height and width when upright.
    pub(super) fn size(&self) -> Size {
        let (width, height) = self.decoder.dimensions();
        upright(self.orientation, width, height)
    }

    /// 1 for gray, 3 for colours. Transparency does not count as a channel.
    pub(super) fn channels(&self) -> usize {
        if self.decoder.color_type().has_color() { 3 } else { 1 }
    }

    /// The number of pictures in the file, including this one.
    pub(super) fn pictures(&self) -> usize {
        frames::count(self.file)
    }

    /// Checks that no data of the picture is missing, for formats whose decoder does not report it.
    pub(super) fn check(&mut self) -> Result<(), DataError> {
        match self.jpeg.take() {
            Some(jpeg) => jpeg.check(self.file).map_err(|fault| of_jpeg(self.path, fault)),
            None => Ok(()),
        }
    }

    /// The pixels, upright.
    pub(super) fn decode(mut self) -> Result<Stored, DataError> {
        self.check()?;
        let pictures = self.pictures();
        let mut image = DynamicImage::from_decoder(self.decoder).map_err(|e| error(self.path, self.format, e))?;
        let full = match image {
            DynamicImage::ImageLuma8(_)
            | DynamicImage::ImageLumaA8(_)
            | DynamicImage::ImageRgb8(_)
            | DynamicImage::ImageRgba8(_) => u8::MAX.into(),
            DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA16(_)
            | DynamicImage::ImageRgb16(_)
            | DynamicImage::ImageRgba16(_) => u16::MAX,
            _ => return Err(DataError::unsupported(self.path, super::NO_WHITE_POINT)),
        };
        image.apply_orientation(self.orientation);
        Ok(Stored {
            image,
            is_premultiplied: false,
            full,
            is_lossy: matches!(self.format, ImageFormat::Jpeg) || self.file.get(12..16) == Some(b"VP8 "),
            pictures,
        })
    }
}

/// What is wrong with a JPEG, as an error.
pub(super) fn of_jpeg(path: &Path, fault: Fault) -> DataError {
    match fault {
        Fault::Unsupported(kind) => DataError::unsupported(path, format!("{kind}; {SAVE_AS}")),
        fault => DataError::decode(path, fault.reason()),
    }
}

/// The decoder's error in our words, because its own words do not help a user.
fn error(path: &Path, format: ImageFormat, error: ImageError) -> DataError {
    let name = name(format);
    match error {
        // What it may take besides the pixels is the same, whatever memory there is.
        ImageError::Limits(_) => DataError::too_large(
            path,
            format!("its {name} decoder needs more memory than it may use besides the pixels; {SAVE_AS}"),
        ),
        ImageError::Unsupported(_) => {
            DataError::unsupported(path, format!("this kind of {name} is not supported; {SAVE_AS}"))
        }
        // The whole file is in memory, so reading past its end is the only input error left.
        ImageError::IoError(_) => DataError::decode(path, format!("the {name} data is cut off")),
        _ => DataError::decode(path, format!("the {name} data is damaged")),
    }
}

/// What people call a format.
fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Pnm => "PNM",
        _ => "image",
    }
}
