//! The network on an NVIDIA GPU, over `riad-cuda`'s kernels and cuDNN's convolutions.
//!
//! Forward and backward passes are written out, as in [`crate::engine`], in memory that lives as long as the run. Nothing
//! in a step waits for the GPU; its loss is read when the next step's images and masks are ready.

mod layers;
mod layout;
mod network;
mod plan;
mod session;
mod shape;

use riad_cuda::{Buffer, Copies, Gpu, LossMemory, Precision, Repeated, TERMS, Weights as Factors};

pub(crate) use self::plan::{CudaMasks, CudaPlan};
use self::{network::Network, shape::Side};
use crate::{
    Result,
    adam::Adam,
    architecture::CHANNELS,
    checkpoint::Moments,
    error::ModelError,
    loss::{LossTerms, LossWeights},
    masking::Masking,
    weights::Weights,
};

/// A network with its optimiser on a GPU.
pub(crate) struct CudaLearner {
    gpu: Gpu,
    network: Network,
    adam: Adam,
    /// Rate and correction of the step that is begun.
    step: Buffer,
    memory: Option<Memory>,
    /// Steps on batches of each shape.
    steps: Vec<((Copies, LossWeights), Repeated)>,
}

/// What a step needs beside the network's own memory, for up to so many images of one size.
struct Memory {
    images_count: usize,
    size: (usize, usize),
    images: Buffer,
    sets: Buffer,
    reconstructions: Buffer,
    gradient: Buffer,
    loss: LossMemory,
}

/// Shapes of a batch, for `riad-cuda`.
fn copies(masking: &Masking) -> Copies {
    Copies {
        images: masking.images(),
        sources: masking.images(),
        copies: masking.sets(),
        size: masking.size(),
        padded: masking.padded_size(),
        hides: masking.hides(),
    }
}

fn side(copies: &Copies) -> Side {
    Side {
        images: copies.images * copies.copies,
        height: copies.padded.0,
        width: copies.padded.1,
    }
}

fn normalisation(masking: &Masking) -> [f32; 2] {
    let normalisation = masking.normalisation();
    [normalisation.mean, normalisation.deviation]
}

fn factors(weights: LossWeights) -> Factors {
    let LossWeights { l2, l1, ssim, msgms } = weights;
    Factors { l2, l1, ssim, msgms }
}

fn terms(memory: &LossMemory) -> Result<LossTerms> {
    Ok(LossTerms::from_device(memory.terms().read(0, TERMS)?))
}

impl Memory {
    fn new(gpu: &Gpu, copies: &Copies) -> Result<Self> {
        let images = copies.images_bytes();
        Ok(Self {
            images_count: copies.images,
            size: copies.size,
            images: gpu.buffer(images)?,
            sets: gpu.buffer(images / (CHANNELS * size_of::<f32>()))?,
            reconstructions: gpu.buffer(images)?,
            gradient: gpu.buffer(images)?,
            loss: LossMemory::new(gpu, copies.images, copies.size)?,
        })
    }
}

impl CudaLearner {
    /// Takes up training with `weights`, and with the optimiser's moments, where there are any yet.
    pub(crate) fn new(
        weights: &Weights,
        adam: Adam,
        moments: &Moments,
        gpu: &Gpu,
        precision: Precision,
    ) -> Result<Self> {
        Ok(Self {
            gpu: gpu.clone(),
            network: Network::new(gpu, weights, moments, precision)?,
            adam,
            step: gpu.buffer(2 * size_of::<f32>())?,
            memory: None,
            steps: Vec::new(),
        })
    }

    /// The network as it is, ready to score.
    pub(crate) fn plan(&self) -> Result<CudaPlan> {
        CudaPlan::of(&self.gpu, &self.network)
    }

    /// A copy of the weights on the host.
    pub(crate) fn weights(&self) -> Result<Weights> {
        Ok(self.network.weights()?)
    }

    /// Steps of the optimiser so far, and a copy of its moments.
    pub(crate) fn optimiser(&self) -> Result<(u64, Moments)> {
        Ok((self.adam.steps, self.network.moments()?))
    }

