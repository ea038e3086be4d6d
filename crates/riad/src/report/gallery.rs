//! The images, the worst mistakes first.

use std::collections::BTreeMap;

use riad_core::Calibration;

use super::verdict::{Judge, Outcome};
use crate::{
    evaluation::ImageScore,
    render::{Thumbnail, ThumbnailKind},
    threshold::shown_p_value,
};

/// What good images are called among kinds of defects.
const GOOD: &str = "good";

/// All images of a category, with what they can be filtered by.
pub(super) struct Gallery<'a> {
    pub(super) shots: Vec<Shot<'a>>,
    pub(super) kinds: Vec<Kind<'a>>,
    /// The outcomes there are, with their counts.
    pub(super) outcomes: Vec<(Outcome, usize)>,
    pub(super) mistakes: usize,
}

/// An image.
pub(super) struct Shot<'a> {
    pub(super) path: &'a str,
    pub(super) kind: &'a str,
    pub(super) score: String,
    /// How likely a good image scores at least as high, if the model is calibrated.
    pub(super) p_value: Option<String>,
    pub(super) outcome: Option<Outcome>,
    pub(super) thumbnails: &'a [Thumbnail],
    /// What is said where there is no picture of the ground truth.
    pub(super) no_truth: Option<&'static str>,
}

/// The images of one kind.
pub(super) struct Kind<'a> {
    pub(super) name: &'a str,
    pub(super) images: usize,
    /// How many are called defective, and their share; `None` without a threshold.
    pub(super) flagged: Option<String>,
    pub(super) lowest: String,
    pub(super) median: String,
    pub(super) highest: String,
}

impl<'a> Gallery<'a> {
    pub(super) fn new(images: &'a [ImageScore], judge: Option<&Judge>, calibration: Option<&Calibration>) -> Self {
        // Without a threshold there is but one class, whose order does not depend on it.
        let threshold = judge.map_or(0.0, |judge| judge.threshold);
        let badness = |image: &ImageScore| {
            let above = image.score - threshold;
            if image.defect.is_some() { -above } else { above }
        };
        let mut sorted: Vec<_> = images.iter().collect();
        sorted.sort_by(|a, b| badness(b).total_cmp(&badness(a)));
        let shots: Vec<_> = sorted
            .into_iter()
            .map(|image| Shot::new(image, judge, calibration))
            .collect();
        let count = |outcome| shots.iter().filter(|shot| shot.outcome == Some(outcome)).count();
        let outcomes: Vec<_> = Outcome::ALL
            .map(|outcome| (outcome, count(outcome)))
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        Self {
            mistakes: outcomes
                .iter()
                .filter(|(outcome, _)| outcome.is_mistake())
                .map(|(_, count)| count)
                .sum(),
            kinds: kinds(images, judge),
            outcomes,
            shots,
        }
    }
}

impl<'a> Shot<'a> {
    fn new(image: &'a ImageScore, judge: Option<&Judge>, calibration: Option<&Calibration>) -> Self {
        let has_truth = image
            .thumbnails
            .iter()
            .any(|thumbnail| thumbnail.kind == ThumbnailKind::GroundTruth);
        Self {
            path: &image.path,
            kind: image.defect.as_deref().unwrap_or(GOOD),
            score: format!("{:.4}", image.score),
            p_value: calibration.map(|calibration| shown_p_value(calibration.p_value(image.score))),
            outcome: judge.map(|judge| judge.outcome(image)),
            thumbnails: &image.thumbnails,
            no_truth: match (has_truth, &image.defect) {
                (true, _) => None,
                (false, None) => Some("no defect"),
                (false, Some(_)) => Some("ground truth not known"),
            },
        }
    }
}

impl Thumbnail {
    /// What stands below the picture.
    pub(super) fn caption(&self) -> String {
        match &self.kind {
            ThumbnailKind::Image => "image".to_owned(),
            ThumbnailKind::Reconstruction => "reconstruction".to_owned(),
            ThumbnailKind::PassMap(name) => format!("map, {name}"),
            ThumbnailKind::MeanMap => "mean map".to_owned(),
            ThumbnailKind::Overlay(Some(false)) => "overlay: nothing found".to_owned(),
            ThumbnailKind::Overlay(_) => "overlay".to_owned(),
            ThumbnailKind::GroundTruth => "ground truth".to_owned(),
        }
    }
}

/// The kinds of images, good ones first.
fn kinds<'a>(images: &'a [ImageScore], judge: Option<&Judge>) -> Vec<Kind<'a>> {
    let mut scores: BTreeMap<Option<&str>, Vec<f32>> = BTreeMap::new();
    for image in images {
        scores.entry(image.defect.as_deref()).or_default().push(image.score);
    }
    let kind = |(name, mut scores): (Option<&'a str>, Vec<f32>)| {
        scores.sort_unstable_by(f32::total_cmp);
        let shown = |at: usize| format!("{:.4}", scores[at]);
        let flagged = judge.map(|judge| scores.iter().filter(|score| judge.flags(**score)).count());
        let share = |flagged| format!("{flagged} ({:.1} %)", 100.0 * flagged as f64 / scores.len() as f64);
        Kind {
            name: name.unwrap_or(GOOD),
            images: scores.len(),
            flagged: flagged.map(share),
            lowest: shown(0),
            median: shown(scores.len() / 2),
            highest: shown(scores.len() - 1),
        }
    };
    scores.into_iter().map(kind).collect()
}
