//! TIFFs: pictures, and pages of data with one channel each.

mod directory;
mod page;
mod unpack;

use std::collections::HashSet;
use std::io::Cursor;
use std::ops::RangeInclusive;
use std::path::Path;

use image::codecs::jpeg::JpegDecoder;
use image::{DynamicImage, ImageBuffer, Luma, LumaA, Pixel, Primitive, Rgb, Rgba};
use riad_core::Size;

use self::directory::{Broken, Budget, Directory, MAX_ENTRIES, MAX_PAGES, Numbers, Order, directories, first, tag};
use self::page::{Alpha, Colours, Page, Refusal, Samples};
use super::steps::Form;
use super::stored::Stored;
use super::{SAVE_AS, Stop, Within, is_turned, jpeg, picture, upright};
use crate::DataError;

/// Whether a file is a TIFF or BigTIFF.
pub(super) fn is_tiff(file: &[u8]) -> bool {
    Order::of(file).is_some()
}

/// The places of the pictures behind the first one, by the index of a file of several JPEGs.
pub(super) fn places_of_others(index: &[u8]) -> Option<impl Iterator<Item = u32>> {
    let order = Order::of(index)?;
    // What it is, its bytes, its place behind the index's beginning, and two numbers of 2 bytes.
    let (entries, _) = first(index, order)?.bytes(tag::MP_ENTRIES)?.as_chunks::<16>();
    let place = move |entry: &[u8; 16]| {
        let &[_, _, place, _] = entry.as_chunks::<4>().0.first_chunk()?;
        Some(order.u32(place))
    };
    Some(entries.iter().skip(1).filter_map(place))
}

/// A file whose directories were read.
pub(super) struct Tiff<'a> {
    path: &'a Path,
    file: &'a [u8],
    order: Order,
    directories: Vec<Directory<'a>>,
    /// What the directories have left.
    budget: Budget,
}

/// The page that is read as a picture.
pub(super) struct Shown<'a> {
    path: &'a Path,
    page: Page<'a>,
    /// The number of pictures in the file.
    pictures: usize,
}

/// Pages that are the channels of one image. All have the same size.
pub(super) struct Pages<'a> {
    path: &'a Path,
    /// At least one.
    pages: Vec<Page<'a>>,
}

/// Whether a page is a smaller version of another one, or one page of many; by the newer tag or the older one.
fn is_smaller(directory: &Directory<'_>) -> bool {
    match directory.number(tag::KIND) {
        Some(kind) => kind & 1 != 0,
        None => directory.number(tag::OLD_KIND) == Some(2),
    }
}

/// Whether a page is the transparency mask of another page.
fn is_mask(directory: &Directory<'_>) -> bool {
    directory.number(tag::KIND).is_some_and(|kind| kind & 4 != 0)
}

/// Whether a page is neither of both.
fn is_picture(directory: &Directory<'_>) -> bool {
    !is_smaller(directory) && !is_mask(directory)
}

impl<'a> Tiff<'a> {
    pub(super) fn open(path: &'a Path, file: &'a [u8]) -> Result<Self, DataError> {
        let order = Order::of(file).ok_or_else(|| DataError::decode(path, "the TIFF header is damaged"))?;
        let budget = Budget::of_a_file();
        let directories = directories(file, order, &budget).map_err(|broken| of_directories(path, broken))?;
        if directories.is_empty() {
            return Err(DataError::decode(path, "it has no pages"));
        }
        Ok(Self {
            path,
            file,
            order,
            directories,
            budget,
        })
    }

