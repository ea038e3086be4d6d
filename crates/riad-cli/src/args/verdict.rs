//! Which verdicts to give.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]

use std::path::Path;

use anyhow::Result;
use clap::Args;
use riad_core::calibration::images_needed;
use riad_model::{Header, Precision};

use crate::calibration::Threshold;

/// The false-positive rate that evaluations give verdicts for, where no other is asked for.
pub(crate) const USUAL_RATE: f64 = 0.05;

/// The false alarms that are accepted, and how sure that is to be.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct VerdictArgs {
    /// Call at most this share of good images defective, such as 0.05; the model must be calibrated with good images that
    /// it was not trained with (see riad calibrate). The share is kept on average over calibrations
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) fpr: Option<f64>,
    /// Keep the share of --fpr with this confidence by the calibration at hand, such as 0.95, and not on average over
    /// calibrations: the threshold is higher, and takes more images, 59 for --fpr 0.05
    #[arg(long, value_name = "SHARE", requires = "fpr", value_parser = parse_confidence)]
    pub(crate) confidence: Option<f64>,
}

impl VerdictArgs {
    /// The threshold of `model`, whose header is given, for the rate asked for, or else for [`USUAL_RATE`]; it scores in `precision`.
    ///
    /// # Errors
    /// As [`Threshold::new`].
    pub(crate) fn usual_threshold(self, header: &Header, model: &Path, precision: Precision) -> Result<Threshold> {
        Threshold::new(
            header,
            model,
            self.fpr.unwrap_or(USUAL_RATE),
            self.confidence,
            precision,
        )
    }

    /// The threshold of `model`, whose header is given, if verdicts are asked for; it scores in `precision`.
    ///
    /// # Errors
    /// As [`Threshold::new`].
    pub(crate) fn threshold(self, header: &Header, model: &Path, precision: Precision) -> Option<Result<Threshold>> {
        let rate = self.fpr?;
        Some(Threshold::new(header, model, rate, self.confidence, precision))
    }
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
