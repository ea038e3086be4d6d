//! Backends that networks run on. Each backend is a loop over the network's list of layers. It knows no architecture
//! and no method.
//!
//! Two traits are all that the rest of the crate sees of a backend: [`Train`] and [`Score`].

mod adam;
#[cfg(feature = "candle")]
mod candle;
mod cpu;
mod cuda;
mod device;
mod precision;

#[cfg(test)]
#[cfg(feature = "candle")]
pub(crate) mod tests;

pub(crate) use adam::Adam;
pub use device::{Device, device, gpu};
pub use precision::Precision;

use crate::{
    ModelError, Result,
    method::{Examples, Keep, LossTerms, LossWeights, MapSettings, Masking, Passes, Scored, loss, maps},
    network::{Moments, Weights},
};
use device::Backend;

/// A network under training with its optimiser, on one device.
///
/// A step is staged, begun and finished. The next one may be staged while a device is at the one before.
pub(crate) trait Train: Send {
    /// Makes the examples of the next step ready with their masks.
    fn stage(&mut self, examples: Examples, masking: Masking) -> Result<()>;

    /// Begins a step on what was staged last. A step whose loss is not finite moves no parameter; running statistics may
    /// have taken its batch in.
    fn begin(&mut self, weights: LossWeights, learning_rate: f64) -> Result<()>;

    /// Waits for the step that was begun, and gives its loss.
    fn finish(&mut self) -> Result<LossTerms>;

    /// The network as it is, ready to score on the device that it lies on.
    fn scorer(&self, passes: Passes) -> Result<Box<dyn Score>>;

    /// A copy of the weights on the host.
    fn weights(&self) -> Result<Weights>;

    /// Steps of the optimiser so far, and a copy of its moments.
    fn optimiser(&self) -> Result<(u64, Moments)>;

    /// The loss, and its gradient to every parameter by name, without a step.
    #[cfg(test)]
    fn gradients(
        &mut self,
        examples: Examples,
        masking: Masking,
        weights: LossWeights,
    ) -> Result<(LossTerms, std::collections::BTreeMap<String, Vec<f32>>)>;
}

/// A network that scores on one device, with the passes that every image goes through.
///
/// An image's result does not depend on the others in its batch.
pub(crate) trait Score: Send + Sync {
    fn passes(&self) -> &Passes;

    /// Reconstructions of images, both `[B, C, H, W]` in [0, 1], by one pass.
    fn reconstruct(&self, images: &[f32], pass: usize) -> Result<Vec<f32>>;

    /// The loss of examples, the mean over the passes.
    fn loss(&self, examples: &Examples, weights: LossWeights) -> Result<LossTerms> {
        let passes = self.passes();
        let shape = passes.shape(&examples.images)?;
        let mut mean = LossTerms::default();
        for pass in 0..passes.len() {
            let reconstructions = self.reconstruct(examples.shown(), pass)?;
            let terms = loss(&examples.images, &reconstructions, shape, weights, None)?;
            mean.add(terms, 1.0 / passes.len() as f64);
        }
        Ok(mean)
    }

    /// Maps of images, without scores, and before anything is taken off them.
    fn maps(&self, images: &[f32], settings: MapSettings, keep: Keep) -> Result<Vec<Scored>> {
        maps_on_host(self, images, settings, keep)
    }
}

/// The maps that the host makes of a network's reconstructions.
fn maps_on_host(
    network: &(impl Score + ?Sized),
    images: &[f32],
    settings: MapSettings,
    keep: Keep,
) -> Result<Vec<Scored>> {
    let passes = network.passes();
    let shape = passes.shape(images)?;
    maps(images, shape, passes.len(), settings, keep, |pass| {
        network.reconstruct(images, pass)
    })
}

/// Takes up training with `weights` on `device`, and with the optimiser's moments, if there are any yet.
///
/// # Errors
/// If the device cannot train in `precision`, or fails.
pub(crate) fn trainer(
    weights: &Weights,
    adam: Adam,
    moments: &Moments,
    device: &Device,
    precision: Precision,
) -> Result<Box<dyn Train>> {
    precision.check_training(device)?;
    Ok(match device.backend() {
        Backend::Cpu => Box::new(cpu::CpuTrainer::new(weights, adam, moments)),
        Backend::Cuda(gpu) => Box::new(cuda::CudaTrainer::new(weights, adam, moments, gpu, precision.on_gpu())?),
        #[cfg(feature = "candle")]
        Backend::Candle(device) => Box::new(candle::CandleTrainer::new(weights, adam, moments, device)?),
    })
}

/// Puts `weights` on `device`, ready to score.
///
/// # Errors
/// If the device does not have `precision`, or fails.
pub(crate) fn scorer(
    weights: &Weights,
    passes: Passes,
    device: &Device,
    precision: Precision,
) -> Result<Box<dyn Score>> {
    precision.check_scoring(device)?;
    Ok(match device.backend() {
        Backend::Cpu => Box::new(cpu::CpuScorer::new(weights, passes, precision.on_cpu()?)?),
        Backend::Cuda(gpu) => Box::new(cuda::CudaScorer::new(weights, passes, gpu, precision.on_gpu())?),
        #[cfg(feature = "candle")]
        Backend::Candle(device) => Box::new(candle::CandleScorer::new(weights, passes, device)?),
    })
}

/// What a step without images ends with, which the trainer excludes.
fn nothing_staged() -> ModelError {
    ModelError::Setting("a step was begun or ended before its images were staged".into())
}
