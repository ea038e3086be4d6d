//! The directories of a TIFF or BigTIFF: for each page, its tags.
//!
//! This module does not use the tiff crate, because that crate refuses the whole file if it cannot decode one page,
//! even a thumbnail.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};

/// More pages than any camera makes; a file that is nothing but headers of pages would take minutes to walk through.
pub(super) const MAX_PAGES: usize = 4096;

/// More tags than all pages of a file have together. Pages may lie upon each other, so that a small file could have any number.
pub(super) const MAX_ENTRIES: usize = 64 * MAX_PAGES;

pub(super) mod tag {
    //! Numbers of tags.

    pub(in super::super) const KIND: u16 = 254;
    pub(in super::super) const OLD_KIND: u16 = 255;
    pub(in super::super) const WIDTH: u16 = 256;
    pub(in super::super) const HEIGHT: u16 = 257;
    pub(in super::super) const BITS: u16 = 258;
    pub(in super::super) const COMPRESSION: u16 = 259;
    pub(in super::super) const PHOTOMETRIC: u16 = 262;
    pub(in super::super) const FILL_ORDER: u16 = 266;
    pub(in super::super) const STRIP_OFFSETS: u16 = 273;
    pub(in super::super) const ORIENTATION: u16 = 274;
    pub(in super::super) const SAMPLES: u16 = 277;
    pub(in super::super) const ROWS_PER_STRIP: u16 = 278;
    pub(in super::super) const STRIP_BYTES: u16 = 279;
    pub(in super::super) const PLANAR: u16 = 284;
    pub(in super::super) const T4_OPTIONS: u16 = 292;
    pub(in super::super) const PREDICTOR: u16 = 317;
    pub(in super::super) const COLOUR_MAP: u16 = 320;
    pub(in super::super) const TILE_WIDTH: u16 = 322;
    pub(in super::super) const TILE_HEIGHT: u16 = 323;
    pub(in super::super) const TILE_OFFSETS: u16 = 324;
    pub(in super::super) const TILE_BYTES: u16 = 325;
    pub(in super::super) const WITHIN: u16 = 330;
    pub(in super::super) const EXTRA_SAMPLES: u16 = 338;
    pub(in super::super) const SAMPLE_FORMAT: u16 = 339;
    pub(in super::super) const JPEG_TABLES: u16 = 347;
    pub(in super::super) const OLD_JPEG: u16 = 513;
    /// The entries of the index in a file of several JPEGs.
    pub(in super::super) const MP_ENTRIES: u16 = 0xB002;

    /// All of them. No others are kept.
    pub(super) const READ: [u16; 27] = [
        KIND,
        OLD_KIND,
        WIDTH,
        HEIGHT,
        BITS,
        COMPRESSION,
        PHOTOMETRIC,
        FILL_ORDER,
        STRIP_OFFSETS,
        ORIENTATION,
        SAMPLES,
        ROWS_PER_STRIP,
        STRIP_BYTES,
        PLANAR,
        T4_OPTIONS,
        PREDICTOR,
        COLOUR_MAP,
        TILE_WIDTH,
        TILE_HEIGHT,
        TILE_OFFSETS,
        TILE_BYTES,
        WITHIN,
        EXTRA_SAMPLES,
        SAMPLE_FORMAT,
        JPEG_TABLES,
        OLD_JPEG,
        MP_ENTRIES,
    ];
}

/// Tags from here on, those of the JPEG's in the old way apart, tell of anything but the image's samples.
const BEYOND_IMAGE: u16 = 530;

/// How a file's numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) is_big_endian: bool,
    /// Whether offsets and counts have 8 bytes, as in BigTIFF.
    is_wide: bool,
}

/// Why directories cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// An offset lies beyond the file's end.
    CutOff,
    /// Directories refer to each other in a circle.
    Circle,
    TooManyPages,
    TooManyEntries,
}

/// The number of entries that the directories of a file may still have.
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn of_a_file() -> Self {
        Self(Cell::new(MAX_ENTRIES))
    }

    fn take(&self, entries: u64) -> Result<(), Broken> {
        let left = usize::try_from(entries)
            .ok()
            .and_then(|entries| self.0.get().checked_sub(entries));
        self.0.set(left.ok_or(Broken::TooManyEntries)?);
        Ok(())
    }
}

/// The tags of one page.
pub(super) struct Directory<'a> {
    order: Order,
    entries: BTreeMap<u16, Entry<'a>>,
}

struct Entry<'a> {
    kind: u16,
    data: &'a [u8],
}

impl Order {
    /// Whether a file begins as a TIFF or BigTIFF does, and in which order its numbers are.
    pub(super) fn of(file: &[u8]) -> Option<Self> {
        let &[a, b, c, d] = file.first_chunk()?;
        let (is_big_endian, version) = match [a, b] {
            [b'I', b'I'] => (false, u16::from_le_bytes([c, d])),
            [b'M', b'M'] => (true, u16::from_be_bytes([c, d])),
            _ => return None,
        };
        let is_wide = match version {
            42 => false,
            43 => true,
            _ => return None,
        };
        Some(Self { is_big_endian, is_wide })
    }

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.is_big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }

    fn u64(self, bytes: [u8; 8]) -> u64 {
        if self.is_big_endian {
            u64::from_be_bytes(bytes)
        } else {
            u64::from_le_bytes(bytes)
        }
    }

    /// The number of a directory's entries, and the bytes after it.
    fn count(self, bytes: &[u8]) -> Option<(u64, &[u8])> {
        if self.is_wide {
            return self.place(bytes);
        }
        let (&count, rest) = bytes.split_first_chunk()?;
        Some((self.u16(count).into(), rest))
    }

    /// Bytes of an entry of a directory.
    fn entry_bytes(self) -> u64 {
        if self.is_wide { 20 } else { 12 }
    }

    /// An offset or a count, and the bytes after it.
    fn place(self, bytes: &[u8]) -> Option<(u64, &[u8])> {
        if self.is_wide {
            let (&place, rest) = bytes.split_first_chunk()?;
            Some((self.u64(place), rest))
        } else {
            let (&place, rest) = bytes.split_first_chunk()?;
            Some((self.u32(place).into(), rest))
        }
    }
}

