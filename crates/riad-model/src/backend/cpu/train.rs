//! A network under training on the CPU: forward and backward passes as loops over its layers.

use std::{collections::BTreeMap, convert::Infallible};

use riad_conv::{
    Activation as Ending, Batch, BatchMut, Conv2d, Dims, Precision, conv_transpose2d, conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight, conv2d, conv2d_grad_input, conv2d_grad_weight, grad_bias,
};

use super::{
    CpuScorer,
    activation::{Activation, Activations, View},
    norm::{self, Affine, Channels, Statistics},
    parameters::Parameters,
};
use crate::{
    ModelError, Result,
    backend::{Adam, Score, Train, nothing_staged},
    method::{Examples, LossTerms, LossWeights, Masking, Passes, loss},
    network::{After, Flow, Input, Kind, Layer, MOMENTUM, Moments, Part, Role, TensorSpec, Weights},
};

/// A network with its optimiser, and the activations of its last forward pass.
///
/// Batch norm normalises over the whole batch that a forward pass is given. The trainer gives it the n masked copies of
/// all images of a step at once; public implementations run the copies one after another, with statistics of their own
/// each. One batch is faster, and its statistics are those of the mixture that scoring sees.
pub(crate) struct CpuTrainer {
    /// The network without its tensors, which are below.
    network: Weights,
    flow: Flow,
    parameters: Parameters,
    running: BTreeMap<String, Vec<f32>>,
    activations: Activations,
    /// What the backward pass needs of each layer with a batch norm, by the layer's number.
    normalised: Vec<Normalised>,
    gradients: Gradients,
    staged: Option<(Examples, Masking)>,
    done: Option<LossTerms>,
}

/// A batch norm's input and its statistics.
#[derive(Default)]
struct Normalised {
    convolved: Activation,
    statistics: Statistics,
}

/// Gradients on their way from layer to layer.
#[derive(Default)]
struct Gradients {
    /// To values that layers read by themselves, until the layer that made the value takes them.
    values: Vec<Option<Activation>>,
    joints: Vec<Activation>,
    /// Memory for others.
    free: Vec<Activation>,
}

/// The gradient to a value.
enum Gradient {
    /// In memory that may be written to.
    Own(Activation),
    /// A part of the gradient to a joint.
    Part(usize, Part),
}

impl Gradients {
    fn new(flow: &Flow) -> Self {
        Self {
            values: flow.values.iter().map(|_| None).collect(),
            joints: flow.joints.iter().map(|_| Activation::default()).collect(),
            free: Vec::new(),
        }
    }

    /// The sum of the gradients from all that read a value, which is taken out.
    fn take(&mut self, flow: &Flow, value: usize) -> Result<Activation> {
        let mut sum = self.values[value].take();
        for (joint, part) in flow.parts_of(value) {
            let from = self.joints[joint].view().part(part);
            match &mut sum {
                Some(sum) => norm::add_channels(sum.all_mut(), from),
                None => {
                    let mut first = self.free.pop().unwrap_or_default();
                    first.shaped(from.dims())?;
                    norm::copy_channels(first.all_mut(), from.channels, 0, from);
                    sum = Some(first);
                }
            }
        }
        sum.ok_or_else(|| ModelError::Setting(format!("no layer of the network reads value {value}")))
    }

    /// The same if nothing is to be written to it: it stays where it lies if it is one part of a joint.
    fn read(&mut self, flow: &Flow, value: usize) -> Result<Gradient> {
        let mut parts = flow.parts_of(value);
        match (&self.values[value], parts.next(), parts.next()) {
            (None, Some((joint, part)), None) => Ok(Gradient::Part(joint, part)),
            _ => self.take(flow, value).map(Gradient::Own),
        }
    }

    fn view<'a>(&'a self, gradient: &'a Gradient) -> View<'a> {
        match gradient {
            Gradient::Own(gradient) => gradient.view(),
            Gradient::Part(joint, part) => self.joints[*joint].view().part(*part),
        }
    }

    /// Memory for the gradient to what a layer reads. `None` if that is the network's input, whose gradient nobody needs.
    fn room(&mut self, input: Input) -> Option<Activation> {
        match input {
            Input::Joint(joint) => Some(std::mem::take(&mut self.joints[joint])),
            Input::Value(0) => None,
            Input::Value(_) => Some(self.free.pop().unwrap_or_default()),
        }
    }

    /// Takes the gradient to what a layer reads.
    fn give(&mut self, input: Input, gradient: Activation) {
        match input {
            Input::Joint(joint) => self.joints[joint] = gradient,
            Input::Value(value) => match &mut self.values[value] {
                None => self.values[value] = Some(gradient),
                Some(sum) => {
                    norm::add_channels(sum.all_mut(), gradient.view());
                    self.free.push(gradient);
                }
            },
        }
    }
}

