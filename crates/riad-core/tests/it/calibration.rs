use proptest::prelude::*;
use riad_core::{Calibration, CalibrationError, Random, calibration::images_needed_with_confidence};

/// Scores of which many are equal.
fn tied(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((0u8..12).prop_map(|level| f32::from(level) / 16.0), count)
}

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![
        0.001..0.999,
        (1u32..1000).prop_map(|thousandths| f64::from(thousandths) / 1000.0)
    ]
}

/// Calibrates on all scores but one and tells whether that one is flagged.
fn flags(scores: &[f32], left_out: usize, rate: f64) -> bool {
    let mut others = scores.to_vec();
    let score = others.remove(left_out);
    Calibration::new(others)
        .unwrap()
        .threshold(rate)
        .is_ok_and(|threshold| score > threshold)
}

/// numpy 2.4, the quantile as in the notebooks of Angelopoulos and Bates, the p-value by its definition:
///
/// ```python
/// import numpy as np
/// cal = np.array([0.5, 0.1, 0.3, 0.9, 0.3, 0.7, 0.2, 0.8, 0.6, 0.4, 0.3, 0.25, 0.45, 0.55, 0.65, 0.75, 0.85, 0.15, 0.35])
/// n = len(cal)
/// for a in (0.05, 0.1, 0.2, 0.5, 0.93):
///     print(a, np.quantile(cal, np.ceil((n + 1) * (1 - a)) / n, method="inverted_cdf"))
/// for s in (0.95, 0.9, 0.85, 0.3, 0.0):
///     print(s, (1 + (cal >= s).sum()) / (n + 1))
/// ```
#[test]
fn values_equal_numpys() {
    let calibration = Calibration::new(vec![
        0.5, 0.1, 0.3, 0.9, 0.3, 0.7, 0.2, 0.8, 0.6, 0.4, 0.3, 0.25, 0.45, 0.55, 0.65, 0.75, 0.85, 0.15, 0.35,
    ])
    .unwrap();
    for (rate, threshold) in [(0.05, 0.9), (0.1, 0.85), (0.2, 0.75), (0.5, 0.45), (0.93, 0.15)] {
        assert_eq!(calibration.threshold(rate), Ok(threshold), "{rate}");
    }
    for (score, p) in [(0.95, 0.05), (0.9, 0.1), (0.85, 0.15), (0.3, 0.8), (0.0, 1.0)] {
        assert_eq!(calibration.p_value(score), p, "{score}");
    }
}

/// The lowest score is the lowest threshold, however near to 1 the rate is.
#[test]
fn every_rate_below_one_has_a_threshold() {
    for count in [1, 2, 19, 1000] {
        let calibration = Calibration::new((0..count).map(|rank| rank as f32).collect()).unwrap();
        for rate in [0.999_999, 1.0 - 1e-14, 1.0f64.next_down()] {
            assert_eq!(calibration.threshold(rate), Ok(0.0), "{count} scores, {rate}");
        }
    }
}

proptest! {
    /// Exchangeable means that each of n + 1 images is equally likely to be the fresh one. So the probability that it is
    /// flagged is the share of them that would be, and the guarantee is a statement about every set of scores.
    #[test]
    fn of_exchangeable_images_no_more_are_flagged_than_asked_for(scores in tied(2..60usize), rate in rate()) {
        let flagged = (0..scores.len()).filter(|&image| flags(&scores, image, rate)).count();
        prop_assert!(flagged as f64 <= scores.len() as f64 * rate * (1.0 + 1e-12), "{flagged}");
    }

    /// Without ties the bound is reached: exactly ⌊(n + 1) α⌋ of n + 1 images are flagged.
    #[test]
    fn without_ties_the_rate_is_exact(count in 2usize..60, thousandths in 1u64..1000, seed: u64) {
        let mut scores: Vec<f32> = (0..count).map(|rank| rank as f32).collect();
        Random::new(seed).shuffle(&mut scores);
        let rate = thousandths as f64 / 1000.0;
        let flagged = (0..count).filter(|&image| flags(&scores, image, rate)).count();
        prop_assert_eq!(flagged as u64, count as u64 * thousandths / 1000);
    }

    #[test]
    fn a_score_is_above_the_threshold_where_its_p_value_is_at_most_the_rate(
        scores in tied(1..60usize),
        score in 0u8..12,
        rate in rate(),
    ) {
        let calibration = Calibration::new(scores).unwrap();
        let score = f32::from(score) / 16.0;
        if let Ok(threshold) = calibration.threshold(rate) {
            let is_unlikely = calibration.p_value(score) <= rate * (1.0 + 1e-12);
            prop_assert_eq!(score > threshold, is_unlikely);
        }
    }

    #[test]
    fn the_number_of_images_needed_is_the_smallest(rate in rate()) {
        let of = |count: usize| Calibration::new(vec![0.5; count]).unwrap();
        let Err(CalibrationError::TooFew { needed, count: 1, .. }) = of(1).threshold(rate) else {
            // From a rate of ½ on, one image is enough.
            prop_assert!(rate >= 0.5);
            return Ok(());
        };
        prop_assert_eq!(of(needed).threshold(rate), Ok(0.5));
        prop_assert!(of(needed).smallest_rate() <= rate * (1.0 + 1e-12));
        let error = of(needed - 1).threshold(rate);
        let is_refused = matches!(error, Err(CalibrationError::TooFew { needed: still, .. }) if still == needed);
        prop_assert!(is_refused, "{:?}", error);
    }

    #[test]
    fn order_does_not_matter(scores in tied(1..30usize), seed: u64) {
        let mut shuffled = scores.clone();
        Random::new(seed).shuffle(&mut shuffled);
        prop_assert_eq!(Calibration::new(shuffled), Calibration::new(scores));
    }
}

