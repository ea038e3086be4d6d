//! A baseline for comparison: the distance to the mean of the training images.

use std::num::NonZeroUsize;

use riad_core::{Map, Size, smooth};
use riad_data::{Category, Dataset};

use crate::{Error, Result, detector::Detector};

/// Images that are averaged at once.
const BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// The pixel-wise mean of good images.
pub(super) struct MeanImage {
    /// `[C, H, W]` in [0, 1].
    mean: Vec<f32>,
    size: Size,
    smoothing: usize,
}

impl MeanImage {
    /// The mean of all training images of the category, of which there is one at least, at the size and with the smoothing that the model has.
    pub(super) fn of(category: &Category, model: &Detector) -> Result<Self> {
        let scoring = &model.header().scoring;
        let (size, reader) = (scoring.size(), model.reader().clone());
        let mut sum = vec![0.0f64; reader.channels * size.pixels()];
        let images = Dataset::new(category.train.clone(), reader, size, 0);
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
            size,
            smoothing: scoring.smoothing,
        })
    }

    /// The map of an image `[C, H, W]`: its distance to the mean image, averaged over the channels and smoothed.
    pub(super) fn map(&self, image: &[f32]) -> Result<Map> {
        let pixels = self.size.pixels();
        let mut distance = Map::filled(self.size, 0.0);
        let channels = (self.mean.len() / pixels) as f32;
        for (image, mean) in image.chunks_exact(pixels).zip(self.mean.chunks_exact(pixels)) {
            let channel = image
                .iter()
                .zip(mean)
                .map(|(value, mean)| (value - mean).abs() / channels);
            distance
                .values_mut()
                .iter_mut()
                .zip(channel)
                .for_each(|(sum, d)| *sum += d);
        }
        smooth::mean_filter(&distance, self.smoothing).map_err(Error::request)
    }
}

/// The score of an image with this map: its maximum where defects are looked for, as the model's.
pub(super) fn score(map: &Map, inside: Option<&Map<bool>>) -> f32 {
    let is_looked_at = |place: usize| inside.is_none_or(|inside| inside.values()[place]);
    let looked_at = map
        .values()
        .iter()
        .enumerate()
        .filter(|(place, _)| is_looked_at(*place));
    looked_at.map(|(_, &distance)| distance).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_looked_at_has_no_score() {
        let size = Size::new(1, 3);
        let map = Map::new(size, vec![0.1, 0.4, 0.9]).unwrap();
        let inside = Map::new(size, vec![true, true, false]).unwrap();
        assert_eq!([score(&map, Some(&inside)), score(&map, None)], [0.4, 0.9]);
    }
}
