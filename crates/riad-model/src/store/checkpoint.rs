//! Checkpoints: safetensors files with one JSON header that holds everything scoring needs.
//!
//! A checkpoint of this program has the metadata entry `riad` with a [`Header`] as JSON. A file without it, safetensors
//! or PyTorch's `.pt`/`.pth`, counts as weights of the public PyTorch code. It is scored with the published settings.

use std::{collections::HashMap, io::Read, path::Path};

use riad_core::{Map, Size};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    config::TrainConfig,
    files::{file_of, open_file, write_whole},
    header::{FORMAT, Header},
    progress::Progress,
    pytorch::read_pytorch,
};
use crate::{
    Result,
    error::ModelError,
    method::{Method, Normal, Roi, ScoringSettings},
    network::{Moments, NamedTensors, TensorSpec, Weights},
};

const METADATA_KEY: &str = "riad";
const NORMAL: [&str; 2] = ["riad.normal.mean", "riad.normal.deviation"];
const ROI: &str = "riad.roi";

/// A network's weights and how to use them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Settings and history.
    pub header: Header,
    /// The network's tensors.
    pub weights: Weights,
    /// The usual values of good images' maps at each place, of the size in the scoring settings. `None` subtracts
    /// nothing, as published. With tiles it is `None`, because a place in a tile is not a place on the product.
    pub normal: Option<Normal>,
    /// The region of interest, of the size in the scoring settings. With tiles it has the images' own size, and all
    /// images must have this size. `None` means the whole image.
    pub roi: Option<Roi>,
}

/// Bytes that the header of a safetensors file has, at most.
const MOST_HEADER: u64 = 100_000_000;

