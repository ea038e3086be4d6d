//! Thresholds, their verdicts, and the rates that a calibration allows.

use std::{fmt, path::Path, sync::Arc};

use riad_core::{
    Calibration, CalibrationError, Difference, Likeness, Region,
    calibration::{USUAL_RATES, images_needed, images_needed_with_confidence},
};
use riad_data::counted;
use serde::{Deserialize, Serialize};

use crate::{Error, FalsePositiveRate, Result};

impl FalsePositiveRate {
    /// The usual rate, 0.05. If the calibration does not allow it, the smallest rate that it allows.
    pub fn usual(calibration: &Calibration) -> Self {
        Self::new(calibration.smallest_rate().max(0.05))
    }

    /// The number of good images that a calibration for this rate needs.
    ///
    /// # Errors
    /// [`Error::Request`] if a rate or probability is out of range.
    pub fn images_needed(self) -> Result<usize> {
        let needed = match self.confidence {
            None => images_needed(self.rate),
            Some(confidence) => images_needed_with_confidence(self.rate, confidence),
        };
        needed.map_err(Error::request)
    }
}

/// The verdict about an image. Only [`Good`](Self::Good) may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It resembles the good images, and its score is not above the threshold.
    Good,
    /// It resembles the good images, and its score is above the threshold.
    Defective,
    /// It does not [resemble](crate::Inspection::likeness) the good images, so its score means nothing: it is dark, it shows another
    /// product, or the camera was moved.
    NotThisProduct,
}

