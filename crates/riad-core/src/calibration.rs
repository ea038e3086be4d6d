//! Thresholds and p-values from the scores of held-out good images. Their guarantee holds for any number of images.
//!
//! Split conformal prediction (Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005; Angelopoulos
//! and Bates, *A Gentle Introduction to Conformal Prediction*, arXiv 2107.07511, 2021; p-values of outliers: Bates,
//! Candès, Lei, Romano, Sesia, *Testing for outliers with conformal p-values*, Annals of Statistics 51, 2023). It
//! assumes no distribution of the scores. It assumes only that a new good image is exchangeable with the images of the
//! calibration: the same product, camera and light. Neither training nor the choice of the model may have used them.
//!
//! # What is guaranteed, and what is not
//!
//! A good image is flagged with a probability of at most the requested rate, *on average over calibrations*. The rate
//! of one calibration of n images can be higher or lower. Without ties it follows Beta(l, n + 1 − l). Here l = ⌊(n + 1)
//! α⌋ is the number of scores at the threshold or above. [`Calibration::rate_bound`] is an upper bound for it.
//! [`Calibration::confident_threshold`] chooses l so that it is not above the requested rate. With ties the rate is
//! lower. More images make its distribution narrower. There is no guarantee for the number of defects that are found.
//!
//! # Images and pixels
//!
//! If an image's score is its map's maximum, score and map have the same threshold: a good image has *any* pixel above
//! it with a probability of at most the requested rate. Pixels need no other threshold. There is no promise for a rate
//! of false pixels, because pixels of one image are not exchangeable with pixels of another.

use statrs::function::beta::beta_reg;
use thiserror::Error;

use crate::beta;

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

