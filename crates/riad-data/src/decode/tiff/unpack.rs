//! From the compressed data of a strip or tile to packed samples.

use std::borrow::Cow;

use fax::Color;
use fax::decoder::{DecodeStatus, Group3Decoder, Group4Decoder, pels};
use flate2::{Decompress, FlushDecompress, Status};
use weezl::{BitOrder, LzwStatus, decode::Decoder};

/// The compression of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    /// CCITT T.4 in one dimension, and T.6.
    Fax3,
    Fax4,
    /// A JPEG for each strip or tile. All of them share some tables.
    Jpeg,
    /// A JPEG for the whole page.
    OldJpeg,
}

impl Compression {
    /// The compression with this number in a file, or the common name of one that is not read.
    pub(super) fn of(number: u64) -> Result<Self, &'static str> {
        Ok(match number {
            1 => Self::None,
            3 => Self::Fax3,
            4 => Self::Fax4,
            5 => Self::Lzw,
            6 => Self::OldJpeg,
            7 => Self::Jpeg,
            8 | 32946 => Self::Deflate,
            32773 => Self::PackBits,
            2 | 32771 => return Err("CCITT modified Huffman"),
            32809 => return Err("ThunderScan"),
            33003 | 33005 | 34712 => return Err("JPEG 2000"),
            34676 | 34677 => return Err("SGI LogLuv"),
            34887 => return Err("LERC"),
            34892 => return Err("lossy DNG"),
            34925 => return Err("LZMA"),
            34933 => return Err("PNG within the TIFF"),
            34934 | 48124 | 22610 => return Err("JPEG XR"),
            50000 | 34926 => return Err("Zstandard"),
            50001 | 34927 => return Err("WebP"),
            50002 | 52546 => return Err("JPEG XL"),
            _ => return Err("an unknown compression"),
        })
    }
}

/// The rows that the data of a strip or tile unpack to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Pixels of a row.
    pub(super) width: usize,
    /// Bytes of all rows.
    pub(super) len: usize,
    /// Bytes of a strip of full height: some writers fill the last one up to it. Without a limit.
    pub(super) filled: usize,
    /// How many more bytes than the rows data may unpack to.
    pub(super) most: usize,
    /// Whether the data end where the file says. Old writers do not say it.
    pub(super) ends: bool,
}

impl Rows {
    /// Whether data may end after this many bytes.
    fn end_at(self, written: usize) -> Option<()> {
        (written == self.len || written == self.filled).then_some(())
    }
}

/// Unpacks data to exactly `rows`; `None` if they are damaged or too few. LZW and PackBits have no check sum. But if a part of such data
/// is missing or replaced, they hardly ever unpack to the right number of bytes. So they must end with the rows.
pub(super) fn unpack(compression: Compression, data: &[u8], rows: Rows) -> Option<Cow<'_, [u8]>> {
    let mut out = vec![0; if compression == Compression::None { 0 } else { rows.len }];
    match compression {
        Compression::None => return data.get(..rows.len).map(Cow::Borrowed),
        Compression::Lzw => lzw(data, &mut out, rows)?,
        Compression::Deflate => inflate(data, &mut out, rows.most)?,
        Compression::PackBits => pack_bits(data, &mut out, rows)?,
        Compression::Fax3 => fax3(data, &mut out, rows.width)?,
        Compression::Fax4 => fax4(data, &mut out, rows.width)?,
        Compression::Jpeg | Compression::OldJpeg => return None,
    }
    Some(Cow::Owned(out))
}

/// The stream must end within `most` bytes behind the rows. It is read to its end, because only the check sum there tells if any byte
/// was wrong.
fn inflate(data: &[u8], out: &mut [u8], most: usize) -> Option<()> {
    let len = out.len();
    let mut more = [0; 1024];
    let mut decoder = Decompress::new(true);
    loop {
        let (read, written) = (
            usize::try_from(decoder.total_in()).ok()?,
            usize::try_from(decoder.total_out()).ok()?,
        );
        if written > len.saturating_add(most) {
            return None;
        }
        let rows = out.get_mut(written..).filter(|rows| !rows.is_empty());
        let space = rows.unwrap_or(&mut more);
        let status = decoder
            .decompress(data.get(read..)?, space, FlushDecompress::None)
            .ok()?;
        let is_stuck = (decoder.total_in(), decoder.total_out()) == (read as u64, written as u64);
        match status {
            Status::StreamEnd => return (decoder.total_out() >= len as u64).then_some(()),
            _ if is_stuck => return None,
            _ => {}
        }
    }
}

