//! Memory for vectors.
#![allow(unsafe_code)] // Views whole cache lines as values.

use std::ops::{Deref, DerefMut};

use crate::simd::LANES;

/// Values that start on a cache line, so that no vector of sixteen straddles two.
#[derive(Default)]
pub(crate) struct Buffer(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

impl Buffer {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// At least `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        Self(vec![Line([0.0; LANES]); len.div_ceil(LANES)])
    }

    /// Makes room for at least `len` values; what is in it stays.
    pub(crate) fn grow(&mut self, len: usize) {
        if self.0.len() * LANES < len {
            self.0.resize(len.div_ceil(LANES), Line([0.0; LANES]));
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is sixteen f32 and nothing else (64 bytes, aligned to 64), so that lines in a row are f32 in a row.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * LANES) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; the borrow is exclusive, and every bit pattern is an f32.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * LANES) }
    }
}
