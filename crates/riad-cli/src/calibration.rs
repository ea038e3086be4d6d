//! Thresholds: scores of held-out good images, kept in the checkpoint, and the verdicts that follow from them.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use riad_core::{Calibration, CalibrationError, calibration::images_needed};
use riad_data::Pattern;
use riad_model::{Checkpoint, Header, Keep, NormalSums, Precision, Scored};
use tracing::warn;

use crate::{
    files::shell_quoted,
    progress::Progress,
    run::refuse,
    scoring::{Compute, Model},
    usage,
    way_out::told,
};

/// A threshold for which a false-positive rate was asked.
#[derive(Clone, Debug)]
pub(crate) struct Threshold {
    /// The rate asked for.
    pub(crate) rate: f64,
    /// An image is called defective where its score is above, and a pixel where the map is: the score is the map's
    /// maximum.
    pub(crate) value: f32,
    pub(crate) calibration: Calibration,
}

impl Threshold {
    /// The threshold of `model`, whose header is given, for scores in this precision. One that it was not calibrated in is
    /// warned of.
    ///
    /// # Errors
    /// Blames the arguments if the model is not calibrated, or with too few images for this rate; says what to do.
    pub(crate) fn new(header: &Header, model: &Path, rate: f64, precision: Precision) -> Result<Self> {
        let command = format!("riad calibrate --model {} PATH…", shell_quoted(model));
        let Some(calibration) = header.calibration.clone() else {
            let needed = images_needed(rate)?;
            return Err(usage(format!(
                "{} is not calibrated, so it has no threshold; give it {needed} or more good images that it was not \
                 trained with, for a false-positive rate of {rate}: {command}",
                model.display()
            )));
        };
        if let Some(calibrated) = header
            .calibration_precision
            .filter(|calibrated| *calibrated != precision)
        {
            warn!(
                "{} is calibrated in {calibrated}, and scores in {precision} now, which gives other scores: the \
                 false-positive rate is not the one asked for. Score with --precision {calibrated}, or calibrate with \
                 --precision {precision}",
                model.display()
            );
        }
        match calibration.threshold(rate) {
            Ok(value) => Ok(Self {
                rate,
                value,
                calibration,
            }),
            Err(error @ CalibrationError::TooFew { .. }) => Err(usage(format!(
                "{}: {error}; give it more that it was not trained with: {command}",
                model.display()
            ))),
            Err(error) => Err(usage(error.to_string())),
        }
    }

    /// Whether an image of this score is called defective.
    pub(crate) fn flags(&self, score: f32) -> bool {
        score > self.value
    }
}

/// Reads a false-positive rate from the command line.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().map_err(|_| format!("{text} is not a number"))?;
    match images_needed(rate) {
        Ok(_) => Ok(rate),
        Err(error) => Err(error.to_string()),
    }
}

/// Scores good `images`, whose files belong together as `bands` says, with a checkpoint and keeps the scores in it, in place
/// of those it may have. Gives what kept images from being scored, which are left out: what cannot be read has no score
/// when the threshold is used, either.
///
/// # Errors
/// If there are no images, or none can be read.
pub(crate) fn calibrate(
    checkpoint: &mut Checkpoint,
    images: Vec<PathBuf>,
    bands: Option<&Pattern>,
    compute: &Compute,
) -> Result<Vec<String>> {
    let mut scores = Vec::with_capacity(images.len());
    let model = Model::new(checkpoint, bands.cloned(), compute)?;
    let faults = score_all(&model, images, "calibrating", |scored| {
        scores.push(scored.score);
        Ok(())
    })?;
    if scores.is_empty() {
        bail!("there are no images to calibrate with");
    }
    checkpoint.header.calibration = Some(Calibration::new(scores)?);
    checkpoint.header.calibration_precision = Some(compute.precision);
    Ok(faults)
}

/// Keeps in a checkpoint what the maps of good `images`, whose files belong together as `bands` says, hold at each place.
///
/// # Errors
/// If an image cannot be read.
pub(crate) fn find_normal(
    checkpoint: &mut Checkpoint,
    images: Vec<PathBuf>,
    bands: Option<&Pattern>,
    compute: &Compute,
) -> Result<()> {
    checkpoint.normal = None;
    // What is normal is so wherever one looks.
    let roi = checkpoint.roi.take();
    let mut sums = NormalSums::new(checkpoint.header.scoring.size());
    let model = Model::new(checkpoint, bands.cloned(), compute)?;
    let faults = score_all(&model, images, "what is normal", |scored| Ok(sums.add(&scored.map)?))?;
    refuse(&faults)?;
    (checkpoint.normal, checkpoint.roi) = (Some(sums.finish()?), roi);
    Ok(())
}

/// Scores images one after the other, and gives what kept others from it.
fn score_all(
    model: &Model,
    images: Vec<PathBuf>,
    title: &str,
    mut take: impl FnMut(Scored) -> Result<()>,
) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut progress = Progress::start(title, "image", 0, images.len() as u64);
    let mut count = 0;
    let mut loaded = model.load(images);
    loop {
        let batch = loaded.by_ref().take(model.batch_size());
        let batch: Vec<_> = batch.collect();
        if batch.is_empty() {
            return Ok(faults);
        }
        let mut readable = Vec::with_capacity(batch.len());
        count += batch.len() as u64;
        for (path, loaded) in batch {
            match loaded {
                Ok(loaded) => readable.push((path, loaded.image)),
                Err(error) => faults.push(told(&error)),
            }
        }
        let images: Vec<_> = readable.iter().map(|(_, image)| image).collect();
        for (scored, (path, _)) in model.score(&images, Keep::Map)?.into_iter().zip(&readable) {
            match scored {
                Ok(scored) => take(scored)?,
                Err(error) => faults.push(format!("{}: {error}", path.display())),
            }
        }
        progress.tell(count, String::new);
    }
}

/// What a model's calibration is good for, in words.
pub(crate) fn reach(calibration: &Calibration) -> String {
    format!(
        "{} good images, for false-positive rates from {:.4} on",
        calibration.scores().len(),
        calibration.smallest_rate()
    )
}
