//! The region of interest: the part of images in which defects are looked for.

use riad_core::{Map, Size};

use crate::{Result, error::ModelError};

/// The pixels in which defects are looked for, at least one.
///
/// It belongs to a checkpoint. Maps outside of it are [`Self::OUTSIDE`], so a score is the maximum inside. The network
/// still sees and learns the whole image, because the surroundings help it to fill in.
#[derive(Debug, Clone, PartialEq)]
pub struct Roi(Map<bool>);

impl Roi {
    /// The value of a map outside of the region: the smallest value that a map can have. So nothing outside is above a
    /// threshold or drawn.
    pub const OUTSIDE: f32 = -2.0;

    /// Takes a map that is true inside the region.
    ///
    /// # Errors
    /// [`ModelError::Setting`] if all of it is false.
    pub fn new(inside: Map<bool>) -> Result<Self> {
        if !inside.values().contains(&true) {
            return Err(ModelError::Setting(
                "the region of interest is empty; mark it with pixels that are not black".into(),
            ));
        }
        Ok(Self(inside))
    }

    /// The size of the images that it belongs to, in pixels.
    pub fn size(&self) -> Size {
        self.0.size()
    }

    /// True inside the region.
    pub fn map(&self) -> &Map<bool> {
        &self.0
    }

    /// Row by row, true where the image is looked at.
    pub fn inside(&self) -> &[bool] {
        self.0.values()
    }

    /// The region's share of the image, above 0.
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
