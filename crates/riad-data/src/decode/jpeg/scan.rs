//! Walking through the blocks of a scan.

use super::bits::Bits;
use super::huffman::Table;
use super::{Component, Fault, Frame, Tables};

/// The header of a scan, with what it refers to.
pub(super) struct Scan<'a> {
    frame: &'a mut Frame,
    parts: Vec<Part<'a>>,
    first: usize,
    last: usize,
    /// Bits that earlier scans have left, `None` in a coefficient's first scan, and those that this one leaves.
    before: Option<u8>,
    after: u8,
    restart_interval: usize,
}

/// A component of a scan.
struct Part<'a> {
    index: usize,
    dc: Option<&'a Table>,
    ac: Option<&'a Table>,
}

impl<'a> Scan<'a> {
    pub(super) fn parse(body: &[u8], frame: &'a mut Frame, tables: &'a Tables) -> Result<Self, Fault> {
        let (&count, body) = body.split_first().ok_or(Fault::Damaged)?;
        let count = usize::from(count);
        let (pairs, spectral) = body.split_at_checked(2 * count).ok_or(Fault::Damaged)?;
        let &[first, last, bits] = spectral.first_chunk().ok_or(Fault::Damaged)?;
        let mut parts: Vec<Part<'a>> = Vec::new();
        for &[id, places] in pairs.as_chunks::<2>().0 {
            let index = frame.components.iter().position(|component| component.id == id);
            let index = index.filter(|index| parts.iter().all(|part| part.index != *index));
            let table =
                |tables: &'a [Option<Table>; 4], place: u8| tables.get(usize::from(place)).and_then(Option::as_ref);
            parts.push(Part {
                index: index.ok_or(Fault::Damaged)?,
                dc: table(&tables.dc, places >> 4),
                ac: table(&tables.ac, places & 15),
            });
        }
        let (first, last, before, after) = if frame.is_progressive {
            (first, last, Some(bits >> 4).filter(|&bits| bits > 0), bits & 15)
        } else {
            // Encoders write any values here.
            (0, 63, None, 0)
        };
        let is_dc = first == 0;
        let is_sound = !parts.is_empty()
            && first <= last
            && last <= 63
            && (!frame.is_progressive || (if is_dc { last == 0 } else { parts.len() == 1 }))
            && before.is_none_or(|before| before == after + 1);
        if !is_sound {
            return Err(Fault::Damaged);
        }
        Ok(Self {
            frame,
            parts,
            first: first.into(),
            last: last.into(),
            before,
            after,
            restart_interval: tables.restart_interval,
        })
    }

    /// Walks through the data that begins at `at`, and returns the position of the marker after it.
    pub(super) fn walk(mut self, file: &[u8], at: usize) -> Result<usize, Fault> {
        self.note()?;
        let Frame {
            height,
            width,
            h_max,
            v_max,
            ..
        } = *self.frame;
        // Blocks of the only component come one by one, and none that only fills up; those of several in groups.
        let (across, down) = match self.parts.as_slice() {
            [part] => {
                let &Component { h, v, .. } = &self.frame.components[part.index];
                (
                    (width * h).div_ceil(h_max).div_ceil(8),
                    (height * v).div_ceil(v_max).div_ceil(8),
                )
            }
            _ => (width.div_ceil(8 * h_max), height.div_ceil(8 * v_max)),
        };
        let mut bits = Bits::new(file, at);
        // Blocks without anything of this scan that are still to come.
        let mut empty = 0;
        for group in 0..across * down {
            if self.restart_interval > 0 && group > 0 && group % self.restart_interval == 0 {
                if empty > 0 {
                    return Err(Fault::Damaged);
                }
                bits.restart(((group / self.restart_interval - 1) % 8) as u8)?;
            }
            let (x, y) = (group % across, group / across);
            if let [part] = self.parts.as_slice() {
                let component = &mut self.frame.components[part.index];
                let block = y * component.across + x;
                if self.frame.is_progressive {
                    let not_zero = component.not_zero.get_mut(block).ok_or(Fault::Damaged)?;
                    if self.first == 0 {
                        skip_dc(&mut bits, part.dc, self.before)?;
                    } else {
                        let band = (self.first, self.last);
                        let ac = part.ac.ok_or(Fault::Damaged)?;
                        match self.before {
                            None => skip_first_ac(&mut bits, ac, band, &mut empty, not_zero)?,
                            Some(_) => skip_refined_ac(&mut bits, ac, band, &mut empty, not_zero)?,
                        }
                    }
                } else {
                    skip_block(&mut bits, part)?;
                }
                continue;
            }
            for part in &self.parts {
                let Component { h, v, .. } = self.frame.components[part.index];
                for _ in 0..h * v {
                    if self.frame.is_progressive {
                        skip_dc(&mut bits, part.dc, self.before)?;
                    } else {
                        skip_block(&mut bits, part)?;
                    }
                }
            }
        }
        if empty > 0 {
            return Err(Fault::Damaged);
        }
        bits.end()
    }

