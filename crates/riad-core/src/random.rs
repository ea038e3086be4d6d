//! Random choices that are the same on every platform and with every version of the generator's library: drawn as `u32`
//! with algorithms written out.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// A uniform draw from `0..bound`, unbiased (Lemire, "Fast random integer generation in an interval", 2019).
///
/// # Panics
/// If `bound` is 0.
pub fn below(bound: u32, rng: &mut ChaCha8Rng) -> u32 {
    let rejected = bound.wrapping_neg() % bound;
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(bound);
        if product as u32 >= rejected {
            return (product >> 32) as u32;
        }
    }
}

/// Brings `items` into random order, every order equally likely (Fisher–Yates).
///
/// # Panics
/// If there are 2³² items or more.
pub fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    assert!(
        u32::try_from(items.len()).is_ok(),
        "{} items are too many to shuffle",
        items.len()
    );
    for last in (1..items.len()).rev() {
        let chosen = below(last as u32 + 1, rng);
        items.swap(last, chosen as usize);
    }
}
