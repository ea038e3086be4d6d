//! Checks good images before training.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use riad_core::Size;
use riad_core::outlier::{LIMIT, deviations, log_deviations};

use crate::{DataError, Fit, Reader, load_ahead};

/// Why a person should look at an image.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Suspicion {
    /// Its files hold the same bytes as those of an earlier image.
    Copy {
        /// The place of that image in the list.
        of: usize,
    },
    /// It hardly differs from an earlier image, like a second picture of the same part.
    NearCopy {
        /// The place of that image in the list.
        of: usize,
    },
    /// Most images have another size.
    Size {
        /// Its height and width in pixels.
        size: Size,
        /// Those of most images.
        usual: Size,
    },
    /// It is much darker or brighter than most images.
    Exposure {
        /// The mean of its values, in [0, 1].
        brightness: f64,
        /// The median of all images' means.
        usual: f64,
    },
    /// It differs much from all others. It may show a defective product, or another product.
    Unlike {
        /// Its distance from the images nearest to it, as a multiple of the usual distance.
        times: f64,
        /// The place of the image that is nearest to it.
        nearest: usize,
    },
}

/// An image, and why to look at it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Suspect {
    /// The image's place in the list.
    pub image: usize,
    /// At least one reason.
    pub reasons: Vec<Suspicion>,
}

/// The result for a list of images.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Survey {
    /// Number of images that were checked.
    pub images: usize,
    /// Images that a person should look at, in the order of the list.
    pub suspects: Vec<Suspect>,
    /// Images that cannot be read.
    pub unreadable: Vec<(PathBuf, DataError)>,
}

/// Height and width in pixels at which images are compared. Large defects and other products are visible at this size.
const SIDE: usize = 32;

/// Steps of the values that are kept.
const STEPS: f32 = 65_535.0;

/// The largest number of images that each image is compared with, spread over the list. With this limit, 100,000 images
/// take minutes and not a day.
const REFERENCES: usize = 2000;

/// Number of neighbours in the list, on each side, that an image is compared with. Pictures of a burst are neighbours.
const NEIGHBOURS: usize = 4;

/// Number of nearest images. Their mean distance is an image's distance from others.
const NEAREST: usize = 5;

/// An image that is nearer to another than this share of the usual distance shows the same part.
const NEAR: f64 = 0.3;

/// The smallest spread of brightness, as a share: no light is more stable.
const LEAST_EXPOSURE: f64 = 0.05;

/// The smallest spread of distances, as a share.
const LEAST_SPREAD: f64 = 0.05;

/// The values of an image that are compared.
struct Look {
    /// Its place in the list.
    image: usize,
    size: Size,
    brightness: f64,
    /// Values at [`SIDE`], in steps of 1/65,535, which is exact. There may be 100,000 images.
    values: Box<[u16]>,
}

/// Checks good images for copies, near copies, and images of another size, exposure or content.
///
/// Each image is compared at 32×32 with up to 2,000 others and its neighbours in the list. An image is named if its
/// distance or brightness is 3.5 robust standard deviations from the median ([`riad_core::outlier`]). With fewer than
/// eight images, only copies, near copies and images of another size are named.
pub fn survey(images: &[PathBuf], reader: &Reader) -> Survey {
    let mut survey = Survey {
        images: images.len(),
        ..Survey::default()
    };
    let mut looks = Vec::with_capacity(images.len());
    let fit = Fit::Resized(Size::new(SIDE, SIDE));
    for (image, (path, loaded)) in load_ahead(images.to_vec(), reader.clone(), fit).enumerate() {
        match loaded {
            Err(error) => survey.unreadable.push((path, error)),
            Ok(loaded) => {
                let values = loaded.image.values();
                let brightness = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
                looks.push(Look {
                    image,
                    size: loaded.original_size,
                    brightness,
                    values: values.iter().map(|value| (value * STEPS).round() as u16).collect(),
                });
            }
        }
    }
    let mut reasons: Vec<Vec<Suspicion>> = looks.iter().map(|_| Vec::new()).collect();
    sizes(&looks, &mut reasons);
    exposures(&looks, &mut reasons);
    distances(&looks, images, reader, &mut reasons);
    let suspects = looks.iter().zip(reasons).filter(|(_, reasons)| !reasons.is_empty());
    survey.suspects = suspects
        .map(|(look, reasons)| Suspect {
            image: look.image,
            reasons,
        })
        .collect();
    survey
}

