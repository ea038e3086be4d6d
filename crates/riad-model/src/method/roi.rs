//! The region of interest: the part of images that is looked at.

use riad_core::{Map, Size};

use crate::{Result, error::ModelError};

/// Which pixels of an image are looked at; at least one is.
///
/// It belongs to a checkpoint. Maps outside of it are [`Self::OUTSIDE`], so a score is the maximum inside. It changes
/// nothing in what the network sees or learns: surroundings help it to fill in.
#[derive(Debug, Clone, PartialEq)]
pub struct Roi(Map<bool>);

impl Roi {
    /// What a map holds outside: the least that a map can hold anywhere, so that nothing outside is above any threshold,
    /// or drawn.
    pub const OUTSIDE: f32 = -2.0;

    /// Takes a map that is true where the image is looked at.
    ///
    /// # Errors
    /// [`ModelError::Setting`] if all of it is false.
    pub fn new(inside: Map<bool>) -> Result<Self> {
        if !inside.values().contains(&true) {
            return Err(ModelError::Setting(
                "the region of interest is empty, so nothing would be looked at; mark it with pixels that are not black"
                    .into(),
            ));
        }
        Ok(Self(inside))
    }

    /// The size of the images that it belongs to, in pixels.
    pub fn size(&self) -> Size {
        self.0.size()
    }

    /// True where the image is looked at.
    pub fn map(&self) -> &Map<bool> {
        &self.0
    }

    /// Row by row, true where the image is looked at.
    pub fn inside(&self) -> &[bool] {
        self.0.values()
    }

    /// The share of the image that is looked at, above 0.
    pub fn share(&self) -> f64 {
        let inside = self.inside();
        inside.iter().filter(|inside| **inside).count() as f64 / inside.len() as f64
    }

    /// Blots out what is outside of a map of the same size.
    pub(crate) fn cover(&self, map: &mut [f32]) {
        for (value, _) in map.iter_mut().zip(self.inside()).filter(|(_, inside)| !**inside) {
            *value = Self::OUTSIDE;
        }
    }
}