impl Verdict {
    /// `good`, `defective` or `not_this_product`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Defective => "defective",
            Self::NotThisProduct => "not_this_product",
        }
    }

    /// Whether the image shows a good product.
    pub fn is_good(self) -> bool {
        self == Self::Good
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a model and its threshold say of an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Judgement {
    /// The probability that a good image scores at least as high, in (0, 1].
    pub p_value: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// Why the image does not show this product, in words. `None` for other verdicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The parts above the threshold, in pixels of the upright image file. The highest peak comes first. Empty if the verdict is
    /// good.
    pub regions: Vec<Region>,
}

/// A threshold for a false-positive rate. An image's score and the pixels of its map have the same threshold, because
/// the score is the map's maximum.
#[derive(Clone, Debug)]
pub struct Threshold {
    rate: FalsePositiveRate,
    value: f32,
    calibration: Arc<Calibration>,
}

impl Threshold {
    /// The threshold of `model`, whose calibration is given.
    pub(crate) fn new(calibration: Option<&Arc<Calibration>>, model: &Path, rate: FalsePositiveRate) -> Result<Self> {
        let Some(calibration) = calibration else {
            return Err(Error::NotCalibrated {
                model: model.to_owned(),
                needed: rate.images_needed()?,
                rate,
            });
        };
        let value = match rate.confidence {
            None => calibration.threshold(rate.rate),
            Some(confidence) => calibration.confident_threshold(rate.rate, confidence),
        };
        match value {
            Ok(value) => Ok(Self {
                rate,
                value,
                calibration: Arc::clone(calibration),
            }),
            Err(cause @ (CalibrationError::TooFew { .. } | CalibrationError::TooFewForConfidence { .. })) => {
                Err(Error::TooFew {
                    model: model.to_owned(),
                    cause,
                })
            }
            Err(error) => Err(Error::request(error)),
        }
    }

    /// The rate that was asked for.
    pub fn rate(&self) -> FalsePositiveRate {
        self.rate
    }

    /// The highest score that is not called defective.
    pub fn value(&self) -> f32 {
        self.value
    }

    /// The scores of good images that it comes from.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// The probability that a good image scores at least as high, in (0, 1]. It is not rounded: without a confidence the verdict is
    /// defective exactly if it is at most the rate, and a rounded one could say otherwise.
    pub fn p_value(&self, score: f32) -> f64 {
        self.calibration.p_value(score)
    }

    /// Whether an image of this score has a defect. [`Inspection::verdict`](crate::Inspection::verdict) also asks whether it shows this
    /// product at all.
    pub fn is_exceeded_by(&self, score: f32) -> bool {
        exceeds(score, self.value)
    }
}

/// Whether an image of this score is above a threshold. What is no number is not good.
pub(crate) fn exceeds(score: f32, threshold: f32) -> bool {
    score.is_nan() || score > threshold
}

/// Why an image does not show the product.
pub(crate) fn strangeness(likeness: Likeness) -> String {
    let how = match likeness.difference() {
        Some(Difference::Darker) => "it is too dark",
        Some(Difference::Brighter) => "it is too bright",
        Some(Difference::Plainer) => "it has too little detail: is it out of focus, or is nothing there?",
        Some(Difference::Rougher) => "it has too much detail",
        _ => "most of it looks different",
    };
    format!("it resembles none of the {} good pictures: {how}", likeness.images())
}

/// How sure it is that good products are stopped no more often than [`rates_in_words`] says.
const CONFIDENCE: f64 = 0.95;

/// What a calibration allows, in words: its rates, what it promises for the usual one, and how many images the next rate needs.
pub fn rates_in_words(calibration: &Calibration) -> String {
    rates_in_words_at(calibration, FalsePositiveRate::usual(calibration))
}

/// The same, with what it promises for a rate that is used.
pub fn rates_in_words_at(calibration: &Calibration, rate: FalsePositiveRate) -> String {
    let count = calibration.scores().len();
    let mut text = format!(
        "{}, for false-positive rates from {} on",
        counted(count, "good image"),
        shown_rate(calibration.smallest_rate())
    );
    let (shown, share) = (shown_rate(rate.rate), one_in(rate.rate));
    let bound = calibration.rate_bound(rate.rate, CONFIDENCE);
    text += &match (rate.confidence, bound) {
        (Some(confidence), _) => {
            let percent = (1e6 * confidence).round() / 1e4;
            format!("; a rate of {shown} stops at most {share} good products, with {percent} % confidence")
        }
        (None, Ok(bound)) => format!(
            "; a rate of {shown} stops at most {share} good products on average over calibrations, and with 95 % confidence at most \
             {} with this one",
            one_in(bound)
        ),
        (None, Err(_)) => String::new(),
    };
    let next = USUAL_RATES.iter().find_map(|&rate| {
        let more = images_needed(rate).ok()?.checked_sub(count).filter(|&more| more > 0)?;
        Some(format!("; a rate of {rate} needs {more} more"))
    });
    text + &next.unwrap_or_default()
}

/// A rate in at most four digits, not below what it is: a smaller one could not be had.
pub(crate) fn shown_rate(rate: f64) -> String {
    let rounded = (rate * 1e4 - 1e-9).ceil() / 1e4;
    rounded.to_string()
}

/// A p-value in four digits, not below what it is: a smaller one could be taken for that of a defect.
#[cfg(feature = "report")]
pub(crate) fn shown_p_value(p_value: f64) -> String {
    let digits = 4 - 1 - p_value.log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    (((p_value * scale) * (1.0 - 4.0 * f64::EPSILON)).ceil() / scale).to_string()
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

    #[cfg(feature = "report")]
    #[test]
    fn a_p_value_is_shown_by_one_that_is_not_smaller() {
        for (p_value, shown) in [
            (100.0 / 1999.0, "0.05003"),
            (1.0 / 20.0, "0.05"),
            (1.0 / 22.0, "0.04546"),
            (1.0 / 30_001.0, "0.00003334"),
            (0.3, "0.3"),
            (1.0, "1"),
        ] {
            assert_eq!(shown_p_value(p_value), shown);
        }
    }

    /// At a rate of 0.05 the 101st of 1,998 scores from above is good, by a hair. The highest of 30,000 is no impossible one.
    #[test]
    fn p_values_agree_with_verdicts() {
        for (count, rate, scores) in [
            (1998, 0.05, 1890..1908),
            (30_000, 0.000_05, 29_990..30_000),
            (30_000, 1.0 / 30_001.0, 29_990..30_000),
        ] {
            let calibration = Calibration::new((0..count).map(|score| score as f32).collect()).unwrap();
            let threshold = Threshold {
                rate: FalsePositiveRate::new(rate),
                value: calibration.threshold(rate).unwrap(),
                calibration: Arc::new(calibration),
            };
            let scores = scores.map(|score| score as f32).chain([40_000.0]);
            let verdicts: Vec<_> = scores
                .map(|score| {
                    let (p_value, is_defective) = (threshold.p_value(score), threshold.is_exceeded_by(score));
                    assert!(
                        p_value > 0.0 && is_defective == (p_value <= rate),
                        "{score}: {p_value} at {rate}"
                    );
                    is_defective
                })
                .collect();
            assert!(verdicts.contains(&true) && verdicts.contains(&false));
        }
    }

    /// The bounds are scipy 1.17's `beta.ppf(0.95, l, n + 1 - l)`, l = ⌊(n + 1) · rate⌋: 0.1329 for 21 images and 0.05, 0.0792 for 130,
    /// and 0.7764 for 2 images and a third.
    #[test]
    fn a_calibration_is_said_in_one_sentence() {
        let of = |count: u8| rates_in_words(&Calibration::new((0..count).map(f32::from).collect()).unwrap());
        assert_eq!(
            of(21),
            "21 good images, for false-positive rates from 0.0455 on; a rate of 0.05 stops at most 1 in 20 good products on \
             average over calibrations, and with 95 % confidence at most 1 in 7 with this one; a rate of 0.02 needs 28 more"
        );
        assert_eq!(
            of(2),
            "2 good images, for false-positive rates from 0.3334 on; a rate of 0.3334 stops at most 1 in 3 good products on \
             average over calibrations, and with 95 % confidence at most 78 of 100 with this one; a rate of 0.2 needs 2 more"
        );
        assert!(
            of(130).contains("with 95 % confidence at most 1 in 12 with this one; a rate of 0.005 needs 69 more"),
            "{}",
            of(130)
        );
    }

    /// Above the highest of 130 scores lies the share of Beta(1, 130), whose 0.95 quantile is 1 − 0.05^(1/130) = 1 / 43.9.
    #[test]
    fn a_promise_is_for_the_rate_that_is_used() {
        let calibration = Calibration::new((0..130).map(|score| score as f32).collect()).unwrap();
        let at = |rate| rates_in_words_at(&calibration, rate);
        let said = at(FalsePositiveRate::new(0.01));
        assert!(
            said.contains("a rate of 0.01 stops at most 1 in 100 good products on average")
                && said.contains("at most 1 in 43 with"),
            "{said}"
        );
        let said = at(FalsePositiveRate::new(0.05).with_confidence(0.99));
        assert!(
            said.contains("a rate of 0.05 stops at most 1 in 20 good products, with 99 % confidence;"),
            "{said}"
        );
        assert_eq!(rates_in_words(&calibration), at(FalsePositiveRate::new(0.05)));
    }
}
