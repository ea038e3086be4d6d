//! The inpainting loss: λ_G·MSGMS + λ_S·SSIM + λ_2·L2 of the reconstruction against the image, on [0, 1] data.
//!
//! On the CPU it is one candle op from the network's output to the loss, with riad-core's analytic gradients. On other
//! devices it is composed of candle ops with the same values.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, Layout as Strides, Result as TensorResult, Shape, Tensor};
use riad_core::similarity::{self, Shape as ImageShape, gms, ssim};
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    architecture::CHANNELS,
    masking::Masking,
    ops::{self, Layout},
};

/// Weights of the loss's terms. The paper's λ_G and λ_S, and one for L2; all 1 in every public implementation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossWeights {
    /// Mean squared error.
    pub l2: f32,
    /// 1 − mean SSIM.
    pub ssim: f32,
    /// Mean over four scales of 1 − GMS.
    pub msgms: f32,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self {
            l2: 1.0,
            ssim: 1.0,
            msgms: 1.0,
        }
    }
}

/// The loss's terms, before weighting, and their weighted sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossTerms {
    /// Mean squared error.
    pub l2: f64,
    /// 1 − mean SSIM.
    pub ssim: f64,
    /// Mean over four scales of 1 − GMS.
    pub msgms: f64,
    /// Weighted sum.
    pub total: f64,
}

impl LossTerms {
    pub(crate) fn add(&mut self, other: Self, weight: f64) {
        self.l2 += other.l2 * weight;
        self.ssim += other.ssim * weight;
        self.msgms += other.msgms * weight;
        self.total += other.total * weight;
    }
}

/// The loss of reconstructions against images, both `[B, 3, H, W]` in [0, 1]. Where `gradient` is given, the gradient to
/// the reconstructions is added to it.
pub(crate) fn loss(
    images: &[f32],
    reconstructions: &[f32],
    (height, width): (usize, usize),
    weights: LossWeights,
    mut gradient: Option<&mut [f32]>,
) -> Result<LossTerms> {
    let count = images.len() / (CHANNELS * height * width);
    let shape = ImageShape {
        images: count,
        channels: CHANNELS,
        height,
        width,
    };
    let l2 = similarity::l2_loss(images, reconstructions, shape, weights.l2, gradient.as_deref_mut());
    let ssim = ssim::loss(images, reconstructions, shape, weights.ssim, gradient.as_deref_mut())?;
    let msgms = gms::multiscale_loss(images, reconstructions, shape, weights.msgms, gradient);
    let total = f64::from(weights.l2) * l2 + f64::from(weights.ssim) * ssim + f64::from(weights.msgms) * msgms;
    Ok(LossTerms { l2, ssim, msgms, total })
}

/// The loss of the network's output over the masked copies of `images`, as a scalar to differentiate and as terms.
pub(crate) fn inpainting_loss(
    output: &Tensor,
    images: &Arc<[f32]>,
    masking: &Arc<Masking>,
    weights: LossWeights,
    layout: Layout,
) -> Result<(Tensor, LossTerms)> {
    match layout {
        Layout::ChannelsLast => {
            let saved = Arc::new(OnceLock::new());
            let op = InpaintingLoss {
                images: Arc::clone(images),
                masking: Arc::clone(masking),
                weights,
                saved: Arc::clone(&saved),
            };
            let scalar = output.apply_op1(op)?;
            let terms = saved.get().map(|(terms, _)| *terms);
            Ok((
                scalar,
                terms.ok_or_else(|| candle_core::Error::msg("the loss op did not run"))?,
            ))
        }
        Layout::ChannelsFirst => composed::loss(output, images, masking, weights),
    }
}

/// The CPU's loss: composes the reconstruction, compares it, and keeps the gradient for the backward pass.
struct InpaintingLoss {
    images: Arc<[f32]>,
    masking: Arc<Masking>,
    weights: LossWeights,
    saved: Arc<OnceLock<(LossTerms, Vec<f32>)>>,
}

impl CustomOp1 for InpaintingLoss {
    fn name(&self) -> &'static str {
        "riad-inpainting-loss"
    }

    fn cpu_fwd(&self, output: &CpuStorage, strides: &Strides) -> TensorResult<(CpuStorage, Shape)> {
        let wrap = candle_core::Error::wrap;
        let reconstructions = self.masking.compose(ops::values(output, strides)?).map_err(wrap)?;
        let mut gradient = vec![0.0; reconstructions.len()];
        let terms = loss(
            &self.images,
            &reconstructions,
            self.masking.size(),
            self.weights,
            Some(&mut gradient),
        )
        .map_err(wrap)?;
        if self.saved.set((terms, gradient)).is_err() {
            candle_core::bail!("the loss op ran twice")
        }
        Ok((CpuStorage::F32(vec![terms.total as f32]), Shape::from(())))
    }

    fn bwd(&self, output: &Tensor, _loss: &Tensor, grad: &Tensor) -> TensorResult<Option<Tensor>> {
        let Some((_, gradient)) = self.saved.get() else {
            candle_core::bail!("the loss's backward ran before its forward")
        };
        let spread = self.masking.spread(gradient, grad.to_scalar::<f32>()?);
        Tensor::from_vec(spread, output.shape(), output.device()).map(Some)
    }
}

/// The loss composed of candle's ops, channels-first, for devices without kernels of ours.
mod composed {
    use super::*;

