//! From images to anomaly maps and scores.

use std::path::Path;

use candle_core::Device;
use rayon::prelude::*;
use riad_core::{
    similarity::{self, Shape, gms},
    smooth,
};

use crate::{
    Result,
    architecture::CHANNELS,
    checkpoint::{Checkpoint, Header, ScoringSettings},
    error::ModelError,
    loss::{self, LossTerms, LossWeights},
    masking::{Masking, derive_seed},
    plan::Plan,
    weights::Weights,
};

/// What the network finds in one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The map's maximum: the larger, the more anomalous. Within [0, 1].
    pub score: f32,
    /// The anomaly map, `[H, W]`: the mean of [`Self::region_maps`].
    pub map: Vec<f32>,
    /// One map for each region size, in the checkpoint's order, `[H, W]` each: 1 − the smoothed multi-scale GMS of the
    /// image and its reconstruction.
    pub region_maps: Vec<Vec<f32>>,
    /// The mean of the reconstructions over the region sizes, `[3, H, W]` in [0, 1].
    pub reconstruction: Vec<f32>,
}

/// A trained network with its settings. Scoring is a pure function of the checkpoint and the image: its masks come from
/// the checkpoint's seed, and an image's result does not depend on its batch or on the number of threads.
pub struct Scorer {
    header: Header,
    reconstructor: Reconstructor,
}

impl Scorer {
    /// Opens a checkpoint as [`Checkpoint::open`] does and puts it on `device`.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        Self::new(&Checkpoint::open(path)?, device)
    }

    /// Puts a checkpoint on `device`.
    pub fn new(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        let header = checkpoint.header.clone();
        let reconstructor = Reconstructor::new(&checkpoint.weights, &header.scoring, device)?;
        Ok(Self { header, reconstructor })
    }

    /// What the checkpoint says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Scores a batch of images `[B, 3, H, W]` in [0, 1], of the size in [`ScoringSettings`].
    ///
    /// # Errors
    /// If the slice is no whole number of such images, the network's values overflow, or the device fails.
    pub fn score(&self, images: &[f32]) -> Result<Vec<Scored>> {
        let ScoringSettings {
            height,
            width,
            smoothing,
            ref region_sizes,
            ..
        } = self.header.scoring;
        let pixels = height * width;
        let image_len = CHANNELS * pixels;
        let count = images.len() / image_len;
        ModelError::length("a batch of images", images.len(), count * image_len)?;

        let shape = Shape {
            images: 1,
            channels: CHANNELS,
            height,
            width,
        };
        let grey: Vec<Vec<f32>> = images
            .par_chunks(image_len)
            .map(|image| similarity::gray(image, shape))
            .collect();
        let mut scored: Vec<Scored> = grey
            .iter()
            .map(|_| Scored {
                score: 0.0,
                map: vec![0.0; pixels],
                region_maps: Vec::with_capacity(region_sizes.len()),
                reconstruction: vec![0.0; image_len],
            })
            .collect();
        let share = 1.0 / region_sizes.len() as f32;
        for &region_size in region_sizes {
            let reconstructions = self.reconstructor.reconstruct(images, region_size)?;
            scored
                .par_iter_mut()
                .zip(&grey)
                .zip(reconstructions.par_chunks(image_len))
                .try_for_each(|((scored, grey), reconstruction)| -> Result<()> {
                    let reconstructed = similarity::gray(reconstruction, shape);
                    let similar = gms::multiscale_map(grey, &reconstructed, height, width);
                    let mut map = smooth::mean_filter(&similar, height, width, smoothing)?;
                    map.iter_mut().for_each(|v| *v = (1.0 - *v).clamp(0.0, 1.0));
                    scored.map.iter_mut().zip(&map).for_each(|(sum, v)| *sum += v * share);
                    scored
                        .reconstruction
                        .iter_mut()
                        .zip(reconstruction)
                        .for_each(|(sum, v)| *sum += v * share);
                    scored.region_maps.push(map);
                    Ok(())
                })?;
        }
        for scored in &mut scored {
            // `f32::max` passes over NaN: a network that overflows would call every image good.
            if scored.map.iter().any(|value| value.is_nan()) {
                return Err(ModelError::Overflow);
            }
            scored.score = scored.map.iter().copied().fold(0.0, f32::max);
        }
        Ok(scored)
    }
}

