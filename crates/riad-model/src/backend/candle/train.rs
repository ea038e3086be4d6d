//! A network under training on a device of candle's: candle's tape gives the gradients. The optimiser is ours.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use candle_nn::{ModuleT, VarBuilder};

use super::CandleScorer;
use crate::{
    Result,
    backend::{
        Score, Train,
        adam::{Adam, BETA1, BETA2, EPSILON, Step},
        nothing_staged,
    },
    candle::{Losses, Pass, UNet, loss, tensors},
    method::{Examples, LossTerms, LossWeights, Masking, Passes},
    network::{Moments, TensorSpec, Weights},
};

pub(crate) struct CandleTrainer {
    device: Device,
    network: UNet,
    /// The network without its tensors.
    bare: Weights,
    /// All of its tensors, running statistics too, by name.
    variables: BTreeMap<String, Var>,
    adam: Adam,
    /// First and second moments of the gradients to what is trained.
    moments: BTreeMap<String, [Tensor; 2]>,
    staged: Option<Staged>,
    begun: Option<Begun>,
}

/// Examples on the device.
struct Staged {
    images: Tensor,
    /// What the network sees of them.
    copies: Tensor,
    pass: Pass,
}

/// A step that the device may still be at.
struct Begun {
    losses: Losses,
    gradients: GradStore,
    learning_rate: f64,
}

impl CandleTrainer {
    /// Takes up training with `weights`, and with the optimiser's moments, if there are any yet.
    pub(crate) fn new(weights: &Weights, adam: Adam, moments: &Moments, device: &Device) -> Result<Self> {
        let mut variables = BTreeMap::new();
        for (name, tensor) in tensors(weights, device)? {
            variables.insert(name, Var::from_tensor(&tensor)?);
        }
        let shared = variables
            .iter()
            .map(|(name, variable)| (name.clone(), variable.as_tensor().clone()));
        let shared = VarBuilder::from_tensors(shared.collect(), DType::F32, device);
        let trained = weights.network().tensors().into_iter();
        let of_device = trained
            .filter(|spec| spec.role.is_trained())
            .map(|TensorSpec { name, shape, .. }| {
                let pair = match moments.get(&name) {
                    Some([first, second]) => [
                        Tensor::from_slice(first, shape.clone(), device)?,
                        Tensor::from_slice(second, shape, device)?,
                    ],
                    None => {
                        let zeros = Tensor::zeros(shape, DType::F32, device)?;
                        [zeros.clone(), zeros]
                    }
                };
                Ok((name, pair))
            });
        Ok(Self {
            network: UNet::new(weights.network(), shared)?,
            bare: weights.bare(),
            moments: of_device.collect::<Result<_>>()?,
            variables,
            adam,
            device: device.clone(),
            staged: None,
            begun: None,
        })
    }

    /// The loss of what is staged, still on the device. The running statistics take in the batch's.
    fn losses(&mut self, weights: LossWeights) -> Result<Losses> {
        let Staged { images, copies, pass } = self.staged.take().ok_or_else(nothing_staged)?;
        let outputs = self.network.forward_t(&copies, true)?;
        Ok(loss(&images, &pass.reconstructions(&outputs)?, weights)?)
    }

    /// Moves every variable one step against its gradient.
    fn descend(&mut self, gradients: &GradStore, learning_rate: f64) -> Result<()> {
        let Step { rate, correction } = self.adam.begin_step(learning_rate);
        for (name, [first, second]) in &mut self.moments {
            let variable = &self.variables[name];
            let value = variable.as_detached_tensor();
            let gradient = (gradient(gradients, name, variable)? + (&value * self.adam.weight_decay)?)?;
            *first = ((&*first * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
            *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let deviation = ((&*second * correction)?.sqrt()? + EPSILON)?;
            let step = ((&*first * rate)? / deviation)?;
            variable.set(&(value - step)?)?;
        }
        Ok(())
    }
}

impl Train for CandleTrainer {
    fn stage(&mut self, examples: Examples, masking: Masking) -> Result<()> {
        examples.check(masking.image_len())?;
        let shape = masking.shape();
        let shape = (shape.images, shape.channels, shape.size.height, shape.size.width);
        let on_device = |values: Vec<f32>| Tensor::from_vec(values, shape, &self.device);
        let images = on_device(examples.images)?;
        let pass = Pass::new(&masking, &self.device)?;
        let copies = match examples.corrupted {
            Some(corrupted) => pass.copies(&on_device(corrupted)?)?,
            None => pass.copies(&images)?,
        };
        self.staged = Some(Staged { images, copies, pass });
        Ok(())
    }

    fn begin(&mut self, weights: LossWeights, learning_rate: f64) -> Result<()> {
        let losses = self.losses(weights)?;
        self.begun = Some(Begun {
            gradients: losses.total.backward()?,
            losses,
            learning_rate,
        });
        Ok(())
    }

    fn finish(&mut self) -> Result<LossTerms> {
        let begun = self.begun.take().ok_or_else(nothing_staged)?;
        let terms = begun.losses.read()?;
        if terms.total.is_finite() {
            self.descend(&begun.gradients, begun.learning_rate)?;
        }
        Ok(terms)
    }

    fn scorer(&self, passes: Passes) -> Result<Box<dyn Score>> {
        Ok(Box::new(CandleScorer::of(&self.network, passes, &self.device)?))
    }

    fn weights(&self) -> Result<Weights> {
        self.bare
            .try_map(|TensorSpec { name, .. }| Ok(self.variables[name].flatten_all()?.to_vec1()?))
    }

    fn optimiser(&self) -> Result<(u64, Moments)> {
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let mut moments = Moments::new();
        for (name, [first, second]) in &self.moments {
            moments.insert(name.clone(), [values(first)?, values(second)?]);
        }
        Ok((self.adam.steps, moments))
    }

    #[cfg(test)]
    fn gradients(
        &mut self,
        examples: Examples,
        masking: Masking,
        weights: LossWeights,
    ) -> Result<(LossTerms, BTreeMap<String, Vec<f32>>)> {
        self.stage(examples, masking)?;
        let losses = self.losses(weights)?;
        let (gradients, terms) = (losses.total.backward()?, losses.read()?);
        let mut named = BTreeMap::new();
        for name in self.moments.keys() {
            let gradient = gradient(&gradients, name, &self.variables[name])?;
            named.insert(name.clone(), gradient.flatten_all()?.to_vec1()?);
        }
        Ok((terms, named))
    }
}

/// The gradient to a variable, which every backward pass of the network reaches.
fn gradient<'a>(gradients: &'a GradStore, name: &str, variable: &Var) -> candle_core::Result<&'a Tensor> {
    gradients
        .get(variable)
        .ok_or_else(|| candle_core::Error::msg(format!("{name} has no gradient")))
}
