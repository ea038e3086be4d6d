//! The loss of reconstructions, with the values of [`riad_core::similarity`].

use candle_core::{DType, Device, Error, Result, Tensor};
use riad_core::similarity::{
    SimilarityError,
    ssim::{C1, C2, WINDOW},
};

use super::{
    filter::{Filter, filtered},
    msgms_loss, shape_of,
};
use crate::{LossTerms, LossWeights};

/// The terms of the loss on a device, each a scalar tensor.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Losses {
    /// Mean squared error.
    pub l2: Tensor,
    /// Mean absolute error.
    pub l1: Tensor,
    /// 1 − mean SSIM.
    pub ssim: Tensor,
    /// Mean over four scales of 1 − GMS.
    pub msgms: Tensor,
    /// The weighted sum, to be differentiated.
    pub total: Tensor,
}

impl Losses {
    /// The terms on the host. This waits for the device once.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read(&self) -> Result<LossTerms> {
        let terms = Tensor::stack(&[&self.l2, &self.l1, &self.ssim, &self.msgms, &self.total], 0)?;
        let terms = terms.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        Ok(LossTerms::from_device(terms.to_vec1()?))
    }
}

/// The loss of reconstructions against images, both `[B, C, H, W]` in [0, 1]: the sum of [`l2_loss`], [`l1_loss`], [`ssim_loss`] and
/// [`msgms_loss`], each by its weight. [`LossWeights::default`] is the published one.
///
/// # Errors
/// If the two differ in shape, have no values, or are too small for SSIM.
pub fn loss(images: &Tensor, reconstructions: &Tensor, weights: LossWeights) -> Result<Losses> {
    let l2 = l2_loss(images, reconstructions)?;
    let l1 = l1_loss(images, reconstructions)?;
    let ssim = ssim_loss(images, reconstructions)?;
    let msgms = msgms_loss(images, reconstructions)?;
    // A factor of 0 ends the backward pass there.
    let weighted = |term: &Tensor, weight: f32| term.affine(f64::from(weight), 0.0);
    let errors = (weighted(&l2, weights.l2)? + weighted(&l1, weights.l1)?)?;
    let structure = (weighted(&ssim, weights.ssim)? + weighted(&msgms, weights.msgms)?)?;
    Ok(Losses {
        total: (errors + structure)?,
        l2,
        l1,
        ssim,
        msgms,
    })
}

/// The mean squared error of reconstructions `[B, C, H, W]`: a scalar.
///
/// # Errors
/// If the two differ in shape, or have no values.
pub fn l2_loss(images: &Tensor, reconstructions: &Tensor) -> Result<Tensor> {
    shape_of(images, reconstructions)?;
    (reconstructions - images)?.sqr()?.mean_all()
}

/// The mean absolute error of reconstructions `[B, C, H, W]`: a scalar. If the two are equal, its gradient is 0.
///
/// # Errors
/// If the two differ in shape, or have no values.
pub fn l1_loss(images: &Tensor, reconstructions: &Tensor) -> Result<Tensor> {
    shape_of(images, reconstructions)?;
    let error = (reconstructions - images)?;
    // The gradient of `abs` at 0 is 1 in candle.
    (&error * error.detach().sign()?)?.mean_all()
}

/// One minus the mean structural similarity (Wang et al., 2004) of reconstructions `[B, C, H, W]` in [0, 1], over images, channels
/// and the windows that lie within the image: a scalar in [0, 2], 0 for equal images.
///
/// The settings are that paper's: a Gaussian window of 11×11 with σ = 1.5, K1 = 0.01, K2 = 0.03.
///
/// # Errors
/// If the two differ in shape, have no values, or a side is less than the window's.
pub fn ssim_loss(images: &Tensor, reconstructions: &Tensor) -> Result<Tensor> {
    let size = shape_of(images, reconstructions)?.size;
    if size.height < WINDOW || size.width < WINDOW {
        return Err(Error::wrap(SimilarityError::TooSmall { size, window: WINDOW }));
    }
    let (down, across) = (gaussian(size.height), gaussian(size.width));
    let mean = |values: &Tensor| filtered(values, &down, &across);
    // About the middle of the range, near which differences of squares lose fewer digits. Variances stay the same.
    const CENTRE: f64 = 0.5;
    let (x, y) = ((images - CENTRE)?, (reconstructions - CENTRE)?);
    let (mean_x, mean_y) = (mean(&x)?, mean(&y)?);
    // The two variances are never needed apart.
    let variances = ((mean(&(x.sqr()? + y.sqr()?)?)? - mean_x.sqr()?)? - mean_y.sqr()?)?;
    let covariance = (mean(&(&x * &y)?)? - (&mean_x * &mean_y)?)?;
    let (mean_x, mean_y) = ((mean_x + CENTRE)?, (mean_y + CENTRE)?);
    let [c1, c2] = [C1, C2].map(f64::from);
    let above = ((&mean_x * &mean_y)?.affine(2.0, c1)? * covariance.affine(2.0, c2)?)?;
    let below = (((mean_x.sqr()? + mean_y.sqr()?)? + c1)? * (variances + c2)?)?;
    (above / below)?.mean_all()?.affine(-1.0, 1.0)
}

/// SSIM's window along an axis, where it lies within it.
fn gaussian(size: usize) -> Filter {
    const RADIUS: usize = WINDOW / 2;
    let weights: [f64; WINDOW] = std::array::from_fn(|tap| (-0.5 * (tap.abs_diff(RADIUS) as f64 / 1.5).powi(2)).exp());
    let sum: f64 = weights.iter().sum();
    Filter::new(size, size - 2 * RADIUS, |at| {
        weights
            .into_iter()
            .enumerate()
            .map(move |(tap, weight)| (at + tap, weight / sum))
    })
}
