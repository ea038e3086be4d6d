//! A network under training on a GPU: parameters, activations and passes.

use std::collections::BTreeMap;

use rayon::prelude::*;
use riad_cuda::{
    AdamSettings, Buffer, CudaError, Gpu, Kind as Pass, Norm, Pixels, Precision, Span, Trained, scratch_bytes,
};

use super::{
    layout::{Arena, Layout},
    shape::{Side, View},
    wiring::{GradientSlots, Guest, Passes, Wiring},
};
use crate::{
    backend::adam,
    network::{After, EPSILON, Input, Layer, MOMENTUM, Moments, TensorSpec, Weights},
};

/// Parameters with their moments, and running statistics, on a GPU.
pub(super) struct Network {
    gpu: Gpu,
    /// The network without its tensors, which are below.
    network: Weights,
    wiring: Wiring,
    precision: Precision,
    layout: Layout,
    kernels: Trained,
    vectors: Trained,
    running: Buffer,
    scratch: Buffer,
    memory: Option<Memory>,
    prepared: Option<Prepared>,
}

/// Convolutions ready for batches of one shape.
struct Prepared {
    side: Side,
    layers: Vec<Passes>,
}

/// Activations and gradients, for batches of up to `side.images` images.
struct Memory {
    side: Side,
    /// By the layer that leaves them.
    kept: Vec<Kept>,
    input: Buffer,
    /// The last convolution's, later its gradient.
    output: Buffer,
    /// Values of joints, and the gradients to them.
    joints: Vec<[Buffer; 2]>,
    /// Of layers without a batch norm, before their bias.
    before_bias: Buffer,
    slots: GradientSlots,
    gradients: Vec<Buffer>,
    /// A copy is a sum with them.
    zeros: Buffer,
}

/// What the forward pass leaves of a layer.
#[derive(Default)]
struct Kept {
    /// What its convolution gave, if a batch norm follows.
    convolved: Option<Buffer>,
    /// What the backward pass has to know of the batch norm.
    line: Option<Buffer>,
    /// What it gives, where another layer reads that by itself, or it lies in no joint.
    output: Option<Buffer>,
}

impl Memory {
    fn new(gpu: &Gpu, wiring: &Wiring, precision: Precision, side: Side) -> Result<Self, CudaError> {
        let bytes = |level: usize, channels: usize| side.at(level).pixels() * channels * precision.bytes();
        let of_value = |value: usize| bytes(wiring.level(value), wiring.channels(value));
        let kept = wiring.layers.iter().enumerate().map(|(index, layer)| {
            let value = index + 1;
            let mut kept = Kept::default();
            if let After::NormRelu { .. } = layer.after {
                kept.convolved = Some(gpu.buffer(of_value(value))?);
                kept.line = Some(gpu.buffer(4 * wiring.channels(value) * size_of::<f32>())?);
            }
            let is_needed = wiring.home(value).is_none() || wiring.flow.is_read_alone(value);
            if is_needed && value != wiring.last() {
                kept.output = Some(gpu.buffer(of_value(value))?);
            }
            Ok(kept)
        });
        let joints = wiring.flow.joints.iter().enumerate().map(|(index, joint)| {
            let bytes = bytes(joint.level, wiring.joined(index));
            Ok([gpu.buffer(bytes)?, gpu.buffer(bytes)?])
        });
        let without_norm = (1..wiring.last()).filter(|value| wiring.layers[value - 1].after == After::Nothing);
        let slots = GradientSlots::new(wiring);
        let with_slot = (1..wiring.last()).map(of_value).max().unwrap_or(0);
        Ok(Self {
            side,
            kept: kept.collect::<Result<_, CudaError>>()?,
            input: gpu.buffer(of_value(0))?,
            output: gpu.buffer(of_value(wiring.last()))?,
            joints: joints.collect::<Result<_, CudaError>>()?,
            before_bias: gpu.buffer(without_norm.map(of_value).max().unwrap_or(0))?,
            gradients: (0..slots.count)
                .map(|_| gpu.buffer(with_slot))
                .collect::<Result<_, CudaError>>()?,
            slots,
            zeros: gpu.buffer(wiring.widest() * size_of::<f32>())?,
        })
    }
}

