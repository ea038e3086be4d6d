//! Which verdicts to give.

use clap::Args;
use riad::{Detector, FalsePositiveRate, Precision, Threshold, evaluation::USUAL_RATE};
use riad_core::calibration::images_needed;
use tracing::warn;

/// The rate of false alarms that is accepted, and its confidence.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct VerdictArgs {
    /// Call at most this share of good images defective, such as 0.05, on average over calibrations and whatever the
    /// distribution of the scores. The model must be calibrated with good images that it was not trained with (see riad
    /// calibrate)
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) fpr: Option<f64>,
    /// Keep the share of --fpr with this confidence, such as 0.95, for this calibration, and not only on average over
    /// calibrations. The threshold is higher, and it needs more images: 59 for --fpr 0.05
    #[arg(long, value_name = "SHARE", requires = "fpr", value_parser = parse_confidence)]
    pub(crate) confidence: Option<f64>,
}

impl VerdictArgs {
    /// The rate that is asked for, if any.
    pub(crate) fn rate(self) -> Option<FalsePositiveRate> {
        let rate = |fpr| FalsePositiveRate::new(fpr).with_confidence(self.confidence);
        self.fpr.map(rate)
    }

    /// The rate that is asked for, or the usual one.
    pub(crate) fn usual(self) -> FalsePositiveRate {
        self.rate().unwrap_or(FalsePositiveRate::new(USUAL_RATE))
    }

    /// The threshold that is asked for, if any. Warns if the model scores in another precision than that of its calibration.
    ///
    /// # Errors
    /// As [`Detector::threshold`].
    pub(crate) fn threshold(self, detector: &Detector) -> riad::Result<Option<Threshold>> {
        let threshold = self.rate().map(|rate| detector.threshold(rate)).transpose()?;
        if let (Some(_), Some(calibrated)) = (&threshold, detector.calibrated_otherwise()) {
            warn_of_precision(&detector.name().display().to_string(), calibrated, detector.precision());
        }
        Ok(threshold)
    }
}

/// Warns that a model scores in another precision than that of its calibration.
pub(crate) fn warn_of_precision(model: &str, calibrated: Precision, now: Precision) {
    warn!(
        "{model} was calibrated in {calibrated} and scores in {now}. Scores differ, so the false-positive rate is not the requested \
         one. Score with --precision {calibrated}, or calibrate with --precision {now}"
    );
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = parse_number(text)?;
    images_needed(rate).map(|_| rate).map_err(|error| error.to_string())
}

fn parse_confidence(text: &str) -> Result<f64, String> {
    let confidence = parse_number(text)?;
    if confidence > 0.0 && confidence < 1.0 {
        Ok(confidence)
    } else {
        Err(format!("a confidence is above 0 and below 1, not {confidence}"))
    }
}

fn parse_number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}