    /// Notes which bits of which coefficients this scan gives.
    fn note(&mut self) -> Result<(), Fault> {
        for part in &self.parts {
            for to_come in &mut self.frame.components[part.index].to_come[self.first..=self.last] {
                // A second first scan, or bits whose higher bits are missing.
                if *to_come != self.before {
                    return Err(if self.before.is_some() {
                        Fault::Hole
                    } else {
                        Fault::Damaged
                    });
                }
                *to_come = Some(self.after);
            }
        }
        Ok(())
    }
}

/// A block of a sequential scan.
fn skip_block(bits: &mut Bits<'_>, part: &Part<'_>) -> Result<(), Fault> {
    skip_dc(bits, part.dc, None)?;
    let ac = part.ac.ok_or(Fault::Damaged)?;
    let mut k = 1;
    while k < 64 {
        let value = ac.value(bits)?;
        let (run, size) = (usize::from(value >> 4), u32::from(value & 15));
        match (run, size) {
            (15, 0) => k += 16,
            (_, 0) => break,
            _ => {
                k += run + 1;
                bits.take(size)?;
            }
        }
    }
    // A block's end is left out where its last coefficient is there.
    if k > 64 { Err(Fault::Damaged) } else { Ok(()) }
}

/// The first coefficient of a block.
fn skip_dc(bits: &mut Bits<'_>, table: Option<&Table>, before: Option<u8>) -> Result<(), Fault> {
    let size = match before {
        Some(_) => 1,
        None => table.ok_or(Fault::Damaged)?.value(bits)?,
    };
    if size > 15 {
        return Err(Fault::Damaged);
    }
    bits.take(size.into())?;
    Ok(())
}

/// The length of a run of empty blocks, this one included.
fn run_of_empty(bits: &mut Bits<'_>, exponent: usize) -> Result<u32, Fault> {
    let more = bits.take(exponent as u32)?;
    Ok((1 << exponent) + u32::from(more))
}

/// The first bits of a band of coefficients.
fn skip_first_ac(
    bits: &mut Bits<'_>,
    table: &Table,
    (first, last): (usize, usize),
    empty: &mut u32,
    not_zero: &mut u64,
) -> Result<(), Fault> {
    if *empty > 0 {
        *empty -= 1;
        return Ok(());
    }
    let mut k = first;
    while k <= last {
        let value = table.value(bits)?;
        let (run, size) = (usize::from(value >> 4), u32::from(value & 15));
        match (run, size) {
            (15, 0) => k += 16,
            (_, 0) => {
                *empty = run_of_empty(bits, run)? - 1;
                return Ok(());
            }
            _ => {
                k += run;
                if k > last {
                    return Err(Fault::Damaged);
                }
                bits.take(size)?;
                *not_zero |= 1 << k;
                k += 1;
            }
        }
    }
    if k > last + 1 { Err(Fault::Damaged) } else { Ok(()) }
}

/// A further bit of a band of coefficients: one for each that is not zero, and between those bits new ones.
fn skip_refined_ac(
    bits: &mut Bits<'_>,
    table: &Table,
    (first, last): (usize, usize),
    empty: &mut u32,
    not_zero: &mut u64,
) -> Result<(), Fault> {
    let mut k = first;
    if *empty == 0 {
        while k <= last {
            let value = table.value(bits)?;
            let (mut run, size) = (usize::from(value >> 4), value & 15);
            match (run, size) {
                (15, 0) => {}
                (_, 0) => {
                    *empty = run_of_empty(bits, run)?;
                    break;
                }
                (_, 1) => {
                    bits.take(1)?;
                }
                _ => return Err(Fault::Damaged),
            }
            // This number of zeros is skipped. Each other coefficient in between has its bit.
            while k <= last {
                if *not_zero & (1 << k) != 0 {
                    bits.take(1)?;
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                k += 1;
            }
            if size == 1 {
                if k > last {
                    return Err(Fault::Damaged);
                }
                *not_zero |= 1 << k;
            }
            k += 1;
        }
    }
    if *empty > 0 {
        for k in k..=last {
            if *not_zero & (1 << k) != 0 {
                bits.take(1)?;
            }
        }
        *empty -= 1;
    }
    Ok(())
}