impl Network {
    pub(super) fn new(
        gpu: &Gpu,
        weights: &Weights,
        moments: &Moments,
        precision: Precision,
    ) -> Result<Self, CudaError> {
        let layout = Layout::new(weights.network());
        let trained = |arena, precision| -> Result<Trained, CudaError> {
            let trained = Trained::new(gpu, &layout.packed_weights(arena, weights), precision)?;
            for (index, buffer) in [&trained.first, &trained.second].into_iter().enumerate() {
                buffer.write(
                    0,
                    &layout.packed(arena, |name| moments.get(name).map(|pair| &pair[index][..])),
                )?;
            }
            Ok(trained)
        };
        let wiring = Wiring::new(weights.network());
        Ok(Self {
            gpu: gpu.clone(),
            network: weights.bare(),
            precision,
            kernels: trained(Arena::Kernels, precision)?,
            vectors: trained(Arena::Vectors, Precision::F32)?,
            running: gpu.upload(&layout.packed_weights(Arena::Running, weights))?,
            scratch: gpu.buffer(scratch_bytes(wiring.widest()))?,
            layout,
            wiring,
            memory: None,
            prepared: None,
        })
    }

    /// The network without its tensors.
    pub(super) fn bare(&self) -> &Weights {
        &self.network
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// Weight and bias of a layer's convolution for scoring, with the batch norm after it folded in, if there is one.
    pub(super) fn folded(&self, layer: &Layer) -> Result<(Buffer, Buffer), CudaError> {
        let kernel = self.layout.slot(&format!("{}.weight", layer.name));
        let bias = self.layout.slot(&format!("{}.bias", layer.name));
        let rows = if layer.norm().is_some() { bias.len } else { 1 };
        let weight = self.gpu.buffer(kernel.len * self.precision.bytes())?;
        let folded_bias = self.gpu.buffer(bias.len * size_of::<f32>())?;
        let norm = match layer.norm() {
            Some(norm) => Some([
                self.vector(&format!("{norm}.weight"))?,
                self.vector(&format!("{norm}.bias"))?,
                self.running(norm, "running_mean")?,
                self.running(norm, "running_var")?,
            ]),
            None => None,
        };
        let from = [
            self.kernels.values.part::<f32>(kernel.first, kernel.len)?,
            self.vector(&format!("{}.bias", layer.name))?,
        ];
        let shape = [rows, kernel.len, bias.len];
        let to = [weight.span(), folded_bias.span()];
        self.gpu.fold(self.precision, shape, from, norm, EPSILON as f32, to)?;
        Ok((weight, folded_bias))
    }

    /// A copy of the weights on the host. Waits for the GPU.
    pub(super) fn weights(&self) -> Result<Weights, CudaError> {
        let read = |buffer: &Buffer| buffer.read::<f32>(0, buffer.bytes() / size_of::<f32>());
        let arenas = [
            read(&self.kernels.values)?,
            read(&self.vectors.values)?,
            read(&self.running)?,
        ];
        let unpack = |spec: TensorSpec| {
            let slot = self.layout.slot(&spec.name);
            let values = slot.unpacked(&arenas[slot.arena as usize][slot.range()]);
            (spec.name, values)
        };
        let tensors = self.network.network().tensors();
        let mut unpacked: BTreeMap<String, Vec<f32>> = tensors.into_par_iter().map(unpack).collect();
        self.network
            .try_map(|TensorSpec { name, .. }| Ok(unpacked.remove(name).unwrap_or_default()))
    }

    /// A copy of the optimiser's moments on the host.
    pub(super) fn moments(&self) -> Result<Moments, CudaError> {
        let read = |buffer: &Buffer| buffer.read::<f32>(0, buffer.bytes() / size_of::<f32>());
        let [firsts, seconds] = [
            [read(&self.kernels.first)?, read(&self.vectors.first)?],
            [read(&self.kernels.second)?, read(&self.vectors.second)?],
        ];
        let trained = self.trained_tensors().map(|name| {
            let slot = self.layout.slot(&name);
            let pair = [&firsts, &seconds].map(|arenas| slot.unpacked(&arenas[slot.arena as usize][slot.range()]));
            (name, pair)
        });
        Ok(trained.collect())
    }

    fn trained_tensors(&self) -> impl Iterator<Item = String> {
        let tensors = self.network.network().tensors().into_iter();
        tensors.filter(|spec| spec.role.is_trained()).map(|spec| spec.name)
    }

    /// The gradients that the last backward pass left, in PyTorch's order.
    #[cfg(test)]
    pub(super) fn gradients(&self) -> Result<BTreeMap<String, Vec<f32>>, CudaError> {
        let buffer = &self.kernels.gradients;
        let kernels = match self.precision {
            Precision::Bf16 => {
                let values = buffer.read::<half::bf16>(0, buffer.bytes() / 2)?;
                values.into_iter().map(half::bf16::to_f32).collect()
            }
            Precision::F32 | Precision::Tf32 => buffer.read::<f32>(0, buffer.bytes() / 4)?,
        };
        let buffer = &self.vectors.gradients;
        let arenas = [kernels, buffer.read::<f32>(0, buffer.bytes() / 4)?];
        let gradients = self.trained_tensors().map(|name| {
            let slot = self.layout.slot(&name);
            let values = slot.unpacked(&arenas[slot.arena as usize][slot.range()]);
            (name, values)
        });
        Ok(gradients.collect())
    }

    /// Makes ready for batches of this shape, and tells whether that took new memory. Memory for larger ones is kept.
    pub(super) fn prepare(&mut self, side: Side) -> Result<bool, CudaError> {
        let fits = |memory: &Memory| {
            let Side { images, height, width } = memory.side;
            (height, width) == (side.height, side.width) && images >= side.images
        };
        let is_new = !self.memory.as_ref().is_some_and(fits);
        if is_new {
            // What there was goes back first.
            self.memory = None;
            self.memory = Some(Memory::new(&self.gpu, &self.wiring, self.precision, side)?);
        }
        if self.prepared.as_ref().is_none_or(|prepared| prepared.side != side) {
            let layers = Passes::of_all(&self.gpu, &self.wiring, self.precision, side)?;
            self.prepared = Some(Prepared { side, layers });
        }
        Ok(is_new)
    }

    fn ready(&self) -> Result<Ready<'_>, CudaError> {
        let ready = self.prepared.as_ref().zip(self.memory.as_ref());
        let (prepared, memory) = ready.ok_or_else(|| unprepared("a pass"))?;
        Ok(Ready {
            network: self,
            layers: &prepared.layers,
            memory,
            view: prepared.side.in_precision(self.precision),
        })
    }

