//! The frames of animations, and other pictures behind the first: their number, and the size that the largest frame claims to have. Only
//! the first picture is read.

use std::collections::BTreeSet;
use std::io::Cursor;

use image::codecs::pnm::{PnmDecoder, PnmSubtype, SampleEncoding};

use super::{jpeg, tiff};

/// No more pictures of a PNM or a JPEG are counted: a large file could hold nothing but headers.
const MOST: usize = 4096;

/// The number of pictures of a GIF, a WebP, a PNG, a PNM or a JPEG. 1 if the file cannot be parsed; its decoder reports the fault.
pub(super) fn count(file: &[u8]) -> usize {
    let found = if file.starts_with(b"GIF8") {
        gif(file)
    } else if file.starts_with(b"RIFF") {
        webp(file)
    } else if file.starts_with(b"\x89PNG") {
        png(file)
    } else if file.starts_with(b"\xFF\xD8") {
        mpo(file)
    } else if file.starts_with(b"P") {
        Some(pnm(file))
    } else {
        None
    };
    found.unwrap_or(1).max(1)
}

/// Image descriptors among a GIF's blocks.
fn gif(file: &[u8]) -> Option<usize> {
    let colours = |packed: u8| if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) };
    let mut rest = file.get(13 + colours(*file.get(10)?)..)?;
    let mut count = 0;
    loop {
        let (&kind, body) = match rest.split_first() {
            None | Some((0x3B, _)) => return Some(count),
            Some(split) => split,
        };
        let mut blocks = match kind {
            0x21 => body.get(1..)?,
            0x2C => {
                count += 1;
                // The size of codes comes after the local colours.
                body.get(9 + colours(*body.get(8)?) + 1..)?
            }
            _ => return Some(count),
        };
        loop {
            let (&len, data) = match blocks.split_first() {
                None => return Some(count),
                Some(split) => split,
            };
            blocks = data.get(usize::from(len)..).unwrap_or_default();
            if len == 0 {
                break;
            }
        }
        rest = blocks;
    }
}

/// Frames among a WebP's chunks.
fn webp(file: &[u8]) -> Option<usize> {
    Some(Chunks(file.get(12..)?).filter(|(name, _)| name == b"ANMF").count())
}

/// The chunks of a WebP, or of one of its frames: their names and what they hold, up to the end of the file.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&name, rest) = self.0.split_first_chunk()?;
        let (&len, rest) = rest.split_first_chunk()?;
        let len = u32::from_le_bytes(len) as usize;
        let (body, _) = rest.split_at(len.min(rest.len()));
        // Chunks begin at even places.
        self.0 = rest.get(len.next_multiple_of(2)..).unwrap_or_default();
        Some((name, body))
    }
}

/// The number of frames in the animation control of a PNG.
fn png(file: &[u8]) -> Option<usize> {
    let (_, body) = png_header(file).find(|(name, _)| name == b"acTL")?;
    Some(u32::from_be_bytes(*body.first_chunk()?) as usize)
}

/// Pictures of a PNM, one behind the other. Where samples are text, there is only one.
fn pnm(file: &[u8]) -> usize {
    let (mut rest, mut count) = (file, 0);
    while count < MOST
        && let [b'P', b'4'..=b'7', ..] = rest
        && let Ok(decoder) = PnmDecoder::new(Cursor::new(rest))
    {
        count += 1;
        let (reader, header) = decoder.into_inner();
        let samples = match header.subtype() {
            PnmSubtype::Bitmap(SampleEncoding::Binary) => u64::from(header.width()).div_ceil(8),
            PnmSubtype::Graymap(SampleEncoding::Binary) => header.width().into(),
            PnmSubtype::Pixmap(SampleEncoding::Binary) => 3 * u64::from(header.width()),
            PnmSubtype::ArbitraryMap => {
                let depth = header.as_arbitrary().map_or(1, |header| header.depth);
                u64::from(header.width()).saturating_mul(depth.into())
            }
            _ => break,
        };
        let bytes = if header.maximal_sample() > 255 { 2 } else { 1 };
        let raster = samples.saturating_mul(bytes).saturating_mul(header.height().into());
        let end = usize::try_from(reader.position().saturating_add(raster)).unwrap_or(usize::MAX);
        rest = rest.get(end..).unwrap_or_default().trim_ascii_start();
    }
    count
}