    fn page(&self, index: usize, directory: &Directory<'a>) -> Result<Page<'a>, DataError> {
        let page = Page::of(self.file, self.order, directory);
        page.map_err(|refusal| match (refusal, self.directories.len()) {
            (Refusal::Unsupported(reason), 2..) => {
                DataError::unsupported(self.path, format!("page {}: {reason}", index + 1))
            }
            (refusal, _) => refused(self.path, refusal),
        })
    }

    /// The page to read: the first that is marked neither as a smaller version nor as a mask of another one. If there is none, it is
    /// the first such page within the others: cameras put a thumbnail in front, and the picture within it (DNG).
    pub(super) fn shown(&self) -> Result<Shown<'a>, DataError> {
        let pages = || {
            self.directories
                .iter()
                .enumerate()
                .filter(|(_, directory)| !is_mask(directory))
        };
        let mut pictures = pages().filter(|(_, directory)| !is_smaller(directory));
        let shown = pictures.next();
        let more = pictures.count();
        if let Some((index, directory)) = shown {
            let page = self.page(index, directory)?;
            // Those of a pyramid are smaller, whether they are marked so or not. What is damaged here is not looked at.
            let larger = self.within().filter_map(Result::ok).filter(|inner| {
                let sides = [tag::WIDTH, tag::HEIGHT].map(|tag| inner.number(tag).unwrap_or(0));
                sides[0].saturating_mul(sides[1]) > u64::from(page.width) * u64::from(page.height)
            });
            let pictures = 1 + more + larger.filter(is_picture).count();
            return Ok(Shown {
                path: self.path,
                page,
                pictures,
            });
        }
        let inner = self.within().collect::<Result<Vec<_>, _>>()?;
        let mut pictures = inner.iter().filter(|directory| is_picture(directory));
        let page = match pictures.next() {
            Some(directory) => Page::of(self.file, self.order, directory).map_err(|refusal| match refusal {
                Refusal::Unsupported(reason) => {
                    DataError::unsupported(self.path, format!("the picture behind its thumbnail: {reason}"))
                }
                refusal => refused(self.path, refusal),
            })?,
            None => {
                let (index, directory) = pages()
                    .next()
                    .ok_or_else(|| DataError::decode(self.path, "all of its pages are masks"))?;
                self.page(index, directory)?
            }
        };
        Ok(Shown {
            path: self.path,
            page,
            pictures: 1 + pictures.count(),
        })
    }

    /// The directories that pages hold within them, at most [`MAX_PAGES`] and each once; not those within these.
    fn within(&self) -> impl Iterator<Item = Result<Directory<'a>, DataError>> {
        let places = self
            .directories
            .iter()
            .filter_map(|directory| directory.numbers(tag::WITHIN));
        let mut seen = HashSet::new();
        let places = places
            .flat_map(Numbers::iter)
            .take(MAX_PAGES)
            .filter(move |&at| seen.insert(at));
        places.map(|at| {
            let found = Directory::parse(self.file, self.order, at, &self.budget);
            let (directory, _) = found.map_err(|broken| of_directories(self.path, broken))?;
            Ok(directory)
        })
    }

    /// All pages that are not marked as a smaller version or a mask of another one.
    pub(super) fn pages(&self) -> Result<Pages<'a>, DataError> {
        let (mut pages, mut chunks) = (Vec::new(), 0);
        for (index, directory) in self.directories.iter().enumerate() {
            if is_picture(directory) {
                let page = self.page(index, directory)?;
                page.is_data()
                    .map_err(|reason| DataError::unsupported(self.path, format!("page {}: {reason}", index + 1)))?;
                // Pages may share their data, but no file is full of such pages.
                chunks += page.chunks();
                if chunks > self.file.len() {
                    return Err(DataError::decode(self.path, "the image data is cut off"));
                }
                pages.push((index, page));
            }
        }
        let Some((_, first)) = pages.first() else {
            return Err(DataError::decode(self.path, "all of its pages are thumbnails or masks"));
        };
        let size = first.size();
        if let Some((index, other)) = pages.iter().find(|(_, page)| page.size() != size) {
            let reason = format!(
                "its pages are channels of one image, but page 1 has {size} pixels and page {} has {} (height x \
                 width); save all pages in the same size",
                index + 1,
                other.size()
            );
            return Err(DataError::parts(self.path, reason));
        }
        Ok(Pages {
            path: self.path,
            pages: pages.into_iter().map(|(_, page)| page).collect(),
        })
    }
}

