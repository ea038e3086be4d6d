use proptest::prelude::*;
use riad_core::{
    LengthError,
    metrics::{
        Curve, F1Max, MetricError, auroc, average_precision, exact_interval, f1_max, precision_recall_curve, roc_curve,
    },
};
use serde::Deserialize;

use crate::inputs::{expected, noise};

/// What scikit-learn says.
#[derive(Deserialize)]
struct Curves {
    auroc: f64,
    average_precision: f64,
    f1: f64,
    threshold: f32,
    precision: f64,
    recall: f64,
}

impl Curves {
    #[track_caller]
    fn assert_equal(&self, auroc: f64, average_precision: f64, best: F1Max) {
        assert_near(auroc, self.auroc);
        assert_near(average_precision, self.average_precision);
        assert_near(best.f1, self.f1);
        assert_near(best.precision, self.precision);
        assert_near(best.recall, self.recall);
        assert_eq!(best.threshold, self.threshold);
    }
}

#[track_caller]
fn assert_near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-12, "{actual} is not {expected}");
}

#[track_caller]
fn assert_same_curve(actual: &Curve, expected: &Curve) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().flatten().zip(expected.iter().flatten()) {
        assert_near(*actual, *expected);
    }
}

#[derive(Deserialize)]
struct ImageCase {
    seed: u64,
    count: usize,
    levels: u64,
    #[serde(flatten)]
    curves: Curves,
    roc: Option<Curve>,
    precision_recall: Option<Curve>,
}

#[test]
fn image_metrics_equal_scikit_learn() {
    for case in expected::<ImageCase>("image_metrics") {
        let labels: Vec<bool> = noise(case.seed, case.count).map(|value| value % 3 == 0).collect();
        let scores: Vec<f32> = noise(case.seed + 1, case.count)
            .zip(&labels)
            .map(|(value, &label)| (value % case.levels + u64::from(label) * (case.levels / 3)) as f32 / 64.0)
            .collect();
        case.curves.assert_equal(
            auroc(&scores, &labels).unwrap(),
            average_precision(&scores, &labels).unwrap(),
            f1_max(&scores, &labels).unwrap(),
        );
        if let (Some(roc), Some(precision_recall)) = (&case.roc, &case.precision_recall) {
            assert_same_curve(&roc_curve(&scores, &labels, 0.0).unwrap(), roc);
            assert_same_curve(
                &precision_recall_curve(&scores, &labels, 0.0).unwrap(),
                precision_recall,
            );
        }
    }
}

/// Scores with ties, and both classes among the labels.
fn samples() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
    prop::collection::vec((-8i8..8, any::<bool>()), 2..60)
        .prop_map(|samples| {
            samples
                .into_iter()
                .map(|(score, label)| (f32::from(score) / 4.0, label))
                .unzip()
        })
        .prop_filter("both classes", |(_, labels): &(Vec<f32>, Vec<bool>)| {
            labels.contains(&true) && labels.contains(&false)
        })
}

