//! From a file to pixels, within limits.

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat, ImageReader, Luma, Rgb};

use crate::DataError;

/// What decoding one file may take. Files come from outside: a header of a few bytes can claim gigabytes.
///
/// While one file is decoded and resized, about four times [`max_bytes`](Self::max_bytes) is the most that is in
/// memory: the file, the decoded pixels, and the same pixels in 16 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest side in pixels.
    pub max_side: u32,
    /// Largest number of pixels.
    pub max_pixels: u64,
    /// Largest file, and largest decoded image, in bytes.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// Sides up to 65,535, 2²⁸ pixels, 512 MiB.
    fn default() -> Self {
        Self {
            max_side: 65_535,
            max_pixels: 1 << 28,
            max_bytes: 512 << 20,
        }
    }
}

/// Decodes a PNG, JPEG, BMP, TIFF, WebP, GIF or PNM file. The result is upright and opaque: one of `ImageLuma8`,
/// `ImageLuma16`, `ImageRgb8` and `ImageRgb16`.
///
/// - The format is told by the content; the file's name does not matter.
/// - 16-bit samples stay 16-bit; palettes and 1-, 2- and 4-bit samples become 8-bit.
/// - CMYK and YCCK JPEGs become RGB as R = C·K/255 on Adobe's inverted samples, as in Pillow. Embedded colour profiles
///   are not applied: what matters here is that training and test images are treated alike.
/// - The orientation tag (EXIF, TIFF) is applied, so that an image looks as it does in a viewer.
/// - Transparency is laid over black: what premultiplied storage holds, and what the sensor sees where there is
///   nothing. The colour that a file may carry under transparent pixels is never seen.
/// - Of an animation, the first frame is taken.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read or is a folder, [`DataError::Decode`] if it is empty, damaged or cut
/// off, [`DataError::Unsupported`] for formats and sample types that are not read (floating-point TIFFs among them:
/// they state no white point), [`DataError::LimitExceeded`] beyond `limits`.
pub fn decode(path: &Path, limits: &Limits) -> Result<DynamicImage, DataError> {
    let file = read(path, limits)?;
    let mut decoder = decoder(path, &file, limits)?;
    let orientation = decoder.orientation().map_err(|e| from_image_error(path, e))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| from_image_error(path, e))?;
    let mut image = opaque(path, image)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Reads an image's size, `(height, width)` in pixels with the orientation tag applied, without decoding its pixels.
///
/// # Errors
/// As [`decode`], as far as the header tells.
pub fn image_size(path: &Path, limits: &Limits) -> Result<(usize, usize), DataError> {
    use image::metadata::Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};

    let file = read(path, limits)?;
    let mut decoder = decoder(path, &file, limits)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    Ok(match decoder.orientation().map_err(|e| from_image_error(path, e))? {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (width, height),
        _ => (height, width),
    })
}

/// Reads the whole file, if it is one and not too large.
fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, DataError> {
    let io = |e| DataError::io(path, e);
    // A pipe or device would block or never end, so the kind is checked before anything is opened.
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.is_dir() {
        return Err(DataError::layout(path, "is a folder where an image file is needed"));
    }
    if !metadata.is_file() {
        return Err(DataError::layout(
            path,
            "is a device or pipe where an image file is needed",
        ));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(limits.max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > limits.max_bytes {
        return Err(DataError::limit(
            path,
            format!("the file has more than the {} bytes of max_bytes", limits.max_bytes),
        ));
    }
    if bytes.is_empty() {
        return Err(DataError::decode(path, "the file is empty"));
    }
    Ok(bytes)
}

/// Recognises the format and holds the header against the limits.
fn decoder<'a>(path: &Path, file: &'a [u8], limits: &Limits) -> Result<impl ImageDecoder + 'a, DataError> {
    let format = image::guess_format(file).map_err(|_| {
        DataError::decode(
            path,
            "not an image in a known format (PNG, JPEG, BMP, TIFF, WebP, GIF, PNM)",
        )
    })?;
    if format == ImageFormat::Jpeg && !jpeg_is_complete(file) {
        return Err(DataError::decode(path, "the JPEG data is cut off"));
    }
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut within = image::Limits::default();
    within.max_image_width = Some(limits.max_side);
    within.max_image_height = Some(limits.max_side);
    within.max_alloc = Some(limits.max_bytes);
    reader.limits(within);
    let decoder = reader.into_decoder().map_err(|e| from_image_error(path, e))?;

    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if width == 0 || height == 0 {
        return Err(DataError::decode(path, "the image has no pixels"));
    }
    if pixels > limits.max_pixels {
        let reason = format!(
            "{width}x{height} is more than the {} pixels of max_pixels",
            limits.max_pixels
        );
        return Err(DataError::limit(path, reason));
    }
    if decoder.total_bytes() > limits.max_bytes {
        let reason = format!(
            "{width}x{height} takes more than the {} bytes of max_bytes",
            limits.max_bytes
        );
        return Err(DataError::limit(path, reason));
    }
    Ok(decoder)
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
        _ => Err(DataError::unsupported(
            path,
            "floating-point samples state no white point; convert the image to 16-bit integers",
        )),
    }
}

fn from_image_error(path: &Path, error: ImageError) -> DataError {
    match error {
        ImageError::Limits(e) => DataError::limit(path, format!("{e}; see Limits")),
        ImageError::Unsupported(e) => DataError::unsupported(path, format!("{e}; convert it to PNG")),
        // The whole file is in memory, so reading past its end is the only input error left.
        ImageError::IoError(_) => DataError::decode(path, "the image data is cut off"),
        e => DataError::decode(path, e.to_string()),
    }
}