impl Page<'_> {
    fn size(&self) -> Size {
        upright(self.orientation, self.width, self.height)
    }

    /// Whether its samples are gray values without any that says how transparent a pixel is: several of them are data.
    fn is_multiband(&self) -> bool {
        matches!(self.colours, Colours::Gray { .. }) && self.samples > 1 && (self.alpha.is_none() || self.samples > 2)
    }

    /// Checks that its samples can be used as channels. Otherwise the error says why not.
    fn is_data(&self) -> Result<(), String> {
        let named = match &self.colours {
            Colours::Gray { .. } => self.samples,
            Colours::Rgb => 3 + usize::from(self.alpha.is_some()),
            Colours::Cmyk => 4 + usize::from(self.alpha.is_some()),
            Colours::YCbCr => 3,
            Colours::Palette(_) => return Err(format!("it has a palette; {SAVE_AS}")),
        };
        if self.samples == named {
            return Ok(());
        }
        Err(format!(
            "of its {} samples in a pixel {named} are colours, and what the others are it does not say; save it with the \
             photometric interpretation MINISBLACK, or as a .npy array",
            self.samples
        ))
    }

    /// Its samples. Those of a JPEG are decoded.
    fn read(&self, path: &Path) -> Result<Samples, DataError> {
        let read = |stream: &[u8], (wanted, heights): (usize, RangeInclusive<usize>)| -> Result<_, Failure> {
            let header = jpeg::header(stream).map_err(Failure::Jpeg)?;
            let (width, height) = header.dimensions();
            // This is before memory is allocated, because a JPEG's header can differ from the page's tags.
            if width != wanted || !heights.contains(&height) {
                return Err(Refusal::Damaged("its JPEG data have another size than its tags say").into());
            }
            if header.components() != self.samples_of_a_jpeg() {
                return Err(Refusal::Damaged("its JPEG data have other channels than its tags say").into());
            }
            header.check(stream).map_err(Failure::Jpeg)?;
            let decoder = JpegDecoder::new(Cursor::new(stream)).map_err(|_| Failure::Jpeg(jpeg::Fault::Damaged))?;
            let image = DynamicImage::from_decoder(decoder).map_err(|_| Failure::Jpeg(jpeg::Fault::Damaged))?;
            let samples = match (image, self.samples) {
                (DynamicImage::ImageLuma8(gray), _) => (1, gray.into_raw()),
                (image, _) => (3, image.into_rgb8().into_raw()),
            };
            match samples {
                (found, samples) if found == self.samples_of_a_jpeg() => Ok(samples),
                _ => Err(Refusal::Damaged("its JPEG data have other channels than its tags say").into()),
            }
        };
        self.samples(read).map_err(|failure| match failure {
            Failure::Jpeg(fault) => picture::of_jpeg(path, fault),
            Failure::Refused(refusal) => refused(path, refusal),
        })
    }
}

/// Why a page's samples cannot be read.
enum Failure {
    Refused(Refusal),
    Jpeg(jpeg::Fault),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Shown<'_> {
    /// Holds what the tags claim against the limits.
    pub(super) fn cover(&self, within: &mut Within<'_, '_>) -> Result<(), Stop> {
        let page = &self.page;
        let is_palette = matches!(page.colours, Colours::Palette(_));
        let form = Form {
            width: page.width.into(),
            height: page.height.into(),
            samples: if matches!(page.colours, Colours::Gray { .. }) {
                1
            } else {
                3
            },
            bytes: if is_palette { 1 } else { page.even_bytes() },
            has_alpha: page.alpha.is_some() && !is_palette,
            is_turned: is_turned(page.orientation),
            is_planar: false,
        };
        // The samples, and what is made of those that do not make up a picture.
        let decoding = page
            .bytes()
            .max(page.sample_bytes(page.even_bytes()).saturating_add(form.decoded()));
        within.cover(&form, decoding)
    }

    pub(super) fn size(&self) -> Size {
        self.page.size()
    }

    /// The number of pictures in the file, including this one.
    pub(super) fn pictures(&self) -> usize {
        self.pictures
    }

    /// 1 for gray, 3 for colours. Transparency does not count as a channel.
    pub(super) fn channels(&self) -> usize {
        match self.page.colours {
            Colours::Gray { .. } if self.page.is_multiband() => self.page.samples,
            Colours::Gray { .. } => 1,
            _ => 3,
        }
    }

    /// The pixels, upright.
    pub(super) fn decode(&self) -> Result<Stored, DataError> {
        let page = &self.page;
        let samples = page.read(self.path)?;
        let (image, full) = if let Colours::Palette(palette) = &page.colours {
            (coloured(page, palette, &samples), 255)
        } else {
            match samples.in_even_bits(page.full()) {
                (Samples::U8(samples), full) => (pixels(page, samples, full), full),
                (Samples::U16(samples), full) => (pixels(page, samples, full), full),
            }
        };
        let mut image = image.ok_or_else(|| DataError::decode(self.path, "its samples are not what its tags say"))?;
        image.apply_orientation(page.orientation);
        Ok(Stored {
            image,
            is_premultiplied: page.alpha == Some(Alpha::Associated),
            full,
            is_lossy: page.is_jpeg(),
            pictures: self.pictures,
        })
    }
}