    /// Where the masked copies go, before [`Self::forward`].
    pub(super) fn input(&self) -> Result<Pixels<'_>, CudaError> {
        self.ready()?.value(0)
    }

    /// What the last convolution gave, before its bias and tanh; before [`Self::backward`] its gradient goes here.
    pub(super) fn output(&self) -> Result<Pixels<'_>, CudaError> {
        self.ready()?.value(self.wiring.last())
    }

    /// The last convolution's bias.
    pub(super) fn last_bias(&self) -> Result<Span<'_>, CudaError> {
        let last = self
            .wiring
            .layers
            .last()
            .ok_or_else(|| unprepared("a network without layers"))?;
        self.vector(&format!("{}.bias", last.name))
    }

    fn kernel(&self, layer: &Layer) -> Result<Span<'_>, CudaError> {
        let slot = self.layout.slot(&format!("{}.weight", layer.name));
        self.kernels.layer(slot.first, slot.len)
    }

    fn kernel_gradient(&self, layer: &Layer) -> Result<Span<'_>, CudaError> {
        let slot = self.layout.slot(&format!("{}.weight", layer.name));
        self.kernels.gradient(slot.first, slot.len)
    }

    fn vector(&self, name: &str) -> Result<Span<'_>, CudaError> {
        let slot = self.layout.slot(name);
        self.vectors.layer(slot.first, slot.len)
    }

    fn vector_gradient(&self, name: &str) -> Result<Span<'_>, CudaError> {
        let slot = self.layout.slot(name);
        self.vectors.gradient(slot.first, slot.len)
    }

    fn running(&self, norm: &str, part: &str) -> Result<Span<'_>, CudaError> {
        let slot = self.layout.slot(&format!("{norm}.{part}"));
        self.running.part::<f32>(slot.first, slot.len)
    }

    /// From [`Self::input`] to [`Self::output`]. Running statistics take in the batch's.
    pub(super) fn forward(&self) -> Result<(), CudaError> {
        let ready = self.ready()?;
        (0..self.wiring.layers.len()).try_for_each(|layer| ready.forward(layer))
    }

    /// From the gradient in [`Self::output`] to that to every parameter.
    pub(super) fn backward(&self) -> Result<(), CudaError> {
        let ready = self.ready()?;
        (0..self.wiring.layers.len())
            .rev()
            .try_for_each(|layer| ready.backward(layer))
    }

    /// Moves every parameter one step against its gradient, unless the loss among `terms` is not finite. `step` holds the
    /// step's rate and correction.
    pub(super) fn descend(&self, terms: &Buffer, step: Span<'_>, weight_decay: f64) -> Result<(), CudaError> {
        let settings = AdamSettings {
            weight_decay: weight_decay as f32,
            betas: [adam::BETA1 as f32, adam::BETA2 as f32],
            epsilon: adam::EPSILON as f32,
        };
        self.gpu.adam(&self.kernels, terms, step, settings)?;
        self.gpu.adam(&self.vectors, terms, step, settings)
    }
}

