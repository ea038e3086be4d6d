//! Examples that a network learns from.

use crate::{ModelError, Result};

/// Images for training or validation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// The images that the network must give back, `[B, C, H, W]` in [0, 1].
    pub images: Vec<f32>,
    /// Damaged copies of the images, `[B, C, H, W]` in [0, 1], as the network's input. `None`: the images are the
    /// input.
    pub corrupted: Option<Vec<f32>>,
}

impl Examples {
    /// The input of the network, `[B, C, H, W]` in [0, 1].
    pub fn shown(&self) -> &[f32] {
        self.corrupted.as_deref().unwrap_or(&self.images)
    }

    /// Checks that there are so many values, of both.
    pub(crate) fn check(&self, expected: usize) -> Result<()> {
        ModelError::length("a batch of images", self.images.len(), expected)?;
        ModelError::length("a batch of corrupted images", self.shown().len(), expected)
    }
}

impl From<Vec<f32>> for Examples {
    /// Images that are shown as they are.
    fn from(images: Vec<f32>) -> Self {
        Self {
            images,
            corrupted: None,
        }
    }
}