/// False-positive rates that people ask for, the largest first: those that are offered where none is asked for.
pub const USUAL_RATES: [f64; 8] = [0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

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
    /// A score is NaN or infinite, so it has no place in a ranking.
    #[error("calibration score {index} is not finite; a network that diverged gives such scores")]
    NotFinite {
        /// Position of the first such score.
        index: usize,
    },
    /// A rate is not in (0, 1).
    #[error("a false-positive rate must be above 0 and below 1, not {0}")]
    Rate(f64),
    /// A confidence is not in (0, 1).
    #[error("a confidence must be above 0 and below 1, not {0}")]
    Confidence(f64),
    /// No threshold can be guaranteed to stay below the rate with this confidence.
    #[error(
        "a false-positive rate of {rate} with a confidence of {confidence} needs at least {needed} good images to \
         calibrate with, and there are {count}"
    )]
    TooFewForConfidence {
        /// The rate asked for.
        rate: f64,
        /// The confidence asked for.
        confidence: f64,
        /// Number of calibration scores.
        count: usize,
        /// Number that rate and confidence need.
        needed: usize,
    },
    /// There are too few scores for a threshold with this rate.
    #[error(
        "a false-positive rate of {rate} needs at least {needed} good images to calibrate with, and there are \
         {count}, which are enough for rates from {smallest:.4} on",
        smallest = smallest_rate(*count)
    )]
    TooFew {
        /// The rate asked for.
        rate: f64,
        /// Number of calibration scores.
        count: usize,
        /// Number that the rate needs.
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

    /// The probability that a good image scores at least as high, in (0, 1]:
    /// (1 + the number of calibration scores ≥ `score`) / (n + 1). For a new good image, P(p ≤ α) ≤ α for every α. Equal
    /// scores count against a defect, and so does NaN: its p-value is 1.
    pub fn p_value(&self, score: f32) -> f64 {
        let below = self.scores.partition_point(|&other| other < score);
        (1 + self.scores.len() - below) as f64 / (self.scores.len() + 1) as f64
    }

    /// The threshold for a false-positive rate α: the ⌈(n + 1)(1 − α)⌉-th smallest score. An image is flagged if its
    /// score is *above* it. This happens to a new good image with a probability of at most α. A score is above it
    /// exactly if its [p-value](Self::p_value) is at most α.
    ///
    /// # Errors
    /// A rate outside (0, 1), or fewer than 1 / α − 1 scores: even a score above all of them would then be too likely.
    pub fn threshold(&self, rate: f64) -> Result<f32, CalibrationError> {
        Ok(self.scores[self.scores.len() - self.rank(rate)?])
    }

    /// An upper bound, in (0, 1), for the true false-positive rate of the [`threshold`](Self::threshold) for `rate`. It
    /// holds with the probability `confidence` over the choice of the calibration images. It is a quantile of
    /// Beta(l, n + 1 − l), see the [module](self).
    ///
    /// # Errors
    /// As [`threshold`](Self::threshold), or a confidence outside (0, 1).
    pub fn rate_bound(&self, rate: f64, confidence: f64) -> Result<f64, CalibrationError> {
        let rank = self.rank(rate)?;
        let others = self.scores.len() + 1 - rank;
        check_confidence(confidence)?;
        Ok(beta::quantile(rank as f64, others as f64, confidence))
    }

    /// The lowest score that, as a threshold, has a false-positive rate of at most α = `rate` with the probability
    /// `confidence` over the choice of the calibration images. [`threshold`](Self::threshold) keeps the rate on
    /// average. This one keeps it for this calibration, so it is higher. It is the upper tolerance limit of Wilks
    /// (*Determination of sample sizes for setting tolerance limits*, 1941).
    ///
    /// # Errors
    /// A rate or a confidence outside (0, 1), or fewer scores than [`images_needed_with_confidence`].
    pub fn confident_threshold(&self, rate: f64, confidence: f64) -> Result<f32, CalibrationError> {
        let needed = images_needed_with_confidence(rate, confidence)?;
        let count = self.scores.len();
        if count < needed {
            return Err(CalibrationError::TooFewForConfidence {
                rate,
                confidence,
                count,
                needed,
            });
        }
        // With more scores at the threshold or above, the rate is kept with a lower probability. So the highest rank that keeps it is found
        // by bisection. The lowest keeps it, since there are as many scores as it needs.
        let (mut rank, mut too_high) = (1, count + 1);
        while too_high - rank > 1 {
            let middle = usize::midpoint(rank, too_high);
            if beta_reg(middle as f64, (count + 1 - middle) as f64, rate) >= confidence {
                rank = middle;
            } else {
                too_high = middle;
            }
        }
        Ok(self.scores[count - rank])
    }

    /// The number of scores at the threshold for a rate or above, l = ⌊(n + 1) α⌋. ⌈(n + 1)(1 − α)⌉ is n + 1 − l.
    fn rank(&self, rate: f64) -> Result<usize, CalibrationError> {
        let needed = images_needed(rate)?;
        let count = self.scores.len();
        // A rate next to 1 is rounded up to it.
        match flagged_of(count + 1, rate).min(count) {
            0 => Err(CalibrationError::TooFew { rate, count, needed }),
            rank => Ok(rank),
        }
    }
}

/// The number of good images that a false-positive rate α with a confidence c needs: the smallest n with 1 − (1 − α)ⁿ ≥
/// c. 59 for 0.05 with 0.95.
///
/// # Errors
/// A rate or a confidence outside (0, 1).
pub fn images_needed_with_confidence(rate: f64, confidence: f64) -> Result<usize, CalibrationError> {
    images_needed(rate)?;
    check_confidence(confidence)?;
    // One score at the threshold, the highest of all: Beta(1, n).
    let needed = (-confidence).ln_1p() / (-rate).ln_1p();
    Ok((needed * (1.0 - 4.0 * f64::EPSILON)).ceil().max(1.0) as usize)
}

fn check_confidence(confidence: f64) -> Result<(), CalibrationError> {
    if confidence > 0.0 && confidence < 1.0 {
        Ok(())
    } else {
        Err(CalibrationError::Confidence(confidence))
    }
}

/// The number of good images that a calibration for a false-positive rate α needs: ⌈1 / α⌉ − 1.
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

/// ⌊`count` · `rate`⌋. A decimal fraction has no exact binary form: 0.29 · 100 counts as 29, although the product of
/// the floats is less.
fn flagged_of(count: usize, rate: f64) -> usize {
    (count as f64 * rate * (1.0 + 4.0 * f64::EPSILON)) as usize
}