/// Over 20 random splits into 99 images to calibrate with and 100 fresh ones, the number flagged is a sum of 20
/// beta-binomial numbers, each with n = 100, a = l, b = 100 - l, l = 100 α. Its bounds, exceeded once in a thousand times
/// on either side, from scipy 1.17:
///
/// ```python
/// import numpy as np
/// from scipy.stats import betabinom
/// for l in (1, 5, 10):
///     pmf = betabinom.pmf(np.arange(101), 100, l, 100 - l)
///     total = np.array([1.0])
///     for _ in range(20):
///         total = np.convolve(total, pmf)
///     cdf = total.cumsum()
///     print(l, np.searchsorted(cdf, 0.001), np.searchsorted(cdf, 0.999))
/// ```
#[test]
fn over_random_splits_the_share_flagged_is_the_rate_asked_for() {
    for (rate, bounds) in [(0.01, 5..=43), (0.05, 61..=146), (0.1, 145..=262)] {
        let mut flagged = 0;
        for seed in 0..20 {
            // Any distribution will do; this one has a long tail.
            let mut scores: Vec<f32> = (1..200u16).map(|rank| 1.0 / f32::from(rank)).collect();
            Random::new(seed).shuffle(&mut scores);
            let fresh = scores.split_off(99);
            let threshold = Calibration::new(scores).unwrap().threshold(rate).unwrap();
            flagged += fresh.iter().filter(|&&score| score > threshold).count();
        }
        assert!(bounds.contains(&flagged), "{flagged} of 2000 for {rate}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    assert_eq!(Calibration::new(vec![]), Err(CalibrationError::Empty));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(
            Calibration::new(vec![0.1, bad]),
            Err(CalibrationError::NotFinite { index: 1 })
        );
    }
    let calibration = Calibration::new(vec![0.5; 30]).unwrap();
    for rate in [0.0, 1.0, -0.1, f64::INFINITY] {
        assert_eq!(calibration.threshold(rate), Err(CalibrationError::Rate(rate)));
    }
    assert!(matches!(
        calibration.threshold(f64::NAN),
        Err(CalibrationError::Rate(_))
    ));
    assert_eq!(
        calibration.threshold(0.01).unwrap_err().to_string(),
        "a false-positive rate of 0.01 needs at least 99 good images to calibrate with, and there are 30, which are \
         enough for rates from 0.0323 on"
    );
    // A network that gives NaN must not make an image look defective by it: that is an error elsewhere.
    assert_eq!(calibration.p_value(f32::NAN), 1.0);
}

