//! From images to anomaly maps and scores.

use std::path::Path;

use candle_core::Device;
use rayon::prelude::*;
use riad_core::{
    similarity::{self as core_similarity, Shape, gms, ssim},
    smooth,
};

use crate::{
    Result,
    architecture::CHANNELS,
    checkpoint::{Checkpoint, Header, ScoringSettings, Similarity},
    error::ModelError,
    loss::{self, LossTerms, LossWeights},
    masking::{Masking, derive_seed},
    plan::Plan,
    tiling::Grid,
};

/// What the network finds in one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The map's maximum: the larger, the more anomalous. At most 1, and at least 0 without a normal map.
    pub score: f32,
    /// The anomaly map, `[H, W]`: the mean of [`Self::region_maps`], less [`Checkpoint::normal_map`].
    pub map: Vec<f32>,
    /// One map for each region size, in the checkpoint's order, `[H, W]` each: 1 − the smoothed [`Similarity`] of the
    /// image and its reconstruction. A single one where nothing is hidden. Empty with [`Keep::Map`].
    pub region_maps: Vec<Vec<f32>>,
    /// The mean of the reconstructions over the region sizes, `[3, H, W]` in [0, 1]. Empty with [`Keep::Map`].
    pub reconstruction: Vec<f32>,
}

/// What is kept of the scoring of an image, which may be large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The map and the score: 4 bytes a pixel.
    Map,
    /// The reconstruction and the map of each region size too.
    All,
}

/// Pixels of the tiles that are scored at once, at most (but one tile): memory does not grow with the image.
const PIXELS_AT_ONCE: usize = 4 * 256 * 256;

/// A trained network with its settings. Scoring is a pure function of the checkpoint and the image: its masks come from
/// the checkpoint's seed, and an image's result does not depend on its batch or on the number of threads.
pub struct Scorer {
    header: Header,
    normal_map: Option<Vec<f32>>,
    reconstructor: Reconstructor,
}