impl Pages<'_> {
    /// Holds what the tags claim against the limits.
    pub(super) fn cover(&self, within: &mut Within<'_, '_>) -> Result<(), Stop> {
        let Some(first) = self.pages.first() else { return Ok(()) };
        let form = Form {
            width: first.width.into(),
            height: first.height.into(),
            samples: self.channels() as u64,
            bytes: self.pages.iter().map(Page::even_bytes).max().unwrap_or(1),
            has_alpha: false,
            is_turned: is_turned(first.orientation),
            is_planar: true,
        };
        // One page's samples, and a plane that is turned, beside all planes.
        let of_page = |page: &Page<'_>| page.bytes().max(page.sample_bytes(page.even_bytes()));
        let beside = self.pages.iter().map(of_page).max().unwrap_or(0);
        let plane = form.decoded() / form.samples.max(1);
        within.cover(&form, form.decoded().saturating_add(beside).saturating_add(plane))
    }

    /// Height and width when upright.
    pub(super) fn size(&self) -> Size {
        self.pages.first().map_or(Size::new(0, 0), Page::size)
    }

    /// The number of channels of all pages together.
    pub(super) fn channels(&self) -> usize {
        self.pages.iter().map(|page| page.samples).sum()
    }

    /// Whether it is one page of gray or colours, as viewers show it.
    pub(super) fn is_picture(&self) -> bool {
        matches!(self.pages.as_slice(), [page] if !page.is_multiband())
    }

    /// Whether the samples of the first page are not colours.
    pub(super) fn begin_with_data(&self) -> bool {
        self.pages.first().is_some_and(Page::is_multiband)
    }

    /// The channels of the first page, then those of the second, and so on, upright, each with the greatest value that a sample
    /// of it can have.
    pub(super) fn decode(&self) -> Result<Vec<(DynamicImage, u16)>, DataError> {
        let mut planes = Vec::with_capacity(self.channels());
        for page in &self.pages {
            let (samples, full) = page.read(self.path)?.in_even_bits(page.full());
            let of_page = match samples {
                Samples::U8(samples) => page.planes(&samples, full as u8, DynamicImage::ImageLuma8),
                Samples::U16(samples) => page.planes(&samples, full, DynamicImage::ImageLuma16),
            };
            let of_page =
                of_page.ok_or_else(|| DataError::decode(self.path, "its samples are not what its tags say"))?;
            planes.extend(of_page.into_iter().map(|plane| (plane, full)));
        }
        Ok(planes)
    }
}

impl Page<'_> {
    /// Samples of a pixel in each of its JPEGs.
    fn samples_of_a_jpeg(&self) -> usize {
        if self.is_planar() { 1 } else { self.samples }
    }

    /// Its channels as planes; `None` if there are not enough samples.
    fn planes<T: Primitive + 'static>(
        &self,
        samples: &[T],
        full: T,
        wrap: impl Fn(ImageBuffer<Luma<T>, Vec<T>>) -> DynamicImage,
    ) -> Option<Vec<DynamicImage>> {
        let is_inverted = self.colours == Colours::Gray { is_inverted: true };
        let value = |value: T| if is_inverted { full - value } else { value };
        let plane = |channel| {
            samples
                .iter()
                .skip(channel)
                .step_by(self.samples)
                .copied()
                .map(value)
                .collect()
        };
        let upright = |channel| {
            let mut plane = wrap(ImageBuffer::from_raw(self.width, self.height, plane(channel))?);
            plane.apply_orientation(self.orientation);
            Some(plane)
        };
        (0..self.samples).map(upright).collect()
    }
}

impl Samples {
    /// Converts samples of 1, 2 and 4 bits to 8 bits, which is exact. Others keep their own white.
    fn in_even_bits(self, full: u16) -> (Self, u16) {
        match self {
            Self::U8(mut samples) if 255 % full == 0 => {
                let scale = (255 / full) as u8;
                samples.iter_mut().for_each(|value| *value *= scale);
                (Self::U8(samples), 255)
            }
            Self::U8(samples) => (Self::U16(samples.into_iter().map(u16::from).collect()), full),
            samples => (samples, full),
        }
    }
}

