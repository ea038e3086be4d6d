//! Checks whether a JPEG is complete.
//!
//! The decoder fills missing parts with gray and reports no error. A network would then learn half an image as normal.
//! So this module walks through the file from its start: its segments, and the code of every block in every scan. It
//! computes no pixel. The picture is complete if each scan has all blocks of its size, and the scans together give
//! every coefficient to its last bit. Data after that does not matter. Some phones and cameras append data.

mod bits;
mod huffman;
mod scan;

use self::huffman::Table;
use self::scan::Scan;

/// What is wrong with a JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The file ends too early.
    CutOff,
    /// Data are missing between the beginning and the end.
    Hole,
    /// A code, a number or a segment that is not allowed in a JPEG.
    Damaged,
    /// Well-formed, but of a rare kind. This is its name.
    Unsupported(&'static str),
}

impl Fault {
    /// In words, after the file's name.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::CutOff => "the JPEG data is cut off",
            Self::Hole => "JPEG data is missing in the middle: the picture is incomplete",
            Self::Damaged => "the JPEG data is damaged",
            Self::Unsupported(kind) => kind,
        }
    }
}

/// The largest side of a group of blocks, in pixels: four blocks.
const LARGEST_BLOCK: usize = 32;

/// A frame's header.
struct Frame {
    height: usize,
    width: usize,
    is_progressive: bool,
    components: Vec<Component>,
    h_max: usize,
    v_max: usize,
}

/// A component of a frame, and what its scans have given so far.
struct Component {
    id: u8,
    h: usize,
    v: usize,
    /// Number of blocks in each direction, including those that only fill the last group of an interleaved scan.
    across: usize,
    down: usize,
    /// For each coefficient the number of bits that are still to come; `None` before its first scan.
    to_come: [Option<u8>; 64],
    /// Which coefficients of each block are not zero so far; for progressive frames alone.
    not_zero: Vec<u64>,
}

/// The headers of a file before the first scan. They are needed to walk through the scans.
pub(super) struct Header {
    frame: Frame,
    /// The position after the frame's header.
    next: usize,
    tables: Tables,
}

/// The tables that segments between scans define.
#[derive(Default)]
struct Tables {
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart_interval: usize,
}

/// Walks to the header of the picture's frame.
pub(super) fn header(file: &[u8]) -> Result<Header, Fault> {
    let mut segments = Segments { file, at: 2 };
    let mut tables = Tables::default();
    loop {
        let (marker, body) = segments.next()?;
        match marker {
            0xC0..=0xC2 => {
                let frame = Frame::parse(body, marker == 0xC2)?;
                return Ok(Header {
                    frame,
                    next: segments.at,
                    tables,
                });
            }
            0xC3 | 0xCB => return Err(Fault::Unsupported("it is a lossless JPEG")),
            0xC5..=0xC7 | 0xCD..=0xCF => return Err(Fault::Unsupported("it is a hierarchical JPEG")),
            0xC9..=0xCA => return Err(Fault::Unsupported("it is a JPEG in arithmetic coding")),
            0xD9 | 0xDA => return Err(Fault::Damaged),
            other => tables.define(other, body)?,
        }
    }
}

/// The index of the pictures in a file of several JPEGs (CIPA DC-007, MPO), and its place: a TIFF's header and directories.
pub(super) fn index(file: &[u8]) -> Option<(usize, &[u8])> {
    let mut segments = Segments { file, at: 2 };
    loop {
        match segments.next().ok()? {
            (0xD9 | 0xDA, _) => return None,
            (0xE2, body) => {
                if let Some(index) = body.strip_prefix(b"MPF\0") {
                    return Some((segments.at - index.len(), index));
                }
            }
            _ => {}
        }
    }
}

/// The most bytes of [`Header::bytes`] and of [`Header::decoder_bytes`], for any JPEG of at most this size with so many components.
pub(super) fn most_bytes(width: usize, height: usize, components: usize) -> u64 {
    let (width, height) = (
        width.next_multiple_of(LARGEST_BLOCK),
        height.next_multiple_of(LARGEST_BLOCK),
    );
    let coefficients = [2, width, height, components]
        .iter()
        .fold(1, |product: u64, &side| product.saturating_mul(side as u64));
    coefficients.saturating_add(row_bytes(width, components))
}

/// The bytes of the rows of blocks that are in the decoder's memory: as coefficients, and at the size of the picture.
fn row_bytes(width: usize, components: usize) -> u64 {
    ((width as u64).saturating_mul(components as u64)).saturating_mul(2 * 3 * LARGEST_BLOCK as u64)
}

impl Header {
    /// Width and height.
    pub(super) fn dimensions(&self) -> (usize, usize) {
        (self.frame.width, self.frame.height)
    }

    /// The number of components of a pixel.
    pub(super) fn components(&self) -> usize {
        self.frame.components.len()
    }

