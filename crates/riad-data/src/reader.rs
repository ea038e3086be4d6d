//! From the files of an image to its values.

use std::path::{Path, PathBuf};

use riad_core::Size;

use crate::decode::{self, Becomes, Decoded, Lease, Source, Stop, Wanted, decode};
use crate::pixels::{Pixels, Plane};
use crate::{DataError, FileFacts, Fit, Limits, LoadedImage, Pattern};

/// Reads images: PNG, JPEG, BMP, TIFF, WebP, GIF and PNM files, and NumPy arrays.
///
/// The content says which format a file has. Its name does not matter. Files become channels like this:
///
/// - **3**: red, green and blue. A gray file gives three equal planes.
/// - **1**: gray. A file in colours gives its Rec. 601 luma, so a gray image saved as RGB stays the same.
/// - **Any other number** means lights, bands or exposures, and every sample of a file is data. A TIFF has them as
///   pages of one size, as samples of a pixel (a fourth sample is then not transparency), or both: two pages of RGB are
///   six channels. Pages that are marked as thumbnails or masks do not count. With 3 channels, a TIFF of three gray
///   pages is read in the same way. For any other TIFF with 1 or 3 channels, the first page counts.
/// - **Arrays** (`.npy`) have the shape `[height, width]`, `[height, width, channels]` or `[channels, height, width]`. Bytes
///   and 16-bit integers are divided by 255 and 65,535; floats must lie in [0, 1].
/// - **Files that belong together** by a [`Pattern`] give one channel each, or an equal number of them.
///
/// Of pictures:
///
/// - 16-bit samples stay 16-bit; palettes and 1-, 2- and 4-bit samples become 8-bit; other numbers of bits keep their own white. With
///   a [white level](Self::white_level) that sample is white.
/// - CMYK and YCCK JPEGs become RGB as R = C·K/255 on Adobe's inverted samples, as in Pillow. Embedded colour profiles
///   are not applied, because only equal treatment of training and test images matters.
/// - The orientation tag (EXIF, TIFF) is applied, so an image is upright as in a viewer.
/// - Transparency is laid over black, as in premultiplied storage. The colour under transparent pixels is not used. An
///   image that is transparent everywhere is refused.
/// - The first frame of an animation is read, and the first page of a TIFF that is not marked as a smaller version or a
///   mask. [`FileFacts`] says how many there are.
/// - A JPEG is checked to its last block. If data is missing, at the end or in the middle, that is an error. Data after
///   its end does not matter.
///
/// ```no_run
/// use riad_data::{Fit, Reader};
/// use riad_core::Size;
///
/// // part_001_light0.png to part_001_light3.png are one image of four channels.
/// let reader = Reader::new(4).with_pattern(Some("*_light{0..3}.png".parse()?));
/// let image = reader.load("part_001_light0.png".as_ref(), Fit::Resized(Size::new(256, 256)))?.image;
/// assert_eq!(image.values().len(), 4 * 256 * 256);
/// # Ok::<(), riad_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reader {
    /// Number of channels of every image, at least 1.
    pub channels: usize,
    /// Which files make one image together. `None`: each file is an image.
    pub pattern: Option<Pattern>,
    /// The sample value that is white in files of integers, such as 4095 for a camera of 12 bits that writes unshifted
    /// samples into files of 16 bits. `None`: the largest value that a file's samples can have. A file that contradicts
    /// it is refused.
    pub white_level: Option<u16>,
    /// Limits for decoding.
    pub limits: Limits,
}

impl Default for Reader {
    /// RGB, one image in each file.
    fn default() -> Self {
        Self::new(3)
    }
}

impl Reader {
    /// Reads images of `channels` channels, one in each file, within the default limits.
    pub fn new(channels: usize) -> Self {
        Self {
            channels,
            pattern: None,
            white_level: None,
            limits: Limits::default(),
        }
    }

    /// The same, for images of several files.
    #[must_use]
    pub fn with_pattern(self, pattern: Option<Pattern>) -> Self {
        Self { pattern, ..self }
    }

    /// The same, with a white level.
    #[must_use]
    pub fn with_white_level(self, white_level: Option<u16>) -> Self {
        Self { white_level, ..self }
    }

