//! Which training images are held out, and the order of the others.

use std::{collections::HashMap, num::NonZeroU64};

use riad_core::Random;

use crate::DataError;

/// A division of the training images. All lists have indices in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Images to train on, at least one.
    pub train: Vec<usize>,
    /// Images held out to choose the best epoch.
    pub validation: Vec<usize>,
    /// Images held out to calibrate thresholds.
    pub calibration: Vec<usize>,
}

/// The shares of images to hold out. Each is in [0, 1), and their sum is below 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// For [`Split::validation`].
    pub validation: f64,
    /// For [`Split::calibration`].
    pub calibration: f64,
}

/// Holds out shares of images, chosen by `seed`; the same on every platform. `groups` has a number for each image.
/// Images with the same number belong together, such as pictures of the same part, and stay on the same side. If all
/// numbers differ, each image is chosen alone.
///
/// Numbers are rounded to nearest, but a share above 0 is at least one image. At least one image stays for training. If
/// there are too few for all, validation comes before calibration. Whole groups are held out while they fit into the
/// requested number. If the first group is larger, it is held out alone. The images to train on depend only on the
/// number held out, not on the purpose.
///
/// # Errors
/// [`DataError::Parameter`] if there are no images or the shares are out of range.
pub fn split(groups: &[usize], shares: Shares, seed: u64) -> Result<Split, DataError> {
    let count = groups.len();
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
            "the shares of images for validation ({validation}) and calibration ({calibration}) leave no image to \
             train on; their sum must be below 1"
        )));
    }
    let held_out = |share: f64, most: usize| {
        let wanted = (count as f64 * share).round() as usize;
        wanted.max(usize::from(share > 0.0)).min(most)
    };
    let for_validation = held_out(validation, count - 1);
    let for_calibration = held_out(calibration, count - 1 - for_validation);

    let mut parts = Split {
        train: Vec::new(),
        validation: Vec::new(),
        calibration: Vec::new(),
    };
    let wanted = for_validation + for_calibration;
    let mut taken = 0;
    for group in in_order(groups, &shuffled(count, seed)) {
        let size = group.len();
        let fits = taken + size <= wanted || (taken == 0 && wanted > 0 && size < count);
        let part = if !fits {
            &mut parts.train
        } else if for_calibration == 0
            || parts.validation.len() + size <= for_validation
            || (for_validation > 0 && parts.validation.is_empty())
        {
            taken += size;
            &mut parts.validation
        } else {
            taken += size;
            &mut parts.calibration
        };
        part.extend(group);
    }
    for part in [&mut parts.train, &mut parts.validation, &mut parts.calibration] {
        part.sort_unstable();
    }
    Ok(parts)
}

/// The images of each group, in the order in which `order` first comes to one of them.
fn in_order(groups: &[usize], order: &[usize]) -> Vec<Vec<usize>> {
    let mut places = HashMap::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for &image in order {
        let place = *places.entry(groups[image]).or_insert(members.len());
        if place == members.len() {
            members.push(Vec::new());
        }
        members[place].push(image);
    }
    members
}

/// The indices below `count` in an order that `seed` decides. Each order is equally likely, and the same on every
/// platform.
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

    /// This number of images, each in its own group.
    fn alone(count: usize) -> Vec<usize> {
        (0..count).collect()
    }

    proptest! {
        #[test]
        fn a_group_stays_together_and_no_more_is_held_out_than_asked_for(
            groups in prop::collection::vec(0usize..40, 1..200),
            validation in 0.0..0.5,
            calibration in 0.0..0.499,
            seed: u64,
        ) {
            let parts = split(&groups, shares(validation, calibration), seed).unwrap();
            let of = |part: &[usize]| part.iter().map(|&image| groups[image]).collect::<std::collections::HashSet<_>>();
            let [train, held_out, last] = [of(&parts.train), of(&parts.validation), of(&parts.calibration)];
            prop_assert!(train.is_disjoint(&held_out) && train.is_disjoint(&last) && held_out.is_disjoint(&last));
            prop_assert!(!parts.train.is_empty());
            let taken = parts.validation.len() + parts.calibration.len();
            let share = validation + calibration;
            // Two roundings, and the first group, which may be larger.
            let is_one = held_out.len() + last.len() == 1;
            prop_assert!(taken as f64 <= groups.len() as f64 * share + 2.0 || is_one, "{taken}");
            let other = split(&groups, shares(calibration, validation), seed).unwrap();
            let counts = |share: f64| (groups.len() as f64 * share).round();
            if counts(validation) >= 1.0 && counts(calibration) >= 1.0 {
                prop_assert_eq!(other.train, parts.train);
            }
        }

        #[test]
        fn every_image_is_in_exactly_one_part(
            count in 1usize..300,
            validation in 0.0..0.999,
            rest in 0.0..0.999,
            seed: u64,
        ) {
            let shares = shares(validation, (1.0 - validation) * rest);
            let parts = split(&alone(count), shares, seed).unwrap();
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
            } = split(&alone(count), shares(validation, calibration), 3).unwrap();
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
                let error = split(&alone(5), shares, 3);
                assert!(matches!(error, Err(DataError::Parameter(_))), "{shares:?}");
            }
        }
        let error = split(&alone(5), shares(0.5, 0.5), 3).unwrap_err();
        assert!(error.to_string().contains("leave no image to train on"), "{error}");
        assert!(matches!(split(&[], shares(0.2, 0.0), 3), Err(DataError::Parameter(_))));
    }

    #[test]
    fn what_images_are_held_out_for_does_not_change_what_is_trained_on() {
        let without = split(&alone(209), shares(0.2, 0.0), 5).unwrap();
        let with = split(&alone(209), shares(0.1, 0.1), 5).unwrap();
        assert_eq!(with.train, without.train);
    }

    #[test]
    fn a_group_that_is_larger_than_what_is_held_out_is_held_out_if_it_comes_first() {
        // Two groups of ten: one of them, whichever the seed brings first, for one image that was asked for.
        let groups: Vec<usize> = (0..20).map(|image| image / 10).collect();
        for seed in 0..8 {
            let parts = split(&groups, shares(0.05, 0.05), seed).unwrap();
            assert_eq!(
                [parts.train.len(), parts.validation.len(), parts.calibration.len()],
                [10, 10, 0]
            );
        }
        // A single group is trained on.
        assert_eq!(split(&[7; 5], shares(0.2, 0.2), 1).unwrap().train.len(), 5);
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