/// All directories of a file, in order.
pub(super) fn directories<'a>(file: &'a [u8], order: Order, budget: &Budget) -> Result<Vec<Directory<'a>>, Broken> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let header = file.get(if order.is_wide { 8 } else { 4 }..).ok_or(Broken::CutOff)?;
    let (mut at, _) = order.place(header).ok_or(Broken::CutOff)?;
    while at != 0 {
        if !seen.insert(at) {
            return Err(Broken::Circle);
        }
        if found.len() == MAX_PAGES {
            return Err(Broken::TooManyPages);
        }
        let (directory, next) = Directory::parse(file, order, at, budget)?;
        found.push(directory);
        at = next;
    }
    Ok(found)
}

/// The first directory of a file.
pub(super) fn first(file: &[u8], order: Order) -> Option<Directory<'_>> {
    let (at, _) = order.place(file.get(if order.is_wide { 8 } else { 4 }..)?)?;
    Some(Directory::parse(file, order, at, &Budget::of_a_file()).ok()?.0)
}

impl<'a> Directory<'a> {
    /// The directory at an offset, and the offset of the next one. 0 means that there is none.
    pub(super) fn parse(file: &'a [u8], order: Order, at: u64, budget: &Budget) -> Result<(Self, u64), Broken> {
        let at = usize::try_from(at).map_err(|_| Broken::CutOff)?;
        let rest = file.get(at..).ok_or(Broken::CutOff)?;
        let (count, rest) = order.count(rest).ok_or(Broken::CutOff)?;
        // There is no entry without its bytes.
        let bytes = count.checked_mul(order.entry_bytes()).ok_or(Broken::CutOff)?;
        if bytes > rest.len() as u64 {
            return Err(Broken::CutOff);
        }
        budget.take(count)?;
        Self::entries(file, order, rest, count).ok_or(Broken::CutOff)
    }

    fn entries(file: &'a [u8], order: Order, mut rest: &'a [u8], count: u64) -> Option<(Self, u64)> {
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (&tag, after) = rest.split_first_chunk()?;
            let (&kind, after) = after.split_first_chunk()?;
            let (values, after) = order.place(after)?;
            let (field, after) = after.split_at_checked(if order.is_wide { 8 } else { 4 })?;
            rest = after;
            let kind = order.u16(kind);
            let Some(bytes) = values
                .checked_mul(width(kind))
                .and_then(|bytes| usize::try_from(bytes).ok())
            else {
                continue;
            };
            let data = if bytes <= field.len() {
                field.get(..bytes)
            } else {
                let (place, _) = order.place(field)?;
                let place = usize::try_from(place).ok();
                place.and_then(|place| file.get(place..)?.get(..bytes))
            };
            let tag = order.u16(tag);
            match data {
                Some(data) if tag::READ.contains(&tag) => {
                    entries.entry(tag).or_insert(Entry { kind, data });
                }
                // Tags of the image must be complete. Texts and profiles need not be.
                None if tag < BEYOND_IMAGE => return None,
                _ => {}
            }
        }
        // Some writers do not write that there is no next directory.
        let next = order.place(rest).map_or(0, |(next, _)| next);
        Some((Self { order, entries }, next))
    }

    /// The unsigned numbers of a tag; `None` if there is no such tag, or it holds something else.
    pub(super) fn numbers(&self, tag: u16) -> Option<Numbers<'a>> {
        let &Entry { kind, data } = self.entries.get(&tag)?;
        let is_number = matches!(kind, 1 | 3 | 4 | 13 | 16 | 18);
        is_number.then(|| Numbers {
            order: self.order,
            width: width(kind) as usize,
            data,
        })
    }

    /// The first number of a tag.
    pub(super) fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag)?.get(0)
    }

    /// The bytes of a tag.
    pub(super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.entries.get(&tag).map(|entry| entry.data)
    }
}

/// The unsigned numbers of a tag, read from the file one by one: a tag may have as many as the file has bytes, and many tags may share
/// them.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    order: Order,
    /// Bytes of a number: 1, 2, 4 or 8.
    width: usize,
    data: &'a [u8],
}

impl<'a> Numbers<'a> {
    pub(super) fn len(self) -> usize {
        self.data.len() / self.width
    }

    pub(super) fn get(self, index: usize) -> Option<u64> {
        let number = self.data.get(index.checked_mul(self.width)?..)?;
        match self.width {
            1 => number.first().copied().map(u64::from),
            2 => number.first_chunk().map(|&bytes| self.order.u16(bytes).into()),
            4 => number.first_chunk().map(|&bytes| self.order.u32(bytes).into()),
            _ => number.first_chunk().map(|&bytes| self.order.u64(bytes)),
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u64> + use<'a> {
        (0..self.len()).map_while(move |index| self.get(index))
    }
}

/// Bytes of a value.
fn width(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 1,
    }
}
