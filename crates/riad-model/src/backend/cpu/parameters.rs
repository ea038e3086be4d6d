//! Trained parameters, their gradients, and Adam.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::{
    backend::adam::{Adam, BETA1, BETA2, EPSILON, Step},
    network::{Moments, TensorSpec, Weights},
};

/// Values a task takes at a time.
const CHUNK: usize = 1 << 14;

/// All trained tensors of a network, by PyTorch's names, with Adam's state.
pub(super) struct Parameters {
    parameters: BTreeMap<String, Parameter>,
    adam: Adam,
}

struct Parameter {
    values: Vec<f32>,
    gradient: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Parameters {
    /// With the optimiser's moments, if there are any yet.
    pub(super) fn new(weights: &Weights, adam: Adam, moments: &Moments) -> Self {
        let trained = weights.network().tensors().into_iter();
        let parameters = trained
            .filter(|spec| spec.role.is_trained())
            .map(|TensorSpec { name, .. }| {
                let values = weights.get(&name).to_vec();
                let zeros = || vec![0.0; values.len()];
                let [first, second] = moments.get(&name).cloned().unwrap_or_else(|| [zeros(), zeros()]);
                let parameter = Parameter {
                    gradient: zeros(),
                    first,
                    second,
                    values,
                };
                (name, parameter)
            })
            .collect();
        Self { parameters, adam }
    }

    /// The values of the tensor `name`.
    ///
    /// # Panics
    /// If the network has no such tensor.
    pub(super) fn values(&self, name: &str) -> &[f32] {
        &self.parameters[name].values
    }

    /// Weight and bias of a layer.
    pub(super) fn layer(&self, layer: &str) -> [&[f32]; 2] {
        ["weight", "bias"].map(|part| self.values(&format!("{layer}.{part}")))
    }

    /// The gradients to weight and bias of a layer.
    ///
    /// # Panics
    /// If the network has no such layer.
    pub(super) fn gradients(&mut self, layer: &str) -> [&mut [f32]; 2] {
        // They end the range, whatever names lie between.
        let mut range = self
            .parameters
            .range_mut(format!("{layer}.bias")..=format!("{layer}.weight"));
        match (range.next(), range.next_back()) {
            (Some((_, bias)), Some((_, weight))) => [&mut weight.gradient, &mut bias.gradient],
            _ => unreachable!("the network has no layer {layer}"),
        }
    }

    #[cfg(test)]
    pub(super) fn gradient(&self, name: &str) -> &[f32] {
        &self.parameters[name].gradient
    }

    /// Steps of the optimiser so far.
    pub(super) fn steps(&self) -> u64 {
        self.adam.steps
    }

    /// A copy of Adam's moments.
    pub(super) fn moments(&self) -> Moments {
        let copy = |parameter: &Parameter| [parameter.first.clone(), parameter.second.clone()];
        let named = self.parameters.iter();
        named.map(|(name, parameter)| (name.clone(), copy(parameter))).collect()
    }

    /// Moves every parameter one step against its gradient.
    pub(super) fn step(&mut self, learning_rate: f64) {
        let Step { rate, correction } = self.adam.begin_step(learning_rate);
        let (rate, correction, decay) = (rate as f32, correction as f32, self.adam.weight_decay as f32);
        for parameter in self.parameters.values_mut() {
            let Parameter {
                values,
                gradient,
                first,
                second,
            } = parameter;
            let moments = (first.par_chunks_mut(CHUNK), second.par_chunks_mut(CHUNK));
            (
                values.par_chunks_mut(CHUNK),
                gradient.par_chunks(CHUNK),
                moments.0,
                moments.1,
            )
                .into_par_iter()
                .for_each(|(values, gradient, first, second)| {
                    let moments = first.iter_mut().zip(second);
                    for ((value, &gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
                        let gradient = gradient + *value * decay;
                        *first = *first * BETA1 as f32 + gradient * (1.0 - BETA1) as f32;
                        *second = *second * BETA2 as f32 + gradient * gradient * (1.0 - BETA2) as f32;
                        *value -= *first * rate / ((*second * correction).sqrt() + EPSILON as f32);
                    }
                });
        }
    }
}
