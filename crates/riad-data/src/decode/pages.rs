//! TIFFs whose samples are data: several pages, or several samples in a pixel, a channel each.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, Luma, Primitive};
use riad_core::Size;
use tiff::ColorType;
use tiff::TiffError;
use tiff::decoder::{ChunkType, Decoder, DecodingResult};
use tiff::tags::{SampleFormat, Tag};

use super::upright;
use crate::pixels::Plane;
use crate::{DataError, Limits};

/// Why floating-point samples in pictures and TIFFs are refused.
pub(super) const NO_WHITE_POINT: &str = "floating-point samples state no white point; convert the image to 16-bit \
                                         integers, or scale the values to [0, 1] and save them as a .npy array";

/// More pages than any camera makes; a file that is nothing but headers of pages would take minutes to walk through.
const MAX_PAGES: usize = 4096;

/// The pages of a file, whose headers were read: all of one size.
pub(super) struct Pages<'a> {
    path: &'a Path,
    file: &'a [u8],
    limits: tiff::decoder::Limits,
    /// At least one.
    pages: Vec<Page>,
}

struct Page {
    /// Place among all pages of the file.
    index: usize,
    width: u32,
    height: u32,
    orientation: Orientation,
    samples: usize,
    /// Of a sample.
    bytes: u64,
    is_planar: bool,
    is_multiband: bool,
}

impl<'a> Pages<'a> {
    /// Reads all headers and holds them against the limits. Pages that are marked as a smaller version or as a mask of
    /// another one are passed over.
    pub(super) fn open(path: &'a Path, file: &'a [u8], limits: &Limits) -> Result<Self, DataError> {
        let most = usize::try_from(limits.max_bytes).unwrap_or(usize::MAX);
        let mut within = tiff::decoder::Limits::default();
        within.decoding_buffer_size = most;
        within.intermediate_buffer_size = most;
        within.ifd_value_size = most;
        let mut opened = Self {
            path,
            file,
            limits: within,
            pages: Vec::new(),
        };
        let failed = |e| error(path, e);
        let mut decoder = opened.decoder()?;
        for index in 0.. {
            if index == MAX_PAGES {
                return Err(DataError::limit(path, format!("it has more than {MAX_PAGES} pages")));
            }
            let kind: u32 = decoder
                .find_tag_unsigned(Tag::NewSubfileType)
                .map_err(failed)?
                .unwrap_or(0);
            let (is_smaller, is_mask) = (kind & 1 != 0, kind & 4 != 0);
            if !is_smaller && !is_mask {
                opened.pages.push(Page::of(path, &mut decoder, index)?);
            }
            if !decoder.more_images() {
                break;
            }
            decoder.next_image().map_err(failed)?;
        }
        let Some(first) = opened.pages.first() else {
            return Err(DataError::decode(path, "all of its pages are thumbnails or masks"));
        };
        let size = first.size();
        if let Some(other) = opened.pages.iter().find(|page| page.size() != size) {
            let reason = format!(
                "its pages are channels of one image, but page 1 has {size} pixels and page {} has {} (height x width); \
                 save pages of one size",
                other.index + 1,
                other.size()
            );
            return Err(DataError::layout(path, reason));
        }
        let bytes = opened.pages.iter().map(Page::bytes).fold(0, u64::saturating_add);
        limits.check(path, first.width.into(), first.height.into(), bytes)?;
        Ok(opened)
    }

    /// Height and width when upright.
    pub(super) fn size(&self) -> Size {
        self.pages.first().map_or(Size::new(0, 0), Page::size)
    }

    /// How many channels all pages have together.
    pub(super) fn channels(&self) -> usize {
        self.pages.iter().map(|page| page.samples).sum()
    }

    /// Whether it is one page of gray or colours, as viewers show it.
    pub(super) fn is_picture(&self) -> bool {
        matches!(self.pages.as_slice(), [page] if !page.is_multiband)
    }

    /// Whether the samples of the first page are no colours.
    pub(super) fn begin_with_data(&self) -> bool {
        self.pages.first().is_some_and(|page| page.is_multiband)
    }

    /// The channels of the first page, then those of the second, and so on, upright.
    pub(super) fn decode(&self) -> Result<Vec<Plane>, DataError> {
        let failed = |e| error(self.path, e);
        let mut decoder = self.decoder()?;
        let mut at = 0;
        let mut planes = Vec::with_capacity(self.channels());
        for page in &self.pages {
            while at < page.index {
                decoder.next_image().map_err(failed)?;
                at += 1;
            }
            let mut samples = DecodingResult::U8(Vec::new());
            let layout = decoder.read_image_to_buffer(&mut samples).map_err(failed)?;
            // It stops after the first of several planes where its limit is reached.
            if samples.as_buffer(0).byte_len() < layout.complete_len {
                return Err(DataError::limit(self.path, "its pages take more than max_bytes"));
            }
            let of_page = match samples {
                DecodingResult::U8(samples) => page.planes(&samples, DynamicImage::ImageLuma8),
                DecodingResult::U16(samples) => page.planes(&samples, DynamicImage::ImageLuma16),
                _ => None,
            };
            planes
                .extend(of_page.ok_or_else(|| DataError::decode(self.path, "its samples are not what its tags say"))?);
        }
        Ok(planes)
    }

    fn decoder(&self) -> Result<Decoder<Cursor<&'a [u8]>>, DataError> {
        let decoder = Decoder::new(Cursor::new(self.file)).map_err(|e| error(self.path, e))?;
        Ok(decoder.with_limits(self.limits.clone()))
    }
}

