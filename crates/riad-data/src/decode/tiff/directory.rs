//! The directories of a TIFF or BigTIFF: for each page, its tags.
//!
//! This module does not use the tiff crate, because that crate refuses the whole file if it cannot decode one page,
//! even a thumbnail.

use std::collections::{BTreeMap, HashSet};

/// More pages than any camera makes; a file that is nothing but headers of pages would take minutes to walk through.
pub(super) const MAX_PAGES: usize = 4096;

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
    TooMany,
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
pub(super) fn directories(file: &[u8], order: Order) -> Result<Vec<Directory<'_>>, Broken> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let header = file.get(if order.is_wide { 8 } else { 4 }..).ok_or(Broken::CutOff)?;
    let (mut at, _) = order.place(header).ok_or(Broken::CutOff)?;
    while at != 0 {
        if !seen.insert(at) {
            return Err(Broken::Circle);
        }
        if found.len() == MAX_PAGES {
            return Err(Broken::TooMany);
        }
        let (directory, next) = Directory::parse(file, order, at).ok_or(Broken::CutOff)?;
        found.push(directory);
        at = next;
    }
    Ok(found)
}

/// The first directory of a file.
pub(super) fn first(file: &[u8], order: Order) -> Option<Directory<'_>> {
    let (at, _) = order.place(file.get(if order.is_wide { 8 } else { 4 }..)?)?;
    Some(Directory::parse(file, order, at)?.0)
}

impl<'a> Directory<'a> {
    /// The directory at an offset, and the offset of the next one. 0 means that there is none.
    pub(super) fn parse(file: &'a [u8], order: Order, at: u64) -> Option<(Self, u64)> {
        let rest = file.get(usize::try_from(at).ok()?..)?;
        let (count, mut rest) = if order.is_wide {
            order.place(rest)?
        } else {
            let (&count, rest) = rest.split_first_chunk()?;
            (order.u16(count).into(), rest)
        };
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
                Some(data) => {
                    entries.entry(tag).or_insert(Entry { kind, data });
                }
                // Tags of the image must be complete. Texts and profiles need not be.
                None if tag < BEYOND_IMAGE => return None,
                None => {}
            }
        }
        // Some writers do not write that there is no next directory.
        let next = order.place(rest).map_or(0, |(next, _)| next);
        Some((Self { order, entries }, next))
    }

    /// The unsigned numbers of a tag; `None` if there is no such tag, or it holds something else.
    pub(super) fn numbers(&self, tag: u16) -> Option<Vec<u64>> {
        let Entry { kind, data } = self.entries.get(&tag)?;
        let order = self.order;
        match kind {
            1 => Some(data.iter().copied().map(u64::from).collect()),
            3 => Some(
                data.as_chunks()
                    .0
                    .iter()
                    .map(|&bytes| order.u16(bytes).into())
                    .collect(),
            ),
            4 | 13 => Some(
                data.as_chunks()
                    .0
                    .iter()
                    .map(|&bytes| order.u32(bytes).into())
                    .collect(),
            ),
            16 | 18 => Some(data.as_chunks().0.iter().map(|&bytes| order.u64(bytes)).collect()),
            _ => None,
        }
    }

    /// The first number of a tag.
    pub(super) fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag)?.first().copied()
    }

    /// The bytes of a tag.
    pub(super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.entries.get(&tag).map(|entry| entry.data)
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
