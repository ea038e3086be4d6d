//! The false-positive rate that a threshold is for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The share of good images that a threshold may call defective.
///
/// ```
/// use riad::FalsePositiveRate;
///
/// let rate = FalsePositiveRate::new(0.05).with_confidence(0.95);
/// assert_eq!(rate.to_string(), "a false-positive rate of 0.05 with a confidence of 0.95");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FalsePositiveRate {
    /// The share, above 0 and below 1.
    pub rate: f64,
    /// The probability with which the rate is kept, above 0 and below 1. `None`: on average over calibrations.
    pub confidence: Option<f64>,
}

impl FalsePositiveRate {
    /// A rate that is kept on average over calibrations. It is above 0 and below 1. [`Detector::threshold`](crate::Detector::threshold)
    /// refuses any other.
    pub fn new(rate: f64) -> Self {
        Self { rate, confidence: None }
    }

    /// The same rate, kept with this probability for the calibration at hand. `None`: on average over calibrations.
    pub fn with_confidence(self, confidence: impl Into<Option<f64>>) -> Self {
        Self {
            confidence: confidence.into(),
            ..self
        }
    }
}

impl From<f64> for FalsePositiveRate {
    fn from(rate: f64) -> Self {
        Self::new(rate)
    }
}

impl fmt::Display for FalsePositiveRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a false-positive rate of {}", self.rate)?;
        match self.confidence {
            None => Ok(()),
            Some(confidence) => write!(f, " with a confidence of {confidence}"),
        }
    }
}
