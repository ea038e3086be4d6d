//! Which training images are held out for validation, and in which order the others come.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::DataError;

/// A division of the training images; both lists hold indices in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Images to learn from; at least one.
    pub train: Vec<usize>,
    /// Images held out.
    pub validation: Vec<usize>,
}

/// Holds out `validation_fraction` of `count` images, chosen by `seed`; the same on every platform.
///
/// The number held out is rounded to nearest, but at least one image stays for training, and if a fraction above 0 is
/// asked for and there are two images or more, at least one is held out.
///
/// # Errors
/// [`DataError::Parameter`] if `count` is 0 or the fraction is not in [0, 1).
pub fn split(count: usize, validation_fraction: f64, seed: u64) -> Result<Split, DataError> {
    if count == 0 {
        return Err(DataError::Parameter(
            "there are no images to split into training and validation".into(),
        ));
    }
    if !(0.0..1.0).contains(&validation_fraction) {
        return Err(DataError::Parameter(format!(
            "the validation fraction must be at least 0 and below 1, not {validation_fraction}"
        )));
    }
    let wanted = (count as f64 * validation_fraction).round() as usize;
    let least = usize::from(validation_fraction > 0.0);
    let held_out = wanted.max(least).min(count - 1);

    let mut validation = shuffled(count, seed);
    let mut train = validation.split_off(held_out);
    train.sort_unstable();
    validation.sort_unstable();
    Ok(Split { train, validation })
}

/// The indices below `count` in an order chosen by `seed`, each order equally likely; the same on every platform.
pub fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut indices: Vec<usize> = (0..count).collect();
    // Fisher-Yates, with draws of a fixed width.
    for i in (1..count).rev() {
        indices.swap(i, below(&mut rng, i as u64 + 1) as usize);
    }
    indices
}

/// A whole number below `bound`, each equally likely: D. Lemire, "Fast random integer generation in an interval" (2019),
/// for 64 bits.
pub(crate) fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    // Products whose low half falls below 2^64 mod bound belong to an incomplete cycle and are drawn again.
    let incomplete = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= incomplete {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_image_is_in_exactly_one_part(count in 1usize..300, fraction in 0.0..0.999, seed: u64) {
            let Split { train, validation } = split(count, fraction, seed).unwrap();
            prop_assert!(!train.is_empty());
            prop_assert!(train.is_sorted() && validation.is_sorted());
            let mut all = [train, validation.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
            let off = validation.len() as f64 - count as f64 * fraction;
            prop_assert!(off.abs() <= 1.0, "{} of {count} for {fraction}", validation.len());
        }
    }

    #[test]
    fn edges() {
        assert_eq!(
            split(1, 0.9, 3).unwrap(),
            Split {
                train: vec![0],
                validation: vec![]
            }
        );
        assert_eq!(split(2, 0.01, 3).unwrap().validation.len(), 1);
        assert_eq!(split(2, 0.99, 3).unwrap().train.len(), 1);
        assert_eq!(split(209, 0.2, 3).unwrap().validation.len(), 42);
        assert!(split(5, 0.0, 3).unwrap().validation.is_empty());
        for fraction in [1.0, -0.1, f64::NAN, f64::INFINITY] {
            assert!(
                matches!(split(5, fraction, 3), Err(DataError::Parameter(_))),
                "{fraction}"
            );
        }
        assert!(matches!(split(0, 0.2, 3), Err(DataError::Parameter(_))));
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(shuffled(50, 7), shuffled(50, 7));
        assert_ne!(shuffled(50, 7), shuffled(50, 8));
    }

    #[test]
    fn every_order_is_equally_likely() {
        // 24 orders of 4 in 24,000 shuffles: the chi-squared statistic with 23 degrees of freedom exceeds 49.7 once in
        // a thousand seeds; these seeds are fixed.
        let mut seen = std::collections::BTreeMap::new();
        for seed in 0..24_000 {
            *seen.entry(shuffled(4, seed)).or_insert(0u32) += 1;
        }
        let chi_squared: f64 = seen.values().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
        assert_eq!(seen.len(), 24);
        assert!(chi_squared < 49.7, "{chi_squared}");
    }
}
