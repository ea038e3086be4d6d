//! What lies far from most others, told without a look at how far the farthest lies.

/// From this many robust standard deviations on a value is an outlier, as Iglewicz and Hoaglin recommend (*How to detect and
/// handle outliers*, 1993).
pub const LIMIT: f64 = 3.5;

/// Fewer values do not tell what is usual.
pub const FEWEST: usize = 8;

/// The quartiles of a normal distribution lie this many standard deviations apart.
const QUARTILES: f64 = 1.349;

/// How far each value lies from the median, in robust standard deviations: the distance of the quartiles over 1.349, which up to
/// a quarter of outliers does not change; but at least `least`, so that nothing is far where all are alike. 0 for all if there are
/// fewer than eight values, and for a value that is not finite.
pub fn deviations(values: &[f64], least: f64) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    if sorted.len() < FEWEST {
        return vec![0.0; values.len()];
    }
    sorted.sort_unstable_by(f64::total_cmp);
    // As numpy's default, between the two values that are nearest.
    let quantile = |share: f64| {
        let place = share * (sorted.len() - 1) as f64;
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        sorted[below] + (sorted[above] - sorted[below]) * place.fract()
    };
    let deviation = ((quantile(0.75) - quantile(0.25)) / QUARTILES).max(least);
    let median = quantile(0.5);
    let far = |&value: &f64| match (value - median) / deviation {
        far if far.is_finite() => far,
        _ => 0.0,
    };
    values.iter().map(far).collect()
}

/// The same of the values' logarithms, for what is above 0 and spreads in proportion, such as distances and anomaly scores;
/// `least` is a share of the values.
pub fn log_deviations(values: &[f64], least: f64) -> Vec<f64> {
    let logarithms: Vec<f64> = values.iter().map(|value| value.max(f64::MIN_POSITIVE).ln()).collect();
    deviations(&logarithms, least)
}
