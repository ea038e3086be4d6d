//! `settings.json` says how a run was started, and with which images. So the folder alone is enough to go on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use riad_data::{Layout, Pattern, Reader, Shares};
use riad_model::TrainConfig;
use serde::{Deserialize, Serialize};

use crate::{Error, Protocol, Result, names::serde_path};

pub(crate) const SETTINGS: &str = "settings.json";

/// The mask of the region of interest, as it was given.
pub(crate) const ROI: &str = "roi";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Version of the program that started the run.
    pub(crate) riad_version: String,
    /// The category's folder.
    #[serde(with = "serde_path")]
    pub(crate) data: PathBuf,
    /// How it is read.
    pub(crate) layout: Layout,
    pub(crate) validation_share: f64,
    pub(crate) calibration_share: f64,
    /// Which files make one image together; `None` where each file is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bands: Option<Pattern>,
    /// Which images show one part, as it was given.
    pub(crate) group_by: Option<String>,
    /// Images below the category's folder that are left out.
    pub(crate) without: Vec<String>,
    pub(crate) protocol: Protocol,
    /// SHA-256 of the mask of the region of interest, which the run keeps; `None` where all is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) roi: Option<String>,
    /// SHA-256 of the weights that training started with, if they were those of another model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    pub(crate) training: TrainConfig,
    pub(crate) images: Vec<ImageRecord>,
}

impl Settings {
    /// Reads those of the run in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(SETTINGS);
        let json = fs::read(&path).map_err(|cause| Error::NoRun {
            folder: folder.to_owned(),
            cause,
        })?;
        let settings: Settings = serde_json::from_slice(&json).map_err(Error::damaged(&path))?;
        // Nothing is computed or allocated by a number from a file that was not looked at.
        settings.training.check().map_err(Error::damaged(&path))?;
        settings.reader().check().map_err(Error::damaged(&path))?;
        Ok(settings)
    }

    /// How the run's images are read.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.training.architecture.channels())
            .with_pattern(self.bands.clone())
            .with_white_level(self.training.scoring.white_level)
    }

    pub(crate) fn shares(&self) -> Shares {
        Shares {
            validation: self.validation_share,
            calibration: self.calibration_share,
        }
    }
}

/// An image that a run was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// Path below the category's folder, as [`relative`](crate::names::relative) writes it; of several files that make an image that of the first.
    pub(crate) name: String,
    /// Of [`image_sha256`](crate::files::image_sha256).
    pub(crate) sha256: String,
    /// Whether the validation loss is computed with it.
    pub(crate) validation: bool,
    /// Whether thresholds come from it.
    pub(crate) calibration: bool,
}

impl ImageRecord {
    /// Whether it is held out for nothing.
    pub(crate) fn is_trained_on(&self) -> bool {
        !self.validation && !self.calibration
    }
}

/// The folder of the run that a model lies in: the model itself, or the folder of a checkpoint; `None` if it lies in none.
pub(crate) fn folder_of(model: &Path) -> Option<&Path> {
    let folder = if model.is_dir() { Some(model) } else { model.parent() };
    folder.filter(|folder| folder.join(SETTINGS).exists())
}

/// Which files make one image of a model together: as is `given`, or as in the run that the model lies in.
///
/// # Errors
/// If that run's settings cannot be read.
pub(crate) fn bands_of(model: &Path, given: Option<&Pattern>) -> Result<Option<Pattern>> {
    match given {
        Some(given) => Ok(Some(given.clone())),
        None => Ok(match folder_of(model) {
            Some(folder) => Settings::open(folder)?.bands,
            None => None,
        }),
    }
}