impl Scorer {
    /// Opens a checkpoint as [`Checkpoint::open`] does and puts it on `device`.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        Self::new(&Checkpoint::open(path)?, device)
    }

    /// Puts a checkpoint on `device`.
    pub fn new(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        Self::with_plan(checkpoint, Plan::new(&checkpoint.weights, device)?)
    }

    /// Takes a checkpoint's settings, and its network as it lies on a device.
    pub(crate) fn with_plan(checkpoint: &Checkpoint, plan: Plan) -> Result<Self> {
        let header = checkpoint.header.clone();
        if header.scoring.tiling.is_some() && checkpoint.normal_map.is_some() {
            return Err(ModelError::Setting(
                "a normal map says nothing of tiles, which lie anywhere on the product; leave one of the two out"
                    .into(),
            ));
        }
        let reconstructor = Reconstructor::new(plan, &header.scoring)?;
        Ok(Self {
            header,
            normal_map: checkpoint.normal_map.clone(),
            reconstructor,
        })
    }

    /// What the checkpoint says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Scores one image `[3, H, W]` in [0, 1] at its own size: with tiles any that is not smaller than one of them, else
    /// the size in [`ScoringSettings`].
    ///
    /// The tiles' maps are blended so that no seam shows, and the score is the maximum of the blended map. The memory
    /// that this takes beyond the image and what is kept does not depend on the image's size.
    ///
    /// # Errors
    /// If the slice is no image of this size, the size is none for this checkpoint, the network's values overflow, or the
    /// device fails.
    pub fn score_image(&self, image: &[f32], height: usize, width: usize, keep: Keep) -> Result<Scored> {
        let scoring = &self.header.scoring;
        ModelError::length("an image", image.len(), CHANNELS * height * width)?;
        let tile = (scoring.height, scoring.width);
        let Some(tiling) = scoring.tiling else {
            ModelError::length("an image", image.len(), CHANNELS * tile.0 * tile.1)?;
            let mut scored = self.score(image)?.swap_remove(0);
            if keep == Keep::Map {
                (scored.region_maps, scored.reconstruction) = (Vec::new(), Vec::new());
            }
            return Ok(scored);
        };
        let grid = Grid::new((height, width), tile, tiling)?;
        let mut whole = Scored {
            score: f32::NEG_INFINITY,
            map: vec![0.0; height * width],
            region_maps: Vec::new(),
            reconstruction: Vec::new(),
        };
        if keep == Keep::All {
            whole.region_maps = vec![whole.map.clone(); scoring.passes().len()];
            whole.reconstruction = vec![0.0; image.len()];
        }
        let at_once = (PIXELS_AT_ONCE / (tile.0 * tile.1)).max(1);
        let mut tiles = Vec::new();
        for first in (0..grid.len()).step_by(at_once) {
            let indices = first..(first + at_once).min(grid.len());
            tiles.clear();
            for index in indices.clone() {
                grid.cut(image, index, &mut tiles);
            }
            for (index, scored) in indices.zip(self.score(&tiles)?) {
                grid.blend(&scored.map, index, &mut whole.map);
                if keep == Keep::All {
                    grid.blend(&scored.reconstruction, index, &mut whole.reconstruction);
                    for (map, whole) in scored.region_maps.iter().zip(&mut whole.region_maps) {
                        grid.blend(map, index, whole);
                    }
                }
            }
        }
        whole.score = highest(&whole.map);
        Ok(whole)
    }

    /// Scores a batch of images `[B, 3, H, W]` in [0, 1], of the size in [`ScoringSettings`]; with tiles that of one tile.
    ///
    /// # Errors
    /// If the slice is no whole number of such images, the network's values overflow, or the device fails.
    pub fn score(&self, images: &[f32]) -> Result<Vec<Scored>> {
        let ScoringSettings {
            height,
            width,
            smoothing,
            similarity,
            ..
        } = self.header.scoring;
        let passes = self.header.scoring.passes();
        let pixels = height * width;
        let image_len = CHANNELS * pixels;
        let count = images.len() / image_len;
        ModelError::length("a batch of images", images.len(), count * image_len)?;

        let blank = Scored {
            score: 0.0,
            map: vec![0.0; pixels],
            region_maps: Vec::with_capacity(passes.len()),
            reconstruction: vec![0.0; image_len],
        };
        let mut scored = vec![blank; count];
        let share = 1.0 / passes.len() as f32;
        for region_size in passes {
            let reconstructions = self.reconstructor.reconstruct(images, region_size)?;
            scored
                .par_iter_mut()
                .zip(images.par_chunks(image_len))
                .zip(reconstructions.par_chunks(image_len))
                .try_for_each(|((scored, image), reconstruction)| -> Result<()> {
                    let similar = similarity_map(image, reconstruction, (height, width), similarity)?;
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
            if let Some(normal) = &self.normal_map {
                scored
                    .map
                    .iter_mut()
                    .zip(normal)
                    .for_each(|(value, normal)| *value -= normal);
            }
            scored.score = highest(&scored.map);
        }
        Ok(scored)
    }
}

/// The maximum of a map without NaN.
fn highest(map: &[f32]) -> f32 {
    map.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// How similar an image and its reconstruction are, `[3, H, W]` in [0, 1] each: `[H, W]` in [0, 1].
fn similarity_map(
    image: &[f32],
    reconstruction: &[f32],
    (height, width): (usize, usize),
    similarity: Similarity,
) -> Result<Vec<f32>> {
    let shape = Shape {
        images: 1,
        channels: CHANNELS,
        height,
        width,
    };
    Ok(match similarity {
        Similarity::GmsGrey => {
            let [image, reconstruction] = [image, reconstruction].map(|image| core_similarity::gray(image, shape));
            gms::multiscale_map(&image, &reconstruction, height, width)
        }
        Similarity::GmsColour => mean_over_channels(image, reconstruction, |image, reconstruction| {
            gms::multiscale_map(image, reconstruction, height, width)
        }),
        Similarity::Ssim => {
            let map = ssim::map(image, reconstruction, shape)?;
            map.into_iter().map(|value| 0.5 + 0.5 * value).collect()
        }
        Similarity::L2 => mean_over_channels(image, reconstruction, |image, reconstruction| {
            let pairs = image.iter().zip(reconstruction);
            pairs.map(|(a, b)| 1.0 - (a - b) * (a - b)).collect()
        }),
    })
}

/// The mean of the channels' maps.
fn mean_over_channels(image: &[f32], reconstruction: &[f32], map: impl Fn(&[f32], &[f32]) -> Vec<f32>) -> Vec<f32> {
    let pixels = image.len() / CHANNELS;
    let mut mean = vec![0.0; pixels];
    for (image, reconstruction) in image.chunks_exact(pixels).zip(reconstruction.chunks_exact(pixels)) {
        let map = map(image, reconstruction);
        mean.iter_mut()
            .zip(map)
            .for_each(|(sum, value)| *sum += value / CHANNELS as f32);
    }
    mean
}

/// The seed of the masks of one region size; `None` where nothing is hidden.
pub(crate) fn mask_seed_of(mask_seed: u64, region_size: Option<usize>) -> u64 {
    derive_seed(&[mask_seed, region_size.unwrap_or(0) as u64])
}

/// A network that inpaints images with the fixed masks of its settings.
pub(crate) struct Reconstructor {
    plan: Plan,
    settings: ScoringSettings,
}

impl Reconstructor {
    pub(crate) fn new(plan: Plan, settings: &ScoringSettings) -> Result<Self> {
        settings.check()?;
        Ok(Self {
            plan,
            settings: settings.clone(),
        })
    }

    /// Reconstructions of images `[B, 3, H, W]` with regions of one size, or with nothing hidden. Every image has the same
    /// masks, drawn from the settings' seed.
    fn reconstruct(&self, images: &[f32], region_size: Option<usize>) -> Result<Vec<f32>> {
        let ScoringSettings {
            height,
            width,
            normalisation,
            sets,
            mask_seed,
            ..
        } = self.settings;
        let count = images.len() / (CHANNELS * height * width);
        let seeds = vec![mask_seed_of(mask_seed, region_size); count];
        let masking = Masking::sample(region_size, sets, (height, width), &seeds, normalisation)?;
        self.plan.reconstruct(images, &masking)
    }

    /// The loss of a batch of images with fixed masks, the mean over all region sizes: what early stopping watches.
    pub(crate) fn validation_loss(&self, images: &[f32], weights: LossWeights) -> Result<LossTerms> {
        let ScoringSettings { height, width, .. } = self.settings;
        let passes = self.settings.passes();
        let mut mean = LossTerms::default();
        for &region_size in &passes {
            let reconstructions = self.reconstruct(images, region_size)?;
            let terms = loss::loss(images, &reconstructions, (height, width), weights, None)?;
            mean.add(terms, 1.0 / passes.len() as f64);
        }
        Ok(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, Tiling, Weights, plan::CpuPlan};

    #[test]
    fn a_score_depends_on_the_checkpoint_and_the_image_alone() {
        for (height, width) in [(32, 48), (37, 50)] {
            let scoring = ScoringSettings {
                height,
                width,
                region_sizes: vec![2, 5, 16],
                ..Default::default()
            };
            let weights = Weights::initial(Architecture::u_net(4), 1);
            let scorer = Scorer::new(&Checkpoint::new(weights, scoring, None, None), &Device::Cpu).unwrap();
            let image_len = CHANNELS * height * width;
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
                assert_eq!(
                    (scored.map.len(), scored.reconstruction.len()),
                    (height * width, image_len)
                );
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

    #[test]
    fn a_normal_map_is_taken_off_every_map() {
        let size = 32;
        let scoring = ScoringSettings {
            height: size,
            width: size,
            smoothing: 3,
            ..Default::default()
        };
        let weights = Weights::initial(Architecture::u_net(2), 1);
        let mut checkpoint = Checkpoint::new(weights, scoring, None, None);
        let image: Vec<f32> = (0..CHANNELS * size * size)
            .map(|i| 0.5 + 0.5 * (i as f32 * 0.7).sin())
            .collect();
        let score = |checkpoint: &Checkpoint| {
            let scorer = Scorer::new(checkpoint, &Device::Cpu).unwrap();
            scorer.score(&image).unwrap().remove(0)
        };
        let plain = score(&checkpoint);
        checkpoint.normal_map = Some((0..size * size).map(|i| 0.3 + 0.5 * (i % 2) as f32).collect());
        let less = score(&checkpoint);
        assert_eq!(less.region_maps, plain.region_maps);
        let expected: Vec<f32> = (plain.map.iter().enumerate())
            .map(|(i, value)| value - if i % 2 == 0 { 0.3 } else { 0.8 })
            .collect();
        assert_eq!(less.map, expected);
        assert_eq!(less.score, expected.iter().copied().fold(f32::MIN, f32::max));
        // Below what is normal everywhere, and still ranked.
        checkpoint.normal_map = Some(vec![1.0; size * size]);
        assert_eq!(score(&checkpoint).score, plain.score - 1.0);
    }

    /// A scorer of tiles of 32×48 that overlap by 8, and one of whole images of that size.
    fn with_and_without_tiles() -> [Scorer; 2] {
        [Some(Tiling { overlap: 8 }), None].map(|tiling| {
            let scoring = ScoringSettings {
                height: 32,
                width: 48,
                tiling,
                smoothing: 5,
                ..Default::default()
            };
            let weights = Weights::initial(Architecture::u_net(2), 1);
            Scorer::new(&Checkpoint::new(weights, scoring, None, None), &Device::Cpu).unwrap()
        })
    }

    #[test]
    fn an_image_of_one_tile_is_scored_as_without_tiles() {
        let [tiled, plain] = with_and_without_tiles();
        let image: Vec<f32> = (0..CHANNELS * 32 * 48)
            .map(|i| 0.5 + 0.5 * (i as f32 * 0.013).sin())
            .collect();
        let expected = plain.score(&image).unwrap().remove(0);
        assert_eq!(tiled.score_image(&image, 32, 48, Keep::All).unwrap(), expected);
        assert_eq!(plain.score_image(&image, 32, 48, Keep::All).unwrap(), expected);
        for scorer in [&tiled, &plain] {
            let Scored {
                score,
                map,
                region_maps,
                reconstruction,
            } = scorer.score_image(&image, 32, 48, Keep::Map).unwrap();
            assert_eq!((score, map), (expected.score, expected.map.clone()));
            assert!(region_maps.is_empty() && reconstruction.is_empty());
        }
    }

    #[test]
    fn a_large_image_is_a_blend_of_its_tiles_whatever_the_threads() {
        let [tiled, plain] = with_and_without_tiles();
        let (height, width) = (70, 101);
        let image: Vec<f32> = (0..CHANNELS * height * width)
            .map(|i| 0.5 + 0.5 * (i as f32 * 0.013).sin())
            .collect();
        let whole = tiled.score_image(&image, height, width, Keep::All).unwrap();
        assert_eq!(whole.score, whole.map.iter().copied().fold(f32::MIN, f32::max));
        assert_eq!(whole.region_maps.len(), 4);
        // The corners belong to one tile each.
        let corner: Vec<f32> = (0..CHANNELS * 32)
            .flat_map(|row| &image[(row / 32 * height + row % 32) * width..][..48])
            .copied()
            .collect();
        let corner = plain.score(&corner).unwrap().remove(0);
        for y in 0..19 {
            assert_eq!(whole.map[y * width..][..20], corner.map[y * 48..][..20]);
            assert_eq!(
                whole.region_maps[2][y * width..][..20],
                corner.region_maps[2][y * 48..][..20]
            );
            assert_eq!(
                whole.reconstruction[y * width..][..20],
                corner.reconstruction[y * 48..][..20]
            );
        }
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = single.install(|| tiled.score_image(&image, height, width, Keep::All).unwrap());
        assert_eq!(again, whole);
        let map_only = tiled.score_image(&image, height, width, Keep::Map).unwrap();
        assert_eq!((map_only.map, map_only.score), (whole.map, whole.score));

        assert!(matches!(
            plain.score_image(&image, height, width, Keep::Map),
            Err(ModelError::Length { .. })
        ));
        assert!(matches!(
            tiled.score_image(&image, width, height - 1, Keep::Map),
            Err(ModelError::Length { .. })
        ));
        let low = &image[..CHANNELS * 31 * width];
        assert!(matches!(
            tiled.score_image(low, 31, width, Keep::Map),
            Err(ModelError::Setting(_))
        ));
        let mut broken = image;
        broken[9] = f32::NAN;
        assert!(matches!(
            tiled.score_image(&broken, height, width, Keep::Map),
            Err(ModelError::Overflow)
        ));
    }

    #[test]
    fn tiles_have_no_normal_map_and_an_overlap_within_reach() {
        let scoring = |overlap| ScoringSettings {
            height: 32,
            width: 48,
            tiling: Some(Tiling { overlap }),
            ..Default::default()
        };
        assert!(scoring(16).check().is_ok() && scoring(0).check().is_ok());
        assert!(scoring(17).check().is_err());
        let weights = Weights::initial(Architecture::u_net(2), 1);
        let mut checkpoint = Checkpoint::new(weights, scoring(8), None, None);
        checkpoint.normal_map = Some(vec![0.1; 32 * 48]);
        assert!(matches!(
            Scorer::new(&checkpoint, &Device::Cpu),
            Err(ModelError::Setting(_))
        ));
    }

    /// Its reconstruction is the network's output for the image itself, and every similarity sees that it is not the image.
    #[test]
    fn an_autoencoder_sees_the_whole_image_once() {
        let size = 32;
        let weights = Weights::initial(Architecture::autoencoder(4), 1);
        let image: Vec<f32> = (0..CHANNELS * size * size)
            .map(|i| 0.5 + 0.5 * (i as f32 * 0.7).sin())
            .collect();
        let normalised: Vec<f32> = (0..image.len())
            .map(|i| 2.0 * image[i % CHANNELS * size * size + i / CHANNELS] - 1.0)
            .collect();
        let output = CpuPlan::new(&weights)
            .and_then(|plan| plan.run(&normalised, 1, size, size))
            .unwrap();
        for similarity in [
            Similarity::GmsGrey,
            Similarity::GmsColour,
            Similarity::Ssim,
            Similarity::L2,
        ] {
            let scoring = ScoringSettings {
                region_sizes: vec![],
                similarity,
                ..ScoringSettings::for_size(size, size)
            };
            let scorer = Scorer::new(&Checkpoint::new(weights.clone(), scoring, None, None), &Device::Cpu).unwrap();
            let scored = scorer.score(&image).unwrap().remove(0);
            assert_eq!(scored.region_maps, std::slice::from_ref(&scored.map));
            assert!(scored.map.iter().all(|v| (0.01..=1.0).contains(v)), "{similarity:?}");
            for (i, value) in output.iter().enumerate() {
                let planar = i % CHANNELS * size * size + i / CHANNELS;
                assert!((scored.reconstruction[planar] - (0.5 + 0.5 * value)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn colour_edges_are_grey_ones_without_colour_and_see_more_with_it() {
        let size = (32, 32);
        let grey: Vec<f32> = (0..size.0 * size.1)
            .map(|i| 0.5 + 0.4 * (i as f32 * 0.3).sin())
            .collect();
        let (image, blurred) = (
            grey.repeat(CHANNELS),
            grey.iter().map(|v| 0.3 + 0.4 * v).collect::<Vec<_>>(),
        );
        let [by_luma, by_channel] = [Similarity::GmsGrey, Similarity::GmsColour]
            .map(|similarity| similarity_map(&image, &blurred.repeat(CHANNELS), size, similarity).unwrap());
        for (a, b) in by_luma.iter().zip(&by_channel) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        // A stain of the same luma: more red for less blue.
        let mut stained = image.clone();
        for y in 10..20 {
            for x in 10..20 {
                stained[y * size.1 + x] += 0.3;
                stained[2 * grey.len() + y * size.1 + x] -= 0.3 * 0.299 / 0.114;
            }
        }
        let sum = |similarity| -> f32 {
            similarity_map(&image, &stained, size, similarity)
                .unwrap()
                .iter()
                .map(|v| 1.0 - v)
                .sum()
        };
        assert!(sum(Similarity::GmsColour) > 20.0 * sum(Similarity::GmsGrey));
    }
}