/// The picture of indices into a palette.
fn coloured(page: &Page<'_>, palette: &[[u8; 3]], samples: &Samples) -> Option<DynamicImage> {
    let colour = |index: usize| palette.get(index).copied();
    let indices: Box<dyn ExactSizeIterator<Item = usize>> = match samples {
        Samples::U8(samples) => Box::new(samples.iter().step_by(page.samples).map(|&index| index.into())),
        Samples::U16(samples) => Box::new(samples.iter().step_by(page.samples).map(|&index| index.into())),
    };
    let mut raw = Vec::with_capacity(3 * indices.len());
    for index in indices {
        raw.extend(colour(index)?);
    }
    Some(ImageBuffer::<Rgb<u8>, _>::from_raw(page.width, page.height, raw)?.into())
}

/// The picture of samples whose greatest value is `full`: gray or colours, with alpha if there is one.
fn pixels<T>(page: &Page<'_>, samples: Vec<T>, full: u16) -> Option<DynamicImage>
where
    T: Primitive + Into<u32> + TryFrom<u32> + 'static,
    Luma<T>: Pixel<Subpixel = T>,
    LumaA<T>: Pixel<Subpixel = T>,
    Rgb<T>: Pixel<Subpixel = T>,
    Rgba<T>: Pixel<Subpixel = T>,
    DynamicImage: From<ImageBuffer<Luma<T>, Vec<T>>>
        + From<ImageBuffer<LumaA<T>, Vec<T>>>
        + From<ImageBuffer<Rgb<T>, Vec<T>>>
        + From<ImageBuffer<Rgba<T>, Vec<T>>>,
{
    let full = u32::from(full);
    let (stored, shown) = match page.colours {
        Colours::Gray { .. } => (1, 1),
        Colours::Cmyk => (4, 3),
        _ => (3, 3),
    };
    let alpha = usize::from(page.alpha.is_some());
    let changes = matches!(page.colours, Colours::Cmyk | Colours::Gray { is_inverted: true });
    let raw = if !changes && page.samples == shown + alpha {
        samples
    } else {
        let mut raw = Vec::with_capacity(samples.len() / page.samples * (shown + alpha));
        let value = |value: u32| T::try_from(value).ok();
        for pixel in samples.chunks_exact(page.samples) {
            let at = |index: usize| -> u32 { pixel[index].into() };
            match page.colours {
                Colours::Gray { is_inverted: true } => raw.push(value(full - at(0))?),
                // The light that passes the ink and the black.
                Colours::Cmyk => {
                    for ink in 0..3 {
                        raw.push(value(((full - at(ink)) * (full - at(3)) + full / 2) / full)?);
                    }
                }
                _ => raw.extend_from_slice(&pixel[..stored]),
            }
            raw.extend_from_slice(&pixel[stored..stored + alpha]);
        }
        raw
    };
    let (width, height) = (page.width, page.height);
    Some(match (shown, alpha) {
        (1, 0) => ImageBuffer::<Luma<T>, _>::from_raw(width, height, raw)?.into(),
        (1, _) => ImageBuffer::<LumaA<T>, _>::from_raw(width, height, raw)?.into(),
        (_, 0) => ImageBuffer::<Rgb<T>, _>::from_raw(width, height, raw)?.into(),
        _ => ImageBuffer::<Rgba<T>, _>::from_raw(width, height, raw)?.into(),
    })
}

/// Why directories cannot be read, as an error.
fn of_directories(path: &Path, broken: Broken) -> DataError {
    match broken {
        Broken::CutOff => DataError::decode(path, "the image data is cut off"),
        Broken::Circle => DataError::decode(path, "its pages refer to each other in a circle"),
        Broken::TooManyPages => DataError::too_large(
            path,
            format!("it has more than {MAX_PAGES} pages; save fewer in a file"),
        ),
        Broken::TooManyEntries => DataError::too_large(
            path,
            format!("its pages have more than {MAX_ENTRIES} tags altogether; save fewer pages in a file"),
        ),
    }
}

/// Why a page cannot be read, as an error.
fn refused(path: &Path, refusal: Refusal) -> DataError {
    match refusal {
        Refusal::Damaged(reason) => DataError::decode(path, reason),
        Refusal::Unsupported(reason) => DataError::unsupported(path, reason),
        Refusal::FloatingPoint => DataError::unsupported(path, super::NO_WHITE_POINT),
    }
}
