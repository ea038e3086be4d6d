//! What callers ask for: the rate of a threshold, and how defects are put aside.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The request for a threshold: the share of good images that it may call defective.
///
/// ```
/// use riad::Asked;
///
/// let asked = Asked::rate(0.05).with_confidence(0.95);
/// assert_eq!(asked.to_string(), "a false-positive rate of 0.05 with a confidence of 0.95");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The false-positive rate, above 0 and below 1.
    pub rate: f64,
    /// The probability with which the rate is kept, above 0 and below 1. `None`: on average over calibrations.
    pub confidence: Option<f64>,
}

impl Asked {
    /// A false-positive rate that is kept on average over calibrations.
    pub fn rate(rate: f64) -> Self {
        Self { rate, confidence: None }
    }

    /// The same rate, kept with this probability for the calibration at hand.
    pub fn with_confidence(self, confidence: f64) -> Self {
        Self {
            confidence: Some(confidence),
            ..self
        }
    }
}

impl From<f64> for Asked {
    fn from(rate: f64) -> Self {
        Self::rate(rate)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a false-positive rate of {}", self.rate)?;
        match self.confidence {
            None => Ok(()),
            Some(confidence) => write!(f, " with a confidence of {confidence}"),
        }
    }
}

/// How a defect gets to the folder for defects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// As a copy.
    #[default]
    Copy,
    /// As a hard link: a second name of the same file, on the same disk. If the file is written later, both names show
    /// it.
    Link,
    /// As a link, or as a copy if a link is not possible. The image is removed from the watched folder when its line is
    /// written.
    Move,
}
