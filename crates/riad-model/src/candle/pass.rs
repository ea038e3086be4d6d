//! The passes of the network over images, for each method.

use candle_core::{Device, Error, Result, Tensor, bail};
use riad_core::Size;

use super::{compose, continued, denormalised, edges::seen, hide, masks::hidden_in, normalised};
use crate::{
    ScoringSettings,
    method::{Frame, Masking},
};

/// One pass of the network over images: its input, and the reconstructions from its output.
#[derive(Debug, Clone)]
pub struct Pass {
    frame: Frame,
    /// Where each copy is hidden; `None` if nothing is.
    hidden: Option<Tensor>,
}

/// The passes that score images of `channels` channels, by a checkpoint's settings. Their masks are the same for every
/// image. An image's map is the mean of the maps of its passes.
///
/// # Errors
/// If the settings contradict each other, or the device fails.
pub fn passes(scoring: &ScoringSettings, channels: usize, device: &Device) -> Result<Vec<Pass>> {
    scoring.check().map_err(Error::wrap)?;
    let passes = scoring.method.passes(scoring, channels).map_err(Error::wrap)?;
    let maskings = passes.of_one_image().iter();
    maskings.map(|masking| Pass::new(masking, device)).collect()
}

impl Pass {
    pub(crate) fn new(masking: &Masking, device: &Device) -> Result<Self> {
        let frame = masking.frame();
        let hidden = masking
            .sets_of_pixels()
            .map(|sets_of_pixels| hidden_in(sets_of_pixels, masking.sets(), masking.images(), frame.size, device));
        Ok(Self {
            frame,
            hidden: hidden.transpose()?,
        })
    }

    /// The network's input for images `[B, C, H, W]` in [0, 1]: filtered, normalised, masked, and continued to sides
    /// that the network can halve.
    ///
    /// # Errors
    /// If the images are not of the settings' size.
    pub fn copies(&self, images: &Tensor) -> Result<Tensor> {
        let (_, channels, height, width) = images.dims4()?;
        let Frame {
            channels: expected,
            size,
            ..
        } = self.frame;
        if (channels, Size::new(height, width)) != (expected, size) {
            bail!(
                "images of {channels} channels and {height}x{width} pixels (height x width) do not fit a pass for {expected} \
                 channels and {size}"
            );
        }
        let images = normalised(&seen(images, self.frame.input)?, self.frame.normalisation)?;
        continued(&match &self.hidden {
            Some(hidden) => hide(&images, hidden)?,
            None => images,
        })
    }

    /// The reconstructions `[B, C, H, W]` in [0, 1] from the network's output for [`Self::copies`].
    ///
    /// # Errors
    /// If the outputs do not have the copies' shape.
    pub fn reconstructions(&self, outputs: &Tensor) -> Result<Tensor> {
        let size = self.frame.size;
        let reconstructions = match &self.hidden {
            Some(hidden) => compose(outputs, hidden)?,
            None => outputs.narrow(2, 0, size.height)?.narrow(3, 0, size.width)?,
        };
        denormalised(&reconstructions, self.frame.normalisation)
    }
}
