//! One page of a TIFF: its tags and its samples.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use image::metadata::Orientation;

use super::directory::{Directory, Numbers, Order, tag};
use super::unpack::{Compression, Rows, unpack};
use crate::decode::jpeg;

/// The meaning of the samples of a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Gray {
        is_inverted: bool,
    },
    Rgb,
    /// The red, green and blue of each value, in 8 bits.
    Palette(Vec<[u8; 3]>),
    Cmyk,
    /// Brightness and two differences, in JPEG data. Decoding converts them to RGB.
    YCbCr,
}

/// The meaning of the first sample after the colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpha {
    /// Alpha, by which the colours were multiplied.
    Associated,
    Unassociated,
}

/// A page whose tags were read and do not contradict each other.
pub(super) struct Page<'a> {
    file: &'a [u8],
    order: Order,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) orientation: Orientation,
    /// Bits of a sample, 1 to 16.
    pub(super) bits: u32,
    /// Samples of a pixel.
    pub(super) samples: usize,
    pub(super) colours: Colours,
    pub(super) alpha: Option<Alpha>,
    compression: Compression,
    /// Whether each sample is stored as the difference from the one beside it.
    is_predicted: bool,
    /// Whether the bits of each byte begin with the lowest.
    is_reversed: bool,
    /// Whether each sample has strips or tiles of its own.
    is_planar: bool,
    chunk_width: usize,
    chunk_height: usize,
    /// The height of a strip by its tag, which may be more than the image's.
    strip_height: usize,
    is_tiled: bool,
    chunks: Chunks<'a>,
    jpeg_tables: Option<&'a [u8]>,
}

/// Where the data of strips or tiles lie. The places are read from the file when they are needed, since many pages may share them.
#[derive(Clone, Copy)]
enum Chunks<'a> {
    /// One stream has all pixels.
    Whole(&'a [u8]),
    /// There are as many as are needed. Each has its data within the file.
    Listed {
        needed: usize,
        offsets: Numbers<'a>,
        /// How many bytes each has. Without, where the data end is not said.
        lens: Option<Numbers<'a>>,
    },
}

/// Why a page cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its data or tags are cut off or damaged. This says how.
    Damaged(&'static str),
    /// It is of a kind that is not read. This names the kind.
    Unsupported(String),
    FloatingPoint,
}

/// Rows of the largest usual block of a JPEG.
const BLOCKS: usize = 16;

use Refusal::{Damaged, FloatingPoint, Unsupported};