impl Checkpoint {
    /// Weights and settings, without a calibration and without maps of what is normal.
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
            calibration_precision: None,
            calibration_images: Vec::new(),
            appearance: None,
        };
        Self {
            header,
            weights,
            normal: None,
            roi: None,
        }
    }

    /// Reads a checkpoint: a run's folder (its best weights), a safetensors file, or a PyTorch state dict (`.pt`,
    /// `.pth`) with the public names, also nested under `model` or `state_dict`.
    ///
    /// # Errors
    /// If the file cannot be read, is not a checkpoint, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with_moments(&file_of(path)?).map(|(checkpoint, _)| checkpoint)
    }

    pub(crate) fn open_with_moments(path: &Path) -> Result<(Self, Moments)> {
        let mut file = open_file(path).map_err(ModelError::io(path))?;
        let mut bytes = Vec::new();
        let head = (&mut file).take(size_of::<u64>() as u64).read_to_end(&mut bytes);
        head.map_err(ModelError::io(path))?;
        if bytes.starts_with(b"PK\x03\x04") {
            let tensors = read_pytorch(path)?;
            return Self::from_foreign(path, tensors).map(|checkpoint| (checkpoint, Moments::new()));
        }
        if bytes.starts_with(&[0x80]) && bytes.get(1).is_some_and(|v| (2..=5).contains(v)) {
            return Err(invalid(
                path,
                "it is in PyTorch's old format from before 1.6; load it with torch and save it again with torch.save",
            ));
        }
        // The file begins with the length of its header. What begins otherwise is not read to its end: it may have none.
        let header = bytes.as_slice().try_into().map(u64::from_le_bytes);
        if !header.is_ok_and(|length| (1..=MOST_HEADER).contains(&length)) {
            return Err(invalid(
                path,
                "it is not a complete safetensors file; make or copy it again",
            ));
        }
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
        let weights = Weights::from_foreign(tensors).map_err(|reason| invalid(path, reason))?;
        let scoring = Method::settings_of_foreign(weights.architecture());
        Ok(Self::new(weights, scoring, None, None))
    }

    fn from_own(path: &Path, json: &str, mut tensors: NamedTensors) -> Result<(Self, Moments)> {
        let header = Header::parse(json).map_err(|reason| invalid(path, reason))?;
        let mut moments = Moments::new();
        let network = header
            .architecture
            .network()
            .map_err(|error| invalid(path, error.to_string()))?;
        for TensorSpec { name, shape, role } in network.tensors() {
            let [first, second] = [0, 1].map(|index| tensors.remove(&moment_name(index, &name)));
            match (first, second) {
                (None, None) => {}
                (Some((of_first, first)), Some((of_second, second)))
                    if role.is_trained() && of_first == shape && of_second == shape && are_moments(&first, &second) =>
                {
                    moments.insert(name, [first, second]);
                }
                _ => {
                    let reason =
                        format!("the optimiser's state of the tensor {name} has another shape, or is incomplete");
                    return Err(invalid(path, reason));
                }
            }
        }
        let normal = match NORMAL.map(|name| tensors.remove(name)) {
            [None, None] => None,
            [Some(mean), Some(deviation)] => Some(
                normal(&header.scoring, mean, deviation)
                    .map_err(|error| invalid(path, format!("what is normal cannot be used: {error}")))?,
            ),
            _ => return Err(invalid(path, format!("of {} there is but one", NORMAL.join(" and ")))),
        };
        let roi = match tensors.remove(ROI) {
            Some((shape, values)) => Some(
                roi(&header.scoring, &shape, &values)
                    .map_err(|error| invalid(path, format!("its region of interest cannot be used: {error}")))?,
            ),
            None => None,
        };
        let weights = Weights::from_tensors(header.architecture, tensors).map_err(|reason| invalid(path, reason))?;
        let checkpoint = Self {
            header,
            weights,
            normal,
            roi,
        };
        Ok((checkpoint, moments))
    }

    /// Checks that the header and what goes with it fit each other, as they do in a checkpoint that was read.
    ///
    /// # Errors
    /// [`ModelError::Setting`] names what does not.
    pub(crate) fn check(&self) -> Result<()> {
        self.header.check()?;
        if self.header.architecture != self.weights.architecture() {
            return Err(ModelError::Setting(
                "the checkpoint's weights do not fit the architecture in its header".into(),
            ));
        }
        let scoring = &self.header.scoring;
        self.normal
            .as_ref()
            .map_or(Ok(()), |normal| scoring.check_normal(normal))?;
        self.roi.as_ref().map_or(Ok(()), |roi| scoring.check_roi(roi))
    }

    /// Writes the checkpoint beside `path` and renames it there, so `path` is either complete or unchanged.
    ///
    /// # Errors
    /// If its parts contradict each other, or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_with_moments(path, &Moments::new())
    }

    pub(crate) fn save_with_moments(&self, path: &Path, moments: &Moments) -> Result<()> {
        self.check()?;
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for TensorSpec { name, shape, .. } in self.weights.network().tensors() {
            if let Some(pair) = moments.get(&name) {
                for (index, values) in pair.iter().enumerate() {
                    tensors.push((moment_name(index, &name), shape.clone(), bytes(values)));
                }
            }
            let values = bytes(self.weights.get(&name));
            tensors.push((name, shape, values));
        }
        if let Some(normal) = &self.normal {
            let Size { height, width } = normal.size();
            for (name, map) in NORMAL.into_iter().zip([normal.mean(), normal.deviation()]) {
                tensors.push((name.to_owned(), vec![height, width], bytes(map.values())));
            }
        }
        let roi = self.roi.as_ref().map(|roi| {
            let Size { height, width } = roi.size();
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

/// What is normal in a checkpoint with these settings.
fn normal(
    scoring: &ScoringSettings,
    mean: (Vec<usize>, Vec<f32>),
    deviation: (Vec<usize>, Vec<f32>),
) -> Result<Normal> {
    let map = |(shape, values): (Vec<usize>, Vec<f32>)| Ok::<_, ModelError>(Map::new(size_of_map(&shape)?, values)?);
    let normal = Normal::new(map(mean)?, map(deviation)?)?;
    scoring.check_normal(&normal)?;
    Ok(normal)
}

/// The region of interest in a checkpoint with these settings.
fn roi(scoring: &ScoringSettings, shape: &[usize], values: &[f32]) -> Result<Roi> {
    let inside = values.iter().map(|value| *value != 0.0).collect();
    let roi = Roi::new(Map::new(size_of_map(shape)?, inside)?)?;
    scoring.check_roi(&roi)?;
    Ok(roi)
}

fn size_of_map(shape: &[usize]) -> Result<Size> {
    match *shape {
        [height, width] => Ok(Size::new(height, width)),
        _ => Err(ModelError::Setting(format!("it has {} dimensions, not 2", shape.len()))),
    }
}

pub(super) fn invalid(path: &Path, reason: impl Into<String>) -> ModelError {
    ModelError::Checkpoint {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Whether values are finite, and second moments, which are means of squares, not below 0.
fn are_moments(first: &[f32], second: &[f32]) -> bool {
    first.iter().all(|value| value.is_finite()) && second.iter().all(|value| value.is_finite() && *value >= 0.0)
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
