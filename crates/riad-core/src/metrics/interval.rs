//! The uncertainty of a counted share.

use crate::beta::quantile;

/// The exact confidence interval of a share, both ends in [0, 1]: `found` of `of` samples were counted. The true share
/// is outside of the interval with a probability of at most 1 − `confidence`. By Clopper and Pearson (*The use of
/// confidence or fiducial limits illustrated in the case of the binomial*, Biometrika 26, 1934). If `of` is 0, the
/// interval is [0, 1]. A confidence below 0 counts as 0, and one above 1 as 1. NaN counts as 1: it promises nothing less.
#[doc(alias = "clopper_pearson")]
#[doc(alias = "binomial_confidence_interval")]
pub fn exact_interval(found: usize, of: usize, confidence: f64) -> [f64; 2] {
    let found = found.min(of);
    let confidence = if confidence.is_nan() { 1.0 } else { confidence };
    let tail = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    let (hits, misses) = (found as f64, (of - found) as f64);
    [
        if found == 0 {
            0.0
        } else {
            quantile(hits, misses + 1.0, tail)
        },
        if found == of {
            1.0
        } else {
            quantile(hits + 1.0, misses, 1.0 - tail)
        },
    ]
}