#[cfg(feature = "serde")]
#[test]
fn scores_survive_json_to_the_bit_and_are_checked() {
    let calibration = Calibration::new(vec![0.3, 0.1, 0.123_456_79, f32::MIN_POSITIVE]).unwrap();
    let json = serde_json::to_string(&calibration).unwrap();
    assert_eq!(serde_json::from_str::<Calibration>(&json).unwrap(), calibration);
    let unsorted: Calibration = serde_json::from_str(r#"{"scores": [0.5, 0.25]}"#).unwrap();
    assert_eq!(unsorted.scores(), [0.25, 0.5]);
    assert!(serde_json::from_str::<Calibration>(r#"{"scores": []}"#).is_err());
    assert!(serde_json::from_str::<Calibration>(r#"{"scores": [1e39]}"#).is_err());
}

/// scipy 1.17, for (n, α, c):
///
/// ```python
/// from scipy.stats import beta
/// l = int((n + 1) * a + 1e-9)
/// print(beta.ppf(c, l, n + 1 - l))
/// print(max(l for l in range(1, n + 1) if beta.cdf(a, l, n + 1 - l) >= c))
/// ```
#[test]
fn what_one_calibration_promises_equals_scipys_beta() {
    let of = |count: u16| Calibration::new((0..count).map(f32::from).collect()).unwrap();
    for (count, rate, confidence, bound) in [
        (19, 0.05, 0.95, 0.145_868_503_312_243_4),
        (21, 0.05, 0.95, 0.132_945_911_026_523_37),
        (99, 0.05, 0.95, 0.090_073_558_191_967_66),
        (99, 0.01, 0.95, 0.029_806_673_773_350_886),
        (999, 0.05, 0.95, 0.061_819_982_777_961_614),
        (26, 0.2, 0.9, 0.284_249_423_483_132_1),
        (5000, 0.3, 0.5, 0.299_913_340_774_534_74),
    ] {
        let found = of(count).rate_bound(rate, confidence).unwrap();
        assert!((found - bound).abs() < 1e-9, "{count} {rate}: {found}");
    }
    for (count, rate, confidence, rank) in [
        (59, 0.05, 0.95, 1),
        (100, 0.05, 0.95, 2),
        (200, 0.05, 0.95, 5),
        (1000, 0.05, 0.99, 35),
        (30, 0.5, 0.9, 11),
    ] {
        let found = of(count).confident_threshold(rate, confidence);
        assert_eq!(found, Ok(f32::from(count - rank)), "{count} {rate}");
    }
    assert_eq!(
        of(58).confident_threshold(0.05, 0.95).unwrap_err().to_string(),
        "a false-positive rate of 0.05 with a confidence of 0.95 needs at least 59 good images to calibrate with, and \
         there are 58"
    );
    for bad in [0.0, 1.0, f64::NAN] {
        assert!(matches!(
            of(99).rate_bound(0.05, bad),
            Err(CalibrationError::Confidence(_))
        ));
        assert!(matches!(
            of(99).confident_threshold(0.05, bad),
            Err(CalibrationError::Confidence(_))
        ));
        assert!(matches!(
            of(99).confident_threshold(bad, 0.95),
            Err(CalibrationError::Rate(_))
        ));
    }
}

/// 1 − (1 − α)ⁿ is the confidence itself, but not in floats.
#[test]
fn as_many_images_as_are_needed_are_enough() {
    for (count, rate, confidence) in [(2, 0.5, 0.75), (2, 0.4, 0.64), (3, 0.2, 0.488)] {
        assert_eq!(images_needed_with_confidence(rate, confidence), Ok(count));
        let calibration = Calibration::new((0..count).map(|rank| rank as f32).collect()).unwrap();
        let highest = (count - 1) as f32;
        assert_eq!(calibration.confident_threshold(rate, confidence), Ok(highest));
    }
}

proptest! {
    /// Every rate and confidence answers, next to 0 and 1 as well.
    #[test]
    fn every_rate_and_confidence_answers(count in 1usize..80, rate in share(), confidence in share()) {
        let calibration = Calibration::new((0..count).map(|rank| rank as f32).collect()).unwrap();
        match calibration.threshold(rate) {
            Ok(_) => {
                let bound = calibration.rate_bound(rate, confidence).unwrap();
                prop_assert!((0.0..=1.0).contains(&bound), "{bound}");
            }
            Err(CalibrationError::TooFew { needed, .. }) => prop_assert!(needed > count),
            Err(error) => prop_assert!(false, "{error}"),
        }
        match calibration.confident_threshold(rate, confidence) {
            Ok(_) => {}
            Err(CalibrationError::TooFewForConfidence { needed, .. }) => prop_assert!(needed > count),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

/// Shares in (0, 1), also those that differ from its ends by a rounding.
fn share() -> impl Strategy<Value = f64> {
    prop_oneof![
        0.001..0.999,
        Just(f64::MIN_POSITIVE),
        Just(1e-12),
        Just(1.0 - 1e-12),
        Just(1.0 - f64::EPSILON / 2.0),
    ]
}

/// 2,000 calibrations with 100 images, each with its true rate: of exchangeable scores that are uniform in [0, 1) it is 1 less
/// the threshold. The number of rates that are kept is binomial; its bounds for p = the exact probability, exceeded once in a
/// thousand times on either side, from scipy 1.17:
///
/// ```python
/// from scipy.stats import beta, binom
/// p = beta.cdf(0.05, 2, 99)
/// print(binom.ppf(0.001, 2000, p), binom.ppf(0.999, 2000, p), binom.ppf(0.001, 2000, 0.95), binom.ppf(0.999, 2000, 0.95))
/// ```
#[test]
fn by_simulation_the_promise_of_one_calibration_holds() {
    let mut random = Random::new(1);
    let (mut kept, mut below) = (0, 0);
    for _ in 0..2000 {
        let scores = (0..100)
            .map(|_| (random.next_u32() >> 8) as f32 / (1 << 24) as f32)
            .collect();
        let calibration = Calibration::new(scores).unwrap();
        let rate_of = |threshold: f32| 1.0 - f64::from(threshold);
        kept += usize::from(rate_of(calibration.confident_threshold(0.05, 0.95).unwrap()) <= 0.05);
        let bound = calibration.rate_bound(0.05, 0.95).unwrap();
        below += usize::from(rate_of(calibration.threshold(0.05).unwrap()) <= bound);
    }
    assert!((1898..=1951).contains(&kept), "{kept}");
    assert!((1869..=1929).contains(&below), "{below}");
}
