//! The input of the network: the image, or the image without brightness and colour.

use std::{borrow::Cow, fmt, str::FromStr};

use rayon::prelude::*;
use riad_core::{
    Map, Size,
    edges::{high_pass, morphological_gradient},
    similarity::{Shape, gray},
};
use serde::{Deserialize, Serialize};

use crate::{ModelError, Result};

/// The window of [`InputFilter::HighPass`] of an image whose shorter side has 256 pixels; that of others is in proportion.
const HIGH_PASS_WINDOW: usize = 9;

/// The input of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum InputFilter {
    /// The image itself.
    #[default]
    None,
    /// The [morphological gradient](morphological_gradient) of the gray image, as in EdgRec: one channel.
    EdgesGrey,
    /// The morphological gradient of each channel.
    EdgesColour,
    /// The gray image minus its mean around each place, halved and shifted to 0.5: one channel. FAIR has a similar one.
    HighPass,
}

impl InputFilter {
    /// All there are.
    pub const ALL: &[Self] = &[Self::None, Self::EdgesGrey, Self::EdgesColour, Self::HighPass];

    /// Its name, for people and in checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EdgesGrey => "edges-grey",
            Self::EdgesColour => "edges-colour",
            Self::HighPass => "high-pass",
        }
    }

    /// Its description.
    pub fn about(self) -> &'static str {
        match self {
            Self::None => "the image",
            Self::EdgesGrey => "edges of grey",
            Self::EdgesColour => "edges of each channel",
            Self::HighPass => "a high pass of grey",
        }
    }

    /// Number of channels of the network's input for images of `channels` channels.
    pub fn channels(self, channels: usize) -> usize {
        match self {
            Self::None | Self::EdgesColour => channels,
            Self::EdgesGrey | Self::HighPass => 1,
        }
    }

    /// Whether the network sees images as they are.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The window in pixels of the mean that [`Self::HighPass`] takes off.
    pub(crate) fn window(size: Size) -> usize {
        (HIGH_PASS_WINDOW * size.height.min(size.width) / 256).max(3) | 1
    }

    /// What the network sees of images `[B, C, H, W]` in [0, 1]: `[B, channels, H, W]` in [0, 1].
    pub(crate) fn of(self, images: &[f32], shape: Shape) -> Result<Cow<'_, [f32]>> {
        let planes = match self {
            _ if images.is_empty() => return Ok(Cow::Borrowed(images)),
            Self::None => return Ok(Cow::Borrowed(images)),
            Self::EdgesColour => Cow::Borrowed(images),
            Self::EdgesGrey | Self::HighPass => Cow::Owned(gray(images, shape)?),
        };
        let window = Self::window(shape.size);
        let filtered = planes.par_chunks_exact(shape.plane_len()).map(|plane| {
            let plane = Map::new(shape.size, plane.to_vec())?;
            Ok(match self {
                Self::HighPass => {
                    let mut filtered = high_pass(&plane, window)?;
                    filtered.values_mut().iter_mut().for_each(|v| *v = 0.5 + 0.5 * *v);
                    filtered
                }
                _ => morphological_gradient(&plane),
            }
            .into_values())
        });
        Ok(Cow::Owned(filtered.collect::<Result<Vec<_>>>()?.concat()))
    }
}

impl fmt::Display for InputFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for InputFilter {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self> {
        let filter = Self::ALL.iter().copied().find(|filter| filter.name() == name);
        filter.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|filter| filter.name()).collect();
            ModelError::Setting(format!(
                "there is no input filter {name:?}; there are {}",
                names.join(", ")
            ))
        })
    }
}