fn sizes(looks: &[Look], reasons: &mut [Vec<Suspicion>]) {
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    for look in looks {
        *counts.entry((look.size.height, look.size.width)).or_default() += 1;
    }
    // If several sizes are equally frequent, the largest is chosen, so that the choice is unique.
    let usual = counts.into_iter().max_by_key(|&(size, count)| (count, size));
    let Some(((height, width), count)) = usual else { return };
    // If no size is that of most images, each image was probably cropped by hand.
    if 2 * count <= looks.len() {
        return;
    }
    let usual = Size::new(height, width);
    for (look, reasons) in looks.iter().zip(reasons) {
        if look.size != usual {
            reasons.push(Suspicion::Size { size: look.size, usual });
        }
    }
}

fn exposures(looks: &[Look], reasons: &mut [Vec<Suspicion>]) {
    let brightness: Vec<f64> = looks.iter().map(|look| look.brightness).collect();
    let usual = median(&brightness);
    for (place, deviation) in deviations(&brightness, LEAST_EXPOSURE / LIMIT * usual)
        .into_iter()
        .enumerate()
    {
        if deviation.abs() > LIMIT {
            reasons[place].push(Suspicion::Exposure {
                brightness: brightness[place],
                usual,
            });
        }
    }
}

/// Of an image: the mean distance of those next to it, and the nearest with its distance.
struct Near {
    mean: f64,
    place: usize,
    distance: f64,
}

fn distances(looks: &[Look], images: &[PathBuf], reader: &Reader, reasons: &mut [Vec<Suspicion>]) {
    if looks.len() < 2 {
        return;
    }
    let step = looks.len().div_ceil(REFERENCES);
    let near: Vec<Near> = (0..looks.len())
        .into_par_iter()
        .map(|place| near(looks, place, step))
        .collect();
    let means: Vec<f64> = near.iter().map(|near| near.mean).collect();
    let nearest: Vec<f64> = near.iter().map(|near| near.distance).collect();
    // The mean is 0 for images of which there are many copies, and copies say nothing about how far others lie apart.
    let apart: Vec<f64> = means.iter().copied().filter(|&mean| mean > 0.0).collect();
    let (usual_mean, usual_nearest) = (median(&apart), median(&nearest));
    let of_apart: Vec<f64> = means
        .iter()
        .map(|&mean| if mean > 0.0 { mean } else { f64::NAN })
        .collect();
    let far = log_deviations(&of_apart, LEAST_SPREAD);
    for (
        place,
        Near {
            place: other, distance, ..
        },
    ) in near.iter().enumerate()
    {
        let (image, of) = (looks[place].image, looks[*other].image);
        // The later of two is the copy.
        if *distance <= NEAR * usual_nearest || *distance == 0.0 {
            if of < image {
                let copy = if same_bytes(&images[image], &images[of], reader) {
                    Suspicion::Copy { of }
                } else {
                    Suspicion::NearCopy { of }
                };
                reasons[place].push(copy);
            }
        } else if far[place] > LIMIT {
            reasons[place].push(Suspicion::Unlike {
                times: means[place] / usual_mean,
                nearest: of,
            });
        }
    }
}

/// The nearest images among an image's neighbours and every `step`-th image.
fn near(looks: &[Look], place: usize, step: usize) -> Near {
    let neighbours = place.saturating_sub(NEIGHBOURS)..(place + NEIGHBOURS + 1).min(looks.len());
    let references = (0..looks.len())
        .step_by(step)
        .filter(|other| !neighbours.contains(other));
    let mut found: Vec<(f64, usize)> = references
        .chain(neighbours.clone())
        .filter(|&other| other != place)
        .map(|other| (distance(&looks[place], &looks[other]), other))
        .collect();
    found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (distance, other) = found[0];
    found.truncate(NEAREST);
    Near {
        mean: found.iter().map(|(distance, _)| distance).sum::<f64>() / found.len() as f64,
        place: other,
        distance,
    }
}

/// The root of the mean squared difference of the values, each minus its image's mean, because brightness is compared separately.
fn distance(a: &Look, b: &Look) -> f64 {
    let of_means = (a.brightness - b.brightness) as f32;
    let difference = |(&a, &b): (&u16, &u16)| (f32::from(a) - f32::from(b)) / STEPS - of_means;
    let sum: f32 = a.values.iter().zip(&b.values).map(difference).map(|by| by * by).sum();
    (f64::from(sum) / a.values.len() as f64).sqrt()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Whether two images' files hold the same bytes. A file that can no longer be read is no copy.
fn same_bytes(one: &Path, other: &Path, reader: &Reader) -> bool {
    let bytes = |image: &Path| -> Option<Vec<Vec<u8>>> {
        let files = match &reader.pattern {
            None => vec![image.to_owned()],
            Some(pattern) => pattern.files(image).ok()?,
        };
        files.iter().map(|file| fs::read(file).ok()).collect()
    };
    bytes(one).is_some_and(|one| Some(one) == bytes(other))
}
