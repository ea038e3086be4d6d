//! The forward and the backward pass of a network under training on a GPU, layer by layer, and the memory that they take.

use riad_cuda::{Buffer, CudaError, Gpu, Kind as Pass, Norm, Pixels, Precision};

use super::{
    network::Network,
    shape::{Side, Stored},
    wiring::{Convolutions, GradientSlots, Guest, Wiring},
};
use crate::network::{After, EPSILON, Input, MOMENTUM};

/// Convolutions ready for batches of one shape.
pub(super) struct Prepared {
    pub(super) side: Side,
    pub(super) layers: Vec<Convolutions>,
}

/// Activations and gradients, for batches of up to `side.images` images.
pub(super) struct Memory {
    pub(super) side: Side,
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
    pub(super) fn new(gpu: &Gpu, wiring: &Wiring, precision: Precision, side: Side) -> Result<Self, CudaError> {
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
        })
    }
}

/// A network that is prepared for a batch.
#[derive(Clone, Copy)]
pub(super) struct Ready<'a> {
    pub(super) network: &'a Network,
    pub(super) layers: &'a [Convolutions],
    pub(super) memory: &'a Memory,
    pub(super) stored: Stored,
}

impl<'a> Ready<'a> {
    fn wiring(self) -> &'a Wiring {
        &self.network.wiring
    }

    /// A value: in memory of its own where it has any, else in its joint.
    pub(super) fn value(self, value: usize) -> Result<Pixels<'a>, CudaError> {
        let (wiring, memory) = (self.wiring(), self.memory);
        let (level, channels) = (wiring.level(value), wiring.channels(value));
        if value == 0 {
            return self.stored.pixels(&memory.input, level, channels);
        }
        if value == wiring.last() {
            return self.stored.pixels(&memory.output, level, channels);
        }
        match &memory.kept[value - 1].output {
            Some(output) => self.stored.pixels(output, level, channels),
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
        self.stored.pixels(&self.memory.joints[joint][which], level, channels)
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
        self.stored.pixels(convolved, level, channels)
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
                self.network.gpu.copy(from, to)?;
            }
        }
        Ok(())
    }

    pub(super) fn forward(self, layer: usize) -> Result<(), CudaError> {
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
                let before_bias = self.stored.pixels(&self.memory.before_bias, level, channels)?;
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
        self.stored
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
    pub(super) fn backward(self, layer: usize) -> Result<(), CudaError> {
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
                        gpu.copy(*first, dy)?;
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
                    gpu.copy(*first, dy)?;
                }
                others.try_for_each(|other| gpu.add(*other, dy))?;
                gpu.channel_sums(dy, None, bias, scratch)?;
            }
        }
        let Convolutions { forward, weight, input } = &self.layers[layer];
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
                let dx = self.stored.pixels(&self.memory.gradients[aside], level, channels)?;
                run(dx)?;
                gpu.add(dx, self.gradient(read)?)
            }
        }
    }
}

pub(super) fn unprepared(what: &str) -> CudaError {
    CudaError::Failed {
        what: what.into(),
        status: "the network was not prepared for it".into(),
    }
}
