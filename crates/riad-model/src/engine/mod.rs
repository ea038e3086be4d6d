//! The network under training on the CPU.
//!
//! Forward and backward passes are written out over `riad-conv`'s kernels, channels-last, in buffers that live as long as
//! the run: a tape of tensors spends as much time on new pages, copies and sums of gradients as on the layers themselves.
//! [`crate::graph`] is the same network on candle's tape, for Apple's GPUs, and what this one is tested against;
//! [`crate::cuda`] is this one for NVIDIA's.

mod layers;
mod norm;
mod parameters;

use std::{collections::BTreeMap, convert::Infallible};

use riad_conv::{
    Activation, Batch, Conv2d, Dims, Precision, conv_transpose2d, conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight, conv2d_grad_input, conv2d_grad_weight, grad_bias,
};

use crate::{
    Result,
    adam::Adam,
    architecture::{Architecture, CHANNELS, RESIZE_4X4, Role, SAME_3X3, TensorSpec},
    checkpoint::Moments,
    loss::{self, LossTerms, LossWeights},
    masking::Masking,
    values::Values,
    weights::Weights,
};
use layers::{Block, Joint};
use parameters::Parameters;

/// The last convolution.
const LAST: &str = "conv_final.0";

/// A network with its optimiser, and the activations of its last forward pass.
///
/// Batch norm normalises over the whole batch that a forward pass is given. The trainer gives it the n masked copies of
/// all images of a step at once; public implementations run the copies one after another, with statistics of their own
/// each. One batch is faster, and its statistics are those of the mixture that scoring sees.
pub(crate) struct Engine {
    architecture: Architecture,
    parameters: Parameters,
    running: BTreeMap<String, Vec<f32>>,
    /// Two blocks a level, from the image down.
    encoder: Vec<[Block; 2]>,
    /// From the bottom up.
    decoder: Vec<Up>,
    /// Of each level that has a decoder block, from the image down.
    joints: Vec<Joint>,
    /// The network's output, tanh applied.
    output: Values,
    /// Gradients on their way from layer to layer.
    gradients: [Values; 2],
}

/// A decoder block: a transposed convolution into a joint, then two blocks.
struct Up {
    conv: String,
    blocks: [Block; 2],
}

impl Engine {
    /// Takes up training with `weights`, and with the optimiser's moments, where there are any yet.
    pub(crate) fn new(weights: &Weights, adam: Adam, moments: &Moments) -> Self {
        let architecture = weights.architecture();
        let mut running = BTreeMap::new();
        for TensorSpec { name, role, .. } in architecture.tensors() {
            if let Role::RunningMean | Role::RunningVariance = role {
                let values = weights.get(&name).to_vec();
                running.insert(name, values);
            }
        }
        let encoder = architecture
            .encoder()
            .map(|down| Block::pair(down.name, down.output, down.first));
        let decoder = architecture.decoder();
        Self {
            architecture,
            parameters: Parameters::new(weights, adam, moments),
            running,
            encoder: encoder.into(),
            joints: decoder.iter().rev().map(|up| Joint::new(up.output, up.skip)).collect(),
            decoder: decoder
                .map(|up| Up {
                    conv: format!("{}.upconv", up.name),
                    blocks: Block::pair(up.name, up.output, SAME_3X3),
                })
                .into(),
            output: Values::default(),
            gradients: Default::default(),
        }
    }

    /// A copy of the weights.
    pub(crate) fn weights(&self) -> Weights {
        let Ok(weights) = Weights::try_from_fn(self.architecture, |TensorSpec { name, role, .. }| {
            Ok::<_, Infallible>(match role {
                Role::RunningMean | Role::RunningVariance => self.running[name].clone(),
                _ => self.parameters.values(name).to_vec(),
            })
        });
        weights
    }

    /// Steps of the optimiser so far, and a copy of its moments.
    pub(crate) fn optimiser(&self) -> (u64, Moments) {
        (self.parameters.steps(), self.parameters.moments())
    }

    /// One step on images, `[B, 3, H, W]` in [0, 1]. A loss that is not finite is returned without a step.
    pub(crate) fn step(
        &mut self,
        images: &[f32],
        masking: &Masking,
        weights: LossWeights,
        learning_rate: f64,
    ) -> Result<LossTerms> {
        let terms = self.differentiate(images, masking, weights)?;
        if terms.total.is_finite() {
            self.parameters.step(learning_rate);
        }
        Ok(terms)
    }

