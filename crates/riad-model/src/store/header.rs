//! What a checkpoint says of itself.

use riad_core::{Appearance, Calibration};
use serde::{Deserialize, Serialize};

use super::{Progress, TrainConfig};
use crate::{
    Result,
    backend::Precision,
    error::ModelError,
    method::{Method, ScoringSettings},
    network::Architecture,
};

/// Version of the header's format that this crate writes, and the only one that it reads.
pub const FORMAT: u32 = 2;

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// Version of this format.
    pub format: u32,
    /// Version of the program that wrote it.
    pub riad_version: String,
    /// The network's shape.
    pub architecture: Architecture,
    /// How images are scored.
    pub scoring: ScoringSettings,
    /// How the weights were trained. `None` for imported weights.
    pub training: Option<TrainConfig>,
    /// The progress of training at these weights. `None` for imported weights.
    pub progress: Option<Progress>,
    /// The scores of good images that neither training nor any choice used. `None` if the model is not calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The precision of these scores. Another precision gives other scores. `None` if the model is not calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration_precision: Option<Precision>,
    /// The images that gave these scores: of each image the first 16 hexadecimal digits of its SHA-256, in ascending
    /// order. They tell which images cannot show how many good ones the threshold stops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibration_images: Vec<String>,
    /// What good images look like as a whole. `None` if there were too few images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appearance: Option<Appearance>,
}

impl Header {
    /// The method of the checkpoint.
    pub fn method(&self) -> Method {
        self.scoring.method
    }

    /// Takes the calibration away, because its scores are those of another model or of another map.
    pub fn forget_calibration(&mut self) {
        self.calibration = None;
        self.calibration_precision = None;
        self.calibration_images.clear();
    }

    /// Reads a header, and checks each of its numbers before anything is computed or allocated by it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(json: &str) -> Result<Self, String> {
        /// Read first: a newer format may not parse as ours.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| format!("its header cannot be read: {error}");
        let Version { format } = serde_json::from_str(json).map_err(unreadable)?;
        if format > FORMAT {
            return Err(format!(
                "its format {format} is newer than this program's ({FORMAT}); use the riad that wrote it, or a newer one"
            ));
        }
        if format < FORMAT {
            return Err(format!(
                "its format {format} is older than this program's ({FORMAT}), and this program does not read it; \
                 train again, or use the riad that wrote it"
            ));
        }
        let header: Self = serde_json::from_str(json).map_err(unreadable)?;
        let check = header.check();
        check.map_err(|error| format!("its header cannot be used: {error}"))?;
        Ok(header)
    }

    /// Checks that each number is in its range, and that none contradicts another.
    ///
    /// # Errors
    /// The first that is not or does.
    pub(super) fn check(&self) -> Result<()> {
        self.architecture.check()?;
        self.scoring.check()?;
        self.scoring.check_network(self.architecture)?;
        let channels = self.architecture.channels();
        if self.appearance.as_ref().is_some_and(|of| of.channels() != channels) {
            return Err(ModelError::Setting(format!(
                "what good images look like is told of images that do not have {channels} channels"
            )));
        }
        if let Some(training) = &self.training {
            training.check()?;
            if training.architecture != self.architecture {
                return Err(ModelError::Setting("there are two architectures".into()));
            }
            if let Some(progress) = &self.progress {
                progress.check(training)?;
            }
        }
        Ok(())
    }
}
