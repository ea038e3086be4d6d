//! From images to anomaly maps and scores.

use std::path::Path;

use rayon::prelude::*;
use riad_core::{
    similarity::{self as core_similarity, Shape, gms, ssim},
    smooth,
};
use riad_cuda::{MapSettings, Planes};

use crate::{
    Device, Precision, Result,
    architecture::CHANNELS,
    checkpoint::{Checkpoint, Header, ScoringSettings, Similarity},
    cuda::{CudaMasks, CudaPlan},
    error::ModelError,
    loss::{self, LossTerms, LossWeights},
    masking::{Masking, derive_seed},
    plan::Plan,
    roi::Roi,
    tiling::Grid,
};

/// What the network finds in one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The map's maximum: the larger, the more anomalous. At most 1, and at least 0 without a normal map.
    pub score: f32,
    /// The anomaly map, `[H, W]`: the mean of [`Self::region_maps`], less [`Checkpoint::normal_map`];
    /// [`Roi::OUTSIDE`] outside of [`Checkpoint::roi`].
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
    roi: Option<Roi>,
    reconstructor: Reconstructor,
}

impl Scorer {
    /// Opens a checkpoint as [`Checkpoint::open`] does and puts it on `device`; see [`Self::new`].
    pub fn open(path: &Path, device: &Device, precision: Precision) -> Result<Self> {
        Self::new(&Checkpoint::open(path)?, device, precision)
    }

    /// Puts a checkpoint on `device`.
    ///
    /// In [`Precision::Bf16`] maps and scores differ from those in f32, by about a thousandth as a rule: calibrate in the precision
    /// that you score in.
    ///
    /// # Errors
    /// If the checkpoint's settings contradict each other, the device does not have `precision`, or it fails.
    pub fn new(checkpoint: &Checkpoint, device: &Device, precision: Precision) -> Result<Self> {
        Self::with_plan(checkpoint, Plan::new(&checkpoint.weights, device, precision)?)
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
        if let Some(roi) = &checkpoint.roi {
            header.scoring.check_roi(roi)?;
        }
        let reconstructor = Reconstructor::new(plan, &header.scoring)?;
        Ok(Self {
            header,
            normal_map: checkpoint.normal_map.clone(),
            roi: checkpoint.roi.clone(),
            reconstructor,
        })
    }

