//! The settings that decide an image's score, together with the weights.

use std::{fmt, str::FromStr};

use riad_core::{Map, Size, similarity::gms, smooth::mean_filter};
use serde::{Deserialize, Serialize};

use super::{InputFilter, Method, Normal, Normalisation, Roi, Tiling};
use crate::{
    ModelError, Result,
    network::{Architecture, check_size},
};

/// The largest side of a mean filter in pixels: no image is larger.
const MAX_SMOOTHING: usize = 16384;

/// The largest weight of differences in colour: beyond it running sums would lose all else.
const MAX_CHROMA: f32 = 1e4;

/// How a map compares an image with its reconstruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Similarity {
    /// Multi-scale GMS of Rec. 601 luma, as in GMSD. The published method builds on it.
    GmsGrey,
    /// Multi-scale GMS of each colour channel; the map is the mean of the three. It also shows a stain that is as
    /// bright as its surroundings.
    GmsColour,
    /// SSIM, brought from [-1, 1] to [0, 1], the mean over the channels.
    Ssim,
    /// One minus the squared error, the mean over the channels.
    L2,
}

impl Similarity {
    /// All there are.
    pub const ALL: &[Self] = &[Self::GmsColour, Self::GmsGrey, Self::Ssim, Self::L2];

    /// Its name, for people, in checkpoints and in exported files.
    pub fn name(self) -> &'static str {
        match self {
            Self::GmsColour => "gms-colour",
            Self::GmsGrey => "gms-grey",
            Self::Ssim => "ssim",
            Self::L2 => "l2",
        }
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Similarity {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self> {
        let similarity = Self::ALL.iter().copied().find(|similarity| similarity.name() == name);
        similarity.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|similarity| similarity.name()).collect();
            ModelError::Setting(format!(
                "there is no similarity {name:?}; there are {}",
                names.join(", ")
            ))
        })
    }
}

/// All settings that decide an image's score, together with the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoringSettings {
    /// The method.
    pub method: Method,
    /// Height of the network's input in pixels, at least 16: of a whole image or a tile.
    pub height: usize,
    /// Width of the network's input in pixels, at least 16.
    pub width: usize,
    /// How tiles are cut from larger images. `None`: images are resized to the network's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiling: Option<Tiling>,
    /// The sample value that is white in files of integers, at least 1. `None`: the largest value that a file's samples
    /// can have. Training and scoring use the same value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub white_level: Option<u16>,
    /// How values are brought to the network's range.
    pub normalisation: Normalisation,
    /// The input of the network.
    #[serde(default, skip_serializing_if = "InputFilter::is_none")]
    pub input: InputFilter,
    /// Region sizes K in pixels. A method that hides nothing has none.
    #[doc(alias = "k")]
    pub region_sizes: Vec<usize>,
    /// Number n of disjoint mask sets for each region size.
    #[doc(alias = "n")]
    pub sets: usize,
    /// Seed of the masks.
    pub mask_seed: u64,
    /// Side of the mean filter over each map, in pixels; odd.
    pub smoothing: usize,
    /// How maps compare.
    pub similarity: Similarity,
    /// Number of scales of GMS maps, 1 to 4. Each scale has half the resolution of the one before.
    pub scales: usize,
    /// Weight of the [difference in colour](riad_core::similarity::chroma) that is added to the map of
    /// [`Self::similarity`], up to 10,000. 0 leaves it out, as published. Before what is normal is subtracted, a map is
    /// at most 1 for any weight.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chroma: f32,
}

fn is_zero(weight: &f32) -> bool {
    *weight == 0.0
}

impl Default for ScoringSettings {
    /// The published settings: 256×256, K = {2, 4, 8, 16}, n = 3, GMS of luma at four scales, a 21×21 mean filter.
    fn default() -> Self {
        Self {
            method: Method::RIAD,
            height: 256,
            width: 256,
            tiling: None,
            white_level: None,
            normalisation: Normalisation::default(),
            input: InputFilter::None,
            region_sizes: vec![2, 4, 8, 16],
            sets: 3,
            mask_seed: 0,
            smoothing: 21,
            similarity: Similarity::GmsGrey,
            scales: gms::SCALES,
            chroma: 0.0,
        }
    }
}

