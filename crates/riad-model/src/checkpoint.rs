//! Checkpoints: safetensors files with one JSON header that holds everything scoring needs.
//!
//! A checkpoint of this program has the metadata entry `riad` with a [`Header`] as JSON. Files without it, safetensors
//! or PyTorch's `.pt`/`.pth`, are taken as weights of the public PyTorch code and scored with the published settings.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use riad_core::{Calibration, Masks, similarity::gms};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    architecture::{Architecture, TensorSpec},
    error::ModelError,
    masking::{Normalisation, check_size},
    roi::Roi,
    tiling::Tiling,
    training::{Progress, TrainConfig},
    weights::{NamedTensors, Weights},
};

/// Version of the header's format that this crate writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The weights of the best epoch so far, what a run is scored with.
pub const BEST: &str = "best.safetensors";
/// The state of a run, from which it resumes.
pub const LAST: &str = "last.safetensors";

const METADATA_KEY: &str = "riad";
const NORMAL_MAP: &str = "riad.normal_map";
const ROI: &str = "riad.roi";

/// By what an image is compared with its reconstruction for a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Similarity {
    /// Multi-scale GMS of Rec. 601 luma, as in GMSD, on which the published method builds.
    #[serde(alias = "grey")]
    GmsGrey,
    /// Multi-scale GMS of each colour channel; the map is the mean of the three. It sees a stain as bright as what it
    /// covers.
    #[serde(alias = "colour")]
    GmsColour,
    /// SSIM, brought from [-1, 1] to [0, 1], the mean over the channels.
    Ssim,
    /// One minus the squared error, the mean over the channels.
    L2,
}

/// Everything besides weights that decides an image's score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoringSettings {
    /// Height in pixels of what the network looks at, from 16: a whole image, or a tile of one.
    pub height: usize,
    /// Width in pixels of what the network looks at, from 16.
    pub width: usize,
    /// How tiles are cut from larger images; `None` where images are resized to the network's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiling: Option<Tiling>,
    /// How values are brought to the network's range.
    pub normalisation: Normalisation,
    /// Region sizes K in pixels. Where there are none, nothing is hidden: a plain autoencoder reconstructs what it sees.
    pub region_sizes: Vec<usize>,
    /// Number n of disjoint mask sets for each region size.
    pub sets: usize,
    /// Seed of the masks.
    pub mask_seed: u64,
    /// Side of the mean filter over each map, in pixels; odd.
    pub smoothing: usize,
    /// What the maps tell of.
    #[serde(alias = "edges")]
    pub similarity: Similarity,
    /// Number of scales that maps of GMS are the mean of, 1 to 4, each half as fine as the one before.
    #[serde(default = "published_scales")]
    pub scales: usize,
}

/// What checkpoints have whose header does not say.
fn published_scales() -> usize {
    gms::SCALES
}

impl Default for ScoringSettings {
    /// The published settings: 256×256, K = {2, 4, 8, 16}, n = 3, GMS of luma at four scales, a 21×21 mean filter.
    fn default() -> Self {
        Self {
            height: 256,
            width: 256,
            tiling: None,
            normalisation: Normalisation::default(),
            region_sizes: vec![2, 4, 8, 16],
            sets: 3,
            mask_seed: 0,
            smoothing: 21,
            similarity: Similarity::GmsGrey,
            scales: published_scales(),
        }
    }
}