    /// The size of an upright image, without decoding its pixels. If the image has several files, it is the size of the
    /// named file.
    ///
    /// # Errors
    /// As [`load`](Self::load), as far as the header shows them. Missing data is one of these errors.
    pub fn size(&self, path: &Path) -> Result<Size, DataError> {
        self.header(path).map(|(size, _)| size)
    }

    /// The size of [`size`](Self::size), and the number of pictures in the file. One of them is read.
    ///
    /// # Errors
    /// As [`size`](Self::size).
    pub fn header(&self, path: &Path) -> Result<(Size, usize), DataError> {
        let (channels, _) = self.channels_of_a_file()?;
        decode::header(path, channels, &self.limits).map_err(|e| self.of_a_group(e))
    }

    /// Reads an image and brings it to the size of `fit`. With a [`Pattern`], `path` is any of its files.
    ///
    /// # Errors
    /// - [`DataError::Io`] if a file cannot be read, and [`DataError::NoFile`] if it is a folder, a device or a pipe.
    /// - [`DataError::Decode`] if it is empty, damaged or cut off, or data are missing in its middle.
    /// - [`DataError::DecoderFailed`] if its decoder panics.
    /// - [`DataError::Unsupported`] for formats, shapes and sample types that are not read, floats outside of [0, 1]
    ///   (floating-point TIFFs among them: they state no white point), and images that are transparent everywhere.
    /// - [`DataError::AboveWhite`] if a sample contradicts the white level.
    /// - [`DataError::LimitExceeded`] beyond the memory, [`DataError::TooLarge`] beyond the other limits.
    /// - [`DataError::Channels`] for another number of channels.
    /// - [`DataError::Size`] if it does not fit, and [`DataError::Parts`] if several files of it do not fit each other.
    /// - [`DataError::Layout`] if the file's name does not fit the pattern.
    /// - [`DataError::Parameter`] for no channels, channels that the pattern's files cannot share, a white level of 0, or a size
    ///   without pixels or beyond the limits.
    pub fn load(&self, path: &Path, fit: Fit) -> Result<LoadedImage, DataError> {
        self.fitted(path, fit, |becomes, make| self.decoded(path, becomes, make))
    }

