//! Which training images are held out, and in which order the others come.

use std::num::NonZeroU64;

use riad_core::Random;

use crate::DataError;

/// A division of the training images; all lists hold indices in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Images to learn from; at least one.
    pub train: Vec<usize>,
    /// Images held out to choose among states of the training.
    pub validation: Vec<usize>,
    /// Images held out from that, too, to calibrate thresholds with.
    pub calibration: Vec<usize>,
}

/// Which shares of the images are held out, each in [0, 1), together below 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// For [`Split::validation`].
    pub validation: f64,
    /// For [`Split::calibration`].
    pub calibration: f64,
}

/// Holds out shares of `count` images, chosen by `seed`; the same on every platform.
///
/// The numbers held out are rounded to nearest, but a share above 0 is at least one image. At least one image stays for
/// training, and validation comes before calibration where there are too few for all. Which images are trained on
/// depends on the number held out alone, not on what for.
///
/// # Errors
/// [`DataError::Parameter`] if `count` is 0 or the shares are out of range.
pub fn split(count: usize, shares: Shares, seed: u64) -> Result<Split, DataError> {
    if count == 0 {
        return Err(DataError::Parameter("there are no images to split".into()));
    }
    let Shares {
        validation,
        calibration,
    } = shares;
    for (name, share) in [("validation", validation), ("calibration", calibration)] {
        if !(0.0..1.0).contains(&share) {
            return Err(DataError::Parameter(format!(
                "the share of images for {name} must be at least 0 and below 1, not {share}"
            )));
        }
    }
    if validation + calibration >= 1.0 {
        return Err(DataError::Parameter(format!(
            "the shares of images for validation ({validation}) and calibration ({calibration}) leave none to train on; \
             together they must be below 1"
        )));
    }
    let held_out = |share: f64, most: usize| {
        let wanted = (count as f64 * share).round() as usize;
        wanted.max(usize::from(share > 0.0)).min(most)
    };
    let for_validation = held_out(validation, count - 1);
    let for_calibration = held_out(calibration, count - 1 - for_validation);

    let mut validation = shuffled(count, seed);
    let mut train = validation.split_off(for_validation + for_calibration);
    let mut calibration = validation.split_off(for_validation);
    for part in [&mut train, &mut validation, &mut calibration] {
        part.sort_unstable();
    }
    Ok(Split {
        train,
        validation,
        calibration,
    })
}

/// The indices below `count` in an order chosen by `seed`, each order equally likely; the same on every platform.
pub fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut random = Random::new(seed);
    let mut indices: Vec<usize> = (0..count).collect();
    // Fisher-Yates, with draws of 64 bits, other than those of `Random::shuffle`.
    for i in (1..count).rev() {
        indices.swap(i, random.below_u64(NonZeroU64::MIN.saturating_add(i as u64)) as usize);
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shares(validation: f64, calibration: f64) -> Shares {
        Shares {
            validation,
            calibration,
        }
    }

    proptest! {
        #[test]
        fn every_image_is_in_exactly_one_part(
            count in 1usize..300,
            validation in 0.0..0.999,
            rest in 0.0..0.999,
            seed: u64,
        ) {
            let shares = shares(validation, (1.0 - validation) * rest);
            let parts = split(count, shares, seed).unwrap();
            prop_assert!(!parts.train.is_empty());
            for (part, share) in [(&parts.validation, shares.validation), (&parts.calibration, shares.calibration)] {
                let off = part.len() as f64 - count as f64 * share;
                // Two roundings, and an image that is kept for training.
                prop_assert!(off.abs() <= 2.0, "{} of {count} for {share}", part.len());
            }
            let parts = [parts.train, parts.validation, parts.calibration];
            prop_assert!(parts.iter().all(|part| part.is_sorted()));
            let mut all = parts.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn edges() {
        let parts = |count, validation, calibration| {
            let Split {
                train,
                validation,
                calibration,
            } = split(count, shares(validation, calibration), 3).unwrap();
            [train.len(), validation.len(), calibration.len()]
        };
        assert_eq!(parts(1, 0.5, 0.4), [1, 0, 0]);
        assert_eq!(parts(2, 0.01, 0.01), [1, 1, 0]);
        assert_eq!(parts(2, 0.99, 0.0), [1, 1, 0]);
        assert_eq!(parts(2, 0.0, 0.99), [1, 0, 1]);
        assert_eq!(parts(209, 0.2, 0.0), [167, 42, 0]);
        assert_eq!(parts(209, 0.1, 0.1), [167, 21, 21]);
        assert_eq!(parts(5, 0.0, 0.0), [5, 0, 0]);
        for bad in [1.0, -0.1, f64::NAN, f64::INFINITY] {
            for shares in [shares(bad, 0.0), shares(0.0, bad)] {
                let error = split(5, shares, 3);
                assert!(matches!(error, Err(DataError::Parameter(_))), "{shares:?}");
            }
        }
        let error = split(5, shares(0.5, 0.5), 3).unwrap_err();
        assert!(error.to_string().contains("leave none to train on"), "{error}");
        assert!(matches!(split(0, shares(0.2, 0.0), 3), Err(DataError::Parameter(_))));
    }

    #[test]
    fn what_images_are_held_out_for_does_not_change_what_is_trained_on() {
        let without = split(209, shares(0.2, 0.0), 5).unwrap();
        let with = split(209, shares(0.1, 0.1), 5).unwrap();
        assert_eq!(with.train, without.train);
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
