//! The U-Net as a differentiable candle graph, for training.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore};

use crate::{
    architecture::{Architecture, Down, RESIZE_4X4, Role, SAME_3X3, TensorSpec, Up},
    ops::{BatchStatistics, Layout, batch_norm_relu, conv_transpose2d, conv2d},
    weights::Weights,
};

/// Share of the batch's statistics in the running ones, as PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// A network under training: variables on a device, and batch norms' running statistics.
///
/// Batch norm normalises over the whole batch that a forward pass is given. The trainer gives it the n masked copies of
/// all images of a step at once; public implementations run the copies one after another, with statistics of their own
/// each. One batch is faster, and its statistics are those of the mixture that scoring sees.
pub(crate) struct Network {
    architecture: Architecture,
    device: Device,
    layout: Layout,
    trained: BTreeMap<String, Var>,
    running: BTreeMap<String, Tensor>,
}

impl Network {
    /// Puts weights on a device. `layout` is [`Layout::on`] the device, save in tests of the other one.
    pub(crate) fn new(weights: &Weights, device: &Device, layout: Layout) -> Result<Self> {
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
            device: device.clone(),
            layout,
            trained,
            running,
        })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The variables by name, in a fixed order.
    pub(crate) fn variables(&self) -> &BTreeMap<String, Var> {
        &self.trained
    }

    /// A copy of the weights on the host.
    pub(crate) fn weights(&self) -> Result<Weights> {
        Weights::try_from_fn(self.architecture, |TensorSpec { name, role, .. }| {
            let tensor = match role {
                Role::RunningMean | Role::RunningVariance => &self.running[name],
                _ => self.trained[name].as_tensor(),
            };
            tensor.flatten_all()?.to_vec1()
        })
    }

    /// Runs the network on a batch in [`Self::layout`], with values normalised to [-1, 1], and updates the running
    /// statistics. The result has the batch's shape, in [-1, 1].
    pub(crate) fn forward(&mut self, input: &Tensor) -> Result<Tensor> {
        let mut x = input.clone();
        let mut skips = Vec::new();
        for Down { name, first, .. } in self.architecture.encoder() {
            x = self.convolve(&x, &format!("{name}.conv1"), first)?;
            x = self.normalise(&x, &format!("{name}.bn1"))?;
            x = self.convolve(&x, &format!("{name}.conv2"), SAME_3X3)?;
            x = self.normalise(&x, &format!("{name}.bn2"))?;
            skips.push(x.clone());
        }
        skips.pop();
        for Up { name, .. } in self.architecture.decoder() {
            let (weight, bias) = self.parameters(&format!("{name}.upconv"));
            let up = conv_transpose2d(&x, weight, bias, RESIZE_4X4, self.layout)?;
            x = match skips.pop() {
                Some(skip) => Tensor::cat(&[&up, &skip], self.layout.channel_axis())?,
                None => candle_core::bail!("the encoder has a skip connection for each decoder block"),
            };
            x = self.convolve(&x, &format!("{name}.conv1"), SAME_3X3)?;
            x = self.normalise(&x, &format!("{name}.bn1"))?;
            x = self.convolve(&x, &format!("{name}.conv2"), SAME_3X3)?;
            x = self.normalise(&x, &format!("{name}.bn2"))?;
        }
        self.convolve(&x, "conv_final.0", SAME_3X3)?.tanh()
    }

    fn parameters(&self, layer: &str) -> (&Tensor, &Tensor) {
        (
            &self.trained[&format!("{layer}.weight")],
            &self.trained[&format!("{layer}.bias")],
        )
    }

    fn convolve(&self, x: &Tensor, layer: &str, geometry: riad_conv::Geometry) -> Result<Tensor> {
        let (weight, bias) = self.parameters(layer);
        conv2d(x, weight, bias, geometry, self.layout)
    }

    fn normalise(&mut self, x: &Tensor, layer: &str) -> Result<Tensor> {
        let (scale, shift) = self.parameters(layer);
        let (y, BatchStatistics { mean, variance, count }) = batch_norm_relu(x, scale, shift, self.layout)?;
        // PyTorch keeps the unbiased variance for inference.
        let unbiased = (variance * (count as f64 / (count as f64 - 1.0).max(1.0)))?;
        for (part, batch) in [("running_mean", mean), ("running_var", unbiased)] {
            if let Some(running) = self.running.get_mut(&format!("{layer}.{part}")) {
                *running = ((&*running * (1.0 - MOMENTUM))? + (batch * MOMENTUM)?)?;
            }
        }
        Ok(y)
    }
}

/// The gradient of `variable`, which every backward pass of the network reaches.
pub(crate) fn gradient<'a>(gradients: &'a GradStore, name: &str, variable: &Var) -> Result<&'a Tensor> {
    gradients
        .get(variable)
        .ok_or_else(|| candle_core::Error::msg(format!("{name} has no gradient")))
}
