//! Codes of a scan.

use super::Fault;
use super::bits::Bits;

/// A table of codes.
pub(super) struct Table {
    /// For each value of the first 8 bits: the code's length and its value. The length is 0 if the code is longer.
    short: Vec<(u8, u8)>,
    /// For each length from 1: the first 16 bits beyond all codes of that length, and what is added to a code to find its value.
    long: [(u32, i32); 16],
    values: Vec<u8>,
}

impl Table {
    /// Reads a table, and returns the bytes after it.
    pub(super) fn parse(body: &[u8]) -> Option<(Self, &[u8])> {
        let (counts, rest) = body.split_first_chunk::<16>()?;
        let count = counts.iter().copied().map(usize::from).sum();
        let (values, rest) = rest.split_at_checked(count)?;
        let mut short = vec![(0, 0); 256];
        let mut long = [(0, 0); 16];
        let (mut code, mut index) = (0u32, 0usize);
        for (len, &count) in (1u32..).zip(counts) {
            let offset = index as i32 - code as i32;
            for &value in &values[index..][..usize::from(count)] {
                if code >= 1 << len {
                    return None;
                }
                if len <= 8 {
                    let first = (code << (8 - len)) as usize;
                    short[first..first + (1 << (8 - len))].fill((len as u8, value));
                }
                code += 1;
                index += 1;
            }
            long[len as usize - 1] = (code << (16 - len), offset);
            code <<= 1;
        }
        let table = Self {
            short,
            long,
            values: values.to_vec(),
        };
        Some((table, rest))
    }

    /// Reads a code and returns its value.
    pub(super) fn value(&self, bits: &mut Bits<'_>) -> Result<u8, Fault> {
        let next = bits.peek();
        let (len, value) = self.short[usize::from(next >> 8)];
        if len > 0 {
            bits.take(len.into())?;
            return Ok(value);
        }
        for (len, &(beyond, offset)) in (1u32..).zip(&self.long).skip(8) {
            if u32::from(next) < beyond {
                let code = i32::from(bits.take(len)?);
                let value = usize::try_from(code + offset)
                    .ok()
                    .and_then(|index| self.values.get(index));
                return value.copied().ok_or(Fault::Damaged);
            }
        }
        // A code is never all ones. Ones fill the last byte before a marker.
        Err(if bits.take(16).is_err() {
            bits.ended()
        } else {
            Fault::Damaged
        })
    }
}
