//! From a file to pixels, within limits.

mod array;
mod frames;
mod jpeg;
mod memory;
mod picture;
mod steps;
mod stored;
mod tiff;
mod white;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use image::ImageFormat;
use image::metadata::Orientation;
use riad_core::Size;

use self::array::Array;
pub use self::memory::DecodeMemory;
pub(crate) use self::memory::{Lease, Stop};
use self::picture::Picture;
use self::steps::Form;
pub(crate) use self::stored::Stored;
use self::tiff::{Pages, Shown, Tiff};
use self::white::to_white;
use crate::pixels::{Pixels, Plane};
use crate::{DataError, FileFacts};

/// Why floating-point samples in pictures and TIFFs are refused.
const NO_WHITE_POINT: &str = "floating-point samples do not say which value is white; convert the image to 16-bit \
    integers, or scale the values to [0, 1] and save them as a .npy array";

/// The way out for a kind of file that is not read.
const SAVE_AS: &str = "save it as PNG or as an uncompressed TIFF";

/// Limits for decoding. Files are not trusted: a header of a few bytes can claim gigabytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest side of an image in pixels.
    pub max_side: u32,
    /// Largest number of pixels of an image. A pixel may have several channels.
    pub max_pixels: u64,
    /// Memory for all images that are being decoded at the same time.
    pub memory: DecodeMemory,
}

impl Default for Limits {
    /// Sides up to 65,535, 2²⁸ pixels, and the memory that the process shares.
    fn default() -> Self {
        Self {
            max_side: 65_535,
            max_pixels: 1 << 28,
            memory: DecodeMemory::of_process(),
        }
    }
}

impl Limits {
    /// Compares the size in a header with the limits, before memory is allocated.
    fn check(&self, path: &Path, width: u64, height: u64) -> Result<(), DataError> {
        if width == 0 || height == 0 {
            return Err(DataError::decode(path, "the image has no pixels"));
        }
        let exceeded = |limit: String| {
            let reason =
                format!("{width}x{height} (width x height) {limit}; make the image smaller, or cut it into parts");
            DataError::too_large(path, reason)
        };
        if width.max(height) > u64::from(self.max_side) {
            return Err(exceeded(format!("has a longer side than {} pixels", self.max_side)));
        }
        if width * height > self.max_pixels {
            return Err(exceeded(format!("is more than {} pixels", self.max_pixels)));
        }
        Ok(())
    }
}

/// The request for a file, besides its pixels.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The requested number of channels. The file has them, or they can be computed from its channels.
    pub(crate) channels: usize,
    /// The sample that is white. `None`: the greatest that the file can hold.
    pub(crate) white_level: Option<u16>,
    /// What is made of the pixels within the same memory.
    pub(crate) becomes: Becomes,
}

/// What becomes of pixels within the memory for decoding.
#[derive(Clone, Copy)]
pub(crate) enum Becomes {
    /// They stay as they are, or are not decoded at all.
    Pixels,
    Mask,
    Values {
        /// Of the image, which may have several files.
        channels: usize,
        /// `None`: the own size.
        size: Option<Size>,
        /// How many files of the image are to come after this one. `None`: the image has one file.
        files: Option<usize>,
    },
}

impl Becomes {
    /// The same, for a file of several.
    pub(crate) fn with_files_to_come(self, to_come: usize) -> Self {
        match self {
            Self::Values { channels, size, .. } => Self::Values {
                channels,
                size,
                files: Some(to_come),
            },
            same => same,
        }
    }
}

/// A decoded image.
pub(crate) struct Decoded {
    pub(crate) pixels: Pixels,
    pub(crate) found: FileFacts,
}

/// The memory and limits of one file. Its header must show that they are enough.
pub(crate) struct Within<'a, 'l> {
    path: &'a Path,
    limits: &'a Limits,
    lease: &'a mut Lease<'l>,
    /// The bytes that are kept of other files, and this file's bytes.
    taken: u64,
    wanted: Wanted,
}

impl Within<'_, '_> {
    /// Compares an image's size with the limits. Makes sure that there is memory for decoding it, which takes so many bytes with its
    /// pixels, and for the steps that follow.
    fn cover(&mut self, form: &Form, decoding: u64) -> Result<(), Stop> {
        let Form { width, height, .. } = *form;
        self.limits.check(self.path, width, height)?;
        self.cover_bytes(
            decoding.max(form.steps(self.wanted)),
            &format!("{width}x{height} (width x height) needs"),
        )
    }

