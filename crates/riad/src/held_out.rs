//! Which good images training holds out, and for what.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use riad_data::{Category, DataError, Shares, Split, split};
use riad_model::Method;

use crate::{Error, Protocol, Result, TrainingOptions, names::relative};

/// Share of the images held out, as published: for validation, but for what calibration takes of it.
const HELD_OUT: f64 = 0.2;

/// Share of the images held out for each of validation and calibration where there are both.
const EACH: f64 = 0.1;

/// Fewer images are not held out for calibration unless asked for: they would not do for a false-positive rate of 0.05,
/// and validation has more use for them.
const WORTH_CALIBRATING: f64 = 19.0;

/// Training images that tell what is normal, at most: a mean needs no more, and scoring takes its time.
pub(crate) const NORMAL_IMAGES: usize = 64;

/// How a training divides its images, before rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parts {
    /// Images to train on.
    pub train: f64,
    /// Images to compute the validation loss with, in every epoch.
    pub validation: f64,
    /// Images that are held out for thresholds alone. With restoration, thresholds also come from those for validation.
    pub calibration: f64,
    /// Images of `train` that say what is normal, at the end of training.
    pub normal: f64,
}

impl TrainingOptions {
    /// How a training with these options divides this number of images.
    pub fn parts(&self, images: usize) -> Parts {
        let images = images as f64;
        let Shares {
            validation,
            calibration,
        } = shares_where(self, images * EACH);
        let train = images * (1.0 - validation - calibration);
        Parts {
            train,
            validation: images * validation,
            calibration: images * calibration,
            normal: train.min(NORMAL_IMAGES as f64),
        }
    }
}

/// The images that a run holds out from training.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldOut {
    /// The images' files. If several files make an image, the first of them.
    pub images: Vec<PathBuf>,
    /// What they are held out for.
    pub purpose: Purpose,
}

/// The purpose of images that training holds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To set thresholds.
    Calibration,
    /// To compute the validation loss.
    Validation,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calibration => "calibration",
            Self::Validation => "validation",
        })
    }
}

/// The good images of a category.
#[derive(Clone)]
pub(crate) struct Good {
    /// Those to learn from.
    pub(crate) learn: Vec<PathBuf>,
    /// Those that the data set itself keeps for validation.
    pub(crate) own: Vec<PathBuf>,
}

impl Good {
    pub(crate) fn of(category: &Category) -> Self {
        Self {
            learn: category.train.clone(),
            own: category.validation.clone(),
        }
    }

    /// The same less those of these names below `root`. If `file` gave the names, it may name no others.
    ///
    /// # Errors
    /// If it does, or none is left to learn from.
    pub(crate) fn without(mut self, root: &Path, names: &[String], file: Option<&Path>) -> Result<Self> {
        let mut unknown: HashSet<&str> = names.iter().map(String::as_str).collect();
        let left_out = unknown.clone();
        for images in [&mut self.learn, &mut self.own] {
            images.retain(|image| {
                let name = relative(image, root);
                unknown.remove(name.as_str());
                !left_out.contains(name.as_str())
            });
        }
        if let (Some(name), Some(file)) = (unknown.iter().min(), file) {
            return Err(Error::UnknownName {
                file: file.to_owned(),
                name: (*name).to_owned(),
                root: Some(root.to_owned()),
            });
        }
        if self.learn.is_empty() {
            return Err(Error::NoImages(format!(
                "no image is left to train on below {}",
                root.display()
            )));
        }
        Ok(self)
    }

    /// Those that a run has to do with: those to learn from, then the data set's own for validation, unless nothing is to be
    /// held out.
    pub(crate) fn of_run(self, shares: Shares) -> Vec<PathBuf> {
        if shares == Shares::default() {
            self.learn
        } else {
            [self.learn, self.own].concat()
        }
    }
}

/// The shares to hold out of good images: those asked for, and of the others those that are of use.
pub(crate) fn shares(args: &TrainingOptions, good: &Good) -> Shares {
    let each = match good.own.len() {
        0 => good.learn.len() as f64 * EACH,
        own => own as f64 / 2.0,
    };
    shares_where(args, each)
}

/// The shares to hold out where `each` images can be had for each of validation and calibration.
fn shares_where(args: &TrainingOptions, each: f64) -> Shares {
    let is_worth_it = each.round() >= WORTH_CALIBRATING && args.protocol != Some(Protocol::Paper);
    let calibration = args.calibration.unwrap_or(if is_worth_it { EACH } else { 0.0 });
    let validation = args.validation.unwrap_or((HELD_OUT - calibration).max(EACH));
    Shares {
        validation,
        calibration,
    }
}

/// Whether thresholds also come from the images for validation. They do if the training with this method chooses nothing by the
/// validation loss: then these images are as new to the model as those for calibration, and more scores make a steadier threshold.
pub(crate) fn validation_calibrates(args: &TrainingOptions, method: Method) -> bool {
    method.steps().is_some() && args.calibration != Some(0.0) && args.protocol != Some(Protocol::Paper)
}

/// How many images a run needs to hold out some for calibration by itself, if `images` are too few and nothing else was asked for.
pub(crate) fn too_few_to_calibrate(args: &TrainingOptions, images: usize) -> Option<usize> {
    let needed = ((WORTH_CALIBRATING - 0.5) / EACH).ceil() as usize;
    let is_asked_for = args.calibration.is_some() || args.protocol == Some(Protocol::Paper);
    (!is_asked_for && images < needed).then_some(needed)
}

