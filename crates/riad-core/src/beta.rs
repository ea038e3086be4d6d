//! Quantiles of the beta distribution.

use statrs::function::beta::beta_reg;

/// Where Beta(`a`, `b`) has the share `p` of its mass below, for a and b from 1 on; in [0, 1].
///
/// It is searched by halves, because Newton's method, as libraries have it, leaves [0, 1] for shares next to its ends.
pub(crate) fn quantile(a: f64, b: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return high;
        }
        if beta_reg(a, b, middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
}