    /// The loss, its gradient to every parameter left in place. The running statistics take in the batch's.
    pub(crate) fn differentiate(
        &mut self,
        images: &[f32],
        masking: &Masking,
        weights: LossWeights,
    ) -> Result<LossTerms> {
        let copies = masking.hide(images)?;
        let (count, height, width, channels) = masking.shape();
        let input = Batch::new(&copies, Dims::new(count, height, width, channels))?;
        self.forward(input)?;
        let reconstructions = masking.compose(self.output.all())?;
        let mut gradient = vec![0.0; reconstructions.len()];
        let terms = loss::loss(images, &reconstructions, masking.size(), weights, Some(&mut gradient))?;
        if terms.total.is_finite() {
            let mut gradient = masking.spread(&gradient);
            for (gradient, output) in gradient.iter_mut().zip(self.output.all()) {
                *gradient *= 1.0 - output * output; // through tanh
            }
            self.backward(input, Batch::new(&gradient, input.dims())?)?;
        }
        Ok(terms)
    }

    /// The gradient that [`Self::differentiate`] left to the parameter `name`.
    #[cfg(test)]
    pub(crate) fn gradient(&self, name: &str) -> &[f32] {
        self.parameters.gradient(name)
    }

    fn forward(&mut self, input: Batch<'_>) -> Result<()> {
        let (parameters, running) = (&self.parameters, &mut self.running);
        let mut x = input;
        for (level, [first, second]) in self.encoder.iter_mut().enumerate() {
            first.convolve(parameters, running, x)?;
            let y = first.normalise(parameters)?;
            second.convolve(parameters, running, y)?;
            x = match self.joints.get_mut(level).filter(|joint| joint.has_skip()) {
                Some(joint) => second.normalise_into(parameters, joint)?,
                None => second.normalise(parameters)?,
            };
        }
        let mut x = match self.encoder.last() {
            Some([_, second]) => second.output.batch()?,
            None => input,
        };
        let joints = self.joints.iter_mut().rev();
        for (Up { conv, blocks }, joint) in self.decoder.iter_mut().zip(joints) {
            let [weight, bias] = parameters.layer(conv);
            let up = joint.up(x.dims().conv_transpose2d(bias.len(), RESIZE_4X4)?)?;
            conv_transpose2d(x, weight, Some(bias), RESIZE_4X4, up)?;
            x = joint.values.batch()?;
            for block in blocks {
                block.convolve(parameters, running, x)?;
                x = block.normalise(parameters)?;
            }
        }
        let [weight, bias] = parameters.layer(LAST);
        let layer = Conv2d::new(
            weight,
            x.dims().channels,
            CHANNELS,
            Some(bias),
            SAME_3X3,
            Activation::Tanh,
            Precision::F32,
        )?;
        Ok(layer.forward(x, self.output.shaped(layer.output(x.dims())?)?)?)
    }

    /// The gradient to every parameter, given that to the last convolution's output.
    fn backward(&mut self, input: Batch<'_>, gradient: Batch<'_>) -> Result<()> {
        let Self {
            parameters,
            encoder,
            decoder,
            joints,
            gradients: [dy, dx],
            ..
        } = self;
        // What the last convolution and each transposed one took in.
        let bottom = encoder.iter().map(|[_, second]| &second.output).next_back();
        let outputs = decoder.iter().map(|up| &up.blocks[1].output);
        let mut inputs = bottom.into_iter().chain(outputs).rev().map(Values::batch);
        let mut next_input = || inputs.next().unwrap_or(Ok(input));

        let x = next_input()?;
        let [weight, bias] = parameters.gradients(LAST);
        conv2d_grad_weight(x, gradient, SAME_3X3, weight)?;
        grad_bias(gradient, bias)?;
        let [weight, _] = parameters.layer(LAST);
        conv2d_grad_input(gradient, weight, SAME_3X3, dy.shaped(x.dims())?)?;
        for (Up { conv, blocks }, joint) in decoder.iter().rev().zip(joints.iter_mut()) {
            let [first, second] = blocks;
            second.backward(parameters, first.output.batch()?, dy, Some(dx))?;
            first.backward(parameters, joint.values.batch()?, dx, Some(&mut joint.gradient))?;
            let (x, up) = (next_input()?, joint.up_gradient()?);
            let [weight, bias] = parameters.gradients(conv);
            conv_transpose2d_grad_weight(x, up, RESIZE_4X4, weight)?;
            grad_bias(up, bias)?;
            let [weight, _] = parameters.layer(conv);
            conv_transpose2d_grad_input(up, weight, RESIZE_4X4, dy.shaped(x.dims())?)?;
        }
        for (level, [first, second]) in encoder.iter().enumerate().rev() {
            if let Some(joint) = joints.get(level).filter(|joint| joint.has_skip()) {
                joint.add_skip_gradient(dy);
            }
            second.backward(parameters, first.output.batch()?, dy, Some(dx))?;
            let Some(above) = level.checked_sub(1) else {
                first.backward(parameters, input, dx, None)?;
                continue;
            };
            let x = match joints.get(above).filter(|joint| joint.has_skip()) {
                Some(joint) => joint.skip()?,
                None => encoder[above][1].output.batch()?,
            };
            first.backward(parameters, x, dx, Some(dy))?;
        }
        Ok(())
    }
}