impl ScoringSettings {
    /// The published settings for images of another size. What maps average over keeps its share of the shorter side: a mean
    /// filter of 21 pixels of 256 is one of 11 of 128, and as the coarsest of four scales of GMS has 32 pixels for 256, there
    /// are three at 128, and one where the side is too short for more.
    pub fn for_size(height: usize, width: usize) -> Self {
        let published = Self::default();
        let side = height.min(width);
        let smoothing = published.smoothing * side / published.height;
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

    /// Region sizes, one for each reconstruction of an image; a single `None` where nothing is hidden.
    pub(crate) fn passes(&self) -> Vec<Option<usize>> {
        if self.region_sizes.is_empty() {
            return vec![None];
        }
        self.region_sizes.iter().copied().map(Some).collect()
    }

    /// How often the network is run over an image.
    pub fn passes_per_image(&self) -> usize {
        (self.region_sizes.len() * self.sets).max(1)
    }

    /// Checks that images can be masked, reconstructed and mapped with these settings.
    pub(crate) fn check(&self) -> Result<()> {
        check_size(self.height, self.width)?;
        if let Some(tiling) = self.tiling {
            tiling.check(self.height, self.width)?;
        }
        let Normalisation { mean, deviation } = self.normalisation;
        if !mean.is_finite() || !deviation.is_finite() || deviation == 0.0 {
            return Err(ModelError::Setting(format!(
                "images cannot be normalised by mean {mean} and deviation {deviation}"
            )));
        }
        for &region_size in &self.region_sizes {
            Masks::sample(region_size, self.sets, self.height, self.width, self.mask_seed)?;
        }
        riad_core::smooth::mean_filter(&[0.0], 1, 1, self.smoothing)?;
        if !(1..=gms::SCALES).contains(&self.scales) {
            return Err(ModelError::Setting(format!(
                "maps have 1 to {} scales, not {}",
                gms::SCALES,
                self.scales
            )));
        }
        Ok(())
    }

    /// Checks that a region of interest is of a size that images have with these settings.
    pub(crate) fn check_roi(&self, roi: &Roi) -> Result<()> {
        let (height, width) = roi.size();
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

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of this format.
    pub format: u32,
    /// Version of the program that wrote it.
    pub riad_version: String,
    /// The network's shape.
    pub architecture: Architecture,
    /// How images are scored.
    pub scoring: ScoringSettings,
    /// How the weights were trained; `None` for imported ones.
    pub training: Option<TrainConfig>,
    /// How far training had come when these weights were taken; `None` for imported ones.
    pub progress: Option<Progress>,
    /// Scores that these weights give good images which nothing here was chosen by; `None` where nobody calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// A network's weights and how they are to be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Settings and history.
    pub header: Header,
    /// The network's tensors.
    pub weights: Weights,
    /// What good images' maps hold on average, `[H, W]` of the scoring settings. A network is less sure in some places than
    /// in others, at edges above all; where they are the same in every image, this tells them from defects. It is taken
    /// off every map; `None` takes nothing off, as published. With tiles there is none: places in a tile are no places on
    /// the product.
    pub normal_map: Option<Vec<f32>>,
    /// The part of images that is looked at, of the size in the scoring settings; with tiles of the images' own size, which
    /// all must have then. `None` looks at all.
    pub roi: Option<Roi>,
}

/// First and second moments of Adam, by the variable's name.
pub(crate) type Moments = BTreeMap<String, [Vec<f32>; 2]>;

impl Checkpoint {
    /// Weights and how they are to be used, not calibrated and without a normal map.
    pub fn new(
        weights: Weights,
        scoring: ScoringSettings,
        training: Option<TrainConfig>,
        progress: Option<Progress>,
    ) -> Self {
        let header = Header {
            format: FORMAT,
            riad_version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture: weights.architecture(),
            scoring,
            training,
            progress,
            calibration: None,
        };
        Self {
            header,
            weights,
            normal_map: None,
            roi: None,
        }
    }

    /// Reads a checkpoint: a run's folder (its best weights), a safetensors file, or a PyTorch state dict (`.pt`,
    /// `.pth`) with the public names, also nested under `model` or `state_dict`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with_moments(&file_of(path)?).map(|(checkpoint, _)| checkpoint)
    }

    pub(crate) fn open_with_moments(path: &Path) -> Result<(Self, Moments)> {
        let mut file = File::open(path).map_err(ModelError::io(path))?;
        let mut magic = [0; 4];
        let read = file.read(&mut magic).map_err(ModelError::io(path))?;
        if magic[..read].starts_with(b"PK\x03\x04") {
            let tensors = crate::import::read_pytorch(path)?;
            return Self::from_foreign(path, tensors).map(|checkpoint| (checkpoint, Moments::new()));
        }
        if magic[..read].starts_with(&[0x80]) && magic.get(1).is_some_and(|v| (2..=5).contains(v)) {
            return Err(invalid(
                path,
                "it is in PyTorch's old format from before 1.6; load it with torch and save it again with torch.save",
            ));
        }
        let mut bytes = magic[..read].to_vec();
        file.read_to_end(&mut bytes).map_err(ModelError::io(path))?;
        let corrupt = |error: safetensors::SafeTensorError| {
            invalid(
                path,
                format!("it is not a complete safetensors file ({error}); make or copy it again"),
            )
        };
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(corrupt)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(corrupt)?;
        let mut values = NamedTensors::new();
        for (name, view) in tensors.iter() {
            values.insert(name.to_owned(), (view.shape().to_vec(), floats(path, name, &view)?));
        }
        match metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(METADATA_KEY))
        {
            Some(json) => Self::from_own(path, json, values),
            None => Self::from_foreign(path, values).map(|checkpoint| (checkpoint, Moments::new())),
        }
    }

    fn from_foreign(path: &Path, tensors: NamedTensors) -> Result<Self> {
        let weights = Weights::from_tensors(tensors).map_err(|reason| invalid(path, reason))?;
        Ok(Self::new(weights, ScoringSettings::default(), None, None))
    }