/// The mark of the end must follow the rows, as the format's description demands. What is behind it is no concern.
fn lzw(mut data: &[u8], out: &mut [u8], rows: Rows) -> Option<()> {
    let mut decoder = Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let (mut written, mut more) = (0, [0; 1024]);
    loop {
        let space = match out.get_mut(written..).filter(|rows| !rows.is_empty()) {
            Some(space) => space,
            None if rows.ends => &mut more,
            None => return Some(()),
        };
        let result = decoder.decode_bytes(data, space);
        data = data.get(result.consumed_in..)?;
        written = written.checked_add(result.consumed_out)?;
        match result.status.ok()? {
            LzwStatus::Ok if written <= rows.len.saturating_add(rows.most) => {}
            LzwStatus::Done => return rows.end_at(written),
            LzwStatus::Ok | LzwStatus::NoProgress => return None,
        }
    }
}

fn pack_bits(mut data: &[u8], out: &mut [u8], rows: Rows) -> Option<()> {
    /// Some writers fill their data up to a multiple of this many bytes.
    const PADDED_TO: usize = 4;
    let mut written = 0_usize;
    loop {
        if written >= rows.len {
            if !rows.ends {
                return Some(());
            }
            let is_padding = data.len() < PADDED_TO && data.iter().all(|&byte| byte == 0);
            if is_padding {
                return rows.end_at(written);
            }
            if written - rows.len > rows.most {
                return None;
            }
        }
        let (&head, rest) = data.split_first()?;
        // What a run or a literal has behind the rows is counted alone.
        let space = out.get_mut(written..).unwrap_or_default();
        let count = match head {
            0..=127 => {
                let count = usize::from(head) + 1;
                let (literal, rest) = rest.split_at_checked(count)?;
                space.iter_mut().zip(literal).for_each(|(place, &byte)| *place = byte);
                data = rest;
                count
            }
            128 => {
                data = rest;
                0
            }
            129.. => {
                let count = 257 - usize::from(head);
                let (&value, rest) = rest.split_first()?;
                space.iter_mut().take(count).for_each(|place| *place = value);
                data = rest;
                count
            }
        };
        written = written.checked_add(count)?;
    }
}

/// The rows of a fax begin white, which is 0 here.
fn fax3(data: &[u8], out: &mut [u8], width: usize) -> Option<()> {
    let width = u16::try_from(width).ok()?;
    let bytes = data.iter().map(|&byte| Ok::<_, std::convert::Infallible>(byte));
    let mut decoder = Group3Decoder::new(bytes).ok()?;
    for row in out.chunks_mut(usize::from(width).div_ceil(8)) {
        // After the last row, the mark of a row's end may be missing.
        let status = decoder.advance();
        let transitions = decoder.transitions();
        if status.is_err() && transitions.last().is_none_or(|&last| last < width) {
            return None;
        }
        write_row(transitions, width, row);
    }
    Some(())
}

fn fax4(data: &[u8], out: &mut [u8], width: usize) -> Option<()> {
    let width = u16::try_from(width).ok()?;
    let bytes = data.iter().map(|&byte| Ok::<_, std::convert::Infallible>(byte));
    let mut decoder = Group4Decoder::new(bytes, width).ok()?;
    for row in out.chunks_mut(usize::from(width).div_ceil(8)) {
        match decoder.advance() {
            Ok(DecodeStatus::Incomplete) => write_row(decoder.transition(), width, row),
            _ => return None,
        }
    }
    Some(())
}

fn write_row(transitions: &[u16], width: u16, row: &mut [u8]) {
    for (x, colour) in pels(transitions, width).enumerate() {
        if colour == Color::Black {
            row[x / 8] |= 0x80 >> (x % 8);
        }
    }
}