impl<'a> Page<'a> {
    pub(super) fn of(file: &'a [u8], order: Order, directory: &Directory<'a>) -> Result<Self, Refusal> {
        let number = |tag| directory.number(tag);
        let side = |tag| -> Result<u32, Refusal> {
            let side = number(tag).ok_or(Damaged("its size is missing"))?;
            u32::try_from(side).map_err(|_| Damaged("its size is not possible for an image"))
        };
        let (width, height) = (side(tag::WIDTH)?, side(tag::HEIGHT)?);
        if width == 0 || height == 0 {
            return Err(Damaged("the image has no pixels"));
        }
        let samples = number(tag::SAMPLES).unwrap_or(1);
        let samples = usize::try_from(samples)
            .ok()
            .filter(|count| (1..=65_535).contains(count));
        let samples = samples.ok_or(Damaged("its number of samples is not possible for a pixel"))?;
        // What a tag has beyond the samples counts for none.
        let of_each_sample = |tag| directory.numbers(tag).into_iter().flat_map(Numbers::iter).take(samples);
        for format in of_each_sample(tag::SAMPLE_FORMAT) {
            match format {
                // A tag that is missing has its usual value.
                1 | 4 => {}
                3 => return Err(FloatingPoint),
                _ => {
                    return Err(Unsupported(
                        "its samples are not unsigned integers; convert it to 8 or 16 bits".into(),
                    ));
                }
            }
        }
        let all = number(tag::BITS).unwrap_or(1);
        if let Some(other) = of_each_sample(tag::BITS).find(|&bits| bits != all) {
            return Err(Unsupported(format!(
                "its samples have different numbers of bits ({all} and {other}); save it with 8 or 16 bits"
            )));
        }
        if !(1..=16).contains(&all) {
            return Err(Unsupported(format!(
                "its samples have {all} bits; convert it to gray or RGB of 8 or 16 bits"
            )));
        }
        let bits = all as u32;
        let compression = number(tag::COMPRESSION).unwrap_or(1);
        let compression = Compression::of(compression)
            .map_err(|name| Unsupported(format!("it is compressed with {name}; {}", crate::decode::SAVE_AS)))?;
        if compression == Compression::Fax3 && number(tag::T4_OPTIONS).unwrap_or(0) & 1 != 0 {
            let reason = format!(
                "it is compressed with two-dimensional CCITT T.4; {}",
                crate::decode::SAVE_AS
            );
            return Err(Unsupported(reason));
        }
        let is_jpeg = matches!(compression, Compression::Jpeg | Compression::OldJpeg);
        let is_fax = matches!(compression, Compression::Fax3 | Compression::Fax4);
        if (is_jpeg && bits != 8) || (is_fax && (bits, samples) != (1, 1)) {
            return Err(Damaged("its compression cannot hold such samples"));
        }
        let (colours, own) = colours(directory, bits, samples, is_jpeg)?;
        if samples < own {
            return Err(Damaged("it has fewer samples in a pixel than its colours need"));
        }
        let extra = number(tag::EXTRA_SAMPLES).filter(|_| samples > own);
        let alpha = extra.and_then(|kind| match kind {
            1 => Some(Alpha::Associated),
            2 => Some(Alpha::Unassociated),
            _ => None,
        });
        let is_predicted = match number(tag::PREDICTOR).unwrap_or(1) {
            1 => false,
            // The tag counts only for compressions that use it. Some files have it with other compressions, by mistake.
            2 => matches!(compression, Compression::Lzw | Compression::Deflate),
            _ => {
                return Err(Unsupported(format!(
                    "its predictor is that of floating-point samples; {}",
                    crate::decode::SAVE_AS
                )));
            }
        };
        if is_predicted && ![8, 16].contains(&bits) {
            return Err(Unsupported(format!(
                "it has a predictor for samples of {bits} bits; {}",
                crate::decode::SAVE_AS
            )));
        }
        let orientation = number(tag::ORIENTATION).and_then(|value| Orientation::from_exif(value.try_into().ok()?));
        let mut page = Self {
            file,
            order,
            width,
            height,
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
            bits,
            samples,
            colours,
            alpha,
            compression,
            is_predicted,
            // The order of bits does not apply to a JPEG: it is a stream with its own order.
            is_reversed: number(tag::FILL_ORDER) == Some(2) && !is_jpeg,
            is_planar: samples > 1 && number(tag::PLANAR) == Some(2),
            chunk_width: width as usize,
            chunk_height: height as usize,
            strip_height: height as usize,
            is_tiled: false,
            chunks: Chunks::Whole(&[]),
            jpeg_tables: directory.bytes(tag::JPEG_TABLES),
        };
        page.find_chunks(directory)?;
        Ok(page)
    }

    /// Finds the data of strips and tiles. None may be missing.
    fn find_chunks(&mut self, directory: &Directory<'a>) -> Result<(), Refusal> {
        const CUT_OFF: Refusal = Damaged("the image data is cut off");
        if self.compression == Compression::OldJpeg {
            let at = directory.number(tag::OLD_JPEG).and_then(|at| usize::try_from(at).ok());
            let stream = at
                .and_then(|at| self.file.get(at..))
                .filter(|stream| stream.starts_with(&[0xFF, 0xD8]));
            let stream = stream.ok_or_else(|| {
                Unsupported(format!(
                    "it is compressed with JPEG in the old way, in pieces; {}",
                    crate::decode::SAVE_AS
                ))
            })?;
            if self.is_planar {
                return Err(Unsupported(format!(
                    "it is compressed with JPEG in the old way, plane by plane; {}",
                    crate::decode::SAVE_AS
                )));
            }
            self.chunks = Chunks::Whole(stream);
            return Ok(());
        }
        let side = |tag| {
            directory
                .number(tag)
                .and_then(|side| usize::try_from(side).ok())
                .filter(|&side| side > 0)
        };
        let (offsets, lens) = match directory.numbers(tag::TILE_OFFSETS) {
            Some(offsets) => {
                let (width, height) = (side(tag::TILE_WIDTH), side(tag::TILE_HEIGHT));
                (self.chunk_width, self.chunk_height) =
                    width.zip(height).ok_or(Damaged("the size of its tiles is missing"))?;
                self.is_tiled = true;
                (offsets, directory.numbers(tag::TILE_BYTES))
            }
            None => {
                let offsets = directory.numbers(tag::STRIP_OFFSETS);
                if let Some(rows) = side(tag::ROWS_PER_STRIP) {
                    self.strip_height = rows;
                    self.chunk_height = rows.min(self.height as usize);
                }
                (
                    offsets.ok_or(Damaged("the places of its data are missing"))?,
                    directory.numbers(tag::STRIP_BYTES),
                )
            }
        };
        let planes = if self.is_planar { self.samples } else { 1 };
        let needed = self
            .across()
            .checked_mul(self.down())
            .and_then(|chunks| chunks.checked_mul(planes));
        let needed = needed.filter(|&needed| needed <= offsets.len()).ok_or(CUT_OFF)?;
        self.chunks = Chunks::Listed { needed, offsets, lens };
        // None has no bytes at all, so that there cannot be more of them than bytes.
        if needed > self.file.len() || (0..needed).any(|index| self.chunk(index).is_none()) {
            return Err(CUT_OFF);
        }
        Ok(())
    }

