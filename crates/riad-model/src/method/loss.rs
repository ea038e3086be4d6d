//! The loss of a reconstruction against the image, on [0, 1] data: λ_G·MSGMS + λ_S·SSIM + λ_2·L2 as published, or other
//! weights of these and of L1.

use std::str::FromStr;

use riad_core::similarity::{self, Shape, gms, ssim};
use serde::{Deserialize, Serialize};

use crate::{ModelError, Result};

/// Weights of the loss's terms. The paper's λ_G and λ_S, and one for L2; all 1 in every public implementation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LossWeights {
    /// Mean squared error.
    pub l2: f32,
    /// Mean absolute error, which is not in the published loss.
    pub l1: f32,
    /// 1 − mean SSIM.
    pub ssim: f32,
    /// Mean over four scales of 1 − GMS.
    pub msgms: f32,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self {
            l2: 1.0,
            l1: 0.0,
            ssim: 1.0,
            msgms: 1.0,
        }
    }
}

impl FromStr for LossWeights {
    type Err = ModelError;

    /// Reads terms joined by `+`, such as `l2+ssim`, each with the weight 1; `riad` is the published loss.
    fn from_str(text: &str) -> Result<Self> {
        if text == "riad" {
            return Ok(Self::default());
        }
        let mut weights = Self {
            l2: 0.0,
            l1: 0.0,
            ssim: 0.0,
            msgms: 0.0,
        };
        for name in text.split('+') {
            let weight = match name {
                "l2" => &mut weights.l2,
                "l1" => &mut weights.l1,
                "ssim" => &mut weights.ssim,
                "msgms" => &mut weights.msgms,
                _ => {
                    return Err(ModelError::Setting(format!(
                        "{name:?} is not a term of the loss; the terms are l2, l1, ssim and msgms, joined by +, and \
                         riad means l2+ssim+msgms"
                    )));
                }
            };
            *weight = 1.0;
        }
        Ok(weights)
    }
}

/// The loss's terms, before weighting, and their weighted sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LossTerms {
    /// Mean squared error.
    pub l2: f64,
    /// Mean absolute error.
    pub l1: f64,
    /// 1 − mean SSIM.
    pub ssim: f64,
    /// Mean over four scales of 1 − GMS.
    pub msgms: f64,
    /// Weighted sum.
    pub total: f64,
}

impl LossTerms {
    /// Terms and total as a device leaves them, in the order of the fields. What is missing is NaN.
    pub(crate) fn from_device(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or(f64::NAN);
        Self {
            l2: next(),
            l1: next(),
            ssim: next(),
            msgms: next(),
            total: next(),
        }
    }

    /// Whether all of them are numbers.
    pub(crate) fn is_finite(&self) -> bool {
        let &Self {
            l2,
            l1,
            ssim,
            msgms,
            total,
        } = self;
        [l2, l1, ssim, msgms, total].iter().all(|term| term.is_finite())
    }

    pub(crate) fn add(&mut self, other: Self, weight: f64) {
        self.l2 += other.l2 * weight;
        self.l1 += other.l1 * weight;
        self.ssim += other.ssim * weight;
        self.msgms += other.msgms * weight;
        self.total += other.total * weight;
    }
}

/// The loss of reconstructions against images, both `[B, C, H, W]` in [0, 1]. Where `gradient` is given, the gradient to
/// the reconstructions is added to it.
pub(crate) fn loss(
    images: &[f32],
    reconstructions: &[f32],
    shape: Shape,
    weights: LossWeights,
    mut gradient: Option<&mut [f32]>,
) -> Result<LossTerms> {
    let l2 = similarity::l2_loss(images, reconstructions, shape, weights.l2, gradient.as_deref_mut())?;
    let l1 = similarity::l1_loss(images, reconstructions, shape, weights.l1, gradient.as_deref_mut())?;
    let ssim = ssim::loss(images, reconstructions, shape, weights.ssim, gradient.as_deref_mut())?;
    let msgms = gms::multiscale_loss(images, reconstructions, shape, weights.msgms, gradient)?;
    let weighted = [
        (weights.l2, l2),
        (weights.l1, l1),
        (weights.ssim, ssim),
        (weights.msgms, msgms),
    ];
    Ok(LossTerms {
        l2,
        l1,
        ssim,
        msgms,
        total: weighted.iter().map(|&(weight, term)| f64::from(weight) * term).sum(),
    })
}
