//! Outliers: values that are far from most others. How far the outliers are does not change the measure.

/// From this many robust standard deviations on a value is an outlier, as Iglewicz and Hoaglin recommend (*How to detect and
/// handle outliers*, 1993).
pub const LIMIT: f64 = 3.5;

/// The smallest number of values that shows what is usual.
pub const FEWEST: usize = 8;

/// The quartiles of a normal distribution lie this many standard deviations apart.
const QUARTILES: f64 = 1.349;

/// The distance of each value from the median, in robust standard deviations. Such a deviation is the distance of the
/// quartiles divided by 1.349, and at least `least`. Up to a quarter of outliers does not change it. Because of
/// `least`, small differences between nearly equal values are no outliers. If the deviation is 0, because `least` is 0 and
/// most values are equal, the other values are infinitely far. The distance is 0 for a value that is not finite, and for
/// all values if there are fewer than eight. It is never NaN.
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
    // A value that is equal to the median gives 0 / 0 if the deviation is 0.
    let far = |&value: &f64| match (value - median) / deviation {
        far if value.is_finite() && !far.is_nan() => far,
        _ => 0.0,
    };
    values.iter().map(far).collect()
}

/// The same for the logarithms of the values. Use it for positive values whose spread is proportional to their size,
/// such as distances and anomaly scores. `least` is a share of the values. A value of 0 or below counts as the smallest
/// positive number. If more than a few can be so small, use [`deviations`], because a quarter of them hides all others.
pub fn log_deviations(values: &[f64], least: f64) -> Vec<f64> {
    // Of NaN and a number `max` gives the number.
    let logarithm = |&value: &f64| {
        if value.is_nan() {
            value
        } else {
            value.max(f64::MIN_POSITIVE).ln()
        }
    };
    let logarithms: Vec<f64> = values.iter().map(logarithm).collect();
    deviations(&logarithms, least)
}