    /// The number of its strips or tiles.
    pub(super) fn chunks(&self) -> usize {
        match self.chunks {
            Chunks::Whole(_) => 1,
            Chunks::Listed { needed, .. } => needed,
        }
    }

    /// The data of a strip or tile.
    fn chunk(&self, index: usize) -> Option<&'a [u8]> {
        match self.chunks {
            Chunks::Whole(stream) => Some(stream),
            Chunks::Listed { offsets, lens, .. } => {
                let rest = self.file.get(usize::try_from(offsets.get(index)?).ok()?..)?;
                match lens {
                    Some(lens) => rest.get(..usize::try_from(lens.get(index)?).ok()?),
                    // Old writers omit it.
                    None => Some(rest),
                }
            }
        }
    }

    /// Strips or tiles beside each other.
    fn across(&self) -> usize {
        (self.width as usize).div_ceil(self.chunk_width)
    }

    /// Strips or tiles below each other.
    fn down(&self) -> usize {
        (self.height as usize).div_ceil(self.chunk_height)
    }

    /// Samples of a pixel that a strip or tile holds.
    fn samples_together(&self) -> usize {
        if self.is_planar { 1 } else { self.samples }
    }

    /// The size of an unpacked strip or tile in bytes. `None` if it exceeds a `usize`.
    fn chunk_bytes(&self) -> Option<usize> {
        let bits = self
            .chunk_width
            .checked_mul(self.samples_together())?
            .checked_mul(self.bits as usize)?;
        bits.div_ceil(8).checked_mul(self.chunk_height)
    }

    /// The bytes of all samples, each of so many bytes.
    pub(super) fn sample_bytes(&self, bytes: u64) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        pixels.saturating_mul(self.samples as u64).saturating_mul(bytes)
    }

    /// Bytes of a sample whose bits are even: 8 or 16.
    pub(super) fn even_bytes(&self) -> u64 {
        if matches!(self.bits, 1 | 2 | 4 | 8) { 1 } else { 2 }
    }

    /// The most bytes at any time until all samples are there in even bits.
    pub(super) fn bytes(&self) -> u64 {
        let stored = self.sample_bytes(if self.bits > 8 { 2 } else { 1 });
        let widened = if self.bits < 8 && self.even_bytes() == 2 {
            self.sample_bytes(2)
        } else {
            0
        };
        stored.saturating_add(widened.max(self.chunk_memory()))
    }

    /// The most bytes that a strip or tile takes beside all samples.
    fn chunk_memory(&self) -> u64 {
        let file = self.file.len() as u64;
        if self.is_jpeg() {
            let (width, heights) = self.jpeg_size(1);
            let samples = if self.is_planar { 1 } else { self.samples };
            let sides = [width, *heights.end(), samples];
            let decoded = sides
                .iter()
                .fold(1, |product: u64, &side| product.saturating_mul(side as u64));
            // The stream and its tables, and the decoder's copy with parts of it.
            let streams = (file + self.jpeg_tables.map_or(0, <[u8]>::len) as u64).saturating_mul(3);
            let decoder = jpeg::most_bytes(width, *heights.end(), samples);
            return decoded.saturating_add(decoder).saturating_add(streams);
        }
        let chunk = self.chunk_bytes().map_or(u64::MAX, |bytes| bytes as u64);
        let reversed = if self.is_reversed { file } else { 0 };
        chunk.saturating_mul(2).saturating_add(reversed)
    }

    pub(super) fn is_jpeg(&self) -> bool {
        matches!(self.compression, Compression::Jpeg | Compression::OldJpeg)
    }

    pub(super) fn is_planar(&self) -> bool {
        self.is_planar
    }

    /// The greatest value of a sample.
    pub(super) fn full(&self) -> u16 {
        ((1u32 << self.bits) - 1) as u16
    }

    /// The size of the JPEG of a strip or tile of this many rows: its width, and the least and the greatest height. Encoders work in
    /// blocks, and some do not cut off the last.
    fn jpeg_size(&self, rows: usize) -> (usize, RangeInclusive<usize>) {
        (self.chunk_width, rows..=self.chunk_height.next_multiple_of(BLOCKS))
    }

    /// All samples as they are stored, pixel by pixel. `jpeg` decodes a JPEG of this width and a height in this range to samples.
    pub(super) fn samples<E: From<Refusal>>(
        &self,
        jpeg: impl Fn(&[u8], (usize, RangeInclusive<usize>)) -> Result<Vec<u8>, E>,
    ) -> Result<Samples, E> {
        let len = self.width as usize * self.height as usize * self.samples;
        let mut samples = if self.bits > 8 {
            Samples::U16(vec![0; len])
        } else {
            Samples::U8(vec![0; len])
        };
        let per_plane = self.across() * self.down();
        for (index, data) in (0..self.chunks()).map_while(|index| Some((index, self.chunk(index)?))) {
            let (plane, index) = (index / per_plane, index % per_plane);
            let (top, left) = (
                index / self.across() * self.chunk_height,
                index % self.across() * self.chunk_width,
            );
            // The last strip has the remaining rows. A tile always has all of its rows.
            let rows_left = self.height as usize - top;
            let rows = if self.is_tiled {
                self.chunk_height
            } else {
                self.chunk_height.min(rows_left)
            };
            let unpacked;
            let packed = if self.is_jpeg() {
                unpacked = jpeg(&self.whole_jpeg(data), self.jpeg_size(rows))?;
                unpacked.as_slice().into()
            } else {
                self.unpack(data, rows)
                    .ok_or(Damaged("the image data is cut off or damaged"))?
            };
            let row_bytes = (self.chunk_width * self.samples_together() * self.bits as usize).div_ceil(8);
            for (row, packed) in packed.chunks_exact(row_bytes).take(rows.min(rows_left)).enumerate() {
                let columns = self.chunk_width.min(self.width as usize - left);
                let at = ((top + row) * self.width as usize + left) * self.samples + plane;
                let step = if self.is_planar { self.samples } else { 1 };
                let values = self.row(packed).take(columns * self.samples_together());
                match &mut samples {
                    Samples::U8(samples) => {
                        let places = samples[at..].iter_mut().step_by(step);
                        places.zip(values).for_each(|(place, value)| *place = value as u8);
                    }
                    Samples::U16(samples) => {
                        let places = samples[at..].iter_mut().step_by(step);
                        places.zip(values).for_each(|(place, value)| *place = value);
                    }
                }
            }
        }
        Ok(samples)
    }

    /// An unpacked strip or tile of this number of rows, with its bits in order and without prediction.
    fn unpack(&self, data: &'a [u8], rows: usize) -> Option<Cow<'a, [u8]>> {
        let row_bytes = (self.chunk_width * self.samples_together() * self.bits as usize).div_ceil(8);
        let reversed: Vec<u8>;
        let rows = Rows {
            width: self.chunk_width,
            len: row_bytes.checked_mul(rows)?,
            filled: row_bytes.saturating_mul(if self.is_tiled { rows } else { self.strip_height }),
            // As much as a whole strip, and some more: that of an image of a few rows may be as long as others would be.
            most: row_bytes.checked_mul(self.chunk_height)?.max(1 << 16),
            ends: matches!(self.chunks, Chunks::Listed { lens: Some(_), .. }),
        };
        let mut packed = if self.is_reversed {
            reversed = data.iter().map(|byte| byte.reverse_bits()).collect();
            unpack(self.compression, &reversed, rows)?.into_owned().into()
        } else {
            unpack(self.compression, data, rows)?
        };
        if self.is_predicted {
            let step = self.samples_together();
            for row in packed.to_mut().chunks_exact_mut(row_bytes) {
                if self.bits == 8 {
                    for at in step..row.len() {
                        row[at] = row[at].wrapping_add(row[at - step]);
                    }
                } else {
                    let (items, _) = row.as_chunks_mut::<2>();
                    for at in step..items.len() {
                        let sum = self.order.u16(items[at]).wrapping_add(self.order.u16(items[at - step]));
                        items[at] = if self.order.is_big_endian {
                            sum.to_be_bytes()
                        } else {
                            sum.to_le_bytes()
                        };
                    }
                }
            }
        }
        Some(packed)
    }

    /// The values of a row of packed samples.
    fn row<'r>(&self, packed: &'r [u8]) -> Box<dyn Iterator<Item = u16> + 'r> {
        let (bits, order) = (self.bits, self.order);
        match bits {
            8 => Box::new(packed.iter().copied().map(u16::from)),
            16 => Box::new(packed.as_chunks().0.iter().map(move |&bytes| order.u16(bytes))),
            _ => {
                // The first sample lies in the highest bits, whatever the order of bytes.
                let (mut buffer, mut count, mut bytes) = (0u32, 0u32, packed.iter());
                Box::new(std::iter::from_fn(move || {
                    while count < bits {
                        buffer = buffer << 8 | u32::from(*bytes.next()?);
                        count += 8;
                    }
                    count -= bits;
                    let value = buffer >> count & ((1 << bits) - 1);
                    buffer &= (1 << count) - 1;
                    Some(value as u16)
                }))
            }
        }
    }

    /// The JPEG of a strip or tile with the tables that all share, and with the marker that says what its colours are.
    fn whole_jpeg(&self, data: &'a [u8]) -> Cow<'a, [u8]> {
        if self.compression == Compression::OldJpeg {
            return Cow::Borrowed(data);
        }
        let body = |stream: &'a [u8]| stream.strip_prefix(&[0xFF, 0xD8]).unwrap_or(stream);
        let tables = self.jpeg_tables.map_or(&[][..], body);
        let tables = tables.strip_suffix(&[0xFF, 0xD9]).unwrap_or(tables);
        // By Adobe's marker: 1 if brightness and differences must be converted to RGB, 0 if not.
        let transform = u8::from(self.colours == Colours::YCbCr);
        let marker: &[u8] = b"\xFF\xD8\xFF\xEE\0\x0EAdobe\0\x64\0\0\0\0";
        Cow::Owned([marker, &[transform], tables, body(data)].concat())
    }
}

