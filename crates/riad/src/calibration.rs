//! Calibration: a checkpoint keeps the scores of good images, and their maps as what is normal.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
};

use rayon::prelude::*;
use riad_core::{Appearance, Calibration, Looks};
use riad_data::Pattern;
use riad_model::{Checkpoint, NormalSums};

use crate::{
    Cancel, Error, Event, Inspection, Observer, Result, Work,
    detector::{Compute, Detector},
    files::image_digits,
    observer::Piece,
};

/// The scores of some images.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Scores {
    /// The images that could be scored, in their order, with their scores.
    pub of: Vec<(PathBuf, f32)>,
    /// The errors of the images that could not be scored.
    pub faults: Vec<Error>,
}

/// Scores good `images` with a checkpoint. It keeps the scores, and which images they are of, in place of earlier ones.
/// `bands` says which files make one image. An image that cannot be scored is left out and named in [`Scores::faults`].
///
/// [`Recalibration`](crate::Recalibration) does this for a model in a file, and checks that it was not trained with the images.
///
/// # Errors
/// If there are no images, or none can be read.
pub fn calibrate(
    checkpoint: &mut Checkpoint,
    images: Vec<PathBuf>,
    bands: Option<&Pattern>,
    compute: &Compute,
    observer: &dyn Observer,
) -> Result<Scores> {
    calibrate_until(checkpoint, images, bands, compute, &Cancel::new(), observer)
}

/// The same until it is cancelled, which leaves the checkpoint as it was.
pub(crate) fn calibrate_until(
    checkpoint: &mut Checkpoint,
    images: Vec<PathBuf>,
    bands: Option<&Pattern>,
    compute: &Compute,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Scores> {
    let model = Detector::options()
        .compute(compute.clone())
        .bands(bands.cloned())
        .open_checkpoint(checkpoint)?;
    // What cannot be read is a fault of the scores.
    let digits = images
        .par_iter()
        .filter_map(|image| Some((image.clone(), image_digits(image, bands).ok()?)));
    let digits: HashMap<PathBuf, String> = digits.collect();
    let scores = scores(&model, images, Work::Calibrating, cancel, observer)?;
    if scores.of.is_empty() {
        return Err(Error::NoImages("there are no images to calibrate with".into()));
    }
    let values = scores.of.iter().map(|(_, score)| *score).collect();
    checkpoint.header.calibration = Some(Calibration::new(values).map_err(Error::request)?);
    checkpoint.header.calibration_precision = Some(compute.precision);
    let scored: BTreeSet<_> = scores.of.iter().filter_map(|(image, _)| digits.get(image)).collect();
    checkpoint.header.calibration_images = scored.into_iter().cloned().collect();
    Ok(scores)
}

/// The scores of images.
pub(crate) fn scores(
    model: &Detector,
    images: Vec<PathBuf>,
    work: Work<'_>,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<Scores> {
    let mut of = Vec::with_capacity(images.len());
    let faults = look_at_all(model, images, work, cancel, observer, |path, found| {
        of.push((path, found.score()));
        Ok(())
    })?;
    Ok(Scores { of, faults })
}

/// Keeps in a checkpoint what the maps of good `images`, whose files belong together as `bands` says, hold at each place. A calibration
/// that it has is taken away: its scores were those of another map.
///
/// # Errors
/// If an image cannot be read.
pub(crate) fn find_normal(
    checkpoint: &mut Checkpoint,
    images: Vec<PathBuf>,
    bands: Option<&Pattern>,
    compute: &Compute,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<()> {
    checkpoint.normal = None;
    // What is normal is so wherever one looks.
    let roi = checkpoint.roi.take();
    let mut sums = NormalSums::new(checkpoint.header.scoring.size());
    let model = Detector::options()
        .compute(compute.clone())
        .bands(bands.cloned())
        .open_checkpoint(checkpoint)?;
    let faults = look_at_all(&model, images, Work::Normal, cancel, observer, |_, found| {
        Ok(sums.add(found.map())?)
    })?;
    Error::refuse(faults)?;
    (checkpoint.normal, checkpoint.roi) = (Some(sums.finish()?), roi);
    checkpoint.header.forget_calibration();
    Ok(())
}

/// Images that tell what a product looks like, at most, unless somebody chose them: they are read once more for it.
const LOOKED_AT: usize = 128;

/// Keeps in a checkpoint what good images look like as a whole. Their files belong together as `bands` says. If the checkpoint knows
/// that of other images, these are added, unless it resembles all of them already. Of many `images` some are enough. Each of `alike` is
/// looked at, because somebody chose it. What cannot be read is left out, and nothing changes if too few images are left: a picture of
/// something else has no verdict of its own then.
///
/// # Errors
/// If it is cancelled.
pub(crate) fn find_appearance(
    checkpoint: &mut Checkpoint,
    (images, alike): (&[PathBuf], &[PathBuf]),
    bands: Option<&Pattern>,
    compute: &Compute,
    cancel: &Cancel,
    observer: &dyn Observer,
) -> Result<()> {
    let model = Detector::options()
        .compute(compute.clone())
        .bands(bands.cloned())
        .open_checkpoint(checkpoint)?;
    let step = images.len().div_ceil(LOOKED_AT).max(1);
    let images: Vec<_> = images.iter().step_by(step).chain(alike).cloned().collect();
    let total = images.len();
    let _piece = Piece::begin(observer, Work::Appearance, 0, total);
    let mut looks = Vec::with_capacity(total);
    for (done, (_, loaded)) in model.load(images).enumerate() {
        if cancel.reason().is_some() {
            return Err(Error::Cancelled);
        }
        if let Ok(loaded) = loaded {
            let image = &loaded.image;
            looks.extend(Looks::of(image.values(), image.channels(), image.size()));
        }
        observer.event(&Event::Progress { done: done + 1, total });
    }
    let found = match &checkpoint.header.appearance {
        None => Appearance::of(&looks),
        Some(known) => {
            let resembles = |looks: &Looks| known.judge(looks).is_ok_and(|likeness| likeness.resembles());
            if looks.iter().all(resembles) {
                return Ok(());
            }
            known.with(&looks)
        }
    };
    // Too few are no fault: a model is made of as many as there are.
    if let Ok(appearance) = found {
        checkpoint.header.appearance = Some(appearance);
    }
    Ok(())
}

/// Looks at images one after the other, and gives what kept others from it.
fn look_at_all(
    model: &Detector,
    images: Vec<PathBuf>,
    work: Work<'_>,
    cancel: &Cancel,
    observer: &dyn Observer,
    mut take: impl FnMut(PathBuf, &Inspection) -> Result<()>,
) -> Result<Vec<Error>> {
    let mut faults = Vec::new();
    let total = images.len();
    let _piece = Piece::begin(observer, work, 0, total);
    for (done, (path, found)) in (1..).zip(model.inspect_many(images)) {
        if cancel.reason().is_some() {
            return Err(Error::Cancelled);
        }
        match found {
            Ok(found) => {
                if let Some(facts) = found.file_facts() {
                    observer.event(&Event::Read {
                        path: &path,
                        found: facts,
                    });
                }
                take(path, &found)?;
            }
            // The device's: nothing can be scored any more.
            Err(error) if error.stops_everything() => return Err(error),
            Err(error) => faults.push(error),
        }
        observer.event(&Event::Progress { done, total });
    }
    Ok(faults)
}
