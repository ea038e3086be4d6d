//! Adam with coupled (L2) weight decay, as `torch.optim.Adam`: the published setup. candle-nn has only AdamW, whose decay
//! is decoupled.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var, backprop::GradStore};

use crate::{Result, network};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// First and second moments of every variable's gradient.
pub(crate) struct Adam {
    weight_decay: f64,
    steps: u64,
    moments: BTreeMap<String, [Tensor; 2]>,
}

impl Adam {
    pub(crate) fn new(variables: &BTreeMap<String, Var>, weight_decay: f64) -> Result<Self> {
        let moments = variables
            .iter()
            .map(|(name, variable)| Ok((name.clone(), [variable.zeros_like()?, variable.zeros_like()?])))
            .collect::<Result<_>>()?;
        Ok(Self {
            weight_decay,
            steps: 0,
            moments,
        })
    }

    /// Takes up the state that [`Self::steps`] and [`Self::moments`] gave.
    pub(crate) fn restore(weight_decay: f64, steps: u64, moments: BTreeMap<String, [Tensor; 2]>) -> Self {
        Self {
            weight_decay,
            steps,
            moments,
        }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn moments(&self) -> &BTreeMap<String, [Tensor; 2]> {
        &self.moments
    }

    /// Moves every variable one step against its gradient.
    pub(crate) fn step(
        &mut self,
        variables: &BTreeMap<String, Var>,
        gradients: &GradStore,
        learning_rate: f64,
    ) -> Result<()> {
        self.steps += 1;
        let steps = self.steps as f64;
        let correction1 = 1.0 - BETA1.powf(steps);
        let correction2 = 1.0 - BETA2.powf(steps);
        for (name, variable) in variables {
            let gradient = network::gradient(gradients, name, variable)?;
            let gradient = (gradient + (variable.as_detached_tensor() * self.weight_decay)?)?;
            let Some([first, second]) = self.moments.get_mut(name) else {
                continue;
            };
            *first = ((&*first * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
            *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let deviation = ((&*second * (1.0 / correction2))?.sqrt()? + EPSILON)?;
            let update = ((&*first * (learning_rate / correction1))? / deviation)?;
            variable.set(&(variable.as_detached_tensor() - update)?)?;
        }
        Ok(())
    }
}
