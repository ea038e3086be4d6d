//! Random choices that are the same on every platform and with every version of the generator's library. This module
//! has its own algorithms, and draws whole numbers only.

use std::num::{NonZeroU32, NonZeroU64};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// A source of random numbers (ChaCha8) that a seed decides.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The source that belongs to `seed`; its first stream.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// One of the independent streams of a seed. Stream 0 is that of [`new`](Self::new).
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform draw from `0..bound`, unbiased (Lemire, "Fast random integer generation in an interval", 2019).
    pub fn below(&mut self, bound: NonZeroU32) -> u32 {
        let rejected = bound.get().wrapping_neg() % bound;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound.get());
            if product as u32 >= rejected {
                return (product >> 32) as u32;
            }
        }
    }

    /// As [`below`](Self::below), but from 64 random bits. The numbers differ from those of `below`.
    pub fn below_u64(&mut self, bound: NonZeroU64) -> u64 {
        let rejected = bound.get().wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound.get());
            if product as u64 >= rejected {
                return (product >> 64) as u64;
            }
        }
    }

    /// Shuffles `items`. Every order is equally likely (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u32::try_from(last)
                .ok()
                .and_then(|last| NonZeroU32::MIN.checked_add(last));
            let chosen = match bound {
                Some(bound) => self.below(bound) as usize,
                None => self.below_u64(NonZeroU64::MIN.saturating_add(last as u64)) as usize,
            };
            items.swap(last, chosen);
        }
    }
}