fn unprepared(what: &str) -> CudaError {
    CudaError::Failed {
        what: what.into(),
        status: "the network was not prepared for it".into(),
    }
}

/// A network that is prepared for a batch.
#[derive(Clone, Copy)]
struct Ready<'a> {
    network: &'a Network,
    layers: &'a [Passes],
    memory: &'a Memory,
    view: View,
}

impl<'a> Ready<'a> {
    fn wiring(self) -> &'a Wiring {
        &self.network.wiring
    }

    /// A value: in memory of its own where it has any, else in its joint.
    fn value(self, value: usize) -> Result<Pixels<'a>, CudaError> {
        let (wiring, memory) = (self.wiring(), self.memory);
        let (level, channels) = (wiring.level(value), wiring.channels(value));
        if value == 0 {
            return self.view.pixels(&memory.input, level, channels);
        }
        if value == wiring.last() {
            return self.view.pixels(&memory.output, level, channels);
        }
        match &memory.kept[value - 1].output {
            Some(output) => self.view.pixels(output, level, channels),
            None => self.at_home(value)?.ok_or_else(|| unprepared("a value")),
        }
    }

    /// The part of a joint that a value lies in.
    fn at_home(self, value: usize) -> Result<Option<Pixels<'a>>, CudaError> {
        let Some((joint, first)) = self.wiring().home(value) else {
            return Ok(None);
        };
        self.joint(joint, 0)?
            .channels(first, self.wiring().channels(value))
            .map(Some)
    }

    /// The values of a joint, or with 1 the gradients to them.
    fn joint(self, joint: usize, which: usize) -> Result<Pixels<'a>, CudaError> {
        let (level, channels) = (self.wiring().flow.joints[joint].level, self.wiring().joined(joint));
        self.view.pixels(&self.memory.joints[joint][which], level, channels)
    }

    /// What a layer reads.
    fn read(self, layer: usize) -> Result<Pixels<'a>, CudaError> {
        match self.wiring().flow.inputs[layer] {
            Input::Value(value) => self.value(value),
            Input::Joint(joint) => self.joint(joint, 0),
        }
    }

    fn norm(self, layer: usize, norm: &str) -> Result<Norm<'a>, CudaError> {
        let (network, of) = (self.network, &self.wiring().layers[layer]);
        let line = self.memory.kept[layer]
            .line
            .as_ref()
            .ok_or_else(|| unprepared("a batch norm"))?;
        Ok(Norm {
            bias: network.vector(&format!("{}.bias", of.name))?,
            scale: network.vector(&format!("{norm}.weight"))?,
            shift: network.vector(&format!("{norm}.bias"))?,
            running_mean: network.running(norm, "running_mean")?,
            running_variance: network.running(norm, "running_var")?,
            line: line.span(),
        })
    }

    fn convolved(self, layer: usize) -> Result<Pixels<'a>, CudaError> {
        let convolved = self.memory.kept[layer].convolved.as_ref();
        let (level, channels) = (self.wiring().level(layer + 1), self.wiring().channels(layer + 1));
        let convolved = convolved.ok_or_else(|| unprepared("a batch norm"))?;
        self.view.pixels(convolved, level, channels)
    }

    /// Brings into the joint that a layer reads what does not lie there already.
    fn gather(self, layer: usize) -> Result<(), CudaError> {
        for guest in self.wiring().guests(layer) {
            let Guest {
                value,
                joint,
                first,
                channels,
                is_added,
            } = guest;
            let (from, to) = (self.value(value)?, self.joint(joint, 0)?.channels(first, channels)?);
            if is_added {
                self.network.gpu.add(from, to)?;
            } else {
                self.network.gpu.add_bias(from, self.memory.zeros.span(), to)?;
            }
        }
        Ok(())
    }

    fn forward(self, layer: usize) -> Result<(), CudaError> {
        let (network, wiring, value) = (self.network, self.wiring(), layer + 1);
        let of = &wiring.layers[layer];
        self.gather(layer)?;
        let (x, kernel) = (self.read(layer)?, network.kernel(of)?);
        let forward = &self.layers[layer].forward;
        let convolve = |y: Pixels<'_>| match forward.spec().kind {
            Pass::GradInput => forward.run(y, kernel, x, None),
            Pass::Forward | Pass::GradWeight => forward.run(x, kernel, y, None),
        };
        match &of.after {
            After::NormRelu { norm, .. } => {
                let convolved = self.convolved(layer)?;
                convolve(convolved)?;
                let own = self.memory.kept[layer].output.is_some();
                let y = if own { Some(self.value(value)?) } else { None };
                let settings = [MOMENTUM as f32, EPSILON as f32];
                let (norm, also) = (self.norm(layer, norm)?, self.at_home(value)?);
                network
                    .gpu
                    .norm_relu(convolved, norm, settings, y, also, &network.scratch)
            }
            After::Nothing => {
                let (level, channels) = (wiring.level(value), wiring.channels(value));
                let before_bias = self.view.pixels(&self.memory.before_bias, level, channels)?;
                convolve(before_bias)?;
                let bias = network.vector(&format!("{}.bias", of.name))?;
                if let Some(home) = self.at_home(value)? {
                    network.gpu.add_bias(before_bias, bias, home)?;
                }
                if self.memory.kept[layer].output.is_some() {
                    network.gpu.add_bias(before_bias, bias, self.value(value)?)?;
                }
                Ok(())
            }
            // Bias and tanh are applied where reconstructions are composed.
            After::Tanh { .. } => convolve(self.value(value)?),
        }
    }

    /// Memory for the gradient to a value, which lies in a slot of its own or, of the last one, where the value did.
    fn gradient(self, value: usize) -> Result<Pixels<'a>, CudaError> {
        let (wiring, memory) = (self.wiring(), self.memory);
        if value == wiring.last() {
            return self.value(value);
        }
        let slot = memory.slots.of_value[value].ok_or_else(|| unprepared("a gradient"))?;
        self.view
            .pixels(&memory.gradients[slot], wiring.level(value), wiring.channels(value))
    }

    /// The gradients to a value from the joints that it is part of.
    fn gradients_from_joints(self, value: usize) -> Result<Vec<Pixels<'a>>, CudaError> {
        let wiring = self.wiring();
        let mut gradients = Vec::new();
        for joint in 0..wiring.flow.joints.len() {
            for (_, first, channels) in wiring.parts(joint).filter(|(part, ..)| part.value == value) {
                gradients.push(self.joint(joint, 1)?.channels(first, channels)?);
            }
        }
        Ok(gradients)
    }

    /// The gradient to what a layer made becomes that to its convolution's, and leaves those to its parameters and to what it
    /// read.
    fn backward(self, layer: usize) -> Result<(), CudaError> {
        let (network, wiring, value) = (self.network, self.wiring(), layer + 1);
        let (gpu, of, scratch) = (&network.gpu, &wiring.layers[layer], &network.scratch);
        let (x, dy) = (self.read(layer)?, self.gradient(value)?);
        let has_own = value == wiring.last() || wiring.flow.is_read_alone(value);
        let from_joints = self.gradients_from_joints(value)?;
        let bias = network.vector_gradient(&format!("{}.bias", of.name))?;
        match (&of.after, &from_joints[..]) {
            (After::NormRelu { norm, .. }, from_joints) => {
                let (more, others) = match (has_own, from_joints) {
                    (true, [more, others @ ..]) => (Some(*more), others),
                    (true, []) => (None, from_joints),
                    (false, [first, others @ ..]) => {
                        gpu.add_bias(*first, self.memory.zeros.span(), dy)?;
                        (None, others)
                    }
                    (false, []) => return Err(unprepared("the gradient to a value that nobody reads")),
                };
                others.iter().try_for_each(|other| gpu.add(*other, dy))?;
                let gradients = [
                    network.vector_gradient(&format!("{norm}.weight"))?,
                    network.vector_gradient(&format!("{norm}.bias"))?,
                ];
                // The bias has no gradient: batch norm takes the mean away again. Its memory was zero from the start.
                let norm = self.norm(layer, norm)?;
                gpu.norm_relu_backward(self.convolved(layer)?, norm, dy, more, gradients, scratch)?;
            }
            // The copy that a convolution needs is made while the bias's gradient is summed up.
            (After::Nothing, [only]) if !has_own => gpu.channel_sums(*only, Some(dy), bias, scratch)?,
            (After::Nothing | After::Tanh { .. }, from_joints) => {
                let mut others = from_joints.iter();
                if !has_own && let Some(first) = others.next() {
                    gpu.add_bias(*first, self.memory.zeros.span(), dy)?;
                }
                others.try_for_each(|other| gpu.add(*other, dy))?;
                gpu.channel_sums(dy, None, bias, scratch)?;
            }
        }
        let Passes { forward, weight, input } = &self.layers[layer];
        let is_transposed = forward.spec().kind == Pass::GradInput;
        let (image_side, other_side) = if is_transposed { (dy, x) } else { (x, dy) };
        weight.run(image_side, network.kernel_gradient(of)?, other_side, None)?;
        let Some(input) = input else {
            return Ok(());
        };
        let run = |dx: Pixels<'_>| {
            let (image_side, other_side) = if is_transposed { (dy, dx) } else { (dx, dy) };
            input.run(image_side, network.kernel(of)?, other_side, None)
        };
        match (wiring.flow.inputs[layer], self.memory.slots.aside[layer]) {
            (Input::Joint(joint), _) => run(self.joint(joint, 1)?),
            (Input::Value(read), None) => run(self.gradient(read)?),
            (Input::Value(read), Some(aside)) => {
                let (level, channels) = (wiring.level(read), wiring.channels(read));
                let dx = self.view.pixels(&self.memory.gradients[aside], level, channels)?;
                run(dx)?;
                gpu.add(dx, self.gradient(read)?)
            }
        }
    }
}
