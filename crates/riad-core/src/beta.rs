//! Quantiles of the beta distribution.

use statrs::function::beta::beta_reg;

/// The quantile of Beta(`a`, `b`) for the share `p`, in [0, 1]. `a` and `b` must be at least 1.
///
/// It is found by bisection. Newton's method, as libraries have it, can leave [0, 1] if `p` is near 0 or 1.
pub(crate) fn quantile(a: f64, b: f64, p: f64) -> f64 {
    // Next to 1 the distribution's function is rounded to 1, so bisection would end before it.
    if p <= 0.0 || p >= 1.0 {
        return p.clamp(0.0, 1.0);
    }
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
