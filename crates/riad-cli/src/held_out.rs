//! Which good images are held out from training, and what for.

use std::path::PathBuf;

use riad_data::{Category, DataError, Shares, Split, shuffled, split};

use crate::args::{Protocol, TrainingArgs};

/// Share of the images held out, as published: for validation, but for what calibration takes of it.
const HELD_OUT: f64 = 0.2;

/// Share of the images held out for each of validation and calibration where there are both.
pub(crate) const EACH: f64 = 0.1;

/// Fewer images are not held out for calibration unless asked for: they would not do for a false-positive rate of 0.05,
/// and validation has more use for them.
const WORTH_CALIBRATING: f64 = 19.0;

/// The shares to hold out of the category's images: those asked for, and of the others those that are of use.
pub(crate) fn shares(args: &TrainingArgs, category: &Category) -> Shares {
    let each = match category.validation.len() {
        0 => category.train.len() as f64 * EACH,
        own => own as f64 / 2.0,
    };
    shares_where(args, each)
}

/// The shares to hold out where `each` images can be had for each of validation and calibration.
pub(crate) fn shares_where(args: &TrainingArgs, each: f64) -> Shares {
    let is_worth_it = each.round() >= WORTH_CALIBRATING && args.protocol != Some(Protocol::Paper);
    let calibration = args.calibration.unwrap_or(if is_worth_it { EACH } else { 0.0 });
    let validation = args.validation.unwrap_or((HELD_OUT - calibration).max(EACH));
    Shares {
        validation,
        calibration,
    }
}

/// The good images that a run has to do with: those to learn from, then those that the data set itself keeps for
/// validation, unless nothing is to be held out.
pub(crate) fn good_images(category: &Category, shares: Shares) -> Vec<PathBuf> {
    let own: &[PathBuf] = if shares == Shares::default() {
        &[]
    } else {
        &category.validation
    };
    [&category.train, own].concat()
}

/// Divides the [`good_images`] into those to train on and those held out.
///
/// Where the data set itself keeps images for validation, those are held out and no others, divided in the proportion of
/// the shares: so results compare with those of others, who train on all that is there to train on.
///
/// # Errors
/// [`DataError::Parameter`] if the shares are out of range.
pub(crate) fn divide(category: &Category, shares: Shares, seed: u64) -> Result<Split, DataError> {
    let (learn, own) = (category.train.len(), category.validation.len());
    let parts = split(learn, shares, seed)?;
    if own == 0 || shares == Shares::default() {
        return Ok(parts);
    }
    let for_calibration = shares.calibration / (shares.calibration + shares.validation);
    let for_calibration = (own as f64 * for_calibration).round() as usize;
    let mut calibration: Vec<usize> = shuffled(own, seed).into_iter().map(|index| learn + index).collect();
    let mut validation = calibration.split_off(for_calibration);
    calibration.sort_unstable();
    validation.sort_unstable();
    Ok(Split {
        train: (0..learn).collect(),
        validation,
        calibration,
    })
}

#[cfg(test)]
mod tests {
    use riad_data::Layout;

    use super::*;

    fn category(train: usize, validation: usize) -> Category {
        let images = |count, name: &str| (0..count).map(|i| format!("{name}/{i}.png").into()).collect();
        Category {
            name: "lid".into(),
            root: "lid".into(),
            layout: Layout::Mvtec2,
            train: images(train, "train"),
            validation: images(validation, "validation"),
            train_faults: Vec::new(),
            test: Vec::new(),
            test_faults: Vec::new(),
        }
    }

    fn given(validation: Option<f64>, calibration: Option<f64>) -> TrainingArgs {
        TrainingArgs {
            validation,
            calibration,
            ..TrainingArgs::default()
        }
    }

    #[test]
    fn images_are_held_out_for_calibration_where_they_are_of_use() {
        let shares = |validation, calibration, count| {
            let Shares {
                validation,
                calibration,
            } = shares(&given(validation, calibration), &category(count, 0));
            (validation, calibration)
        };
        assert_eq!(shares(None, None, 209), (0.1, 0.1));
        assert_eq!(shares(None, None, 64), (0.2, 0.0));
        assert_eq!(shares(None, Some(0.0), 209), (0.2, 0.0));
        assert_eq!(shares(None, Some(0.5), 64), (0.1, 0.5));
        assert_eq!(shares(Some(0.2), None, 209), (0.2, 0.1));
    }

    #[test]
    fn a_data_set_that_keeps_images_for_validation_gives_those_and_no_others() {
        for (own, args, expected) in [
            (40, given(None, None), [300, 20, 20]),
            // Half of them would be too few to calibrate with.
            (30, given(None, None), [300, 30, 0]),
            (30, given(Some(0.1), Some(0.2)), [300, 10, 20]),
            (30, given(Some(0.0), Some(0.2)), [300, 0, 30]),
            (30, given(Some(0.0), Some(0.0)), [300, 0, 0]),
        ] {
            let category = category(300, own);
            let shares = shares(&args, &category);
            let images = good_images(&category, shares);
            let parts = divide(&category, shares, 3).unwrap();
            let Split {
                train,
                validation,
                calibration,
            } = &parts;
            assert_eq!([train.len(), validation.len(), calibration.len()], expected);
            let mut all = [&train[..], validation, calibration].concat();
            all.sort_unstable();
            assert_eq!(all, (0..images.len()).collect::<Vec<_>>());
            assert!(train.iter().all(|&index| images[index].starts_with("train")));
            let held_out = validation.iter().chain(calibration);
            assert!(
                held_out
                    .into_iter()
                    .all(|&index| images[index].starts_with("validation"))
            );
            assert_eq!(divide(&category, shares, 3).unwrap(), parts);
        }
        assert!(
            divide(
                &category(300, 30),
                shares(&given(Some(1.0), None), &category(300, 30)),
                3
            )
            .is_err()
        );
    }
}