    /// The memory that [`check`](Self::check) needs, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        if !self.frame.is_progressive {
            return 0;
        }
        let blocks = |component: &Component| component.across as u64 * component.down as u64;
        8 * self.frame.components.iter().map(blocks).sum::<u64>()
    }

    /// The memory that the decoder needs besides the decoded pixels and copies of the file: all coefficients, if they do not come
    /// in one scan, and a few rows of blocks.
    pub(super) fn decoder_bytes(&self, file: &[u8]) -> u64 {
        let Frame { width, h_max, .. } = self.frame;
        let blocks = |component: &Component| component.across as u64 * component.down as u64;
        let coefficients = if self.is_one_scan(file) {
            0
        } else {
            128 * self.frame.components.iter().map(blocks).sum::<u64>()
        };
        coefficients + row_bytes(width.next_multiple_of(8 * h_max), self.components())
    }

    /// Whether the first scan has all components and all of their bits.
    fn is_one_scan(&self, file: &[u8]) -> bool {
        let mut segments = Segments { file, at: self.next };
        while let Ok((marker, body)) = segments.next() {
            if marker == 0xDA {
                let count = body.first().copied().map(usize::from);
                return !self.frame.is_progressive && count == Some(self.components());
            }
        }
        false
    }

    /// Walks through all scans.
    pub(super) fn check(self, file: &[u8]) -> Result<(), Fault> {
        let Self {
            mut frame,
            next,
            mut tables,
        } = self;
        if frame.is_progressive {
            for component in &mut frame.components {
                component.not_zero = vec![0; component.across * component.down];
            }
        }
        let mut segments = Segments { file, at: next };
        while !frame.is_whole() {
            let (marker, body) = match segments.next() {
                // Scans are missing where the file says that it ends.
                Ok((0xD9, _)) => return Err(Fault::Hole),
                other => other?,
            };
            match marker {
                0xDA => segments.at = Scan::parse(body, &mut frame, &tables)?.walk(file, segments.at)?,
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return Err(Fault::Damaged),
                0xDC => {
                    return Err(Fault::Unsupported(
                        "it is a JPEG that tells its height behind its first scan",
                    ));
                }
                other => tables.define(other, body)?,
            }
        }
        Ok(())
    }
}

impl Frame {
    fn parse(body: &[u8], is_progressive: bool) -> Result<Self, Fault> {
        let (&[precision, y1, y0, x1, x0, count], body) = body.split_first_chunk().ok_or(Fault::Damaged)?;
        if precision != 8 {
            return Err(Fault::Unsupported("it is a JPEG of more than 8 bits"));
        }
        let height = usize::from(u16::from_be_bytes([y1, y0]));
        let width = usize::from(u16::from_be_bytes([x1, x0]));
        if height == 0 {
            return Err(Fault::Unsupported(
                "it is a JPEG that tells its height behind its first scan",
            ));
        }
        let (parts, _) = body.as_chunks::<3>();
        let parts = parts.get(..usize::from(count)).ok_or(Fault::Damaged)?;
        let factors: Vec<(u8, usize, usize)> = parts
            .iter()
            .map(|&[id, factors, _]| (id, usize::from(factors >> 4), usize::from(factors & 15)))
            .collect();
        if width == 0 || !(1..=4).contains(&factors.len()) {
            return Err(Fault::Damaged);
        }
        if factors
            .iter()
            .any(|&(_, h, v)| !(1..=4).contains(&h) || !(1..=4).contains(&v))
        {
            return Err(Fault::Damaged);
        }
        let h_max = factors.iter().map(|&(_, h, _)| h).max().unwrap_or(1);
        let v_max = factors.iter().map(|&(_, _, v)| v).max().unwrap_or(1);
        let components = factors
            .into_iter()
            .map(|(id, h, v)| Component {
                id,
                h,
                v,
                across: width.div_ceil(8 * h_max) * h,
                down: height.div_ceil(8 * v_max) * v,
                to_come: [None; 64],
                not_zero: Vec::new(),
            })
            .collect();
        Ok(Self {
            height,
            width,
            is_progressive,
            components,
            h_max,
            v_max,
        })
    }

    /// Whether every coefficient of every component was given to its last bit.
    fn is_whole(&self) -> bool {
        let mut coefficients = self.components.iter().flat_map(|component| component.to_come);
        coefficients.all(|to_come| to_come == Some(0))
    }
}

impl Tables {
    /// Keeps the tables that a segment defines, if the check needs them.
    fn define(&mut self, marker: u8, body: &[u8]) -> Result<(), Fault> {
        match marker {
            0xC4 => {
                let mut body = body;
                while let Some((&class_and_place, rest)) = body.split_first() {
                    let (table, rest) = Table::parse(rest).ok_or(Fault::Damaged)?;
                    let tables = match class_and_place >> 4 {
                        0 => &mut self.dc,
                        1 => &mut self.ac,
                        _ => return Err(Fault::Damaged),
                    };
                    let place = usize::from(class_and_place & 15);
                    *tables.get_mut(place).ok_or(Fault::Damaged)? = Some(table);
                    body = rest;
                }
            }
            0xDD => {
                let interval = body.first_chunk().ok_or(Fault::Damaged)?;
                self.restart_interval = usize::from(u16::from_be_bytes(*interval));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The segments of a file, one after the other.
struct Segments<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    /// The next marker and its segment. Between segments, decoders skip bytes that are not a marker.
    fn next(&mut self) -> Result<(u8, &'a [u8]), Fault> {
        loop {
            let rest = self.file.get(self.at..).unwrap_or_default();
            let marker = rest.iter().position(|&byte| byte == 0xFF).ok_or(Fault::CutOff)?;
            let fill = rest[marker..]
                .iter()
                .position(|&byte| byte != 0xFF)
                .ok_or(Fault::CutOff)?;
            let kind = rest[marker + fill];
            self.at += marker + fill + 1;
            match kind {
                // No marker, or one without a body.
                0x00 | 0x01 | 0xD0..=0xD8 => {}
                0xD9 => return Ok((kind, &[])),
                _ => {
                    let rest = self.file.get(self.at..).unwrap_or_default();
                    let len = usize::from(u16::from_be_bytes(*rest.first_chunk().ok_or(Fault::CutOff)?));
                    if len < 2 {
                        return Err(Fault::Damaged);
                    }
                    let body = rest.get(2..len).ok_or(Fault::CutOff)?;
                    self.at += len;
                    return Ok((kind, body));
                }
            }
        }
    }
}
