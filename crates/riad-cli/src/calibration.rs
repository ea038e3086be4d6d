//! Thresholds: scores of held-out good images, kept in the checkpoint, and the verdicts that follow from them.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use riad_core::{
    Calibration, CalibrationError, Map, Region,
    calibration::{images_needed, images_needed_with_confidence},
    regions,
};
use riad_data::{LoadedImage, Pattern};
use riad_model::{Checkpoint, Header, Keep, NormalSums, Precision, Scored};
use tracing::warn;

use crate::{
    files::shell_quoted,
    progress::Progress,
    scoring::{Compute, Model},
    usage,
    way_out::{refuse, told},
};

/// A threshold for which a false-positive rate was asked.
#[derive(Clone, Debug)]
pub(crate) struct Threshold {
    /// The rate asked for.
    pub(crate) rate: f64,
    /// With which probability it is kept; on average over calibrations if none was asked for.
    pub(crate) confidence: Option<f64>,
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
    pub(crate) fn new(
        header: &Header,
        model: &Path,
        rate: f64,
        confidence: Option<f64>,
        precision: Precision,
    ) -> Result<Self> {
        let command = format!("riad calibrate --model {} PATH…", shell_quoted(model));
        let Some(calibration) = header.calibration.clone() else {
            let needed = match confidence {
                None => images_needed(rate)?,
                Some(confidence) => images_needed_with_confidence(rate, confidence)?,
            };
            return Err(usage(format!(
                "{} is not calibrated, so it has no threshold; give it {needed} or more good images that it was not \
                 trained with, for {}: {command}",
                model.display(),
                rate_in_words(rate, confidence)
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
        let value = match confidence {
            None => calibration.threshold(rate),
            Some(confidence) => calibration.confident_threshold(rate, confidence),
        };
        match value {
            Ok(value) => Ok(Self {
                rate,
                confidence,
                value,
                calibration,
            }),
            Err(error @ (CalibrationError::TooFew { .. } | CalibrationError::TooFewForConfidence { .. })) => {
                Err(usage(format!(
                    "{}: {error}; give it more that it was not trained with: {command}",
                    model.display()
                )))
            }
            Err(error) => Err(usage(error.to_string())),
        }
    }

    /// How likely a good image scores at least as high, in four digits: more would tell of no difference.
    pub(crate) fn p_value(&self, score: f32) -> f64 {
        (self.calibration.p_value(score) * 1e4).round() / 1e4
    }

    /// Whether an image of this score is called defective.
    pub(crate) fn flags(&self, score: f32) -> bool {
        score > self.value
    }

    /// The parts of an image's map that are above, in pixels of the file that it was loaded from; none if it is good.
    pub(crate) fn regions(&self, map: &Map, loaded: &LoadedImage) -> Vec<Region> {
        regions(map, self.value, loaded.original_size)
    }

    /// What was asked for, in words.
    pub(crate) fn asked(&self) -> String {
        rate_in_words(self.rate, self.confidence)
    }
}

/// A false-positive rate that is asked for, in words.
pub(crate) fn rate_in_words(rate: f64, confidence: Option<f64>) -> String {
    match confidence {
        None => format!("a false-positive rate of {rate}"),
        Some(confidence) => format!("a false-positive rate of {rate} with a confidence of {confidence}"),
    }
}

/// What scoring some images gave.
pub(crate) struct Scores {
    /// The images that could be scored, in their order, with their scores.
    pub(crate) of: Vec<(PathBuf, f32)>,
    /// What kept others from it.
    pub(crate) faults: Vec<String>,
}

/// Scores good `images`, whose files belong together as `bands` says, with a checkpoint and keeps the scores in it, in place
/// of those it may have. What cannot be scored is left out: it has no score when the threshold is used, either.
///
/// # Errors
/// If there are no images, or none can be read.
pub(crate) fn calibrate(
    checkpoint: &mut Checkpoint,
    images: Vec<PathBuf>,
    bands: Option<&Pattern>,
    compute: &Compute,
) -> Result<Scores> {
    let model = Model::new(checkpoint, bands.cloned(), compute)?;
    let scores = scores(&model, images, "calibrating")?;
    if scores.of.is_empty() {
        bail!("there are no images to calibrate with");
    }
    let values = scores.of.iter().map(|(_, score)| *score).collect();
    checkpoint.header.calibration = Some(Calibration::new(values)?);
    checkpoint.header.calibration_precision = Some(compute.precision);
    Ok(scores)
}

/// The scores of images; `title` is what is being done.
pub(crate) fn scores(model: &Model, images: Vec<PathBuf>, title: &str) -> Result<Scores> {
    let mut of = Vec::with_capacity(images.len());
    let faults = score_all(model, images, title, |path, scored| {
        of.push((path.to_owned(), scored.score));
        Ok(())
    })?;
    Ok(Scores { of, faults })
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
    let faults = score_all(&model, images, "what is normal", |_, scored| Ok(sums.add(&scored.map)?))?;
    refuse(&faults)?;
    (checkpoint.normal, checkpoint.roi) = (Some(sums.finish()?), roi);
    Ok(())
}

/// Scores images one after the other, and gives what kept others from it.
fn score_all(
    model: &Model,
    images: Vec<PathBuf>,
    title: &str,
    mut take: impl FnMut(&Path, Scored) -> Result<()>,
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
                Ok(scored) => take(path, scored)?,
                Err(error) => faults.push(format!("{}: {error}", path.display())),
            }
        }
        progress.tell(count, String::new);
    }
}

/// How sure it is that good products are stopped no more often than [`reach`] says.
const CONFIDENCE: f64 = 0.95;

/// False-positive rates that people ask for, the largest first.
const RATES: [f64; 6] = [0.1, 0.05, 0.02, 0.01, 0.005, 0.001];

/// The false-positive rate that verdicts are mostly asked for, or the smallest that the calibration allows.
pub(crate) fn usual_rate(calibration: &Calibration) -> f64 {
    calibration.smallest_rate().max(0.05)
}

/// What a model's calibration is good for, in words: which rates it allows, what it promises, and what the next rate takes.
pub(crate) fn reach(calibration: &Calibration) -> String {
    let count = calibration.scores().len();
    let images = if count == 1 { "image" } else { "images" };
    let rate = shown_rate(usual_rate(calibration));
    let mut text = format!(
        "{count} good {images}, for false-positive rates from {} on",
        shown_rate(calibration.smallest_rate())
    );
    if let Ok(bound) = calibration.rate_bound(usual_rate(calibration), CONFIDENCE) {
        text += &format!(
            "; --fpr {rate} stops at most {} good products on average over calibrations, and with 95 % confidence at most {} \
             with this one",
            one_in(usual_rate(calibration)),
            one_in(bound)
        );
    }
    let next = RATES.iter().find_map(|&rate| {
        let more = images_needed(rate).ok()?.checked_sub(count).filter(|&more| more > 0)?;
        Some(format!("; --fpr {rate} takes {more} more"))
    });
    text + &next.unwrap_or_default()
}

/// A rate in at most four digits, not below what it is: a smaller one could not be had.
pub(crate) fn shown_rate(rate: f64) -> String {
    let rounded = (rate * 1e4 - 1e-9).ceil() / 1e4;
    rounded.to_string()
}

/// A share as people count, not below what it is.
fn one_in(share: f64) -> String {
    if share > 1.0 / 3.0 {
        return format!("{:.0} of 100", (100.0 * share).ceil());
    }
    // A decimal has no exact binary form: 0.05 is 1 in 20.
    format!("1 in {:.0}", (1.0 / share * (1.0 + 4.0 * f64::EPSILON)).floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bounds are scipy 1.17's `beta.ppf(0.95, l, n + 1 - l)`, l = ⌊(n + 1) · rate⌋: 0.1329 for 21 images and 0.05, 0.0792 for 130,
    /// and 0.7764 for 2 images and a third.
    #[test]
    fn a_calibration_is_said_in_one_sentence() {
        let of = |count: u8| reach(&Calibration::new((0..count).map(f32::from).collect()).unwrap());
        assert_eq!(
            of(21),
            "21 good images, for false-positive rates from 0.0455 on; --fpr 0.05 stops at most 1 in 20 good products on \
             average over calibrations, and with 95 % confidence at most 1 in 7 with this one; --fpr 0.02 takes 28 more"
        );
        assert_eq!(
            of(2),
            "2 good images, for false-positive rates from 0.3334 on; --fpr 0.3334 stops at most 1 in 3 good products on \
             average over calibrations, and with 95 % confidence at most 78 of 100 with this one; --fpr 0.1 takes 7 more"
        );
        assert!(
            of(130).contains("with 95 % confidence at most 1 in 12 with this one; --fpr 0.005 takes 69 more"),
            "{}",
            of(130)
        );
    }
}
