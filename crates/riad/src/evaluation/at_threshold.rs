//! Verdicts of a calibrated threshold on test images, with their uncertainty.

use riad_core::{Map, metrics::exact_interval};
use riad_data::MadeUp;
use riad_model::Scored;
use serde::Serialize;

use super::test_images::TestImage;
use crate::{Threshold, render::Thumbnail, threshold::exceeds};

/// How sure the ranges of counted shares are.
const CONFIDENCE: f64 = 0.95;

/// The test images and pixels that a calibrated threshold flags.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct AtThreshold {
    /// The false-positive rate that it is for.
    pub fpr: f64,
    /// The probability with which the rate is kept, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The highest score that is not flagged.
    pub threshold: f32,
    /// Number of good images of the calibration.
    pub calibration_images: usize,
    /// Good images that are stopped, of those that did not set the threshold. `None` if all of them set it.
    pub good_images: Option<FlaggedImages>,
    /// Defects that are found.
    pub defective_images: FlaggedImages,
    /// Good pixels of all images with a mask or without a defect.
    pub good_pixels: FlaggedPixels,
    /// Defective pixels of the same images.
    pub defective_pixels: FlaggedPixels,
    /// The defects that are not found. The lowest score comes first.
    pub missed: Vec<Missed>,
}

/// Number of flagged pixels.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct FlaggedPixels {
    /// Those that are flagged.
    pub flagged: usize,
    /// All of them.
    pub of: usize,
}

/// Number of flagged images, as an estimate of the true share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "WithRange")]
#[non_exhaustive]
pub struct FlaggedImages {
    /// Those that are flagged.
    pub flagged: usize,
    /// All of them.
    pub of: usize,
}

/// A [`FlaggedImages`] as it is written down.
#[derive(Serialize)]
struct WithRange {
    flagged: usize,
    of: usize,
    /// Where the true share lies with a confidence of 95 %.
    range_95: [f64; 2],
}

/// A defect that was not found.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Missed {
    /// The path as in `scores.csv`.
    pub path: String,
    /// Its score, which is not above the threshold.
    pub score: f32,
}

impl From<FlaggedImages> for WithRange {
    fn from(counted: FlaggedImages) -> Self {
        Self {
            flagged: counted.flagged,
            of: counted.of,
            range_95: counted.range(),
        }
    }
}

impl FlaggedPixels {
    fn add(&mut self, is_flagged: bool) {
        self.flagged += usize::from(is_flagged);
        self.of += 1;
    }
}

impl FlaggedImages {
    pub(super) fn add(&mut self, is_flagged: bool) {
        self.flagged += usize::from(is_flagged);
        self.of += 1;
    }

    /// The range that contains the true share with a confidence of 95 %, by Clopper and Pearson.
    pub fn range(self) -> [f64; 2] {
        exact_interval(self.flagged, self.of, CONFIDENCE)
    }

    /// `50 of 63 defects (79 %; 95 % range 67 to 89)`. `one` and `many` are the noun in singular and plural.
    pub fn in_words(self, [one, many]: [&str; 2]) -> String {
        let Self { flagged, of } = self;
        let what = if of == 1 { one } else { many };
        if of == 0 {
            return format!("0 of 0 {what}");
        }
        let [low, high] = self.range().map(|share| 100.0 * share);
        let share = 100.0 * flagged as f64 / of as f64;
        format!("{flagged} of {of} {what} ({share:.0} %; 95 % range {low:.0} to {high:.0})")
    }
}

impl AtThreshold {
    /// Nothing is counted yet. `set_by_good` if all good images set the threshold.
    pub(super) fn new(threshold: &Threshold, set_by_good: bool) -> Self {
        Self {
            fpr: threshold.rate().rate,
            confidence: threshold.rate().confidence,
            threshold: threshold.value(),
            calibration_images: threshold.calibration().scores().len(),
            good_images: (!set_by_good).then(FlaggedImages::default),
            defective_images: FlaggedImages::default(),
            good_pixels: FlaggedPixels::default(),
            defective_pixels: FlaggedPixels::default(),
            missed: Vec::new(),
        }
    }

    /// Whether an image of this score is called defective.
    pub fn is_exceeded_by(&self, score: f32) -> bool {
        exceeds(score, self.threshold)
    }