    pub(super) fn loss(
        output: &Tensor,
        images: &[f32],
        masking: &Masking,
        weights: LossWeights,
    ) -> Result<(Tensor, LossTerms)> {
        let device = output.device();
        let ((height, width), count) = (masking.size(), masking.images());
        let shape = (count, CHANNELS, height, width);
        let images = Tensor::from_slice(images, shape, device)?;
        let hidden = Tensor::from_vec(masking.hidden(), masking.shape(), device)?;
        let normalisation = masking.normalisation();
        let reconstructions = (output * hidden)?
            .reshape((masking.sets(), count, CHANNELS, height, width))?
            .sum(0)?;
        let reconstructions =
            reconstructions.affine(f64::from(normalisation.deviation), f64::from(normalisation.mean))?;
        let l2 = (&reconstructions - &images)?.sqr()?.mean_all()?;
        let ssim = ssim_loss(&images, &reconstructions)?;
        let msgms = msgms_loss(&images, &reconstructions)?;
        let total = ((&l2 * f64::from(weights.l2))?
            + ((&ssim * f64::from(weights.ssim))? + (&msgms * f64::from(weights.msgms))?)?)?;
        let value = |t: &Tensor| t.to_scalar::<f32>().map(f64::from);
        let terms = LossTerms {
            l2: value(&l2)?,
            ssim: value(&ssim)?,
            msgms: value(&msgms)?,
            total: value(&total)?,
        };
        Ok((total, terms))
    }

    fn ssim_loss(images: &Tensor, reconstructions: &Tensor) -> TensorResult<Tensor> {
        let (count, channels, height, width) = images.dims4()?;
        let planes = |t: &Tensor| t.reshape((count * channels, 1, height, width));
        let window: Vec<f32> = {
            let line: Vec<f64> = (-5i32..=5)
                .map(|i| (-f64::from(i * i) / (2.0 * 1.5 * 1.5)).exp())
                .collect();
            let sum: f64 = line.iter().sum();
            line.iter()
                .flat_map(|a| line.iter().map(move |b| (a * b / (sum * sum)) as f32))
                .collect()
        };
        let window = Tensor::from_vec(window, (1, 1, 11, 11), images.device())?;
        let filter = |t: &Tensor| t.conv2d(&window, 0, 1, 1, 1);
        let (x, y) = (planes(images)?, planes(reconstructions)?);
        let (mean_x, mean_y) = (filter(&x)?, filter(&y)?);
        let (xx, yy, xy) = (mean_x.sqr()?, mean_y.sqr()?, (&mean_x * &mean_y)?);
        let variance_x = (filter(&x.sqr()?)? - &xx)?;
        let variance_y = (filter(&y.sqr()?)? - &yy)?;
        let covariance = (filter(&(&x * &y)?)? - &xy)?;
        const C1: f64 = 0.01 * 0.01;
        const C2: f64 = 0.03 * 0.03;
        let numerator = (xy.affine(2.0, C1)? * covariance.affine(2.0, C2)?)?;
        let denominator = (((xx + yy)? + C1)? * ((variance_x + variance_y)? + C2)?)?;
        (numerator / denominator)?.mean_all()?.affine(-1.0, 1.0)
    }

    fn msgms_loss(images: &Tensor, reconstructions: &Tensor) -> TensorResult<Tensor> {
        let grey = |t: &Tensor| {
            // Rec. 601 luma, as riad-core's `gray`.
            let weights = Tensor::new(&[0.299f32, 0.587, 0.114], t.device())?.reshape((1, CHANNELS, 1, 1))?;
            t.broadcast_mul(&weights)?.sum_keepdim(1)
        };
        let (mut x, mut y) = (grey(images)?, grey(reconstructions)?);
        let mut losses = Vec::with_capacity(gms::SCALES);
        for scale in 0..gms::SCALES {
            if scale > 0 {
                (x, y) = (x.avg_pool2d(2)?, y.avg_pool2d(2)?);
            }
            let (gx, gy) = (gradient_magnitude(&x)?, gradient_magnitude(&y)?);
            let numerator = ((&gx * &gy)? * 2.0)? + f64::from(gms::C);
            let denominator = ((gx.sqr()? + gy.sqr()?)? + f64::from(gms::C))?;
            losses.push((numerator? / denominator)?.mean_all()?.affine(-1.0, 1.0)?);
        }
        Tensor::stack(&losses, 0)?.mean_all()
    }

    fn gradient_magnitude(grey: &Tensor) -> TensorResult<Tensor> {
        let padded = grey.pad_with_same(2, 1, 1)?.pad_with_same(3, 1, 1)?;
        const THIRD: f32 = 1.0 / 3.0;
        let across = [THIRD, 0.0, -THIRD, THIRD, 0.0, -THIRD, THIRD, 0.0, -THIRD];
        let down = [THIRD, THIRD, THIRD, 0.0, 0.0, 0.0, -THIRD, -THIRD, -THIRD];
        let filter =
            |kernel: [f32; 9]| padded.conv2d(&Tensor::new(&kernel, grey.device())?.reshape((1, 1, 3, 3))?, 0, 1, 1, 1);
        // An epsilon inside: the square root's gradient is infinite on flat regions.
        ((filter(across)?.sqr()? + filter(down)?.sqr()?)? + f64::from(gms::EPSILON))?.sqrt()
    }
}
