//! What a trainer trains.

use candle_core::Device;

use crate::{
    Result,
    adam::Adam,
    checkpoint::Moments,
    engine::Engine,
    graph::Graph,
    loss::{LossTerms, LossWeights},
    masking::Masking,
    weights::Weights,
};

/// A network with its optimiser, on one device.
pub(crate) enum Learner {
    Cpu(Box<Engine>),
    Other(Box<Graph>),
}

impl Learner {
    /// Takes up training with `weights`, and with the optimiser's moments, where there are any yet.
    pub(crate) fn new(weights: &Weights, adam: Adam, moments: &Moments, device: &Device) -> Result<Self> {
        Ok(match device {
            Device::Cpu => Self::Cpu(Box::new(Engine::new(weights, adam, moments))),
            _ => Self::Other(Box::new(Graph::new(weights, adam, moments, device)?)),
        })
    }

    /// One step on images, `[B, 3, H, W]` in [0, 1], with their masks. A loss that is not finite is returned without a step.
    pub(crate) fn step(
        &mut self,
        images: &[f32],
        masking: &Masking,
        weights: LossWeights,
        learning_rate: f64,
    ) -> Result<LossTerms> {
        match self {
            Self::Cpu(engine) => engine.step(images, masking, weights, learning_rate),
            Self::Other(graph) => graph.step(images, masking, weights, learning_rate),
        }
    }

    /// A copy of the weights on the host.
    pub(crate) fn weights(&self) -> Result<Weights> {
        match self {
            Self::Cpu(engine) => Ok(engine.weights()),
            Self::Other(graph) => graph.weights(),
        }
    }

    /// Steps of the optimiser so far, and a copy of its moments.
    pub(crate) fn optimiser(&self) -> Result<(u64, Moments)> {
        match self {
            Self::Cpu(engine) => Ok(engine.optimiser()),
            Self::Other(graph) => graph.optimiser(),
        }
    }
}