/// Numbers the groups of images that belong on one side of a split: those of one name in `names`, where there are names, and those
/// of one content, by its sum in `sums`.
pub(crate) fn groups(names: Option<&[String]>, sums: &[&str]) -> Vec<usize> {
    let mut leader: Vec<usize> = (0..sums.len()).collect();
    let mut first_of_name = HashMap::new();
    let mut first_of_sum = HashMap::new();
    for image in 0..sums.len() {
        let same_sum = *first_of_sum.entry(sums[image]).or_insert(image);
        let same_name = names.map_or(image, |names| *first_of_name.entry(&names[image]).or_insert(image));
        for other in [same_sum, same_name] {
            let [one, other] = [image, other].map(|image| leader_of(&leader, image));
            leader[one.max(other)] = one.min(other);
        }
        // The way to the leader stays short.
        leader[image] = leader_of(&leader, image);
    }
    (0..sums.len()).map(|image| leader_of(&leader, image)).collect()
}

fn leader_of(leader: &[usize], mut image: usize) -> usize {
    while leader[image] != image {
        image = leader[image];
    }
    image
}

/// Divides the images of a run into those to train on and those held out. The run may learn from the first `learn` of them. `groups`
/// has a number for each image; images of one number stay on one side.
///
/// Where the data set itself keeps images for validation, those are held out and no others, divided in the proportion of
/// the shares: so results compare with those of others, who train on all that is there to train on. What belongs to a group
/// of training images is trained on, too.
///
/// # Errors
/// [`DataError::Parameter`] if the shares are out of range.
pub(crate) fn divide(learn: usize, groups: &[usize], shares: Shares, seed: u64) -> Result<Split, DataError> {
    let (trained_on, own) = groups.split_at(learn);
    let parts = split(trained_on, shares, seed)?;
    if own.is_empty() {
        return Ok(parts);
    }
    let trained_on: HashSet<_> = trained_on.iter().collect();
    let (with_training, own): (Vec<_>, Vec<_>) =
        (learn..groups.len()).partition(|&image| trained_on.contains(&groups[image]));
    let own_groups: Vec<_> = own.iter().map(|&image| groups[image]).collect();
    let for_calibration = shares.calibration / (shares.calibration + shares.validation);
    let (validation, calibration) = if own.is_empty() || for_calibration >= 1.0 {
        (Vec::new(), own)
    } else {
        let only = Shares {
            validation: 0.0,
            calibration: for_calibration,
        };
        let parts = split(&own_groups, only, seed)?;
        let images = |part: Vec<usize>| part.into_iter().map(|place| own[place]).collect();
        (images(parts.train), images(parts.calibration))
    };
    Ok(Split {
        train: (0..learn).chain(with_training).collect(),
        validation,
        calibration,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(learn: usize, own: usize) -> Good {
        let images = |count, name: &str| (0..count).map(|i| format!("{name}/{i}.png").into()).collect();
        Good {
            learn: images(learn, "train"),
            own: images(own, "validation"),
        }
    }

    fn given(validation: Option<f64>, calibration: Option<f64>) -> TrainingOptions {
        TrainingOptions {
            validation,
            calibration,
            ..TrainingOptions::default()
        }
    }

    #[test]
    fn images_are_held_out_for_calibration_where_they_are_of_use() {
        let shares = |validation, calibration, count| {
            let Shares {
                validation,
                calibration,
            } = shares(&given(validation, calibration), &good(count, 0));
            (validation, calibration)
        };
        assert_eq!(shares(None, None, 209), (0.1, 0.1));
        assert_eq!(shares(None, None, 64), (0.2, 0.0));
        // What is said to be enough is, and one less is not.
        let needed = too_few_to_calibrate(&given(None, None), 64).unwrap();
        assert_eq!(shares(None, None, needed).1, 0.1);
        assert_eq!(shares(None, None, needed - 1).1, 0.0);
        assert_eq!(too_few_to_calibrate(&given(None, None), needed), None);
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
            let good = good(300, own);
            let shares = shares(&args, &good);
            let images = good.of_run(shares);
            let groups: Vec<usize> = (0..images.len()).collect();
            let divide = || divide(300, &groups, shares, 3);
            let parts = divide().unwrap();
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
            assert_eq!(divide().unwrap(), parts);
        }
        let alone: Vec<usize> = (0..330).collect();
        assert!(divide(300, &alone, shares(&given(Some(1.0), None), &good(300, 30)), 3).is_err());
    }

    #[test]
    fn equal_files_and_those_of_one_name_make_a_group() {
        let names = ["p", "p", "q", "r", "q", "s"].map(str::to_owned);
        let sums = ["1", "2", "3", "2", "5", "6"];
        assert_eq!(groups(None, &sums), [0, 1, 2, 1, 4, 5]);
        // p and r are joined by equal files.
        assert_eq!(groups(Some(&names), &sums), [0, 0, 2, 0, 2, 5]);
    }

    #[test]
    fn what_the_data_set_keeps_for_validation_is_trained_on_where_it_belongs_to_training_images() {
        let mut groups: Vec<usize> = (0..20).collect();
        groups[15] = 3;
        let half = Shares {
            validation: 0.1,
            calibration: 0.1,
        };
        let parts = divide(10, &groups, half, 1).unwrap();
        assert_eq!(parts.train, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15]);
        assert_eq!(parts.validation.len() + parts.calibration.len(), 9);
    }
}