    /// Counts an image of this name. `set_the_threshold` if it did: then it does not count among the good ones.
    pub(super) fn add(
        &mut self,
        path: &str,
        scored: &Scored,
        (image, set_the_threshold): (&TestImage<'_>, bool),
        inside: Option<&Map<bool>>,
    ) {
        let is_flagged = self.is_exceeded_by(scored.score);
        if !image.item.is_defective() {
            if let Some(good) = self.good_images.as_mut().filter(|_| !set_the_threshold) {
                good.add(is_flagged);
            }
        } else {
            self.defective_images.add(is_flagged);
            if !is_flagged {
                let score = scored.score;
                let at = self.missed.partition_point(|other| other.score <= score);
                let path = path.to_owned();
                self.missed.insert(at, Missed { path, score });
            }
        }
        let mask = image.mask.iter().flat_map(Map::values);
        let pixels = scored.map.values().iter().zip(mask).enumerate();
        let counting = pixels.filter(|&(index, _)| inside.is_none_or(|inside| inside.values()[index]));
        for (_, (&value, &is_defective)) in counting {
            let pixels = if is_defective {
                &mut self.defective_pixels
            } else {
                &mut self.good_pixels
            };
            pixels.add(exceeds(value, self.threshold));
        }
    }

    /// The result in one sentence without its full stop: `Finds 50 of 63 defects (…), stops 0 of 20 good ones (…)`.
    pub fn sentence(&self) -> String {
        let finds = (self.defective_images.of > 0)
            .then(|| format!("Finds {}", self.defective_images.in_words(["defect", "defects"])));
        match (finds, self.stops()) {
            (Some(finds), Some(stops)) => format!("{finds}, {stops}"),
            (Some(alone), None) => alone,
            (None, Some(stops)) => stops.replacen("stops", "Stops", 1),
            (None, None) => {
                "There is nothing to measure: no defect, and no good image that did not set the threshold".to_owned()
            }
        }
    }

    /// `stops 0 of 20 good ones (…)`. `None` if the good images set the threshold.
    pub fn stops(&self) -> Option<String> {
        let good = self.good_images.filter(|good| good.of > 0)?;
        Some(format!("stops {}", good.in_words(["good one", "good ones"])))
    }
}

/// A test image's score.
#[non_exhaustive]
pub struct ImageScore {
    /// The path below the category's folder, with forward slashes.
    pub path: String,
    /// The kind of defect; `None` if the image is good.
    pub defect: Option<String>,
    /// The defect that was made up on it.
    pub made_up: Option<MadeUp>,
    /// The maximum of its map.
    pub score: f32,
    /// Its pictures in the report.
    pub thumbnails: Vec<Thumbnail>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(flagged: usize, of: usize) -> FlaggedImages {
        FlaggedImages { flagged, of }
    }

    fn at(good: Option<FlaggedImages>, defective: FlaggedImages) -> String {
        AtThreshold {
            fpr: 0.05,
            confidence: None,
            threshold: 0.1,
            calibration_images: 21,
            good_images: good,
            defective_images: defective,
            good_pixels: FlaggedPixels::default(),
            defective_pixels: FlaggedPixels::default(),
            missed: Vec::new(),
        }
        .sentence()
    }

    /// The ranges are those of Clopper and Pearson, found by halving intervals in Python with exact binomial sums: 50 of 63
    /// [0.67303, 0.88530], 0 of 20 [0, 0.16843], 2 of 2 [0.15811, 1]:
    ///
    /// ```python
    /// from math import comb
    /// cdf = lambda k, n, p: sum(comb(n, i) * p**i * (1 - p)**(n - i) for i in range(k + 1))
    /// # low: 1 - cdf(k - 1, n, low) == 0.025; high: cdf(k, n, high) == 0.025
    /// ```
    #[test]
    fn one_sentence_says_how_good_a_model_is_and_how_sure_that_is() {
        assert_eq!(
            at(Some(counted(0, 20)), counted(50, 63)),
            "Finds 50 of 63 defects (79 %; 95 % range 67 to 89), stops 0 of 20 good ones (0 %; 95 % range 0 to 17)"
        );
        assert_eq!(
            at(Some(counted(0, 20)), counted(0, 0)),
            "Stops 0 of 20 good ones (0 %; 95 % range 0 to 17)"
        );
        for good in [None, Some(counted(0, 0))] {
            assert_eq!(
                at(good, counted(2, 2)),
                "Finds 2 of 2 defects (100 %; 95 % range 16 to 100)"
            );
        }
        assert!(at(None, counted(1, 1)).starts_with("Finds 1 of 1 defect ("));
        let json = serde_json::to_value(counted(0, 20)).unwrap();
        assert_eq!((&json["flagged"], &json["of"]), (&0.into(), &20.into()));
        assert!((json["range_95"][1].as_f64().unwrap() - 0.16843).abs() < 1e-5, "{json}");
    }
}