/// The meaning of the samples of a pixel by its tags, and the number of colours.
fn colours(directory: &Directory<'_>, bits: u32, samples: usize, is_jpeg: bool) -> Result<(Colours, usize), Refusal> {
    let save_as = crate::decode::SAVE_AS;
    let photometric = match directory.number(tag::PHOTOMETRIC) {
        Some(number) => number,
        // Some writers omit it if there is only one possible value.
        None if samples == 1 => 1,
        None => return Err(Damaged("what its samples mean is missing")),
    };
    Ok(match photometric {
        0 => (Colours::Gray { is_inverted: true }, 1),
        1 | 4 => (Colours::Gray { is_inverted: false }, 1),
        2 => (Colours::Rgb, 3),
        3 => {
            let count = 1 << bits;
            let map = directory.numbers(tag::COLOUR_MAP);
            let map = map.filter(|map| map.len() >= 3 * count);
            let map: Vec<u64> = map
                .ok_or(Damaged("its palette is cut off"))?
                .iter()
                .take(3 * count)
                .collect();
            // In 16 bits, but for writers that used 8.
            let shift = if map.iter().all(|&value| value < 256) { 0 } else { 8 };
            let colour = |index: usize| [0, 1, 2].map(|channel| (map[channel * count + index] >> shift).min(255) as u8);
            (Colours::Palette((0..count).map(colour).collect()), 1)
        }
        5 if is_jpeg => {
            return Err(Unsupported(format!(
                "it is a CMYK image compressed with JPEG; {save_as}"
            )));
        }
        5 => (Colours::Cmyk, 4),
        6 if is_jpeg => (Colours::YCbCr, 3),
        6 => return Err(Unsupported(format!("it is a YCbCr image without JPEG; {save_as}"))),
        8..=10 => return Err(Unsupported(format!("its colours are CIE L*a*b*; {save_as}"))),
        32803 => {
            let reason = "it holds the raw samples of a camera's colour filter; convert it to RGB and save that";
            return Err(Unsupported(reason.into()));
        }
        other => {
            return Err(Unsupported(format!(
                "its kind of colours is not supported ({other}); {save_as}"
            )));
        }
    })
}

/// Samples, pixel by pixel.
pub(super) enum Samples {
    U8(Vec<u8>),
    U16(Vec<u16>),
}