    /// Makes sure that there is memory for what a header takes when it is read.
    fn cover_header(&mut self, bytes: u64) -> Result<(), Stop> {
        self.cover_bytes(bytes, "its header may need")
    }

    fn cover_bytes(&mut self, bytes: u64, what: &str) -> Result<(), Stop> {
        let needed = self.taken.saturating_add(bytes);
        let too_large = |total: u64| {
            let reason = format!(
                "{what} {} to decode, and all decoding together has {}",
                in_mib(needed),
                in_mib(total)
            );
            DataError::limit(self.path, reason)
        };
        self.lease.cover(needed, too_large)
    }
}

/// A number of bytes with a unit, for messages.
fn in_mib(bytes: u64) -> String {
    if bytes < 1 << 20 {
        return format!("{bytes} bytes");
    }
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// A file, or the content of a file.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// A file to read.
    File(&'a Path),
    /// Content in memory. Messages call it by this name.
    Bytes(&'a Path, &'a [u8]),
}

impl<'a> Source<'a> {
    pub(crate) fn path(self) -> &'a Path {
        match self {
            Self::File(path) | Self::Bytes(path, _) => path,
        }
    }
}

/// Decodes a file with the requested number of channels, or with a number that can be converted to it. `kept` is the
/// number of bytes of other files of the same image.
pub(crate) fn decode(
    source: Source<'_>,
    wanted: Wanted,
    limits: &Limits,
    lease: &mut Lease<'_>,
    kept: u64,
) -> Result<Decoded, Stop> {
    opened(source, wanted, limits, lease, kept, |content| {
        content.decode(source.path(), wanted)
    })
}

/// Decodes a picture as it is stored, and makes a mask of it within the same memory.
pub(crate) fn stored<T>(
    source: Source<'_>,
    limits: &Limits,
    make: impl Fn(Mask) -> Result<T, DataError>,
) -> Result<T, DataError> {
    let wanted = Wanted {
        channels: 3,
        white_level: None,
        becomes: Becomes::Mask,
    };
    limits.memory.within(|lease| {
        let mask = opened(source, wanted, limits, lease, 0, |content| {
            Ok(match content {
                Content::Picture(picture) => Mask::Picture(picture.decode()?),
                Content::Shown(shown) => Mask::Picture(shown.decode()?),
                other => Mask::Planes(other.decode(source.path(), wanted)?.pixels),
            })
        })?;
        Ok(make(mask)?)
    })
}

/// A mask as it is stored.
pub(crate) enum Mask {
    Picture(Stored),
    /// An array, or pages that are channels.
    Planes(Pixels),
}

/// The size that [`decode`] would return, and the number of pictures, without decoding. It also checks that no data is
/// missing, as far as this is possible without decoding.
pub(crate) fn header(path: &Path, channels: usize, limits: &Limits) -> Result<(Size, usize), DataError> {
    let wanted = Wanted {
        channels,
        white_level: None,
        becomes: Becomes::Pixels,
    };
    limits.memory.within(|lease| {
        opened(Source::File(path), wanted, limits, lease, 0, |content| {
            Ok(match content {
                Content::Array(array) => (array.size(), 1),
                Content::Pages(pages) => (pages.size(), 1),
                Content::Shown(shown) => (shown.size(), shown.pictures()),
                Content::Picture(mut picture) => {
                    picture.check()?;
                    (picture.size(), picture.pictures())
                }
            })
        })
    })
}

/// Reads a file and its header within the limits, and calls the next step with it.
fn opened<T>(
    source: Source<'_>,
    wanted: Wanted,
    limits: &Limits,
    lease: &mut Lease<'_>,
    kept: u64,
    work: impl FnOnce(Content<'_>) -> Result<T, DataError>,
) -> Result<T, Stop> {
    let path = source.path();
    let file = match source {
        Source::File(_) => Cow::Owned(read(path, lease, kept)?),
        Source::Bytes(_, bytes) => Cow::Borrowed(bytes),
    };
    if file.is_empty() {
        return Err(DataError::decode(path, "the file is empty").into());
    }
    let within = Within {
        path,
        limits,
        lease,
        taken: kept + file.len() as u64,
        wanted,
    };
    guarded(path, || Ok(work(Content::of(path, &file, wanted.channels, within)?)?))
}

/// Runs a decoder. If a decoder panics on a file, the work on other files must go on. No panic is expected, of our code or of other
/// crates: tests take [`DataError::DecoderFailed`] for a failure.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
    // After a panic only the file's bytes and the lease are used. Decoders only read the bytes, and the lease is valid
    // at any time.
    panic::catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        let path = path.to_owned();
        Err(DataError::DecoderFailed { path }.into())
    })
}

