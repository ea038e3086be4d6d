//! Thresholds and p-values from the scores of held-out good images, with a guarantee that holds for any number of them.
//!
//! Split conformal prediction (Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005; Angelopoulos and
//! Bates, *A Gentle Introduction to Conformal Prediction*, arXiv 2107.07511, 2021; p-values of outliers: Bates, Candès,
//! Lei, Romano, Sesia, *Testing for outliers with conformal p-values*, Annals of Statistics 51, 2023). It needs no
//! distribution of the scores, only that a fresh good image is exchangeable with those calibrated on: the same product,
//! camera and light, and none of them seen in training or in the choice of the model.
//!
//! # What is guaranteed, and what is not
//!
//! A good image is flagged with a probability of at most the rate asked for, *on average over calibrations*. The rate of
//! one calibration of n images scatters around that: without ties it follows Beta(l, n + 1 − l), where l = ⌊(n + 1) α⌋.
//! More images make it narrower. How many defects are found is not guaranteed by anything.
//!
//! # Images and pixels
//!
//! Where an image's score is its map's maximum, the threshold of the score is that of the map, too: a good image has *any*
//! pixel above it with a probability of at most the rate asked for. A second number for pixels is not needed, and a rate
//! of false pixels would promise nothing: pixels of one image are not exchangeable with those of another.

use thiserror::Error;

/// Scores of good images that neither training nor the choice of the model has seen; at least one.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "Scores")
)]
pub struct Calibration {
    /// In ascending order, all finite.
    scores: Vec<f32>,
}

/// A [`Calibration`] as it is read, before it is checked.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Scores {
    scores: Vec<f32>,
}

#[cfg(feature = "serde")]
impl TryFrom<Scores> for Calibration {
    type Error = CalibrationError;

    fn try_from(read: Scores) -> Result<Self, CalibrationError> {
        Self::new(read.scores)
    }
}

/// Why there is no calibration or no threshold.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// There are no scores.
    #[error("there are no good images to calibrate with")]
    Empty,
    /// A score is NaN or infinite, so that it has no place in a ranking.
    #[error("calibration score {index} is not finite; a network that diverged gives such scores")]
    NotFinite {
        /// Position of the first such score.
        index: usize,
    },
    /// A rate is not a share.
    #[error("a false-positive rate is above 0 and below 1, not {0}")]
    Rate(f64),
    /// No threshold can be guaranteed to flag so few good images.
    #[error(
        "a false-positive rate of {rate} takes at least {needed} good images to calibrate with, and there are {count}; \
         from these, rates from {smallest:.4} on can be had",
        smallest = smallest_rate(*count)
    )]
    TooFew {
        /// The rate asked for.
        rate: f64,
        /// Number of calibration scores.
        count: usize,
        /// Number that the rate takes.
        needed: usize,
    },
}

impl Calibration {
    /// Takes the scores of held-out good images, in any order.
    ///
    /// # Errors
    /// No scores, or one that is not finite.
    pub fn new(mut scores: Vec<f32>) -> Result<Self, CalibrationError> {
        if scores.is_empty() {
            return Err(CalibrationError::Empty);
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(CalibrationError::NotFinite { index });
        }
        scores.sort_unstable_by(f32::total_cmp);
        Ok(Self { scores })
    }

    /// The scores in ascending order.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The smallest false-positive rate for which there is a threshold, 1 / (n + 1). In (0, ½].
    pub fn smallest_rate(&self) -> f64 {
        smallest_rate(self.scores.len())
    }

    /// How likely a good image scores at least as high: (1 + the number of calibration scores ≥ `score`) / (n + 1), in
    /// (0, 1]. For a fresh good image, P(p ≤ α) ≤ α for every α. Equal scores count against a defect, and so does NaN:
    /// its p-value is 1.
    pub fn p_value(&self, score: f32) -> f64 {
        let below = self.scores.partition_point(|&other| other < score);
        (1 + self.scores.len() - below) as f64 / (self.scores.len() + 1) as f64
    }

    /// The threshold for a false-positive rate α: the ⌈(n + 1)(1 − α)⌉-th smallest score. An image is flagged where its
    /// score is *above* it; a fresh good image is, with a probability of at most α. A score is above it exactly where
    /// its [p-value](Self::p_value) is at most α.
    ///
    /// # Errors
    /// A rate outside (0, 1), or fewer than 1 / α − 1 scores: even a score above all of them would then be too likely.
    pub fn threshold(&self, rate: f64) -> Result<f32, CalibrationError> {
        let needed = images_needed(rate)?;
        let count = self.scores.len();
        // ⌈(n + 1)(1 − α)⌉ = n + 1 − ⌊(n + 1) α⌋, counted from 1.
        // A rate that is nearly 1 is rounded to it, and would flag one more than there are.
        let flagged = flagged_of(count + 1, rate).min(count);
        match flagged.checked_sub(1) {
            Some(above) => Ok(self.scores[count - 1 - above]),
            None => Err(CalibrationError::TooFew { rate, count, needed }),
        }
    }
}

/// How many good images a false-positive rate α takes to calibrate with, at least: ⌈1 / α⌉ − 1.
///
/// # Errors
/// A rate outside (0, 1).
pub fn images_needed(rate: f64) -> Result<usize, CalibrationError> {
    if !(rate > 0.0 && rate < 1.0) {
        return Err(CalibrationError::Rate(rate));
    }
    let near = (1.0 / rate).floor() as usize;
    Ok(if flagged_of(near, rate) > 0 { near - 1 } else { near })
}

fn smallest_rate(count: usize) -> f64 {
    1.0 / (count + 1) as f64
}

/// ⌊`count` · `rate`⌋. A decimal has no exact binary form: 0.29 of 100 is 29, though its product is below.
fn flagged_of(count: usize, rate: f64) -> usize {
    (count as f64 * rate * (1.0 + 4.0 * f64::EPSILON)) as usize
}
