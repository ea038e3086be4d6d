//! Checks whether good products still look as they did at the calibration.

/// With fewer scores a test says nothing.
pub(super) const LEAST: usize = 20;

/// How likely two samples differ at least as much if they come from one distribution: the two-sample test of Kolmogorov and Smirnov with
/// its asymptotic distribution (Numerical Recipes, 3rd edition, 14.3.3). `None` with fewer than [`LEAST`] values in either.
pub(super) fn p_value(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.len() < LEAST || b.len() < LEAST {
        return None;
    }
    let sorted = |values: &[f32]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        sorted
    };
    let (a, b) = (sorted(a), sorted(b));
    let (mut i, mut j, mut distance) = (0, 0, 0.0f64);
    while i < a.len() && j < b.len() {
        let value = a[i].min(b[j]);
        i += a[i..].iter().take_while(|other| **other <= value).count();
        j += b[j..].iter().take_while(|other| **other <= value).count();
        let step = i as f64 / a.len() as f64 - j as f64 / b.len() as f64;
        distance = distance.max(step.abs());
    }
    let effective = ((a.len() * b.len()) as f64 / (a.len() + b.len()) as f64).sqrt();
    Some(tail((effective + 0.12 + 0.11 / effective) * distance))
}

/// 1 − the distribution function of Kolmogorov.
fn tail(lambda: f64) -> f64 {
    if lambda < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let k = f64::from(k);
        (-2.0 * k * k * lambda * lambda).exp()
    };
    let sum: f64 = (1..=100).map(|k| if k % 2 == 1 { term(k) } else { -term(k) }).sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distribution is scipy 1.17's `scipy.special.kolmogorov`: kolmogorov(0.5) = 0.9639452436648751, (1.0) = 0.26999967167735456,
    /// (1.5) = 0.022217962616525127.
    #[test]
    fn the_distribution_is_kolmogorovs() {
        for (lambda, expected) in [
            (0.5, 0.963_945_243_664_875_1),
            (1.0, 0.269_999_671_677_354_56),
            (1.5, 0.022_217_962_616_525_127),
        ] {
            assert!((tail(lambda) - expected).abs() < 1e-12, "{lambda}: {}", tail(lambda));
        }
    }

    #[test]
    fn the_same_scores_do_not_drift_and_higher_ones_do() {
        let scores: Vec<f32> = (0..50).map(|i| i as f32 / 50.0).collect();
        let higher: Vec<f32> = scores.iter().map(|score| score + 0.4).collect();
        assert_eq!(p_value(&scores, &scores), Some(1.0));
        let drifted = p_value(&scores, &higher).unwrap();
        assert!(drifted < 1e-3, "{drifted}");
        assert_eq!(p_value(&scores[..LEAST - 1], &scores), None);
    }
}