proptest! {
    #[test]
    fn auroc_is_the_share_of_ordered_pairs((scores, labels) in samples()) {
        let (mut ordered, mut pairs) = (0.0, 0.0);
        for (&defect, _) in scores.iter().zip(&labels).filter(|sample| *sample.1) {
            for (&good, _) in scores.iter().zip(&labels).filter(|sample| !*sample.1) {
                ordered += if defect > good { 1.0 } else if defect == good { 0.5 } else { 0.0 };
                pairs += 1.0;
            }
        }
        assert_near(auroc(&scores, &labels).unwrap(), ordered / pairs);
    }

    #[test]
    fn only_the_order_of_scores_matters((scores, labels) in samples()) {
        let exponentials: Vec<f32> = scores.iter().map(|score| (3.0 * score).exp() - 100.0).collect();
        prop_assert_eq!(auroc(&scores, &labels), auroc(&exponentials, &labels));
        prop_assert_eq!(average_precision(&scores, &labels), average_precision(&exponentials, &labels));
        prop_assert_eq!(f1_max(&scores, &labels).unwrap().f1, f1_max(&exponentials, &labels).unwrap().f1);
    }

    #[test]
    fn turning_scores_around_turns_auroc_around((scores, labels) in samples()) {
        let negated: Vec<f32> = scores.iter().map(|score| -score).collect();
        assert_near(auroc(&negated, &labels).unwrap(), 1.0 - auroc(&scores, &labels).unwrap());
    }

    #[test]
    fn areas_are_those_below_the_curves((scores, labels) in samples()) {
        let roc = roc_curve(&scores, &labels, 0.0).unwrap();
        let trapezoids: f64 = roc.windows(2).map(|ends| (ends[1][0] - ends[0][0]) * (ends[0][1] + ends[1][1]) / 2.0).sum();
        assert_near(trapezoids, auroc(&scores, &labels).unwrap());
        let recall = precision_recall_curve(&scores, &labels, 0.0).unwrap();
        let steps: f64 = recall.windows(2).map(|ends| (ends[1][0] - ends[0][0]) * ends[1][1]).sum();
        assert_near(steps, average_precision(&scores, &labels).unwrap());
    }

    #[test]
    fn a_thinned_curve_stays_within_its_resolution((scores, labels) in samples(), resolution in 0.01..0.5) {
        for curve in [roc_curve, precision_recall_curve] {
            let [whole, thinned] = [0.0, resolution].map(|resolution| curve(&scores, &labels, resolution).unwrap());
            assert_eq!((thinned.first(), thinned.last()), (whole.first(), whole.last()));
            for point in &whole {
                let is_near = |kept: &[f64; 2]| kept.iter().zip(point).all(|(a, b)| (a - b).abs() < resolution);
                assert!(thinned.iter().any(is_near), "{point:?} is far from {thinned:?}");
            }
            assert!(thinned.iter().all(|point| whole.contains(point)));
        }
        let roc = roc_curve(&scores, &labels, resolution).unwrap();
        assert!(roc.len() as f64 <= 2.0 / resolution + 2.0, "{} points", roc.len());
    }

    #[test]
    fn the_best_threshold_gives_the_best_f1((scores, labels) in samples()) {
        let best = f1_max(&scores, &labels).unwrap();
        let f1_at = |threshold: f32| {
            let called = scores.iter().filter(|&&score| score >= threshold).count();
            let found = scores.iter().zip(&labels).filter(|&(&score, &label)| label && score >= threshold).count();
            2.0 * found as f64 / (called + labels.iter().filter(|&&label| label).count()) as f64
        };
        assert_near(f1_at(best.threshold), best.f1);
        prop_assert!(scores.iter().all(|&score| f1_at(score) <= best.f1));
        prop_assert!(scores.iter().all(|&score| score <= best.threshold || f1_at(score) < best.f1));
    }
}

#[test]
fn signs_of_zero_and_infinities_have_their_place() {
    let scores = [f32::INFINITY, 0.0, -0.0, f32::NEG_INFINITY];
    assert_eq!(auroc(&scores, &[true, true, false, false]), Ok(0.875));
    assert_eq!(
        f1_max(&scores, &[true, false, false, false]).unwrap().threshold,
        f32::INFINITY
    );
    assert_eq!(f1_max(&scores, &[false, true, true, false]).unwrap().threshold, 0.0);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    type Refusal = fn(&[f32], &[bool]) -> Option<MetricError>;
    let all: [Refusal; 5] = [
        |s, l| auroc(s, l).err(),
        |s, l| average_precision(s, l).err(),
        |s, l| f1_max(s, l).err(),
        |s, l| roc_curve(s, l, 0.1).err(),
        |s, l| precision_recall_curve(s, l, 0.1).err(),
    ];
    for metric in all {
        assert_eq!(metric(&[], &[]), Some(MetricError::Empty));
        assert_eq!(
            metric(&[1.0], &[]),
            Some(MetricError::Length(LengthError {
                what: "the list of labels",
                got: 0,
                expected: 1
            }))
        );
        assert_eq!(
            metric(&[1.0, f32::NAN], &[true, false]),
            Some(MetricError::NanScore { index: 1 })
        );
        assert_eq!(
            metric(&[1.0, 2.0], &[false, false]),
            Some(MetricError::NoDefects { count: 2 })
        );
    }
    // Precision and recall need no good sample.
    assert_eq!(auroc(&[1.0, 2.0], &[true, true]), Err(MetricError::NoGood { count: 2 }));
    assert_eq!(average_precision(&[1.0, 2.0], &[true, true]), Ok(1.0));
}

mod pixel {
    use riad_core::{Map, Size, metrics::PixelMetrics};

    use super::*;

    #[derive(Deserialize)]
    struct PixelCase {
        seed: u64,
        count: usize,
        height: usize,
        width: usize,
        levels: u64,
        #[serde(flatten)]
        curves: Curves,
        roc: Curve,
        precision_recall: Curve,
        /// Limit, area, number of regions, and the curve.
        aupro: Vec<(f64, f64, usize, Curve)>,
    }

    fn map<T: Clone>(height: usize, width: usize, values: &[T]) -> Map<T> {
        Map::new(Size::new(height, width), values.to_vec()).unwrap()
    }

