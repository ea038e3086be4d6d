//! Chance that a seed decides.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A source of chance.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// Different streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * f64::from(self.0.next_u32()) / 2f64.powi(32)
    }

    /// A whole number below `bound`, which is far below 2³².
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.between(0.0, bound as f64) as usize
    }

    /// A nearly normal number of mean 0 and variance 1: the sum of twelve uniform ones.
    pub(crate) fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.between(-0.5, 0.5)).sum()
    }
}
