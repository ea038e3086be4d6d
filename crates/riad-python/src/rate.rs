//! The false-positive rate that a call asks for.

use riad::{FalsePositiveRate, evaluation::USUAL_RATE};

/// What a call asks for; what it leaves open is as `usual` says, or else the rate of 0.05.
pub(crate) fn rate(fpr: Option<f64>, confidence: Option<f64>, usual: Option<FalsePositiveRate>) -> FalsePositiveRate {
    let usual = usual.unwrap_or(FalsePositiveRate::new(USUAL_RATE));
    match (fpr, confidence) {
        (None, None) => usual,
        (None, Some(confidence)) => usual.with_confidence(confidence),
        (Some(rate), confidence) => FalsePositiveRate::new(rate).with_confidence(confidence),
    }
}

/// What a call asks for, if it asks for anything.
pub(crate) fn given(fpr: Option<f64>, confidence: Option<f64>) -> Option<FalsePositiveRate> {
    (fpr.is_some() || confidence.is_some()).then(|| rate(fpr, confidence, None))
}

/// A number of 32 bits as the one of 64 that prints the same digits, so that Python shows what the program prints. Greater numbers stay
/// greater.
pub(crate) fn in_same_digits(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
