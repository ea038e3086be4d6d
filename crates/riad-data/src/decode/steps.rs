//! The memory of the steps from a file's pixels to what they become.

use super::{Becomes, Wanted};
use crate::pixels::bytes_of_values;

/// The pixels of a file, by its header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) width: u64,
    pub(super) height: u64,
    /// Samples of a pixel, without alpha.
    pub(super) samples: u64,
    /// Bytes of a sample: 1 and 2 for integers, and 4 for floats.
    pub(super) bytes: u64,
    pub(super) has_alpha: bool,
    /// Whether height and width change places, for which there is a second copy.
    pub(super) is_turned: bool,
    /// Whether each channel is a plane of its own.
    pub(super) is_planar: bool,
}

impl Form {
    /// The bytes of so many samples of each pixel.
    fn of(&self, samples: u64, bytes: u64) -> u64 {
        let pixels = self.width.saturating_mul(self.height);
        pixels.saturating_mul(samples).saturating_mul(bytes)
    }

    /// All pixels, as they are decoded.
    pub(super) fn decoded(&self) -> u64 {
        self.of(self.samples + u64::from(self.has_alpha), self.bytes)
    }

    /// The most bytes that there are at any time after decoding, up to what is `wanted`. Each step has its result beside what it is
    /// made from.
    pub(super) fn steps(&self, wanted: Wanted) -> u64 {
        let Self {
            mut samples, mut bytes, ..
        } = *self;
        let mut most = self.decoded();
        if self.is_turned {
            most = most.saturating_mul(2);
        }
        if self.has_alpha {
            // In 16 bits, and then without alpha.
            let wide = self.of(samples + 1, 2);
            most = most.max(wide.saturating_add(self.decoded().max(self.of(samples, 2))));
            bytes = 2;
        }
        if wanted.white_level.is_some() && bytes == 1 {
            most = most.max(self.of(samples, 3));
            bytes = 2;
        }
        if wanted.channels == 1 && samples == 3 {
            let before = self.of(3, bytes);
            bytes = bytes.max(2);
            most = most.max(before.saturating_add(self.of(1, bytes)));
            samples = 1;
        }
        // Opaque pictures with alpha, and such as have the white level of their type, stay in 8 bits. Their copy in 16 bits is still to come.
        let narrow = if samples == self.samples { self.bytes } else { bytes };
        let further = |bytes| self.further(wanted, samples, bytes);
        most.max(further(bytes)).max(further(narrow))
    }

    /// The most bytes from the pixels on, which have so many samples of so many bytes.
    fn further(&self, wanted: Wanted, samples: u64, bytes: u64) -> u64 {
        let own = self.of(samples, bytes);
        match wanted.becomes {
            Becomes::Pixels => own,
            // The values of its pixels with those of a channel, and then whether each is marked.
            Becomes::Mask => own.saturating_add(self.of(2, 2)),
            Becomes::Values { channels, size, files } => {
                let (mut kept, mut together) = (own, if self.is_planar { 1 } else { samples });
                let mut most = 0;
                if let Some(to_come) = files {
                    // Each file becomes planes, beside the picture that they are made from.
                    let planes = self.of(samples.max(wanted.channels as u64), bytes);
                    most = own.saturating_add(planes);
                    kept = planes.saturating_mul(1 + to_come as u64);
                    together = 1;
                }
                let from = if self.is_turned {
                    (self.height, self.width)
                } else {
                    (self.width, self.height)
                };
                let values = bytes_of_values(from, size, together, bytes, channels as u64);
                most.max(kept.saturating_add(values))
            }
        }
    }
}
