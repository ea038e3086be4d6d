//! Networks and scorers as files for other programs.

mod onnx;
mod scorer_nodes;
mod torch;

use std::str::FromStr;

pub use onnx::{onnx_network, onnx_scorer};
pub use torch::torch_state_dict;

use crate::{Checkpoint, ModelError, Result};

/// A format for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// [`onnx_scorer`].
    Onnx,
    /// [`onnx_network`].
    OnnxNetwork,
    /// [`torch_state_dict`].
    Torch,
}

impl Format {
    /// All formats.
    pub const ALL: &[Self] = &[Self::Onnx, Self::OnnxNetwork, Self::Torch];

    /// `onnx`, `onnx-network` or `torch`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::OnnxNetwork => "onnx-network",
            Self::Torch => "torch",
        }
    }

    /// What is written, in words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Onnx => "The whole scorer as an ONNX graph: image in, map and score out",
            Self::OnnxNetwork => {
                "The network alone as an ONNX graph: an image with hidden regions in, the whole image out"
            }
            Self::Torch => {
                "The network's weights as a PyTorch state dict, with the names that public implementations use. It does not have \
                 the method, settings, thresholds, white level or region of interest: read again, it is taken for RIAD"
            }
        }
    }

    /// The endings of its files.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Onnx | Self::OnnxNetwork => &["onnx"],
            Self::Torch => &["pth", "pt"],
        }
    }

    /// The file's content for a model.
    ///
    /// # Errors
    /// As [`onnx_scorer`] and [`torch_state_dict`].
    pub fn bytes(self, checkpoint: &Checkpoint) -> Result<Vec<u8>> {
        match self {
            Self::Onnx => onnx_scorer(checkpoint),
            Self::OnnxNetwork => Ok(onnx_network(checkpoint)),
            Self::Torch => torch_state_dict(&checkpoint.weights),
        }
    }
}

impl FromStr for Format {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().copied().find(|format| format.name() == name);
        found.ok_or_else(|| {
            ModelError::Setting(format!(
                "there is no export format {name:?}; there are onnx, onnx-network and torch"
            ))
        })
    }
}

#[cfg(test)]
#[cfg(feature = "candle")]
mod tests;