    /// Discs and a diagonal, some touching at corners only; every third image is good.
    fn defects(case: &PixelCase) -> Vec<Vec<bool>> {
        let (height, width) = (case.height as i64, case.width as i64);
        let mask = |image: usize| {
            let numbers: Vec<i64> = noise(case.seed + image as u64, 9)
                .map(|value| (value % 1000) as i64)
                .collect();
            let defect = |y: i64, x: i64| {
                let disc = |disc: &[i64]| {
                    let (cy, cx, radius) = (disc[0] % height, disc[1] % width, disc[2] % 5);
                    (y - cy).pow(2) + (x - cx).pow(2) <= radius.pow(2)
                };
                image % 3 != 2 && (numbers.chunks(3).any(disc) || y == x && y > height - 6)
            };
            (0..height)
                .flat_map(|y| (0..width).map(move |x| (y, x)))
                .map(|(y, x)| defect(y, x))
                .collect()
        };
        (0..case.count).map(mask).collect()
    }

    fn collected(case: &PixelCase) -> PixelMetrics {
        let masks = defects(case);
        let mut noise = noise(case.seed + 50, case.count * case.height * case.width);
        let mut metrics = PixelMetrics::new();
        for mask in &masks {
            let scores: Vec<f32> = mask
                .iter()
                .zip(&mut noise)
                .map(|(&defect, value)| (value % case.levels + u64::from(defect) * (case.levels / 2)) as f32 / 64.0)
                .collect();
            let [height, width] = [case.height, case.width];
            metrics
                .push(&map(height, width, &scores), &map(height, width, mask))
                .unwrap();
        }
        metrics
    }

    #[test]
    fn equal_scikit_learn_and_mvtecs_definition() {
        for case in expected::<PixelCase>("pixel_metrics") {
            for (limit, area, _, overlap) in &case.aupro {
                let (scores, curves) = collected(&case).finish_with_curves(*limit, 0.0).unwrap();
                case.curves
                    .assert_equal(scores.auroc, scores.average_precision, scores.f1_max);
                assert_near(scores.aupro, *area);
                assert_eq!(collected(&case).finish(*limit), Ok(scores));
                assert_same_curve(&curves.roc, &case.roc);
                assert_same_curve(&curves.precision_recall, &case.precision_recall);
                assert_same_curve(&curves.overlap, overlap);
            }
        }
    }

    /// Two regions of 1 and 4 pixels. By hand: the first threshold finds the small one whole (mean overlap 1/2) at no
    /// false positive, the second a good pixel of four, the third everything.
    #[test]
    fn aupro_counts_regions_not_pixels() {
        let mut metrics = PixelMetrics::new();
        let scores = [0.9, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1];
        let defect = [true, false, true, false, false, true, false, true, true];
        metrics.push(&map(3, 3, &scores), &map(3, 3, &defect)).unwrap();
        let aupro = metrics.finish(0.25).unwrap().aupro;
        assert_near(aupro, 0.5);
    }

    #[test]
    fn regions_touch_at_corners_and_end_at_the_image() {
        let area = |maps: &[(&[f32], &[bool])]| {
            let mut metrics = PixelMetrics::new();
            for (scores, defect) in maps {
                metrics.push(&map(2, 2, scores), &map(2, 2, defect)).unwrap();
            }
            metrics.finish(0.5).unwrap().aupro
        };
        // One diagonal region of which half is found at once, the rest after all good pixels.
        assert_near(area(&[(&[0.9, 0.5, 0.4, 0.1], &[true, false, false, true])]), 0.5);
        // A whole region found and one of three pixels missed: overlap 1/2. As one region it would be 1/4.
        assert_near(
            area(&[
                (&[0.9, 0.5, 0.5, 0.4], &[true, false, false, false]),
                (&[0.1, 0.1, 0.1, 0.4], &[true, true, true, false]),
            ]),
            0.5,
        );
    }

