use proptest::prelude::*;
use riad_core::outlier::{LIMIT, deviations, log_deviations};

/// numpy 2.4:
///
/// ```python
/// import numpy as np
/// x = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 35], float)
/// q = np.percentile(x, [25, 50, 75])
/// print((x - q[1]) / ((q[2] - q[0]) / 1.349))
/// ```
#[test]
fn deviations_equal_numpys() {
    let found = deviations(&[3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 35.0], 0.0);
    let expected = [
        -0.5781428571428572,
        -1.349,
        -0.19271428571428573,
        -1.349,
        0.19271428571428573,
        1.7344285714285714,
        -0.9635714285714286,
        0.5781428571428572,
        0.19271428571428573,
        11.755571428571429,
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

#[test]
fn where_nothing_tells_what_is_usual_nothing_is_far() {
    assert_eq!(deviations(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 100.0], 0.1), [0.0; 7]);
    // All alike but one: the least deviation decides.
    let mut values = [1.0; 9];
    values[3] = 1.05;
    assert!(deviations(&values, 0.1)[3] < LIMIT);
    assert!(deviations(&values, 0.01)[3] > LIMIT);
    values[3] = f64::NAN;
    assert_eq!(deviations(&values, 0.01), [0.0; 9]);
}

#[test]
fn without_a_least_deviation_what_differs_from_equal_values_is_infinitely_far() {
    let mut values = [0.0; 9];
    (values[2], values[5]) = (1e-300, -1.0);
    let mut expected = [0.0; 9];
    (expected[2], expected[5]) = (f64::INFINITY, f64::NEG_INFINITY);
    assert_eq!(deviations(&values, 0.0), expected);
    (values[2], expected[2]) = (f64::INFINITY, 0.0);
    assert_eq!(deviations(&values, 0.0), expected);
    // So far that the quotient is no number of f64.
    values[5] = f64::MIN;
    assert_eq!(deviations(&values, 0.01), expected);
}

#[test]
fn of_logarithms_0_is_the_least_and_nan_is_no_value() {
    let values = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 0.0, -1.0, f64::NAN];
    let found = log_deviations(&values, 0.01);
    assert!(found[..8].iter().all(|deviation| deviation.abs() < LIMIT), "{found:?}");
    assert!(found[8] < -LIMIT && found[9] == found[8]);
    assert_eq!(found[10], 0.0);
}

proptest! {
    /// Up to a quarter of the values may be anything, and the others stay as near as they were.
    #[test]
    fn what_is_far_does_not_hide_what_is_far(
        values in prop::collection::vec(1.0..2.0f64, 30..60),
        far in prop::collection::vec(1e3..1e9f64, 1..6),
    ) {
        let count = values.len();
        let all = [values, far].concat();
        let deviations = log_deviations(&all, 0.01);
        prop_assert!(deviations[count..].iter().all(|&deviation| deviation > LIMIT), "{deviations:?}");
        prop_assert!(deviations[..count].iter().all(|&deviation| deviation < 100.0));
    }
}