    /// Reads an image from the content of a file. Messages call it `name`. If a [`Pattern`] has several files for an
    /// image, this content has all channels.
    ///
    /// ```
    /// use riad_core::Size;
    /// use riad_data::{Fit, Reader};
    ///
    /// let file = b"P5 2 1 255\n\x00\xFF";
    /// let loaded = Reader::new(1).load_bytes("camera 1".as_ref(), file, Fit::Own)?;
    /// assert_eq!(loaded.image.size(), Size::new(1, 2));
    /// assert_eq!(loaded.image.values(), [0.0, 1.0]);
    /// # Ok::<(), riad_data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_bytes(&self, name: &Path, bytes: &[u8], fit: Fit) -> Result<LoadedImage, DataError> {
        let alone = self.clone().with_pattern(None);
        alone.fitted(name, fit, |becomes, make| {
            let wanted = alone.wanted(becomes)?;
            alone.limits.memory.within(|lease| {
                let source = Source::Bytes(name, bytes);
                Ok(make(decode(source, wanted, &alone.limits, lease, 0)?)?)
            })
        })
    }

    /// Brings a decoded image to its size, within the memory of `decoded`.
    fn fitted(
        &self,
        path: &Path,
        fit: Fit,
        decoded: impl FnOnce(Becomes, &dyn Fn(Decoded) -> Result<LoadedImage, DataError>) -> Result<LoadedImage, DataError>,
    ) -> Result<LoadedImage, DataError> {
        if let Fit::Resized(size) = fit
            && size
                .checked_pixels()
                .is_none_or(|pixels| pixels as u64 > self.limits.max_pixels)
        {
            return Err(DataError::Parameter(format!(
                "an image of {size} (height x width) is more than {} pixels",
                self.limits.max_pixels
            )));
        }
        let becomes = Becomes::Values {
            channels: self.channels,
            size: match fit {
                Fit::Resized(size) => Some(size),
                Fit::Own | Fit::AtLeast(_) | Fit::Exactly(_) => None,
            },
            files: None,
        };
        decoded(becomes, &|Decoded { pixels, found }| {
            let original_size = pixels.size();
            fit.check(path, original_size)?;
            let size = match fit {
                Fit::Resized(size) => size,
                Fit::Own | Fit::AtLeast(_) | Fit::Exactly(_) => original_size,
            };
            Ok(LoadedImage {
                image: pixels.to_image(size, self.channels)?,
                original_size,
                found,
            })
        })
    }

    /// Decodes an image: its file, or the files that belong together.
    pub(crate) fn pixels(&self, path: &Path) -> Result<Pixels, DataError> {
        self.decoded(path, Becomes::Pixels, |decoded| Ok(decoded.pixels))
    }

    /// Decodes an image, and makes something of it within the same memory.
    fn decoded<T>(
        &self,
        path: &Path,
        becomes: Becomes,
        make: impl Fn(Decoded) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let wanted = self.wanted(becomes)?;
        self.limits.memory.within(|lease| {
            let decoded = match &self.pattern {
                None => decode(Source::File(path), wanted, &self.limits, lease, 0)?,
                Some(pattern) => self.together(&pattern.files(path)?, wanted, lease)?,
            };
            Ok(make(decoded)?)
        })
    }

    /// The request for each file.
    fn wanted(&self, becomes: Becomes) -> Result<Wanted, DataError> {
        let (channels, _) = self.channels_of_a_file()?;
        if self.white_level == Some(0) {
            return Err(DataError::Parameter("a white level is at least 1".into()));
        }
        Ok(Wanted {
            channels,
            white_level: self.white_level,
            becomes,
        })
    }

    /// Decodes files that belong together.
    fn together(&self, files: &[PathBuf], wanted: Wanted, lease: &mut Lease<'_>) -> Result<Decoded, Stop> {
        let mut planes: Vec<Plane> = Vec::with_capacity(self.channels);
        let mut first: Option<Size> = None;
        let mut found = FileFacts::one();
        let mut kept = 0;
        for (index, file) in files.iter().enumerate() {
            let wanted = Wanted {
                becomes: wanted.becomes.with_files_to_come(files.len() - 1 - index),
                ..wanted
            };
            let part = decode(Source::File(file), wanted, &self.limits, lease, kept).map_err(|stop| match stop {
                Stop::Failed(error) => Stop::Failed(self.of_a_group(error)),
                short => short,
            })?;
            let size = *first.get_or_insert(part.pixels.size());
            if part.pixels.size() != size {
                let reason = format!(
                    "the file has {} pixels (height x width), but the first of its image {size}; files of one image \
                     must have the same size",
                    part.pixels.size()
                );
                return Err(DataError::parts(file, reason).into());
            }
            found = found.and(part.found);
            let of_part = part.pixels.into_planes(wanted.channels);
            kept += of_part.iter().map(Plane::bytes).sum::<usize>() as u64;
            planes.extend(of_part);
        }
        Ok(Decoded {
            pixels: Pixels::Planes(planes),
            found,
        })
    }

    /// Checks that the pattern's files can give this number of channels.
    ///
    /// # Errors
    /// [`DataError::Parameter`] with both numbers.
    pub fn check(&self) -> Result<(), DataError> {
        self.channels_of_a_file().map(|_| ())
    }

    /// How many channels a file has, and how many files an image.
    fn channels_of_a_file(&self) -> Result<(usize, usize), DataError> {
        let files = self.pattern.as_ref().map_or(1, Pattern::files_of_an_image);
        if self.channels == 0 {
            return Err(DataError::Parameter("an image has at least one channel".into()));
        }
        if !self.channels.is_multiple_of(files) {
            return Err(DataError::Parameter(format!(
                "{} channels cannot come from {files} files in equal parts; with the pattern {} there are {files} channels, \
                 or a multiple of it",
                self.channels,
                self.pattern.as_ref().map(Pattern::to_string).unwrap_or_default()
            )));
        }
        Ok((self.channels / files, files))
    }

    /// An error about a file's channels in terms of the image that it is a part of.
    fn of_a_group(&self, error: DataError) -> DataError {
        match (&self.pattern, error) {
            (Some(pattern), DataError::Channels { path, found, wanted }) => {
                let reason = format!(
                    "the file has {found} channels, but each of the {} of its image must have {wanted} (the pattern is \
                     {pattern}, and an image has {} channels)",
                    pattern.files_of_an_image(),
                    self.channels
                );
                DataError::parts(&path, reason)
            }
            (_, error) => error,
        }
    }
}