    proptest! {
        #[test]
        fn the_order_of_images_does_not_matter(seed in 0u64..1000) {
            let anomaly = |seed| map(5, 6, &noise(seed, 30).map(|value| (value % 8) as f32).collect::<Vec<_>>());
            let defect = |seed| map(5, 6, &noise(seed + 7, 30).map(|value| value % 4 == 0).collect::<Vec<_>>());
            let scores = |order: [u64; 3]| {
                let mut metrics = PixelMetrics::new();
                for image in order {
                    metrics.push(&anomaly(seed + image), &defect(seed + image)).unwrap();
                }
                metrics.finish(0.3).unwrap()
            };
            let (forwards, backwards) = (scores([0, 1, 2]), scores([2, 1, 0]));
            prop_assert_eq!(forwards.f1_max, backwards.f1_max);
            prop_assert_eq!(forwards.auroc, backwards.auroc);
            prop_assert_eq!(forwards.average_precision, backwards.average_precision);
            assert_near(forwards.aupro, backwards.aupro);
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let mut metrics = PixelMetrics::new();
        let sizes = |what, mask| {
            Err(MetricError::Sizes {
                map: Size::new(2, 3),
                what,
                mask,
            })
        };
        let (ones, good, other) = (map(2, 3, &[1.0; 6]), map(2, 3, &[false; 6]), map(3, 2, &[false; 6]));
        let defects = "the mask of the defects";
        assert_eq!(metrics.push(&ones, &other), sizes(defects, other.size()));
        assert_eq!(metrics.push_inside(&ones, &other, &good), sizes(defects, other.size()));
        assert_eq!(
            metrics.push_inside(&ones, &good, &other),
            sizes("the mask of what counts", other.size())
        );
        assert_eq!(
            metrics.push(&map(1, 3, &[1.0, f32::NAN, 1.0]), &map(1, 3, &[false; 3])),
            Err(MetricError::NanScore { index: 1 })
        );
        assert_eq!(PixelMetrics::new().finish(0.3), Err(MetricError::Empty));

        metrics.push(&ones, &good).unwrap();
        assert_eq!(metrics.finish(0.3), Err(MetricError::NoDefects { count: 6 }));
        let mut metrics = PixelMetrics::new();
        metrics.push(&ones, &map(2, 3, &[true; 6])).unwrap();
        assert_eq!(metrics.finish(0.3), Err(MetricError::NoGood { count: 6 }));
        for limit in [0.0, -0.1, 1.1, f64::NAN] {
            assert_eq!(PixelMetrics::new().finish(limit), Err(MetricError::Limit));
        }
    }

    #[test]
    fn images_of_one_row_column_or_pixel_are_measured() {
        for (height, width) in [(1, 1), (1, 2), (2, 1), (1, 5)] {
            let mut pixels = PixelMetrics::new();
            let size = Size::new(height, width);
            pixels.push(&Map::filled(size, 0.9), &Map::filled(size, true)).unwrap();
            pixels
                .push(&map(1, 2, &[0.1, 0.2]), &map(1, 2, &[false, false]))
                .unwrap();
            assert_eq!(pixels.finish(0.3).unwrap().aupro, 1.0, "{height}x{width}");
        }
    }

    /// Pixels outside might as well not be there: a strip inside is measured as an image of its own.
    #[test]
    fn pixels_outside_do_not_count() {
        let (height, width, strip) = (6, 9, 2..5);
        let scores: Vec<f32> = noise(3, height * width).map(|value| (value % 7) as f32).collect();
        let defect: Vec<bool> = noise(4, height * width).map(|value| value % 4 == 0).collect();
        let inside: Vec<bool> = (0..height * width).map(|i| strip.contains(&(i / width))).collect();
        let outside: Vec<bool> = inside.iter().map(|inside| !inside).collect();
        let of_strip = strip.start * width..strip.end * width;
        let scores_of_strip = map(strip.len(), width, &scores[of_strip.clone()]);
        let defect_of_strip = map(strip.len(), width, &defect[of_strip]);
        let [defect, inside, outside] = [defect, inside, outside].map(|values| map(height, width, &values));
        let scores = map(height, width, &scores);
        let (mut whole, mut alone) = (PixelMetrics::new(), PixelMetrics::new());
        for _ in 0..2 {
            whole.push_inside(&scores, &defect, &inside).unwrap();
            alone.push(&scores_of_strip, &defect_of_strip).unwrap();
            // A defect outside alone leaves a good image.
            whole.push_inside(&scores, &outside, &inside).unwrap();
            alone
                .push(&scores_of_strip, &Map::filled(scores_of_strip.size(), false))
                .unwrap();
        }
        assert_eq!(whole.finish(0.3).unwrap(), alone.finish(0.3).unwrap());
    }
}

/// scipy 1.17: `binomtest(found, of).proportion_ci(confidence)`.
#[test]
fn exact_intervals_equal_scipys() {
    for (found, of, confidence, interval) in [
        (50, 63, 0.95, [0.673_026_670_531_686_2, 0.885_297_786_683_726_7]),
        (0, 20, 0.95, [0.0, 0.168_433_470_983_085_48]),
        (20, 20, 0.95, [0.831_566_529_016_914_5, 1.0]),
        (103, 141, 0.95, [0.649_347_072_337_349, 0.801_697_432_366_555_9]),
        (1, 1000, 0.99, [5.012_529_260_766_841_5e-6, 0.007_406_286_938_353_162]),
        (3, 7, 0.8, [0.169_638_417_396_714_67, 0.721_397_951_418_473_5]),
    ] {
        let ends = exact_interval(found, of, confidence);
        assert!(
            ends.iter()
                .zip(interval)
                .all(|(end, expected)| (end - expected).abs() < 1e-9),
            "{found} of {of}: {ends:?}"
        );
    }
    assert_eq!(exact_interval(0, 0, 0.95), [0.0, 1.0]);
    for (found, of) in [(3, 7), (0, 7), (7, 7)] {
        for confidence in [1.0, 2.0, f64::NAN] {
            assert_eq!(exact_interval(found, of, confidence), [0.0, 1.0], "{confidence}");
        }
    }
}