    /// What the checkpoint says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The part of images that is looked at, if not all.
    pub fn roi(&self) -> Option<&Roi> {
        self.roi.as_ref()
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
            return Ok(self.score(image, keep)?.swap_remove(0));
        };
        let grid = Grid::new((height, width), tile, tiling)?;
        self.check_roi(height, width)?;
        // What lies outside has no place in the map, only in pictures of all there is.
        let inside = |index: &usize| {
            let is_inside = |roi: &Roi| grid.has_any(roi.inside(), *index);
            keep == Keep::All || self.roi.as_ref().is_none_or(is_inside)
        };
        let looked_at: Vec<usize> = (0..grid.len()).filter(inside).collect();
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
        for indices in looked_at.chunks(at_once) {
            tiles.clear();
            for &index in indices {
                grid.cut(image, index, &mut tiles);
            }
            for (&index, scored) in indices.iter().zip(self.score_all(&tiles, keep)?) {
                grid.blend(&scored.map, index, &mut whole.map);
                if keep == Keep::All {
                    grid.blend(&scored.reconstruction, index, &mut whole.reconstruction);
                    for (map, whole) in scored.region_maps.iter().zip(&mut whole.region_maps) {
                        grid.blend(map, index, whole);
                    }
                }
            }
        }
        self.conclude(&mut whole);
        Ok(whole)
    }

    /// Leaves in the map what is looked at, and finds the score.
    fn conclude(&self, scored: &mut Scored) {
        if let Some(roi) = &self.roi {
            roi.cover(&mut scored.map);
        }
        scored.score = scored.map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    }

    fn check_roi(&self, height: usize, width: usize) -> Result<()> {
        match &self.roi {
            Some(roi) if roi.size() != (height, width) => {
                let (h, w) = roi.size();
                Err(ModelError::Setting(format!(
                    "the region of interest is of images of {h}x{w} (height x width), and this one is {height}x{width}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Scores a batch of images `[B, 3, H, W]` in [0, 1], of the size in [`ScoringSettings`]; with tiles that of one tile.
    ///
    /// # Errors
    /// If the slice is no whole number of such images, the region of interest is of larger ones, the network's values
    /// overflow, or the device fails.
    pub fn score(&self, images: &[f32], keep: Keep) -> Result<Vec<Scored>> {
        self.check_roi(self.header.scoring.height, self.header.scoring.width)?;
        let mut scored = self.score_all(images, keep)?;
        scored.iter_mut().for_each(|scored| self.conclude(scored));
        Ok(scored)
    }

    /// [`Self::score`] without a look at the region of interest, and without scores.
    fn score_all(&self, images: &[f32], keep: Keep) -> Result<Vec<Scored>> {
        let ScoringSettings { height, width, .. } = self.header.scoring;
        let image_len = CHANNELS * height * width;
        ModelError::length("a batch of images", images.len(), images.len() / image_len * image_len)?;
        let mut scored = match self.reconstructor.maps(images, keep)? {
            Some(scored) => scored,
            None => self.maps_on_cpu(images, keep)?,
        };
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
        }
        Ok(scored)
    }

    /// The maps of reconstructions, whatever device they come from.
    fn maps_on_cpu(&self, images: &[f32], keep: Keep) -> Result<Vec<Scored>> {
        let ScoringSettings {
            height,
            width,
            smoothing,
            similarity,
            scales,
            ..
        } = self.header.scoring;
        let passes = self.header.scoring.passes();
        let pixels = height * width;
        let image_len = CHANNELS * pixels;
        let blank = Scored {
            score: 0.0,
            map: vec![0.0; pixels],
            region_maps: Vec::new(),
            reconstruction: match keep {
                Keep::Map => Vec::new(),
                Keep::All => vec![0.0; image_len],
            },
        };
        let mut scored = vec![blank; images.len() / image_len];
        let share = 1.0 / passes.len() as f32;
        for region_size in passes {
            let reconstructions = self.reconstructor.reconstruct(images, region_size)?;
            scored
                .par_iter_mut()
                .zip(images.par_chunks(image_len))
                .zip(reconstructions.par_chunks(image_len))
                .try_for_each(|((scored, image), reconstruction)| -> Result<()> {
                    let similar = similarity_map(image, reconstruction, (height, width), similarity, scales)?;
                    let mut map = smooth::mean_filter(&similar, height, width, smoothing)?;
                    map.iter_mut().for_each(|v| *v = (1.0 - *v).clamp(0.0, 1.0));
                    scored.map.iter_mut().zip(&map).for_each(|(sum, v)| *sum += v * share);
                    scored
                        .reconstruction
                        .iter_mut()
                        .zip(reconstruction)
                        .for_each(|(sum, v)| *sum += v * share);
                    if keep == Keep::All {
                        scored.region_maps.push(map);
                    }
                    Ok(())
                })?;
        }
        Ok(scored)
    }
}

/// How similar an image and its reconstruction are, `[3, H, W]` in [0, 1] each: `[H, W]` in [0, 1].
fn similarity_map(
    image: &[f32],
    reconstruction: &[f32],
    (height, width): (usize, usize),
    similarity: Similarity,
    scales: usize,
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
            gms::map(&image, &reconstruction, height, width, scales)
        }
        Similarity::GmsColour => mean_over_channels(image, reconstruction, |image, reconstruction| {
            gms::map(image, reconstruction, height, width, scales)
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
    /// The masks of an image, where the plan keeps them on a GPU.
    masks: Option<CudaMasks>,
}

impl Reconstructor {
    pub(crate) fn new(plan: Plan, settings: &ScoringSettings) -> Result<Self> {
        settings.check()?;
        let mut reconstructor = Self {
            plan,
            settings: settings.clone(),
            masks: None,
        };
        if let Plan::Cuda(plan) = &reconstructor.plan {
            let passes = settings.passes().into_iter();
            let maskings: Vec<Masking> = passes
                .map(|pass| reconstructor.masking(pass, 1))
                .collect::<Result<_>>()?;
            reconstructor.masks = Some(plan.masks(&maskings, 0)?);
        }
        Ok(reconstructor)
    }

    /// The masks of `count` images, the same for each.
    fn masking(&self, region_size: Option<usize>, count: usize) -> Result<Masking> {
        let ScoringSettings {
            height,
            width,
            normalisation,
            sets,
            mask_seed,
            ..
        } = self.settings;
        let seeds = vec![mask_seed_of(mask_seed, region_size); count];
        Masking::sample(region_size, sets, (height, width), &seeds, normalisation)
    }

    fn on_gpu(&self) -> Option<(&CudaPlan, &CudaMasks)> {
        match (&self.plan, &self.masks) {
            (Plan::Cuda(plan), Some(masks)) => Some((&**plan, masks)),
            _ => None,
        }
    }

    /// Maps that a GPU makes, before a normal map is taken away, without scores; `None` where it does not.
    fn maps(&self, images: &[f32], keep: Keep) -> Result<Option<Vec<Scored>>> {
        let ScoringSettings {
            height,
            width,
            smoothing,
            similarity,
            scales,
            ..
        } = self.settings;
        let planes = match similarity {
            Similarity::GmsGrey => Planes::Grey,
            Similarity::GmsColour => Planes::Colours,
            Similarity::Ssim | Similarity::L2 => return Ok(None),
        };
        let Some((plan, masks)) = self.on_gpu() else {
            return Ok(None);
        };
        let settings = MapSettings {
            planes,
            scales,
            smoothing,
        };
        let pixels = height * width;
        let maps = plan.maps(images, masks, settings, keep == Keep::All)?;
        let of_image = self.settings.passes().len() * pixels;
        let mut regions = maps.regions.chunks_exact(of_image);
        let mut reconstructions = maps.reconstructions.chunks_exact(CHANNELS * pixels);
        let scored = maps.means.chunks_exact(pixels).map(|map| Scored {
            score: 0.0,
            map: map.to_vec(),
            region_maps: regions.next().map_or_else(Vec::new, |maps| {
                maps.chunks_exact(pixels).map(<[f32]>::to_vec).collect()
            }),
            reconstruction: reconstructions.next().map_or_else(Vec::new, <[f32]>::to_vec),
        });
        Ok(Some(scored.collect()))
    }

    /// Reconstructions of images `[B, 3, H, W]` with regions of one size, or with nothing hidden. Every image has the same
    /// masks, drawn from the settings' seed.
    fn reconstruct(&self, images: &[f32], region_size: Option<usize>) -> Result<Vec<f32>> {
        let count = images.len() / (CHANNELS * self.settings.height * self.settings.width);
        self.plan.reconstruct(images, &self.masking(region_size, count)?)
    }

    /// The loss of a batch of images with fixed masks, the mean over all region sizes: what early stopping watches.
    pub(crate) fn validation_loss(&self, images: &[f32], weights: LossWeights) -> Result<LossTerms> {
        if let Some((plan, masks)) = self.on_gpu() {
            return plan.loss(images, masks, weights);
        }
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
mod tests;
