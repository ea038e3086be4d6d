//! What a network learns from.

use crate::{ModelError, Result};

/// Images for a network to learn from, or to be validated with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// What the network has to give back, `[B, C, H, W]` in [0, 1].
    pub images: Vec<f32>,
    /// The same images corrupted, `[B, C, H, W]` in [0, 1], which the network is shown instead; `None` where it is shown the
    /// images.
    pub corrupted: Option<Vec<f32>>,
}

impl Examples {
    /// What the network is shown, `[B, C, H, W]` in [0, 1].
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
