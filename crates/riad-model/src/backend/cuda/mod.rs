//! Networks on an NVIDIA GPU, over `riad-cuda`'s kernels and cuDNN's convolutions.
//!
//! Forward and backward passes are loops over the layers, as on the CPU, in memory that lives as long as the run. Nothing in a
//! step waits for the GPU; its loss is read when the next step's images and masks are ready.

mod layout;
mod network;
mod pass;
mod score;
mod scoring_layers;
mod shape;
mod train;
mod wiring;

use riad_cuda::{Copies, LossMemory, TERMS, Weights as Factors};

use self::shape::Side;
pub(crate) use self::{score::CudaScorer, train::CudaTrainer};
use crate::{
    ModelError, Result,
    method::{LossTerms, LossWeights, Masking},
};

/// Shapes of a batch, for `riad-cuda`.
fn copies(masking: &Masking) -> Copies {
    let (frame, padded) = (masking.frame(), masking.padded_size());
    Copies {
        images: masking.images(),
        sources: masking.images(),
        copies: masking.sets(),
        inputs: frame.inputs(),
        outputs: frame.channels,
        size: (frame.size.height, frame.size.width),
        padded: (padded.height, padded.width),
        hides: masking.hides(),
    }
}

/// All copies at once.
fn side(copies: &Copies) -> Side {
    Side {
        images: copies.images * copies.copies,
        height: copies.padded.0,
        width: copies.padded.1,
    }
}

fn normalisation(masking: &Masking) -> [f32; 2] {
    let normalisation = masking.frame().normalisation;
    [normalisation.mean, normalisation.deviation]
}

fn factors(weights: LossWeights) -> Factors {
    let LossWeights { l2, l1, ssim, msgms } = weights;
    Factors { l2, l1, ssim, msgms }
}

fn terms(memory: &LossMemory) -> Result<LossTerms> {
    Ok(LossTerms::from_device(memory.terms().read(0, TERMS)?))
}

/// What work ends with whose memory was not made ready: a bug of ours, which must not look like a result.
fn not_prepared(what: &str) -> ModelError {
    ModelError::Gpu(format!("{what} was asked for before its memory was made ready").into())
}