impl CpuTrainer {
    /// Takes up training with `weights`, and with the optimiser's moments, if there are any yet.
    pub(crate) fn new(weights: &Weights, adam: Adam, moments: &Moments) -> Self {
        let network = weights.bare();
        let flow = Flow::of(network.network());
        let untrained = network.network().tensors().into_iter();
        let untrained = untrained.filter(|spec| !spec.role.is_trained());
        Self {
            parameters: Parameters::new(weights, adam, moments),
            running: untrained
                .map(|TensorSpec { name, .. }| (name.clone(), weights.get(&name).to_vec()))
                .collect(),
            // Each value keeps its memory: the backward pass needs all of them.
            activations: Activations::new(&flow, (0..flow.values.len()).collect()),
            normalised: flow.inputs.iter().map(|_| Normalised::default()).collect(),
            gradients: Gradients::new(&flow),
            network,
            flow,
            staged: None,
            done: None,
        }
    }

    /// The loss, its gradient to every parameter left in place. The running statistics take in the batch's.
    fn differentiate(&mut self, examples: &Examples, masking: &Masking, weights: LossWeights) -> Result<LossTerms> {
        let copies = masking.hide(examples.shown())?;
        let input = View::new(&copies, masking.dims());
        self.forward(input)?;
        let output = self.activations.value(&self.flow, self.flow.values.len() - 1, input);
        let reconstructions = masking.compose(output.values)?;
        let mut gradient = vec![0.0; reconstructions.len()];
        let terms = loss(
            &examples.images,
            &reconstructions,
            masking.shape(),
            weights,
            Some(&mut gradient),
        )?;
        if terms.total.is_finite() {
            self.backward(input, masking.spread(&gradient)?)?;
        }
        Ok(terms)
    }

    fn forward(&mut self, input: View<'_>) -> Result<()> {
        let Self {
            network,
            flow,
            parameters,
            running,
            activations,
            normalised,
            ..
        } = self;
        for (index, layer) in network.network().layers().iter().enumerate() {
            activations.gather(flow, index, input)?;
            let (mut out, first, pixel) = activations.take(flow, index + 1);
            let x = activations.input(flow, index, input).batch()?;
            let [weight, bias] = parameters.layer(&layer.name);
            let dims = output_dims(layer, x.dims())?;
            let place = out.shaped(Dims {
                channels: pixel,
                ..dims
            })?;
            let place = place.channels(first..first + layer.outputs)?;
            match &layer.after {
                After::NormRelu { norm, .. } => {
                    let Normalised { convolved, statistics } = &mut normalised[index];
                    convolve(layer, x, [weight, bias], convolved.shaped(dims)?)?;
                    *statistics = Statistics::of(convolved.all(), layer.outputs);
                    take_in(running, norm, statistics);
                    let [scale, shift] = parameters.layer(norm);
                    let to = Channels {
                        values: out.all_mut(),
                        pixel,
                        first,
                    };
                    statistics.forward(convolved.all(), Affine { scale, shift }, to);
                }
                After::Nothing => convolve(layer, x, [weight, bias], place)?,
                After::Tanh { .. } => {
                    let (inputs, outputs, geometry) = (layer.inputs, layer.outputs, layer.geometry);
                    Conv2d::new(
                        weight,
                        inputs,
                        outputs,
                        Some(bias),
                        geometry,
                        Ending::Tanh,
                        Precision::F32,
                    )?
                    .forward(x, place)?;
                }
            }
            activations.put(flow, index + 1, out);
        }
        Ok(())
    }

    /// The gradient to every parameter, given that to the network's output.
    fn backward(&mut self, input: View<'_>, gradient: Vec<f32>) -> Result<()> {
        let Self {
            network,
            flow,
            parameters,
            activations,
            normalised,
            gradients,
            ..
        } = self;
        // A pass that failed midway may have left some.
        gradients.values.fill_with(|| None);
        let mut from_outside = Some(gradient);
        for (index, layer) in network.network().layers().iter().enumerate().rev() {
            let value = index + 1;
            let x = activations.input(flow, index, input);
            let dy = match &layer.after {
                After::Tanh { .. } => {
                    let output = activations.value(flow, value, input);
                    let mut gradient = from_outside.take().unwrap_or_default();
                    for (gradient, output) in gradient.iter_mut().zip(output.values) {
                        *gradient *= 1.0 - output * output;
                    }
                    Gradient::Own(Activation::new(gradient, output.dims()))
                }
                After::NormRelu { norm, .. } => {
                    let mut dy = gradients.take(flow, value)?;
                    let Normalised { convolved, statistics } = &normalised[index];
                    let [scale, shift] = parameters.layer(norm);
                    let [scale, shift] = statistics.backward(convolved.all(), Affine { scale, shift }, dy.all_mut());
                    let [scale_gradient, shift_gradient] = parameters.gradients(norm);
                    scale_gradient.copy_from_slice(&scale);
                    shift_gradient.copy_from_slice(&shift);
                    Gradient::Own(dy)
                }
                After::Nothing => gradients.read(flow, value)?,
            };
            let read = gradients.room(flow.inputs[index]);
            let batch = gradients.view(&dy).batch()?;
            grad_parameters(layer, x.batch()?, batch, parameters.gradients(&layer.name))?;
            if let Some(mut dx) = read {
                let [weight, _] = parameters.layer(&layer.name);
                grad_input(layer, batch, weight, dx.shaped(x.dims())?)?;
                gradients.give(flow.inputs[index], dx);
            }
            // What came from outside goes: it is made anew for each step.
            if let (Gradient::Own(dy), After::Nothing | After::NormRelu { .. }) = (dy, &layer.after) {
                gradients.free.push(dy);
            }
        }
        Ok(())
    }
}

