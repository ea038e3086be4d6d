//! The input of the network, by an [`InputFilter`].

use candle_core::{Result, Tensor};
use riad_core::Size;

use super::{gms::grey, mean_filter};
use crate::InputFilter;

/// What the network sees of images `[B, C, H, W]` in [0, 1]: `[B, channels, H, W]` in [0, 1].
pub(super) fn seen(images: &Tensor, filter: InputFilter) -> Result<Tensor> {
    match filter {
        InputFilter::None => Ok(images.clone()),
        InputFilter::EdgesGrey => morphological_gradient(&grey(images)?),
        InputFilter::EdgesColour => morphological_gradient(images),
        InputFilter::HighPass => {
            let grey = grey(images)?;
            let (_, _, height, width) = grey.dims4()?;
            let mean = mean_filter(&grey.squeeze(1)?, InputFilter::window(Size::new(height, width)))?;
            (grey - mean.unsqueeze(1)?)?.affine(0.5, 0.5)
        }
    }
}

/// See [`riad_core::edges::morphological_gradient`].
fn morphological_gradient(planes: &Tensor) -> Result<Tensor> {
    extreme(planes, |a, b| a.maximum(b))? - extreme(planes, |a, b| a.minimum(b))?
}

/// The extreme of the 3×3 values around each, edge values repeated.
fn extreme(planes: &Tensor, of: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let mut planes = planes.clone();
    for side in [2, 3] {
        let length = planes.dim(side)?;
        let padded = planes.pad_with_same(side, 1, 1)?;
        let at = |start: usize| padded.narrow(side, start, length);
        planes = of(&of(&at(0)?, &at(1)?)?, &at(2)?)?;
    }
    Ok(planes)
}