    /// Puts the images of the next step, `[B, 3, H, W]` in [0, 1], and its masks in the queue, behind the step that the GPU
    /// is at.
    pub(crate) fn stage(&mut self, images: &[f32], masking: &Masking) -> Result<()> {
        ModelError::length("a batch of images", images.len(), masking.image_len())?;
        let copies = copies(masking);
        let fits = |memory: &Memory| memory.size == copies.size && memory.images_count >= copies.images;
        let memory = match self.memory.take().filter(fits) {
            Some(memory) => memory,
            None => {
                self.steps.clear();
                Memory::new(&self.gpu, &copies)?
            }
        };
        let memory = self.memory.insert(memory);
        memory.images.write(0, images)?;
        if let Some(sets) = masking.sets_of_pixels() {
            memory.sets.write(0, &sets)?;
        }
        Ok(())
    }

    /// Asks for the loss of the staged images and its gradient to every parameter.
    fn differentiate(&self, masking: &Masking, weights: LossWeights) -> Result<()> {
        let Some(memory) = &self.memory else {
            return Err(ModelError::Setting("no images were staged".into()));
        };
        let (copies, normalisation) = (copies(masking), normalisation(masking));
        let (gpu, network) = (&self.gpu, &self.network);
        let (images, sets) = (memory.images.span(), memory.sets.span());
        let (found, gradient) = (memory.reconstructions.span(), memory.gradient.span());
        gpu.hide(&copies, images, sets, normalisation, network.input()?)?;
        network.forward()?;
        let (output, bias) = (network.output()?, network.last_bias());
        gpu.compose(&copies, output, bias, sets, normalisation, found)?;
        let factors = factors(weights);
        gpu.loss(&memory.loss, copies.images, images, found, factors, gradient)?;
        gpu.spread(&copies, gradient, found, sets, normalisation, output)?;
        Ok(network.backward()?)
    }

    /// Asks the GPU for one step on the staged images, which it does not take where the loss is not finite.
    /// [`Self::finish`] tells the loss.
    pub(crate) fn begin(&mut self, masking: &Masking, weights: LossWeights, learning_rate: f64) -> Result<()> {
        let mut adam = self.adam;
        let step = adam.begin_step(learning_rate);
        self.step.write(0, &[step.rate as f32, step.correction as f32])?;
        let copies = copies(masking);
        if self.network.prepare(side(&copies))? {
            self.steps.clear();
        }
        let key = (copies, weights);
        let mut repeated = match self.steps.iter().position(|(of, _)| *of == key) {
            Some(index) => self.steps.swap_remove(index).1,
            None => Repeated::default(),
        };
        let done = repeated.run(&self.gpu, || {
            self.differentiate(masking, weights)?;
            if let Some(memory) = &self.memory {
                let terms = memory.loss.terms();
                self.network.descend(terms, self.step.span(), adam.weight_decay)?;
            }
            Ok(())
        });
        self.steps.push((key, repeated));
        done
    }

    /// Waits for the step that was begun, and gives its loss.
    pub(crate) fn finish(&mut self) -> Result<LossTerms> {
        let Some(memory) = &self.memory else {
            return Ok(LossTerms::default());
        };
        let terms = terms(&memory.loss)?;
        if terms.total.is_finite() {
            self.adam.steps += 1;
        }
        Ok(terms)
    }

    /// The loss, and its gradient to every parameter.
    #[cfg(test)]
    pub(crate) fn gradients(
        &mut self,
        images: &[f32],
        masking: &Masking,
        weights: LossWeights,
    ) -> Result<(LossTerms, std::collections::BTreeMap<String, Vec<f32>>)> {
        self.stage(images, masking)?;
        self.network.prepare(side(&copies(masking)))?;
        self.differentiate(masking, weights)?;
        let Some(memory) = &self.memory else {
            return Ok(Default::default());
        };
        Ok((terms(&memory.loss)?, self.network.gradients()?))
    }
}