impl ScoringSettings {
    /// The published settings for images of another size. The area that maps average over keeps its share of the
    /// shorter side: the mean filter has 21 pixels at 256, and 11 at 128. The coarsest of four GMS scales has 32 pixels
    /// at 256, so there are three scales at 128, and one if the side is too short for more.
    pub fn for_size(height: usize, width: usize) -> Self {
        let published = Self::default();
        let side = height.min(width);
        let smoothing = published.smoothing.saturating_mul(side) / published.height;
        let coarsest = published.height >> (published.scales - 1);
        let scales = (side / coarsest)
            .checked_ilog2()
            .map_or(1, |halvings| 1 + halvings as usize);
        Self {
            height,
            width,
            smoothing: smoothing | 1,
            scales: scales.min(published.scales),
            ..published
        }
    }

    /// The size of the network's input.
    pub fn size(&self) -> Size {
        Size::new(self.height, self.width)
    }

    /// Number of passes of the network for an image.
    pub fn passes_per_image(&self) -> usize {
        (self.region_sizes.len() * self.sets).max(1)
    }

    /// Checks that images can be masked, reconstructed and mapped with these settings.
    ///
    /// # Errors
    /// [`ModelError::Setting`] or [`ModelError::Mask`] names what is out of range.
    pub fn check(&self) -> Result<()> {
        check_size(self.size())?;
        if let Some(tiling) = self.tiling {
            tiling.check(self.size())?;
        }
        let Normalisation { mean, deviation } = self.normalisation;
        if !mean.is_finite() || !deviation.is_finite() || deviation == 0.0 {
            return Err(ModelError::Setting(format!(
                "images cannot be normalised by mean {mean} and deviation {deviation}"
            )));
        }
        if self.white_level == Some(0) {
            return Err(ModelError::Setting("a white level is at least 1".into()));
        }
        self.method.check(self)?;
        if self.smoothing > MAX_SMOOTHING {
            return Err(ModelError::Setting(format!(
                "the mean filter's side is at most {MAX_SMOOTHING} pixels, not {}",
                self.smoothing
            )));
        }
        mean_filter(&Map::filled(Size::new(1, 1), 0.0), self.smoothing)?;
        if !(1..=gms::SCALES).contains(&self.scales) {
            return Err(ModelError::Setting(format!(
                "maps have 1 to {} scales, not {}",
                gms::SCALES,
                self.scales
            )));
        }
        if !(0.0..=MAX_CHROMA).contains(&self.chroma) {
            return Err(ModelError::Setting(format!(
                "the weight of differences in colour must be within 0 to {MAX_CHROMA}, not {}",
                self.chroma
            )));
        }
        Ok(())
    }

    /// Checks that a network takes what these settings show it.
    pub(crate) fn check_network(&self, architecture: Architecture) -> Result<()> {
        let (sees, shown) = (architecture.inputs(), self.input.channels(architecture.channels()));
        if sees == shown {
            return Ok(());
        }
        Err(ModelError::Setting(format!(
            "the network takes {sees} channels, but the input filter {} gives {shown}",
            self.input
        )))
    }

    /// Checks that what is normal is so of these images.
    pub(crate) fn check_normal(&self, normal: &Normal) -> Result<()> {
        if normal.size() == self.size() && self.tiling.is_none() {
            return Ok(());
        }
        Err(ModelError::Setting(
            "what is normal has another size than the images, or the images are in tiles, which have no fixed place"
                .into(),
        ))
    }

    /// Checks that a region of interest is of a size that images have with these settings.
    pub(crate) fn check_roi(&self, roi: &Roi) -> Result<()> {
        let Size { height, width } = roi.size();
        let fits = match self.tiling {
            None => (height, width) == (self.height, self.width),
            Some(_) => height >= self.height && width >= self.width,
        };
        if fits {
            return Ok(());
        }
        Err(ModelError::Setting(format!(
            "the region of interest is {height}x{width} (height x width), but images are {}{}x{}",
            if self.tiling.is_some() { "at least " } else { "" },
            self.height,
            self.width
        )))
    }
}
