//! The inpainting loss: λ_G·MSGMS + λ_S·SSIM + λ_2·L2 of the reconstruction against the image, on [0, 1] data.

use riad_core::similarity::{self, Shape, gms, ssim};
use serde::{Deserialize, Serialize};

use crate::{Result, architecture::CHANNELS};

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
    let shape = Shape {
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
