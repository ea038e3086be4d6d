//! From files to scores: where and how to compute, what sizes a model takes, and how many images it looks at at once.

use std::path::Path;

use anyhow::Result;
use riad_data::{Fit, Image};
use riad_model::{Checkpoint, Device, Keep, Precision, Roi, Scored, Scorer, ScoringSettings};

/// Images of the network's size that are scored at once: enough to keep all cores busy, few enough that scores come
/// steadily.
const BATCH: usize = 4;

/// Where and how to score.
pub(crate) struct Compute {
    pub(crate) device: Device,
    pub(crate) precision: Precision,
}

impl Compute {
    /// As runs are completed and reported.
    pub(crate) fn f32(device: &Device) -> Self {
        Self {
            device: device.clone(),
            precision: Precision::F32,
        }
    }

    pub(crate) fn scorer(&self, checkpoint: &Checkpoint) -> riad_model::Result<Scorer> {
        Scorer::new(checkpoint, &self.device, self.precision)
    }

    pub(crate) fn open(&self, model: &Path) -> riad_model::Result<Scorer> {
        Scorer::open(model, &self.device, self.precision)
    }
}

/// How images are brought to a size that is scored.
pub(crate) fn fit(scorer: &Scorer) -> Fit {
    let ScoringSettings {
        height, width, tiling, ..
    } = scorer.header().scoring;
    match (tiling, scorer.roi().map(Roi::size)) {
        (None, _) => Fit::Resized { height, width },
        (Some(_), None) => Fit::AtLeast { height, width },
        (Some(_), Some((height, width))) => Fit::Exactly { height, width },
    }
}

/// How many images to load and score at once: large ones, which are scored by tiles, one by one.
pub(crate) fn batch_size(scorer: &Scorer) -> usize {
    match scorer.header().scoring.tiling {
        None => BATCH,
        Some(_) => 1,
    }
}

/// Scores images that are fitted to the model.
pub(crate) fn score(scorer: &Scorer, images: &[&Image], keep: Keep) -> Result<Vec<Scored>> {
    if scorer.header().scoring.tiling.is_none() {
        let pixels: Vec<f32> = images.iter().flat_map(|image| &image.data).copied().collect();
        return Ok(scorer.score(&pixels, keep)?);
    }
    images
        .iter()
        .map(|image| Ok(scorer.score_image(&image.data, image.height, image.width, keep)?))
        .collect()
}
