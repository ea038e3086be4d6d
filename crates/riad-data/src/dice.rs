//! Random numbers that are the same on every platform: draws, and noise that depends on a seed and a position.
//!
//! Everything is plain f64 arithmetic, square roots, and functions of the `libm` crate.

use std::num::NonZeroU64;

use riad_core::Random;

/// A source of random numbers.
pub(crate) struct Dice(Random);

impl Dice {
    /// Different streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(Random::stream(seed, stream))
    }

    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        // 53 random bits are every multiple of 2^-53 in [0, 1).
        let unit = (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// A whole number below `BOUND`.
    pub(crate) fn below<const BOUND: u64>(&mut self) -> u64 {
        self.0
            .below_u64(const { NonZeroU64::new(BOUND).expect("there is no number below 0") })
    }

    /// A nearly normal number of mean 0 and variance 1: the sum of four uniform ones (variance 1/12 each), which needs
    /// no logarithm.
    pub(crate) fn bell(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.between(-0.5, 0.5)).sum();
        sum * 3f64.sqrt()
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn index(&mut self, bound: usize) -> usize {
        let bound = NonZeroU64::new(bound as u64).unwrap_or(NonZeroU64::MIN);
        self.0.below_u64(bound) as usize
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.between(0.0, 1.0) < probability
    }

    /// A number in [low, high), both above 0. Its logarithm is uniform, so each order of magnitude is equally likely.
    pub(crate) fn of_any_size(&mut self, low: f64, high: f64) -> f64 {
        low * libm::exp2(self.between(0.0, 1.0) * libm::log2(high / low))
    }
}

/// Smooth noise in [-1, 1] with features of a size of about 1: random values on the integer grid, with interpolation
/// between them.
pub(crate) fn smooth_noise(seed: u64, x: f64, y: f64) -> f64 {
    let (left, top) = (x.floor(), y.floor());
    let (u, v) = (fade(x - left), fade(y - top));
    let corner = |dx: f64, dy: f64| grid_value(seed, (left + dx) as i64, (top + dy) as i64);
    mix(
        mix(corner(0.0, 0.0), corner(1.0, 0.0), u),
        mix(corner(0.0, 1.0), corner(1.0, 1.0), u),
        v,
    )
}

/// A value in [-1, 1) that depends on all its arguments: the output function of SplitMix64.
pub(crate) fn grid_value(seed: u64, x: i64, y: i64) -> f64 {
    let mut z = seed
        .wrapping_add((x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add((y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// 3t² − 2t³: from 0 to 1, with slope 0 at both ends.
pub(crate) fn fade(t: f64) -> f64 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

pub(crate) fn mix(a: f64, b: f64, share_of_b: f64) -> f64 {
    a + (b - a) * share_of_b
}
