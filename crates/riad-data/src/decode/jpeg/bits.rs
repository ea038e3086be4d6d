//! The bits of a scan.

use super::Fault;

/// Reads the bits of a scan up to a marker.
pub(super) struct Bits<'a> {
    file: &'a [u8],
    /// The next byte to take.
    at: usize,
    /// The next `count` bits are its lowest.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(file: &'a [u8], at: usize) -> Self {
        Self {
            file,
            at,
            buffer: 0,
            count: 0,
        }
    }

    /// Takes bytes until there are 32 bits or a marker comes.
    fn fill(&mut self) {
        while self.count <= 32 {
            let Some(&byte) = self.file.get(self.at) else { return };
            if byte == 0xFF {
                // A 0 after it means that it is not a marker.
                if self.file.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next 16 bits without taking them; zeros follow the last one.
    pub(super) fn peek(&mut self) -> u16 {
        if self.count < 16 {
            self.fill();
        }
        if self.count < 16 {
            (self.buffer << (16 - self.count)) as u16
        } else {
            (self.buffer >> (self.count - 16)) as u16
        }
    }

    /// Takes up to 16 bits.
    ///
    /// # Errors
    /// If a marker or the file's end comes first.
    pub(super) fn take(&mut self, bits: u32) -> Result<u16, Fault> {
        if bits == 0 {
            return Ok(0);
        }
        if self.count < bits {
            self.fill();
        }
        if self.count < bits {
            return Err(self.ended());
        }
        self.count -= bits;
        let mask = (1u64 << bits) - 1;
        Ok((self.buffer >> self.count & mask) as u16)
    }

    /// The fault if the data ends here.
    pub(super) fn ended(&self) -> Fault {
        if self.at + 1 < self.file.len() {
            Fault::Hole
        } else {
            Fault::CutOff
        }
    }

    /// Skips the rest of a byte, and bytes that encoders put between the last block and the next marker. Returns the
    /// position of that marker.
    pub(super) fn end(&mut self) -> Result<usize, Fault> {
        /// Bytes between the data and the marker that belong to no block.
        const PADDING: usize = 16;
        let whole = self.count as usize / 8;
        let rest = self.file.get(self.at..).unwrap_or_default();
        let marker = rest
            .windows(2)
            .position(|pair| pair[0] == 0xFF && pair[1] != 0 && pair[1] != 0xFF);
        // At the file's end nothing may follow the last block, not even a marker.
        let padding = marker.unwrap_or(rest.len());
        if whole + padding > PADDING {
            return Err(Fault::Hole);
        }
        (self.buffer, self.count) = (0, 0);
        self.at += padding;
        Ok(self.at)
    }

    /// Skips a restart marker.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Fault> {
        let at = self.end()?;
        match self.file.get(at + 1) {
            Some(&marker) if marker == 0xD0 + number => {
                self.at = at + 2;
                Ok(())
            }
            Some(_) => Err(Fault::Hole),
            None => Err(Fault::CutOff),
        }
    }
}
