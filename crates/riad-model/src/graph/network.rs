//! The U-Net as a differentiable candle graph.

use std::collections::BTreeMap;

use candle_core::{D, Device, Result, Tensor, Var};
use riad_conv::Geometry;

use crate::{
    architecture::{Architecture, Down, EPSILON, MOMENTUM, RESIZE_4X4, Role, SAME_3X3, TensorSpec, Up},
    weights::Weights,
};

/// Variables on a device, and batch norms' running statistics. Batch norm is over the whole batch, as in
/// [`crate::engine::Engine`].
pub(super) struct Network {
    architecture: Architecture,
    trained: BTreeMap<String, Var>,
    running: BTreeMap<String, Tensor>,
}

impl Network {
    /// Puts weights on a device.
    pub(super) fn new(weights: &Weights, device: &Device) -> Result<Self> {
        let architecture = weights.architecture();
        let (mut trained, mut running) = (BTreeMap::new(), BTreeMap::new());
        for TensorSpec { name, shape, role } in architecture.tensors() {
            let tensor = Tensor::from_slice(weights.get(&name), shape, device)?;
            if role.is_trained() {
                trained.insert(name, Var::from_tensor(&tensor)?);
            } else {
                running.insert(name, tensor);
            }
        }
        Ok(Self {
            architecture,
            trained,
            running,
        })
    }

    /// The variables by name, in a fixed order.
    pub(super) fn variables(&self) -> &BTreeMap<String, Var> {
        &self.trained
    }

    /// A copy of the weights on the host.
    pub(super) fn weights(&self) -> Result<Weights> {
        Weights::try_from_fn(self.architecture, |TensorSpec { name, role, .. }| {
            let tensor = match role {
                Role::RunningMean | Role::RunningVariance => &self.running[name],
                _ => self.trained[name].as_tensor(),
            };
            tensor.flatten_all()?.to_vec1()
        })
    }

    /// Runs the network on a batch `[N, 3, H, W]` normalised to [-1, 1], and updates the running statistics. The result
    /// has the batch's shape, in [-1, 1].
    pub(super) fn forward(&mut self, input: &Tensor) -> Result<Tensor> {
        let mut x = input.clone();
        let mut skips = Vec::new();
        for Down { name, first, .. } in self.architecture.encoder() {
            x = self.block(&x, name, 1, first)?;
            x = self.block(&x, name, 2, SAME_3X3)?;
            skips.push(x.clone());
        }
        skips.pop();
        for (Up { name, .. }, skip) in self.architecture.decoder().into_iter().zip(skips.iter().rev()) {
            let (weight, bias) = self.parameters(&format!("{name}.upconv"));
            let Geometry { stride, padding, .. } = RESIZE_4X4;
            let up = x
                .conv_transpose2d(weight, padding, 0, stride, 1)?
                .broadcast_add(&per_channel(bias)?)?;
            x = if self.architecture.skip_connections {
                Tensor::cat(&[&up, skip], 1)?
            } else {
                up
            };
            x = self.block(&x, name, 1, SAME_3X3)?;
            x = self.block(&x, name, 2, SAME_3X3)?;
        }
        self.convolve(&x, "conv_final.0", SAME_3X3)?.tanh()
    }

    fn parameters(&self, layer: &str) -> (&Tensor, &Tensor) {
        (
            &self.trained[&format!("{layer}.weight")],
            &self.trained[&format!("{layer}.bias")],
        )
    }

    fn convolve(&self, x: &Tensor, layer: &str, geometry: Geometry) -> Result<Tensor> {
        let (weight, bias) = self.parameters(layer);
        let Geometry { stride, padding, .. } = geometry;
        x.conv2d(weight, padding, stride, 1, 1)?
            .broadcast_add(&per_channel(bias)?)
    }

    /// Convolution, batch norm and ReLU.
    fn block(&mut self, x: &Tensor, level: &str, index: usize, geometry: Geometry) -> Result<Tensor> {
        let x = self.convolve(x, &format!("{level}.conv{index}"), geometry)?;
        let norm = format!("{level}.bn{index}");
        let (scale, shift) = self.parameters(&norm);
        let flat = x.transpose(0, 1)?.flatten_from(1)?;
        let mean = flat.mean_keepdim(D::Minus1)?;
        let variance = flat.broadcast_sub(&mean)?.sqr()?.mean_keepdim(D::Minus1)?;
        let scale = (per_channel(scale)? / (per_channel(&variance)? + EPSILON)?.sqrt()?)?;
        let y = x
            .broadcast_sub(&per_channel(&mean)?)?
            .broadcast_mul(&scale)?
            .broadcast_add(&per_channel(shift)?)?
            .relu()?;
        // PyTorch keeps the unbiased variance for inference.
        let count = flat.dim(1)? as f64;
        let unbiased = (variance * (count / (count - 1.0).max(1.0)))?;
        for (part, batch) in [("running_mean", mean), ("running_var", unbiased)] {
            if let Some(running) = self.running.get_mut(&format!("{norm}.{part}")) {
                let batch = batch.detach().flatten_all()?;
                *running = ((&*running * (1.0 - MOMENTUM))? + (batch * MOMENTUM)?)?;
            }
        }
        Ok(y)
    }
}

fn per_channel(values: &Tensor) -> Result<Tensor> {
    values.reshape((1, (), 1, 1))
}