    fn from_own(path: &Path, json: &str, mut tensors: NamedTensors) -> Result<(Self, Moments)> {
        /// Read first: a newer format may not parse as ours.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| invalid(path, format!("its header cannot be read: {error}"));
        let Version { format } = serde_json::from_str(json).map_err(unreadable)?;
        if format > FORMAT {
            return Err(invalid(
                path,
                format!(
                    "its format {format} is newer than this program's ({FORMAT}); use the riad that wrote it, or a newer one"
                ),
            ));
        }
        let header: Header = serde_json::from_str(json).map_err(unreadable)?;
        header
            .scoring
            .check()
            .map_err(|error| invalid(path, format!("its header is out of range: {error}")))?;
        let mut moments = Moments::new();
        for TensorSpec { name, .. } in header.architecture.tensors() {
            let first = tensors.remove(&moment_name(0, &name));
            let second = tensors.remove(&moment_name(1, &name));
            if let (Some((_, first)), Some((_, second))) = (first, second) {
                moments.insert(name, [first, second]);
            }
        }
        let size = [header.scoring.height, header.scoring.width];
        let normal_map = match tensors.remove(NORMAL_MAP) {
            Some((shape, values))
                if shape == size && header.scoring.tiling.is_none() && values.iter().all(|value| value.is_finite()) =>
            {
                Some(values)
            }
            Some(_) => {
                return Err(invalid(
                    path,
                    "its normal map is not of its images' size, or not finite",
                ));
            }
            None => None,
        };
        let roi = match tensors.remove(ROI) {
            Some((shape, values)) => Some(
                roi(&header.scoring, &shape, &values)
                    .map_err(|error| invalid(path, format!("its region of interest cannot be used: {error}")))?,
            ),
            None => None,
        };
        let weights = Weights::from_tensors(tensors).map_err(|reason| invalid(path, reason))?;
        if weights.architecture() != header.architecture {
            return Err(invalid(
                path,
                "its tensors are not of the architecture that its header names",
            ));
        }
        let checkpoint = Self {
            header,
            weights,
            normal_map,
            roi,
        };
        Ok((checkpoint, moments))
    }

    /// Writes the checkpoint beside `path` and renames it there, so that `path` is whole or as it was before.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_with_moments(path, &Moments::new())
    }

    pub(crate) fn save_with_moments(&self, path: &Path, moments: &Moments) -> Result<()> {
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for TensorSpec { name, shape, .. } in self.header.architecture.tensors() {
            if let Some(pair) = moments.get(&name) {
                for (index, values) in pair.iter().enumerate() {
                    tensors.push((moment_name(index, &name), shape.clone(), bytes(values)));
                }
            }
            let values = bytes(self.weights.get(&name));
            tensors.push((name, shape, values));
        }
        if let Some(values) = &self.normal_map {
            let ScoringSettings { height, width, .. } = self.header.scoring;
            tensors.push((NORMAL_MAP.to_owned(), vec![height, width], bytes(values)));
        }
        let roi = self.roi.as_ref().map(|roi| {
            let (height, width) = roi.size();
            let inside: Vec<u8> = roi.inside().iter().copied().map(u8::from).collect();
            (vec![height, width], inside)
        });
        let broken = |error: safetensors::SafeTensorError| invalid(path, format!("it cannot be written: {error}"));
        let mut views = tensors
            .iter()
            .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(broken)?;
        if let Some((shape, inside)) = &roi {
            let view = TensorView::new(Dtype::U8, shape.clone(), inside).map_err(broken)?;
            views.push((ROI, view));
        }
        let json = serde_json::to_string(&self.header)
            .map_err(|error| invalid(path, format!("its header cannot be written: {error}")))?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
        let file = safetensors::serialize(views, Some(metadata)).map_err(broken)?;
        write_whole(path, &file)
    }
}

/// The region of interest in a checkpoint with these settings.
fn roi(scoring: &ScoringSettings, shape: &[usize], values: &[f32]) -> Result<Roi> {
    let &[height, width] = shape else {
        return Err(ModelError::Setting(format!("it has {} dimensions, not 2", shape.len())));
    };
    let roi = Roi::new(height, width, values.iter().map(|value| *value != 0.0).collect())?;
    scoring.check_roi(&roi)?;
    Ok(roi)
}

/// The file to read for `path`: a run's best weights where it is a folder.
fn file_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let best = path.join(BEST);
    if best.is_file() {
        return Ok(best);
    }
    let reason = if path.join(LAST).is_file() {
        format!("the run has no {BEST} yet; let it train for an epoch first (riad train --resume)")
    } else {
        format!("this folder holds no run: there is no {BEST} in it")
    };
    Err(invalid(path, reason))
}

fn invalid(path: &Path, reason: impl Into<String>) -> ModelError {
    ModelError::Checkpoint {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn moment_name(index: usize, tensor: &str) -> String {
    format!("adam.{}.{tensor}", ["first", "second"][index])
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Vec<f32>> {
    let data = view.data();
    fn each<const N: usize>(data: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        data.as_chunks::<N>().0.iter().map(|&bytes| convert(bytes)).collect()
    }
    Ok(match view.dtype() {
        Dtype::F32 => each(data, f32::from_le_bytes),
        Dtype::F64 => each(data, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::I64 => each(data, |bytes| i64::from_le_bytes(bytes) as f32),
        Dtype::U8 => each(data, |bytes| f32::from(u8::from_le_bytes(bytes))),
        dtype => {
            return Err(invalid(
                path,
                format!("the tensor {name} is {dtype:?}; save the weights as float32"),
            ));
        }
    })
}

/// Writes `bytes` to `path` so that a kill at any instant leaves the old file or the new one: written beside under a
/// fixed name (a leftover is overwritten next time), flushed to the disk, renamed.
///
/// # Errors
/// If the file cannot be written there; `path` is as it was then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        // The rename itself is on the disk once the folder is; only Unix lets a folder be opened for that.
        #[cfg(unix)]
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(ModelError::io(path))
}
