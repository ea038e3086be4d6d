//! Training steps on a GPU.

use riad_cuda::{Buffer, Copies, Gpu, LossMemory, Precision, Repeated};

use super::{CudaScorer, copies, factors, network::Network, normalisation, not_prepared, side, terms};
use crate::{
    Result,
    backend::{Adam, Score, Train, nothing_staged},
    method::{Examples, LossTerms, LossWeights, Masking, Passes},
    network::{Moments, Weights},
};

/// A network with its optimiser on a GPU.
pub(crate) struct CudaTrainer {
    gpu: Gpu,
    network: Network,
    adam: Adam,
    /// Rate and correction of the step that is begun.
    step: Buffer,
    staged: Option<Masking>,
    is_begun: bool,
    memory: Option<Memory>,
    /// Steps on batches of each shape.
    steps: Vec<((Copies, LossWeights), Repeated)>,
}

/// What a step needs beside the network's own memory, for up to `images_count` images of one size.
struct Memory {
    images_count: usize,
    size: (usize, usize),
    /// What the network has to give back.
    images: Buffer,
    /// What it sees of them, where that is something else.
    seen: Option<Buffer>,
    sets: Buffer,
    reconstructions: Buffer,
    gradient: Buffer,
    loss: LossMemory,
}

impl Memory {
    fn new(gpu: &Gpu, copies: &Copies, sees_images: bool) -> Result<Self> {
        let floats = |values: usize| gpu.buffer(values * size_of::<f32>());
        Ok(Self {
            images_count: copies.images,
            size: copies.size,
            images: floats(copies.reconstruction_values())?,
            seen: if sees_images {
                None
            } else {
                Some(floats(copies.source_values())?)
            },
            sets: gpu.buffer(copies.image_pixels())?,
            reconstructions: floats(copies.reconstruction_values())?,
            gradient: floats(copies.reconstruction_values())?,
            loss: LossMemory::new(gpu, copies.images, copies.outputs, copies.size)?,
        })
    }
}

impl CudaTrainer {
    /// Takes up training with `weights`, and with the optimiser's moments, if there are any yet.
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
            staged: None,
            is_begun: false,
            memory: None,
            steps: Vec::new(),
        })
    }

    fn memory(&self) -> Result<&Memory> {
        self.memory.as_ref().ok_or_else(nothing_staged)
    }

    /// Asks for the loss of the staged images and its gradient to every parameter.
    fn differentiate(&self, masking: &Masking, weights: LossWeights) -> Result<()> {
        let memory = self.memory()?;
        let (copies, normalisation) = (copies(masking), normalisation(masking));
        let (gpu, network) = (&self.gpu, &self.network);
        let (images, sets) = (memory.images.span(), memory.sets.span());
        let seen = memory.seen.as_ref().map_or(images, Buffer::span);
        let (found, gradient) = (memory.reconstructions.span(), memory.gradient.span());
        gpu.hide(&copies, seen, sets, normalisation, network.input()?)?;
        network.forward()?;
        let (output, bias) = (network.output()?, network.last_bias()?);
        gpu.compose(&copies, output, bias, sets, normalisation, found)?;
        let factors = factors(weights);
        gpu.loss(&memory.loss, copies.images, images, found, factors, gradient)?;
        gpu.spread(&copies, gradient, found, sets, normalisation, output)?;
        Ok(network.backward()?)
    }
}

impl Train for CudaTrainer {
    /// Puts them in the queue, behind the step that the GPU is at.
    fn stage(&mut self, examples: Examples, masking: Masking) -> Result<()> {
        examples.check(masking.image_len())?;
        let copies = copies(&masking);
        let sees_images = examples.corrupted.is_none() && masking.frame().input.is_none();
        let fits = |memory: &Memory| {
            memory.size == copies.size && memory.images_count >= copies.images && memory.seen.is_none() == sees_images
        };
        let memory = match self.memory.take().filter(fits) {
            Some(memory) => memory,
            None => {
                self.steps.clear();
                Memory::new(&self.gpu, &copies, sees_images)?
            }
        };
        let memory = self.memory.insert(memory);
        memory.images.write(0, &examples.images)?;
        if let Some(seen) = &memory.seen {
            let filtered = masking.frame().input.of(examples.shown(), masking.shape())?;
            seen.write(0, &filtered)?;
        }
        if let Some(sets) = masking.sets_of_pixels() {
            memory.sets.write(0, &sets)?;
        }
        self.staged = Some(masking);
        Ok(())
    }

    fn begin(&mut self, weights: LossWeights, learning_rate: f64) -> Result<()> {
        let masking = self.staged.take().ok_or_else(nothing_staged)?;
        let mut adam = self.adam;
        let step = adam.begin_step(learning_rate);
        self.step.write(0, &[step.rate as f32, step.correction as f32])?;
        let copies = copies(&masking);
        let is_new = self.network.prepare(side(&copies));
        // Steps that were recorded compute in memory that is gone, even where only a part of the new one could be had.
        if !matches!(is_new, Ok(false)) {
            self.steps.clear();
        }
        is_new?;
        let key = (copies, weights);
        let mut repeated = match self.steps.iter().position(|(of, _)| *of == key) {
            Some(index) => self.steps.swap_remove(index).1,
            None => Repeated::default(),
        };
        let done = repeated.run(&self.gpu, || {
            self.differentiate(&masking, weights)?;
            // The GPU does not take a step whose loss is not finite.
            let terms = self.memory()?.loss.terms();
            Ok(self.network.descend(terms, self.step.span(), adam.weight_decay)?)
        });
        self.steps.push((key, repeated));
        self.is_begun = done.is_ok();
        done
    }

    fn finish(&mut self) -> Result<LossTerms> {
        if !std::mem::take(&mut self.is_begun) {
            return Err(nothing_staged());
        }
        let terms = terms(&self.memory.as_ref().ok_or_else(|| not_prepared("a loss"))?.loss)?;
        if terms.total.is_finite() {
            self.adam.steps += 1;
        }
        Ok(terms)
    }

    fn scorer(&self, passes: Passes) -> Result<Box<dyn Score>> {
        Ok(Box::new(CudaScorer::of(&self.gpu, &self.network, passes)?))
    }

    fn weights(&self) -> Result<Weights> {
        Ok(self.network.weights()?)
    }

    fn optimiser(&self) -> Result<(u64, Moments)> {
        Ok((self.adam.steps, self.network.moments()?))
    }

    #[cfg(test)]
    fn gradients(
        &mut self,
        examples: Examples,
        masking: Masking,
        weights: LossWeights,
    ) -> Result<(LossTerms, std::collections::BTreeMap<String, Vec<f32>>)> {
        self.stage(examples, masking)?;
        let masking = self.staged.take().ok_or_else(nothing_staged)?;
        self.network.prepare(side(&copies(&masking)))?;
        self.differentiate(&masking, weights)?;
        Ok((terms(&self.memory()?.loss)?, self.network.gradients()?))
    }
}
