//! From a file to pixels, within limits.

mod array;
mod pages;
mod picture;

use std::fs::{self, File};
use std::io::Read;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use image::ImageFormat;
use image::metadata::Orientation;
use riad_core::Size;

use self::array::Array;
use self::pages::Pages;
use self::picture::Picture;
use crate::DataError;
use crate::pixels::Pixels;

/// What decoding one image may take. Files come from outside: a header of a few bytes can claim gigabytes.
///
/// While one image is decoded and resized, about four times [`max_bytes`](Self::max_bytes) is the most that is in
/// memory: the file, the decoded pixels, and the same pixels in 16 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest side in pixels.
    pub max_side: u32,
    /// Largest number of pixels, each of which may have several channels.
    pub max_pixels: u64,
    /// Largest file, and largest decoded image with all its channels, in bytes.
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

impl Limits {
    /// Holds what a header says against the limits, before memory is asked for. `bytes` is what all channels take
    /// together.
    fn check(&self, path: &Path, width: u64, height: u64, bytes: u64) -> Result<(), DataError> {
        if width == 0 || height == 0 {
            return Err(DataError::decode(path, "the image has no pixels"));
        }
        let exceeded = |limit: String| DataError::limit(path, format!("{width}x{height} (width x height) {limit}"));
        if width.max(height) > u64::from(self.max_side) {
            return Err(exceeded(format!(
                "has a longer side than the {} of max_side",
                self.max_side
            )));
        }
        if width * height > self.max_pixels {
            return Err(exceeded(format!(
                "is more than the {} pixels of max_pixels",
                self.max_pixels
            )));
        }
        if bytes > self.max_bytes {
            return Err(exceeded(format!(
                "takes more than the {} bytes of max_bytes",
                self.max_bytes
            )));
        }
        Ok(())
    }
}

/// Decodes a file that holds an image of `channels` channels, or of a number that can be brought to it.
pub(crate) fn decode(path: &Path, channels: usize, limits: &Limits) -> Result<Pixels, DataError> {
    let file = read(path, limits)?;
    guarded(path, || {
        let pixels = match Content::of(path, &file, channels, limits)? {
            Content::Array(array) => Pixels::Planes(array.decode()?),
            Content::Pages(pages) => Pixels::Planes(pages.decode()?),
            Content::Picture(picture) => Pixels::Picture(picture.decode()?),
        };
        Ok(pixels.with_channels(channels))
    })
}

/// Runs a decoder. One that panics on a file, as decoders of others have done, must not end the work on all others.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    // Nothing outlives a panic but the file's bytes, which decoders only read.
    panic::catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err(DataError::decode(
            path,
            "its decoder gave up on it; save the image again, as PNG or as a TIFF in strips",
        ))
    })
}

/// The size that [`decode`] would give, from the header alone.
pub(crate) fn size(path: &Path, channels: usize, limits: &Limits) -> Result<Size, DataError> {
    let file = read(path, limits)?;
    guarded(path, || {
        Ok(match Content::of(path, &file, channels, limits)? {
            Content::Array(array) => array.size(),
            Content::Pages(pages) => pages.size(),
            Content::Picture(picture) => picture.size(),
        })
    })
}

/// Whether an image of `found` channels can be had with `wanted`: gray is also RGB of three equal channels, and RGB has a
/// gray, its luma.
pub(crate) fn converts(found: usize, wanted: usize) -> bool {
    found == wanted || (found, wanted) == (1, 3) || (found, wanted) == (3, 1)
}

/// What a file holds, as far as its header tells; within the limits, and of channels that can be brought to those wanted.
enum Content<'a> {
    /// A NumPy array.
    Array(Array<'a>),
    /// The pages of a TIFF, whose samples all are channels.
    Pages(Pages<'a>),
    /// One picture, gray or in colours.
    Picture(Picture<'a>),
}

impl<'a> Content<'a> {
    /// Recognises the format by the content, whatever the file's name.
    fn of(path: &'a Path, file: &'a [u8], channels: usize, limits: &Limits) -> Result<Self, DataError> {
        if array::is_array(file) {
            return Ok(Self::Array(Array::open(path, file, channels, limits)?));
        }
        let format = image::guess_format(file).map_err(|_| {
            DataError::decode(
                path,
                "not an image in a known format (PNG, JPEG, BMP, TIFF, WebP, GIF, PNM, NPY)",
            )
        })?;
        let (content, found) = if let Some(pages) = pages(path, file, format, channels, limits)? {
            let found = pages.channels();
            (Self::Pages(pages), found)
        } else {
            let picture = Picture::open(path, file, format, limits)?;
            let found = picture.channels();
            (Self::Picture(picture), found)
        };
        if converts(found, channels) {
            Ok(content)
        } else {
            Err(DataError::channels(path, found, channels))
        }
    }
}

/// The pages of a file whose samples are to be taken as they are; `None` for a picture. With one and three channels a TIFF
/// is a picture like others, of which the first page counts, unless its pages make up the channels, or no picture.
fn pages<'a>(
    path: &'a Path,
    file: &'a [u8],
    format: ImageFormat,
    channels: usize,
    limits: &Limits,
) -> Result<Option<Pages<'a>>, DataError> {
    if format != ImageFormat::Tiff {
        return Ok(None);
    }
    pages::refuse_cut_tiles(path, file)?;
    let pages = Pages::open(path, file, limits);
    if channels != 1 && channels != 3 {
        return pages.map(Some);
    }
    let make_up = |pages: &Pages<'_>| pages.channels() == channels && !pages.is_picture();
    Ok(pages.ok().filter(|pages| make_up(pages) || pages.begin_with_data()))
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

/// The size of an image of `width` × `height` when it is upright.
fn upright(orientation: Orientation, width: u32, height: u32) -> Size {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};

    let (width, height) = (width as usize, height as usize);
    match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => Size::new(width, height),
        _ => Size::new(height, width),
    }
}