/// A network that inpaints images with the fixed masks of its settings.
pub(crate) struct Reconstructor {
    plan: Plan,
    settings: ScoringSettings,
}

impl Reconstructor {
    pub(crate) fn new(weights: &Weights, settings: &ScoringSettings, device: &Device) -> Result<Self> {
        settings.check()?;
        Ok(Self {
            plan: Plan::new(weights, device)?,
            settings: settings.clone(),
        })
    }

    /// Reconstructions of images `[B, 3, H, W]` with regions of one size. Every image has the same
    /// masks, drawn from the settings' seed.
    fn reconstruct(&self, images: &[f32], region_size: usize) -> Result<Vec<f32>> {
        let ScoringSettings {
            height,
            width,
            normalisation,
            sets,
            mask_seed,
            ..
        } = self.settings;
        let count = images.len() / (CHANNELS * height * width);
        let seeds = vec![derive_seed(&[mask_seed, region_size as u64]); count];
        let masking = Masking::sample(
            region_size,
            sets,
            (height, width),
            &seeds,
            normalisation,
            self.plan.layout(),
        )?;
        let outputs = self.plan.run(&masking.hide(images)?, sets * count, height, width)?;
        masking.compose(&outputs)
    }

    /// The loss of a batch of images with fixed masks, the mean over all region sizes: what early stopping watches.
    pub(crate) fn validation_loss(&self, images: &[f32], weights: LossWeights) -> Result<LossTerms> {
        let ScoringSettings {
            height,
            width,
            ref region_sizes,
            ..
        } = self.settings;
        let mut mean = LossTerms::default();
        for &region_size in region_sizes {
            let reconstructions = self.reconstruct(images, region_size)?;
            let terms = loss::loss(images, &reconstructions, (height, width), weights, None)?;
            mean.add(terms, 1.0 / region_sizes.len() as f64);
        }
        Ok(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Architecture;

    #[test]
    fn a_score_depends_on_the_checkpoint_and_the_image_alone() {
        let scoring = ScoringSettings {
            height: 32,
            width: 48,
            region_sizes: vec![2, 5, 16],
            ..Default::default()
        };
        let weights = Weights::initial(Architecture { width: 4 }, 1);
        let scorer = Scorer::new(&Checkpoint::new(weights, scoring, None, None), &Device::Cpu).unwrap();
        let image_len = CHANNELS * 32 * 48;
        let images: Vec<f32> = (0..5 * image_len)
            .map(|i| 0.5 + 0.5 * (i as f32 * 0.013).sin())
            .collect();
        let batch = scorer.score(&images).unwrap();
        assert_eq!(batch.len(), 5);
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for (image, scored) in images.chunks_exact(image_len).zip(&batch) {
            assert_eq!(
                single.install(|| scorer.score(image)).unwrap(),
                std::slice::from_ref(scored)
            );
            assert_eq!(scored.region_maps.len(), 3);
            assert_eq!(scored.score, scored.map.iter().copied().fold(f32::MIN, f32::max));
            assert!(scored.map.iter().all(|v| (0.0..=1.0).contains(v)));
            assert!(scored.reconstruction.iter().all(|v| (0.0..=1.0).contains(v)));
        }
        assert!(scorer.score(&images[1..]).is_err());
        let mut broken = images[..image_len].to_vec();
        broken[7] = f32::NAN;
        assert!(matches!(scorer.score(&broken), Err(ModelError::Overflow)));
        assert_eq!(scorer.score(&[]).unwrap(), []);
    }
}