/// Whether an image of `found` channels can be converted to `wanted`. Gray becomes RGB with three equal channels. RGB
/// becomes gray by its luma.
pub(crate) fn converts(found: usize, wanted: usize) -> bool {
    found == wanted || (found, wanted) == (1, 3) || (found, wanted) == (3, 1)
}

/// The content of a file by its header. It is within the limits, and its channels can be converted to the requested
/// ones.
enum Content<'a> {
    /// A NumPy array.
    Array(Array<'a>),
    /// The pages of a TIFF, whose samples all are channels.
    Pages(Pages<'a>),
    /// A page of a TIFF, gray or in colours.
    Shown(Shown<'a>),
    /// One picture, gray or in colours.
    Picture(Picture<'a>),
}

impl<'a> Content<'a> {
    /// Recognises the format by the content, and not by the file's name.
    fn of(path: &'a Path, file: &'a [u8], channels: usize, mut within: Within<'a, '_>) -> Result<Self, Stop> {
        let (content, found) = if array::is_array(file) {
            let array = Array::open(path, file, channels)?;
            array.cover(&mut within)?;
            return Ok(Self::Array(array));
        } else if tiff::is_tiff(file) {
            let tiff = Tiff::open(path, file)?;
            if let Some(pages) = pages(&tiff, channels)? {
                pages.cover(&mut within)?;
                let found = pages.channels();
                (Self::Pages(pages), found)
            } else {
                let shown = tiff.shown()?;
                shown.cover(&mut within)?;
                let found = shown.channels();
                (Self::Shown(shown), found)
            }
        } else {
            let picture = Picture::open(path, file, format(path, file)?, &mut within)?;
            let found = picture.channels();
            (Self::Picture(picture), found)
        };
        if converts(found, channels) {
            Ok(content)
        } else {
            Err(DataError::channels(path, found, channels).into())
        }
    }

    fn decode(self, path: &Path, wanted: Wanted) -> Result<Decoded, DataError> {
        let white = |image, full| to_white(path, image, full, wanted.white_level);
        let picture = |stored: Stored| -> Result<_, DataError> {
            let (pictures, own) = (stored.pictures, stored.full);
            let (image, full) = stored.opaque(path)?;
            let (image, brightest) = match wanted.white_level {
                _ if full == own => white(image, full)?,
                // 8 bits, which transparency made 16.
                None => (image, None),
                Some(level) if level > own => return Err(DataError::above_white(path, own, level)),
                Some(level) => {
                    let step = full / own;
                    let scaled = to_white(path, image, full, Some(level * step));
                    let in_own = |error| match error {
                        DataError::AboveWhite { found, .. } => {
                            DataError::above_white(path, found.div_ceil(step), level)
                        }
                        error => error,
                    };
                    (scaled.map_err(in_own)?.0, None)
                }
            };
            let found = FileFacts { pictures, brightest };
            Ok((Pixels::Picture(image), found))
        };
        let (pixels, found) = match self {
            Self::Array(array) => {
                let (planes, brightest) = array.decode(wanted.white_level)?;
                let found = FileFacts { pictures: 1, brightest };
                (Pixels::Planes(planes), found)
            }
            Self::Pages(pages) => {
                let mut found = FileFacts::one();
                let mut planes = Vec::new();
                for (plane, full) in pages.decode()? {
                    let (plane, brightest) = white(plane, full)?;
                    found.brightest = found.brightest.max(brightest);
                    planes.push(Plane::Integers(plane));
                }
                (Pixels::Planes(planes), found)
            }
            Self::Shown(shown) => picture(shown.decode()?)?,
            Self::Picture(decoder) => picture(decoder.decode()?)?,
        };
        Ok(Decoded {
            pixels: pixels.with_channels(wanted.channels),
            found,
        })
    }
}

/// The format of a picture, by how the file begins.
fn format(path: &Path, file: &[u8]) -> Result<ImageFormat, DataError> {
    let read: [(&[u8], ImageFormat); 4] = [
        (b"\x89PNG", ImageFormat::Png),
        (b"\xFF\xD8", ImageFormat::Jpeg),
        (b"GIF8", ImageFormat::Gif),
        (b"BM", ImageFormat::Bmp),
    ];
    if let Some((_, format)) = read.into_iter().find(|(beginning, _)| file.starts_with(beginning)) {
        return Ok(format);
    }
    match file {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => return Ok(ImageFormat::WebP),
        [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace() || *space == b'#' => return Ok(ImageFormat::Pnm),
        _ => {}
    }
    // At these places stand the marks of formats that people bring, too.
    let others: [(usize, &[u8], &str); 12] = [
        (4, b"ftyp", "HEIF or AVIF (or a video)"),
        (4, b"jP  ", "JPEG 2000"),
        (0, b"\xFF\x4F\xFF\x51", "JPEG 2000"),
        (4, b"JXL ", "JPEG XL"),
        (0, b"\xFF\x0A", "JPEG XL"),
        (0, b"II\xBC", "JPEG XR"),
        (0, b"8BPS", "a Photoshop document"),
        (0, b"v/1\x01", "OpenEXR"),
        (0, b"#?RADIANCE", "Radiance HDR"),
        (0, b"%PDF", "a PDF"),
        (0, b"PF", "PFM"),
        (0, b"qoif", "QOI"),
    ];
    let is_there = |(at, mark, _): &(usize, &[u8], &str)| file.get(*at..).is_some_and(|rest| rest.starts_with(mark));
    Err(match others.into_iter().find(is_there) {
        Some((_, _, name)) => DataError::unsupported(path, format!("it is {name}; {SAVE_AS}")),
        None => DataError::decode(
            path,
            "not an image in a known format (PNG, JPEG, BMP, TIFF, WebP, GIF, PNM, NPY)",
        ),
    })
}

/// The pages of a file whose samples are used as they are. `None` for a picture. With one and three channels a TIFF is
/// a picture, and one of its pages is read. The exceptions are pages that are channels, and a TIFF without a picture.
fn pages<'a>(tiff: &Tiff<'a>, channels: usize) -> Result<Option<Pages<'a>>, DataError> {
    let pages = tiff.pages();
    if channels != 1 && channels != 3 {
        return pages.map(Some);
    }
    let make_up = |pages: &Pages<'_>| pages.channels() == channels && !pages.is_picture();
    Ok(pages.ok().filter(|pages| make_up(pages) || pages.begin_with_data()))
}

/// Reads the whole file, if it is one and not too large.
fn read(path: &Path, lease: &mut Lease<'_>, kept: u64) -> Result<Vec<u8>, Stop> {
    let io = |e| DataError::io(path, e);
    // A pipe or device would block or never end, so the kind is checked before anything is opened.
    let metadata = fs::metadata(path).map_err(io)?;
    let no_file = |found| DataError::NoFile {
        path: path.to_owned(),
        found,
    };
    if metadata.is_dir() {
        return Err(no_file("folder").into());
    }
    if !metadata.is_file() {
        return Err(no_file("device or a pipe").into());
    }
    let len = metadata.len();
    lease.cover(kept.saturating_add(len), |total| {
        let reason = format!(
            "the file needs {}, and all decoding together has {}",
            in_mib(len),
            in_mib(total)
        );
        DataError::limit(path, reason)
    })?;
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    // If a file grows, it is read only up to the size for which memory was reserved.
    File::open(path)
        .map_err(io)?
        .take(len)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(bytes)
}

/// The size of an image of `width` × `height` when it is upright.
fn upright(orientation: Orientation, width: u32, height: u32) -> Size {
    let (width, height) = (width as usize, height as usize);
    if is_turned(orientation) {
        Size::new(width, height)
    } else {
        Size::new(height, width)
    }
}

/// Whether height and width change places.
fn is_turned(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};

    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_decoder_is_an_error_of_its_own() {
        let path = Path::new("part.png");
        let result: Result<(), Stop> = guarded(path, || panic!("as a decoder does"));
        let Err(Stop::Failed(error)) = result else {
            panic!("no error")
        };
        assert!(matches!(&error, DataError::DecoderFailed { path: failed } if failed == path));
        assert!(error.to_string().contains(SAVE_AS), "{error}");
    }
}