impl Train for CpuTrainer {
    fn stage(&mut self, examples: Examples, masking: Masking) -> Result<()> {
        self.staged = Some((examples, masking));
        Ok(())
    }

    fn begin(&mut self, weights: LossWeights, learning_rate: f64) -> Result<()> {
        let (examples, masking) = self.staged.take().ok_or_else(nothing_staged)?;
        let terms = self.differentiate(&examples, &masking, weights)?;
        if terms.total.is_finite() {
            self.parameters.step(learning_rate);
        }
        self.done = Some(terms);
        Ok(())
    }

    fn finish(&mut self) -> Result<LossTerms> {
        self.done.take().ok_or_else(nothing_staged)
    }

    fn scorer(&self, passes: Passes) -> Result<Box<dyn Score>> {
        Ok(Box::new(CpuScorer::new(&self.weights()?, passes, Precision::F32)?))
    }

    fn weights(&self) -> Result<Weights> {
        let Ok(weights) = self.network.try_map(|TensorSpec { name, role, .. }| {
            Ok::<_, Infallible>(match role {
                Role::RunningMean | Role::RunningVariance => self.running[name].clone(),
                Role::Convolution { .. } | Role::Scale | Role::Shift => self.parameters.values(name).to_vec(),
            })
        });
        Ok(weights)
    }

    fn optimiser(&self) -> Result<(u64, Moments)> {
        Ok((self.parameters.steps(), self.parameters.moments()))
    }

    #[cfg(test)]
    fn gradients(
        &mut self,
        examples: Examples,
        masking: Masking,
        weights: LossWeights,
    ) -> Result<(LossTerms, BTreeMap<String, Vec<f32>>)> {
        let terms = self.differentiate(&examples, &masking, weights)?;
        let trained = self.network.network().tensors().into_iter();
        let trained = trained.filter(|spec| spec.role.is_trained());
        let gradients = trained.map(|spec| (spec.name.clone(), self.parameters.gradient(&spec.name).to_vec()));
        Ok((terms, gradients.collect()))
    }
}

/// The shape that a layer makes of `dims`.
fn output_dims(layer: &Layer, dims: Dims) -> Result<Dims> {
    Ok(match layer.kind {
        Kind::Plain => dims.conv2d(layer.outputs, layer.geometry)?,
        Kind::Transposed => dims.conv_transpose2d(layer.outputs, layer.geometry)?,
    })
}

/// A layer's convolution and bias.
fn convolve(layer: &Layer, x: Batch<'_>, [weight, bias]: [&[f32]; 2], out: BatchMut<'_>) -> Result<()> {
    match layer.kind {
        Kind::Plain => conv2d(x, weight, Some(bias), layer.geometry, out)?,
        Kind::Transposed => conv_transpose2d(x, weight, Some(bias), layer.geometry, out)?,
    }
    Ok(())
}

/// The gradients to a layer's weight and bias.
fn grad_parameters(layer: &Layer, x: Batch<'_>, dy: Batch<'_>, [weight, bias]: [&mut [f32]; 2]) -> Result<()> {
    match layer.kind {
        Kind::Plain => conv2d_grad_weight(x, dy, layer.geometry, weight)?,
        Kind::Transposed => conv_transpose2d_grad_weight(x, dy, layer.geometry, weight)?,
    }
    match &layer.after {
        // Batch norm takes the mean away again, so that the loss does not depend on the bias.
        After::NormRelu { .. } => bias.fill(0.0),
        After::Nothing | After::Tanh { .. } => grad_bias(dy, bias)?,
    }
    Ok(())
}

/// The gradient to what a layer's convolution reads.
fn grad_input(layer: &Layer, dy: Batch<'_>, weight: &[f32], dx: BatchMut<'_>) -> Result<()> {
    match layer.kind {
        Kind::Plain => conv2d_grad_input(dy, weight, layer.geometry, dx)?,
        Kind::Transposed => conv_transpose2d_grad_input(dy, weight, layer.geometry, dx)?,
    }
    Ok(())
}

/// The running statistics of a batch norm take in a batch's.
fn take_in(running: &mut BTreeMap<String, Vec<f32>>, norm: &str, statistics: &Statistics) {
    let Statistics { mean, variance, count } = statistics;
    // PyTorch keeps the unbiased variance for inference.
    let unbias = *count as f32 / (*count as f32 - 1.0).max(1.0);
    for (part, batch, factor) in [("running_mean", mean, 1.0), ("running_var", variance, unbias)] {
        if let Some(running) = running.get_mut(&format!("{norm}.{part}")) {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = *running * (1.0 - MOMENTUM as f32) + batch * factor * MOMENTUM as f32;
            }
        }
    }
}