/// Pictures of a JPEG with an index of several (MPO). Smaller ones do not count: cameras and phones add previews, and maps of
/// brightness.
fn mpo(file: &[u8]) -> Option<usize> {
    // A header ends before this.
    const HEADER: usize = 1 << 18;
    let (at, index) = jpeg::index(file)?;
    let places = tiff::places_of_others(index)?;
    let pixels = |place: usize, end: usize| {
        let picture = file.get(place..end.min(file.len()).min(place.checked_add(HEADER)?))?;
        let (width, height) = jpeg::header(picture).ok()?.dimensions();
        Some(width * height)
    };
    let first = pixels(0, file.len())?;
    // Each picture has its own place, and ends before the next. Otherwise an index could have one header read thousands of times.
    let places: BTreeSet<usize> = places
        .take(MOST - 1)
        .filter_map(|place| at.checked_add(place as usize))
        .collect();
    let ends = places.iter().copied().skip(1).chain([file.len()]);
    let others = places
        .iter()
        .zip(ends)
        .filter(|&(&place, end)| pixels(place, end).is_some_and(|pixels| pixels >= first));
    Some(1 + others.count())
}

/// Whether the palette of a PNG ends within a colour, at which its decoder panics.
pub(super) fn has_broken_palette(file: &[u8]) -> bool {
    png_header(file).any(|(name, body)| name == *b"PLTE" && body.len() % 3 != 0)
}

/// The most bytes that the colour profile of a PNG can have when it is unpacked.
pub(super) fn profile_bytes(file: &[u8]) -> u64 {
    // The most that deflate can make of a byte.
    const MOST: u64 = 1032;
    if !file.starts_with(b"\x89PNG") {
        return 0;
    }
    let profiles = png_header(file).filter(|(name, _)| name == b"iCCP");
    profiles.map(|(_, body)| MOST * body.len() as u64).sum()
}

/// The chunks of a PNG before its pixels, as far as they are there: their names and what they hold.
fn png_header(file: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = file.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk()?;
        let (&name, after) = after.split_first_chunk()?;
        let len = u32::from_be_bytes(*len) as usize;
        let body = after.get(..len)?;
        // The check sum follows.
        rest = after.get(len.checked_add(4)?..).unwrap_or_default();
        Some((name, body))
    })
    .take_while(|(name, _)| name != b"IDAT")
}

/// The largest number of pixels in the header of a lossy frame of a WebP. It can exceed the size of the picture, and
/// the decoder allocates memory for a frame before it compares the two.
pub(super) fn largest(webp: &[u8]) -> u64 {
    let chunks = |bytes| Chunks(bytes);
    let top = chunks(webp.get(12..).unwrap_or_default());
    let all = top.flat_map(|(name, body)| {
        let within = if name == *b"ANMF" {
            body.get(16..).unwrap_or_default()
        } else {
            &[]
        };
        std::iter::once((name, body)).chain(chunks(within))
    });
    let areas = all.filter(|(name, _)| name == b"VP8 ").filter_map(|(_, body)| {
        let &[w0, w1, h0, h1] = body.get(6..10)?.first_chunk()?;
        let side = |bytes| u64::from(u16::from_le_bytes(bytes) & 0x3FFF);
        Some(side([w0, w1]) * side([h0, h1]))
    });
    areas.max().unwrap_or(0)
}

/// Whether a chunk of a WebP has a length beyond the end of the file. The decoder would allocate memory of that length.
pub(super) fn is_cut(webp: &[u8]) -> bool {
    let whole = webp.get(4..).and_then(|rest| rest.first_chunk()).copied();
    let end = whole
        .map_or(0, |len| u32::from_le_bytes(len) as usize)
        .saturating_add(8);
    let mut at = 12;
    while at < end {
        let len = webp.get(at..).and_then(|rest| rest.get(4..)?.first_chunk()).copied();
        let Some(len) = len.map(|len| u32::from_le_bytes(len) as usize) else {
            // A few bytes after the last chunk are not a chunk.
            return false;
        };
        if len > webp.len() - at - 8 {
            return true;
        }
        at += 8 + len.next_multiple_of(2);
    }
    false
}