/// Refuses a TIFF whose first page is what the decoder panics on: channels apart, in tiles that reach beyond the image. A file
/// that cannot be read here is for others to judge.
pub(super) fn refuse_cut_tiles(path: &Path, file: &[u8]) -> Result<(), DataError> {
    let has_cut_tiles = Decoder::new(Cursor::new(file)).and_then(|mut decoder| has_cut_tiles(&mut decoder));
    if has_cut_tiles.unwrap_or(false) {
        return Err(DataError::unsupported(path, CUT_TILES));
    }
    Ok(())
}

/// Why such a page is refused.
const CUT_TILES: &str = "its channels lie apart from each other, in tiles that do not divide the image; save it in strips, or \
                         with the samples of a pixel together";

fn has_cut_tiles(decoder: &mut Decoder<Cursor<&[u8]>>) -> Result<bool, TiffError> {
    let planar: Option<u16> = decoder.find_tag_unsigned(Tag::PlanarConfiguration)?;
    if planar != Some(2) || decoder.get_chunk_type() != ChunkType::Tile {
        return Ok(false);
    }
    let ((width, height), (tile_width, tile_height)) = (decoder.dimensions()?, decoder.chunk_dimensions());
    Ok(!width.is_multiple_of(tile_width) || !height.is_multiple_of(tile_height))
}

impl Page {
    fn of(path: &Path, decoder: &mut Decoder<Cursor<&[u8]>>, index: usize) -> Result<Self, DataError> {
        let failed = |e| error(path, e);
        let refused = |reason: String| Err(DataError::unsupported(path, format!("page {}: {reason}", index + 1)));
        let formats: Option<Vec<u16>> = decoder.find_tag_unsigned_vec(Tag::SampleFormat).map_err(failed)?;
        for format in formats.into_iter().flatten() {
            match SampleFormat::from_u16_exhaustive(format) {
                SampleFormat::Uint => {}
                SampleFormat::IEEEFP => return refused(NO_WHITE_POINT.into()),
                _ => return refused("its samples are no unsigned integers; convert it to 8 or 16 bits".into()),
            }
        }
        if has_cut_tiles(decoder).map_err(failed)? {
            return refused(CUT_TILES.into());
        }
        let color = decoder.colortype().map_err(failed)?;
        let bits = color.bit_depth();
        let is_multiband = matches!(color, ColorType::Multiband { .. });
        let is_known = is_multiband
            || matches!(
                color,
                ColorType::Gray(_) | ColorType::RGB(_) | ColorType::RGBA(_) | ColorType::CMYK(_) | ColorType::CMYKA(_)
            );
        if !is_known || ![8, 16].contains(&bits) {
            return refused(format!(
                "{color:?} is not read; convert it to gray or RGB of 8 or 16 bits"
            ));
        }
        let samples: u16 = decoder
            .find_tag_unsigned(Tag::SamplesPerPixel)
            .map_err(failed)?
            .unwrap_or(1);
        if samples != color.num_samples() {
            return refused(format!(
                "of its {samples} samples in a pixel {} are colours, and what the others are it does not say; save it with \
                 the photometric interpretation MINISBLACK, or as a .npy array",
                color.num_samples()
            ));
        }
        let orientation: Option<u16> = decoder.find_tag_unsigned(Tag::Orientation).map_err(failed)?;
        let orientation = orientation.and_then(|value| Orientation::from_exif(value.try_into().ok()?));
        let planar: Option<u16> = decoder.find_tag_unsigned(Tag::PlanarConfiguration).map_err(failed)?;
        let (width, height) = decoder.dimensions().map_err(failed)?;
        Ok(Self {
            index,
            width,
            height,
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
            samples: samples.into(),
            bytes: u64::from(bits / 8),
            is_planar: planar == Some(2),
            is_multiband,
        })
    }

    fn size(&self) -> Size {
        upright(self.orientation, self.width, self.height)
    }

    /// What all its samples take.
    fn bytes(&self) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        pixels.saturating_mul(self.samples as u64 * self.bytes)
    }

    /// Its channels as planes; `None` if there are not enough samples.
    fn planes<T: Primitive + 'static>(
        &self,
        samples: &[T],
        wrap: impl Fn(ImageBuffer<Luma<T>, Vec<T>>) -> DynamicImage,
    ) -> Option<Vec<Plane>> {
        let pixels = self.width as usize * self.height as usize;
        let samples = samples.get(..pixels * self.samples)?;
        let plane = |channel: usize| -> Vec<T> {
            if self.is_planar {
                samples[channel * pixels..][..pixels].to_vec()
            } else {
                samples.iter().skip(channel).step_by(self.samples).copied().collect()
            }
        };
        let upright = |channel| {
            let mut plane = wrap(ImageBuffer::from_raw(self.width, self.height, plane(channel))?);
            plane.apply_orientation(self.orientation);
            Some(Plane::Integers(plane))
        };
        (0..self.samples).map(upright).collect()
    }
}

fn error(path: &Path, error: TiffError) -> DataError {
    match error {
        TiffError::LimitsExceeded => DataError::limit(path, "it takes more than max_bytes; see Limits"),
        TiffError::UnsupportedError(e) => {
            DataError::unsupported(path, format!("{e}; convert it to gray or RGB of 8 or 16 bits"))
        }
        // The whole file is in memory, so reading past its end is the only input error left.
        TiffError::IoError(_) => DataError::decode(path, "the image data is cut off"),
        e => DataError::decode(path, e.to_string()),
    }
}
