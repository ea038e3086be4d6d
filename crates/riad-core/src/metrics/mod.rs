//! Metrics of how well scores separate defects from good images or pixels.
//!
//! A higher score means that a defect is more likely. Labels are true for a defect. Every metric groups equal scores,
//! so their order has no effect. Values equal scikit-learn's (`roc_auc_score`, `average_precision_score`, `roc_curve`,
//! `precision_recall_curve`).

mod curve;
mod interval;
mod ranking;

mod pixel;

pub use pixel::{PixelCurves, PixelMetrics, PixelScores};

pub use curve::Curve;
pub use interval::exact_interval;

use curve::Thinned;
use ranking::Ranking;
use thiserror::Error;

use crate::{LengthError, Size};

/// The best F1 over all thresholds, and where it is reached.
///
/// The labels choose the threshold, so the F1 is an upper bound for a threshold that is set beforehand.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct F1Max {
    /// Harmonic mean of precision and recall, in [0, 1].
    pub f1: f64,
    /// The threshold: a sample is called a defect if its score is at least this. If several thresholds are equally
    /// good, it is the highest.
    pub threshold: f32,
    /// Precision: the share of defects among the samples that are called defects.
    pub precision: f64,
    /// Recall: the share of the defects that are called defects.
    pub recall: f64,
}

/// Why a metric has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetricError {
    /// The numbers of labels and scores differ.
    #[error(transparent)]
    Length(#[from] LengthError),
    /// A map and its mask have different sizes.
    #[error("the anomaly map has {map} pixels and {what} {mask} (height x width); a mask has the map's size")]
    Sizes {
        /// Size of the map.
        map: Size,
        /// Which mask, with its article.
        what: &'static str,
        /// Size of the mask.
        mask: Size,
    },
    /// A score is not a number, so it has no place in a ranking.
    #[error("score {index} is NaN; a network that diverged or an image with invalid values gives such scores")]
    NanScore {
        /// Position of the first such score.
        index: usize,
    },
    /// There is nothing to measure.
    #[error("there are no scores to measure")]
    Empty,
    /// There is no defect, and the metric is a share of the defects.
    #[error(
        "all {count} samples are good; the metric compares defects with good samples and is undefined without both"
    )]
    NoDefects {
        /// Number of samples.
        count: usize,
    },
    /// There is no good sample, and the metric is a share of them.
    #[error(
        "all {count} samples are defects; the metric compares defects with good samples and is undefined without both"
    )]
    NoGood {
        /// Number of samples.
        count: usize,
    },
    /// The false-positive rate up to which the PRO curve is integrated is outside (0, 1].
    #[error("the limit of the false-positive rate must be above 0 and at most 1")]
    Limit,
    /// More pixels in a map, or more regions in a set, than 32 bits can number.
    #[error("a map has 2^32 pixels, or the set has 2^32 separate defects; split it and measure the parts")]
    TooLarge,
}

/// Area under the receiver operating characteristic: the chance that a defect scores above a good sample, equal scores
/// counting half. In [0, 1].
///
/// # Errors
/// Lengths that differ, no scores, a NaN, or samples of one class only. Without a pair of a good and a defective sample
/// there is no value.
pub fn auroc(scores: &[f32], labels: &[bool]) -> Result<f64, MetricError> {
    rank(scores, labels)?.auroc()
}

/// Average precision: precision averaged over the defects in order of their scores, without interpolation. In [0, 1].
///
/// # Errors
/// Lengths that differ, no scores, a NaN, or no defect.
pub fn average_precision(scores: &[f32], labels: &[bool]) -> Result<f64, MetricError> {
    rank(scores, labels)?.average_precision()
}

/// The best F1 over all thresholds.
///
/// # Errors
/// Lengths that differ, no scores, a NaN, or no defect.
pub fn f1_max(scores: &[f32], labels: &[bool]) -> Result<F1Max, MetricError> {
    rank(scores, labels)?.f1_max()
}

/// The receiver operating characteristic: the share of good samples that are called defective (x), and the share of
/// defects that are called defective (y). It starts at (0, 0), and has a point for every score as the threshold, the
/// highest first. The last point is (1, 1). `resolution` thins it, see [`Curve`].
///
/// # Errors
/// As [`auroc`].
pub fn roc_curve(scores: &[f32], labels: &[bool], resolution: f64) -> Result<Curve, MetricError> {
    rank(scores, labels)?.roc_curve(resolution)
}

/// Recall (x) and precision (y). The curve starts at (0, 1), and has a point for every score as the threshold, the
/// highest first. The last point has recall 1, and its precision is the share of defects. Between two points precision
/// is not a straight line. If the curve is drawn as steps, each as high as its right end, the area below it is the
/// average precision. `resolution` thins it, see [`Curve`].
///
/// # Errors
/// As [`average_precision`].
pub fn precision_recall_curve(scores: &[f32], labels: &[bool], resolution: f64) -> Result<Curve, MetricError> {
    rank(scores, labels)?.precision_recall_curve(resolution)
}

fn rank(scores: &[f32], labels: &[bool]) -> Result<Ranking, MetricError> {
    LengthError::check("the list of labels", labels.len(), scores.len())?;
    let mut samples = Vec::with_capacity(scores.len());
    for (index, (&score, &defect)) in scores.iter().zip(labels).enumerate() {
        samples.push(ranking::Sample::new(score, u32::from(defect)).ok_or(MetricError::NanScore { index })?);
    }
    Ranking::new(samples)
}
