//! Thresholds, and the verdicts of each about the images.

use riad_core::{Calibration, calibration::USUAL_RATES};

use crate::{
    FalsePositiveRate,
    evaluation::{Findings, ImageScore},
    threshold::exceeds,
};

/// A threshold and where it comes from.
pub(super) struct Judge {
    pub(super) threshold: f32,
    /// The false-positive rate that it was calibrated for; `None` if it was chosen by the test images' labels.
    rate: Option<f64>,
    /// With which probability that rate is kept, if not on average over calibrations.
    confidence: Option<f64>,
}

/// What a threshold makes of an image whose label is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    FalseAlarm,
    Missed,
    Found,
    Passed,
}

impl Judge {
    /// The calibrated threshold; `None` if there is none.
    pub(super) fn calibrated(findings: &Findings) -> Option<Self> {
        let at = findings.at_threshold.as_ref().ok()?;
        Some(Self {
            threshold: at.threshold,
            rate: Some(at.fpr),
            confidence: at.confidence,
        })
    }

    /// The threshold of the best F1 on the images' own labels; `None` if they do not define it.
    pub(super) fn oracle(findings: &Findings) -> Option<Self> {
        let threshold = findings.curves.image.as_ref()?.best_f1.threshold;
        Some(Self {
            threshold,
            rate: None,
            confidence: None,
        })
    }

    /// Whether an image of this score is called defective. A calibrated threshold is the highest score that is not, the
    /// best F1's the lowest that is.
    pub(super) fn flags(&self, score: f32) -> bool {
        match self.rate {
            Some(_) => exceeds(score, self.threshold),
            None => score >= self.threshold,
        }
    }

    pub(super) fn outcome(&self, image: &ImageScore) -> Outcome {
        match (self.flags(image.score), image.defect.is_some()) {
            (true, true) => Outcome::Found,
            (true, false) => Outcome::FalseAlarm,
            (false, true) => Outcome::Missed,
            (false, false) => Outcome::Passed,
        }
    }

    /// How this threshold looks in figures.
    pub(super) fn class(&self) -> &'static str {
        match self.rate {
            Some(_) => "at-threshold",
            None => "at-oracle",
        }
    }

    pub(super) fn name(&self) -> String {
        match self.rate {
            Some(rate) => format!(
                "threshold {:.4}, calibrated for {}",
                self.threshold,
                FalsePositiveRate::new(rate).with_confidence(self.confidence)
            ),
            None => format!("best F1 at {:.4}, an oracle: chosen by these labels", self.threshold),
        }
    }

    /// The shares of good and of defective images that are called defective.
    pub(super) fn rates(&self, images: &[ImageScore]) -> [f64; 2] {
        [false, true].map(|is_defective| {
            let (flagged, of) = self.count(images, is_defective);
            flagged as f64 / of as f64
        })
    }

    /// How many of the good, or of the defective images are called defective, and how many there are.
    fn count(&self, images: &[ImageScore], is_defective: bool) -> (usize, usize) {
        let of_class = || images.iter().filter(|image| image.defect.is_some() == is_defective);
        let flagged = of_class().filter(|image| self.flags(image.score)).count();
        (flagged, of_class().count())
    }
}

impl Outcome {
    pub(super) const ALL: [Self; 4] = [Self::FalseAlarm, Self::Missed, Self::Found, Self::Passed];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FalseAlarm => "false alarm",
            Self::Missed => "missed",
            Self::Found => "found",
            Self::Passed => "passed",
        }
    }

    /// The name as a word for style and script.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::FalseAlarm => "false-alarm",
            other => other.name(),
        }
    }

    /// A sign that needs no colour.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::FalseAlarm => "▲",
            Self::Missed => "✕",
            Self::Found | Self::Passed => "✓",
        }
    }

    pub(super) fn is_mistake(self) -> bool {
        matches!(self, Self::FalseAlarm | Self::Missed)
    }
}

/// A line of the table of thresholds.
pub(super) struct ThresholdRow {
    pub(super) name: String,
    pub(super) threshold: String,
    pub(super) good: String,
    pub(super) defective: String,
    /// Whether the verdicts in the report are its.
    pub(super) is_judge: bool,
}

/// The thresholds that a person can choose from, and the oracle for comparison; `judge` is the one whose verdicts are
/// shown.
pub(super) fn thresholds(
    findings: &Findings,
    calibration: Option<&Calibration>,
    judge: Option<&Judge>,
) -> Vec<ThresholdRow> {
    let mut rates = USUAL_RATES.to_vec();
    let asked = findings.at_threshold.as_ref().ok();
    rates.extend(asked.map(|asked| asked.fpr));
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.dedup();
    let calibrated = rates.into_iter().filter_map(|rate| {
        let threshold = calibration?.threshold(rate).ok()?;
        Some(Judge {
            threshold,
            rate: Some(rate),
            confidence: None,
        })
    });
    let confident = asked.filter(|asked| asked.confidence.is_some()).map(|asked| Judge {
        threshold: asked.threshold,
        rate: Some(asked.fpr),
        confidence: asked.confidence,
    });
    let row = |row: Judge| {
        let share = |is_defective| match row.count(&findings.images, is_defective) {
            (_, 0) => "–".to_owned(),
            (flagged, of) => format!("{flagged} of {of} ({:.1} %)", 100.0 * flagged as f64 / of as f64),
        };
        ThresholdRow {
            name: match (row.rate, row.confidence) {
                (None, _) => "best F1, an oracle".to_owned(),
                (Some(rate), None) => rate.to_string(),
                (Some(rate), Some(confidence)) => format!("{rate}, confidence {confidence}"),
            },
            threshold: format!("{:.4}", row.threshold),
            good: share(false),
            defective: share(true),
            is_judge: judge.is_some_and(|judge| judge.rate == row.rate && judge.confidence == row.confidence),
        }
    };
    calibrated
        .chain(confident)
        .chain(Judge::oracle(findings))
        .map(row)
        .collect()
}
