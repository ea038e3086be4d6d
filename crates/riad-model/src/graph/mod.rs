//! The network under training on Apple's GPUs, on candle's tape; and on the CPU, in tests of the others.

mod loss;
mod masks;
mod network;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, backprop::GradStore};

use crate::{
    Result,
    adam::{Adam, BETA1, BETA2, EPSILON, Step},
    checkpoint::Moments,
    loss::{LossTerms, LossWeights},
    masking::Masking,
    weights::Weights,
};
use loss::{Filters, TermTensors};
pub(crate) use masks::DeviceMasks;
use network::Network;

/// A network with its optimiser on a device, channels-first.
pub(crate) struct Graph {
    device: Device,
    network: Network,
    filters: Filters,
    adam: Adam,
    /// First and second moments of every variable's gradient.
    moments: BTreeMap<String, [Tensor; 2]>,
}

impl Graph {
    /// Takes up training with `weights`, and with the optimiser's moments, where there are any yet.
    pub(crate) fn new(weights: &Weights, adam: Adam, moments: &Moments, device: &Device) -> Result<Self> {
        let network = Network::new(weights, device)?;
        let mut on_device = BTreeMap::new();
        for (name, variable) in network.variables() {
            let pair = match moments.get(name) {
                Some([first, second]) => [
                    Tensor::from_slice(first, variable.shape(), device)?,
                    Tensor::from_slice(second, variable.shape(), device)?,
                ],
                None => [variable.zeros_like()?, variable.zeros_like()?],
            };
            on_device.insert(name.clone(), pair);
        }
        Ok(Self {
            device: device.clone(),
            network,
            filters: Filters::new(device)?,
            adam,
            moments: on_device,
        })
    }

    /// A copy of the weights on the host.
    pub(crate) fn weights(&self) -> Result<Weights> {
        Ok(self.network.weights()?)
    }

    /// Steps of the optimiser so far, and a copy of its moments.
    pub(crate) fn optimiser(&self) -> Result<(u64, Moments)> {
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let mut moments = Moments::new();
        for (name, [first, second]) in &self.moments {
            moments.insert(name.clone(), [values(first)?, values(second)?]);
        }
        Ok((self.adam.steps, moments))
    }

    /// One step on images, `[B, 3, H, W]` in [0, 1]. A loss that is not finite is returned without a step.
    pub(crate) fn step(
        &mut self,
        images: &[f32],
        masking: &Masking,
        weights: LossWeights,
        learning_rate: f64,
    ) -> Result<LossTerms> {
        let loss = self.loss(images, masking, weights)?;
        // The device has all of the backward pass to do before the host waits for it, once, to see the loss.
        let gradients = loss.total.backward()?;
        let terms = loss.read()?;
        if terms.total.is_finite() {
            self.descend(&gradients, learning_rate)?;
        }
        Ok(terms)
    }

    /// The loss, still on the device. The running statistics take in the batch's.
    fn loss(&mut self, images: &[f32], masking: &Masking, weights: LossWeights) -> Result<TermTensors> {
        let images = masking.upload(images, &self.device)?;
        let masks = DeviceMasks::new(masking, &self.device)?;
        let output = self.network.forward(&masks.hide(&images)?)?;
        Ok(self.filters.loss(&images, &masks.compose(&output)?, weights)?)
    }

    /// The loss, and its gradient to every parameter.
    #[cfg(test)]
    pub(crate) fn differentiate(
        &mut self,
        images: &[f32],
        masking: &Masking,
        weights: LossWeights,
    ) -> Result<(LossTerms, BTreeMap<String, Vec<f32>>)> {
        let loss = self.loss(images, masking, weights)?;
        let (gradients, terms) = (loss.total.backward()?, loss.read()?);
        let mut named = BTreeMap::new();
        for (name, variable) in self.network.variables() {
            let values = gradient(&gradients, name, variable)?.flatten_all()?.to_vec1()?;
            named.insert(name.clone(), values);
        }
        Ok((terms, named))
    }

    /// Moves every variable one step against its gradient.
    fn descend(&mut self, gradients: &GradStore, learning_rate: f64) -> Result<()> {
        let Step { rate, correction } = self.adam.begin_step(learning_rate);
        for (name, variable) in self.network.variables() {
            let gradient = gradient(gradients, name, variable)?;
            let Some([first, second]) = self.moments.get_mut(name) else {
                continue;
            };
            let value = variable.as_detached_tensor();
            let gradient = (gradient + (&value * self.adam.weight_decay)?)?;
            *first = ((&*first * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
            *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let deviation = ((&*second * correction)?.sqrt()? + EPSILON)?;
            let step = ((&*first * rate)? / deviation)?;
            variable.set(&(value - step)?)?;
        }
        Ok(())
    }
}

/// The gradient of `variable`, which every backward pass of the network reaches.
fn gradient<'a>(gradients: &'a GradStore, name: &str, variable: &candle_core::Var) -> candle_core::Result<&'a Tensor> {
    gradients
        .get(variable)
        .ok_or_else(|| candle_core::Error::msg(format!("{name} has no gradient")))
}
