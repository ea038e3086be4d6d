//! What a trainer trains.

use crate::{
    Device, Precision, Result,
    adam::Adam,
    checkpoint::Moments,
    cuda::CudaLearner,
    engine::Engine,
    graph::Graph,
    loss::{LossTerms, LossWeights},
    masking::Masking,
    plan::Plan,
    weights::Weights,
};

/// A network with its optimiser, on one device.
pub(crate) enum Learner {
    Cpu(Box<Engine>),
    Cuda(Box<CudaLearner>),
    Tape(Box<Graph>),
}

/// A step that was begun.
#[must_use]
pub(crate) enum Begun {
    /// It is done, with this loss.
    Done(LossTerms),
    /// The device is at it.
    Running,
}

impl Learner {
    /// Takes up training with `weights`, and with the optimiser's moments, where there are any yet.
    pub(crate) fn new(
        weights: &Weights,
        adam: Adam,
        moments: &Moments,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        precision.check_training(device)?;
        Ok(match device {
            Device::Cpu => Self::Cpu(Box::new(Engine::new(weights, adam, moments))),
            Device::Cuda(gpu) => {
                let precision = precision.on_gpu();
                Self::Cuda(Box::new(CudaLearner::new(weights, adam, moments, gpu, precision)?))
            }
            Device::Metal(device) => Self::Tape(Box::new(Graph::new(weights, adam, moments, device)?)),
        })
    }

    /// Makes the images of the next step, `[B, 3, H, W]` in [0, 1], ready with their masks, while the device may be at
    /// another.
    pub(crate) fn stage(&mut self, images: &[f32], masking: &Masking) -> Result<()> {
        match self {
            Self::Cuda(learner) => learner.stage(images, masking),
            Self::Cpu(_) | Self::Tape(_) => Ok(()),
        }
    }

    /// Begins a step on staged images, which [`Self::finish`] ends. A loss that is not finite is told without a step.
    pub(crate) fn begin(
        &mut self,
        images: &[f32],
        masking: &Masking,
        weights: LossWeights,
        learning_rate: f64,
    ) -> Result<Begun> {
        match self {
            Self::Cpu(engine) => engine.step(images, masking, weights, learning_rate).map(Begun::Done),
            Self::Cuda(learner) => {
                learner.begin(masking, weights, learning_rate)?;
                Ok(Begun::Running)
            }
            Self::Tape(graph) => graph.step(images, masking, weights, learning_rate).map(Begun::Done),
        }
    }

    /// Waits for a step, and gives its loss.
    pub(crate) fn finish(&mut self, begun: Begun) -> Result<LossTerms> {
        match (begun, self) {
            (Begun::Running, Self::Cuda(learner)) => learner.finish(),
            (Begun::Running, _) => unreachable!("nothing but an NVIDIA GPU is left running"),
            (Begun::Done(terms), _) => Ok(terms),
        }
    }

    /// The network as it is, ready to score on the device that it lies on.
    pub(crate) fn plan(&self, device: &Device, precision: Precision) -> Result<Plan> {
        match self {
            Self::Cuda(learner) => Ok(Plan::Cuda(Box::new(learner.plan()?))),
            Self::Cpu(_) | Self::Tape(_) => Plan::new(&self.weights()?, device, precision),
        }
    }

    /// A copy of the weights on the host.
    pub(crate) fn weights(&self) -> Result<Weights> {
        match self {
            Self::Cpu(engine) => Ok(engine.weights()),
            Self::Cuda(learner) => learner.weights(),
            Self::Tape(graph) => graph.weights(),
        }
    }

    /// Steps of the optimiser so far, and a copy of its moments.
    pub(crate) fn optimiser(&self) -> Result<(u64, Moments)> {
        match self {
            Self::Cpu(engine) => Ok(engine.optimiser()),
            Self::Cuda(learner) => learner.optimiser(),
            Self::Tape(graph) => graph.optimiser(),
        }
    }
}
