//! Passes through the network, and scoring.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use riad_core::Masks;
use riad_model::{Checkpoint, Device, Keep, Method, Precision, Scored, Scorer, ScoringSettings, Similarity};

use crate::{Workload, read_floats, timed};

/// Images scored at once, as `riad score` does.
const BATCH: usize = 4;

/// Images through a scorer, some at once; what is of interest of each result.
pub(crate) struct Scoring {
    scorer: Scorer,
    images: Vec<f32>,
    values_at_once: usize,
    macs: u64,
    /// What the scorer keeps of an image, for `result`.
    keep: Keep,
    result: fn(Scored) -> Vec<f32>,
}

/// One pass for each of `batch` images: a single set of masks hides all of the image, so the reconstruction is what the
/// network makes of an empty input. Masking, composing, one map and its smoothing are part of it.
pub(crate) fn forward(directory: &Path, preset: &str, batch: usize, precision: Precision) -> Result<Scoring> {
    let mut settings = ScoringSettings::default();
    (settings.region_sizes, settings.sets) = (vec![8], 1);
    let network = Network {
        directory,
        preset,
        precision,
    };
    Scoring::new(network, settings, batch, batch, Keep::All, |scored| {
        scored.reconstruction
    })
}

/// Twelve passes and four maps for each image.
pub(crate) fn scoring(directory: &Path, preset: &str, images: usize, precision: Precision) -> Result<Scoring> {
    let network = Network {
        directory,
        preset,
        precision,
    };
    let settings = ScoringSettings::default();
    Scoring::new(network, settings, images, BATCH, Keep::Map, |scored| {
        scored.map.into_values()
    })
}

/// One pass and one map for each image, of the edges of each colour and the difference in colour.
pub(crate) fn restoring(
    directory: &Path,
    preset: &str,
    size: usize,
    images: usize,
    precision: Precision,
) -> Result<Scoring> {
    let preset = format!("restore-{preset}");
    let network = Network {
        directory,
        preset: &preset,
        precision,
    };
    let mut settings = Method::RESTORE.settings(size, size);
    settings.similarity = Similarity::GmsColour;
    Scoring::new(network, settings, images, BATCH, Keep::Map, |scored| {
        scored.map.into_values()
    })
}

/// What scores.
struct Network<'a> {
    directory: &'a Path,
    preset: &'a str,
    precision: Precision,
}

impl Scoring {
    fn new(
        Network {
            directory,
            preset,
            precision,
        }: Network,
        settings: ScoringSettings,
        count: usize,
        at_once: usize,
        keep: Keep,
        result: fn(Scored) -> Vec<f32>,
    ) -> Result<Self> {
        let mut checkpoint = Checkpoint::open(&directory.join(format!("weights-{preset}.safetensors")))?;
        let architecture = checkpoint.header.architecture;
        let image_len = architecture.channels() * settings.size().pixels();
        let passes = count * settings.passes_per_image();
        let macs = passes as u64 * architecture.macs(settings.height, settings.width)?;
        let images = directory.join(format!("images-{}.f32", settings.height));
        checkpoint.header.scoring = settings;
        Ok(Self {
            scorer: Scorer::new(&checkpoint, &Device::CPU, precision)?,
            images: read_floats(&images, count * image_len)?,
            values_at_once: at_once * image_len,
            macs,
            keep,
            result,
        })
    }
}

impl Workload for Scoring {
    fn run(&mut self) -> Result<(f64, Vec<f64>)> {
        let (seconds, scored) = timed(|| {
            let mut scored = Vec::new();
            for images in self.images.chunks(self.values_at_once) {
                scored.extend(self.scorer.score(images, self.keep)?);
            }
            Ok(scored)
        })?;
        let values = scored.into_iter().flat_map(self.result).map(f64::from).collect();
        Ok((seconds, values))
    }

    fn macs(&self) -> u64 {
        self.macs
    }
}

/// Writes the masks with which images are scored, for the peers: the set of each pixel, a plane for each region size.
pub(crate) fn write_masks(directory: &Path) -> Result<()> {
    let settings = ScoringSettings::default();
    let size = settings.size();
    let mut planes = Vec::new();
    for region_size in settings.region_sizes {
        let seed = region_seed(settings.mask_seed, region_size);
        let masks = Masks::sample(region_size, settings.sets, size, seed)?;
        for y in 0..size.height {
            planes.extend((0..size.width).filter_map(|x| masks.set_of(y, x)).map(|set| set as u8));
        }
    }
    let path = directory.join("masks.u8");
    fs::write(&path, planes).with_context(|| format!("cannot write {}", path.display()))
}

/// riad-model's seed of a region size's masks: SplitMix64 over both numbers. Were it to change there, the comparison of
/// results that comes before every timing would tell.
fn region_seed(mask_seed: u64, region_size: usize) -> u64 {
    [mask_seed, region_size as u64].into_iter().fold(0, |state: u64, part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}
