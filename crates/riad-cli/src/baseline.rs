//! What RIAD has to be better than: the distance to the mean of the training images.

use anyhow::Result;
use riad_core::smooth;
use riad_data::{Category, Dataset, Limits};
use riad_model::ScoringSettings;

/// Images that are averaged at once.
const BATCH: usize = 16;

/// The pixel-wise mean of good images.
pub(crate) struct MeanImage {
    /// `[3, H, W]` in [0, 1].
    mean: Vec<f32>,
    height: usize,
    width: usize,
    smoothing: usize,
}

impl MeanImage {
    /// The mean of all training images of the category, at the size and with the smoothing that RIAD has.
    pub(crate) fn of(category: &Category, scoring: &ScoringSettings) -> Result<Self> {
        let &ScoringSettings {
            height,
            width,
            smoothing,
            ..
        } = scoring;
        let images = Dataset::new(category.train.clone(), height, width, Limits::default(), 0);
        let mut sum = vec![0.0f64; 3 * height * width];
        for batch in images.batches((0..images.len()).collect(), BATCH) {
            for image in batch?.images.chunks_exact(sum.len()) {
                sum.iter_mut()
                    .zip(image)
                    .for_each(|(sum, &value)| *sum += f64::from(value));
            }
        }
        let mean = sum.iter().map(|sum| (sum / images.len() as f64) as f32).collect();
        Ok(Self {
            mean,
            height,
            width,
            smoothing,
        })
    }

    /// The map of an image `[3, H, W]`: its distance to the mean image, averaged over the channels and smoothed.
    pub(crate) fn map(&self, image: &[f32]) -> Result<Vec<f32>> {
        let pixels = self.height * self.width;
        let mut distance = vec![0.0; pixels];
        for (image, mean) in image.chunks_exact(pixels).zip(self.mean.chunks_exact(pixels)) {
            let channel = image.iter().zip(mean).map(|(value, mean)| (value - mean).abs() / 3.0);
            distance.iter_mut().zip(channel).for_each(|(sum, d)| *sum += d);
        }
        Ok(smooth::mean_filter(&distance, self.height, self.width, self.smoothing)?)
    }
}
