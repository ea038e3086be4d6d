//! The network under training on a GPU: parameters, activations and passes.

use std::collections::BTreeMap;

use rayon::prelude::*;
use riad_cuda::{
    AdamSettings, Buffer, CudaError, Gpu, Kind, Norm, PIXEL, Pixels, Precision, Span, Trained, scratch_bytes,
};

use super::{
    layout::{Arena, Layout, padded},
    session::{Block, Kept, Memory, Passes, Prepared, Rise},
    shape::Side,
};
use crate::{
    adam,
    architecture::{Architecture, Down, EPSILON, MOMENTUM, Role, SAME_3X3, TensorSpec, Up},
    checkpoint::Moments,
    weights::Weights,
};

/// The last convolution.
pub(super) const LAST: &str = "conv_final.0";

/// Parameters with their moments, and running statistics, on a GPU.
pub(super) struct Network {
    gpu: Gpu,
    architecture: Architecture,
    precision: Precision,
    layout: Layout,
    kernels: Trained,
    vectors: Trained,
    running: Buffer,
    scratch: Buffer,
    encoder: Vec<[Block; 2]>,
    decoder: Vec<Rise>,
    memory: Option<Memory>,
    prepared: Option<Prepared>,
}

impl Network {
    pub(super) fn new(
        gpu: &Gpu,
        weights: &Weights,
        moments: &Moments,
        precision: Precision,
    ) -> Result<Self, CudaError> {
        let architecture = weights.architecture();
        let layout = Layout::new(architecture);
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
        let encoder: Vec<_> = architecture
            .encoder()
            .into_iter()
            .enumerate()
            .map(
                |(
                    level,
                    Down {
                        name,
                        input,
                        output,
                        first,
                    },
                )| { Block::pair(name, padded(input), padded(output), first, level) },
            )
            .collect();
        let decoder: Vec<_> = architecture
            .decoder()
            .into_iter()
            .enumerate()
            .map(
                |(
                    index,
                    Up {
                        name,
                        input,
                        output,
                        skip,
                    },
                )| {
                    let level = encoder.len() - 2 - index;
                    let skip = if skip > 0 { padded(skip) } else { 0 };
                    let outputs = padded(output);
                    Rise {
                        conv: format!("{name}.upconv"),
                        inputs: padded(input),
                        outputs,
                        skip,
                        level,
                        blocks: Block::pair(name, outputs + skip, outputs, SAME_3X3, level),
                    }
                },
            )
            .collect();
        let widest = encoder
            .iter()
            .flatten()
            .map(|block| block.outputs)
            .max()
            .unwrap_or(PIXEL);
        Ok(Self {
            gpu: gpu.clone(),
            architecture,
            precision,
            kernels: trained(Arena::Kernels, precision)?,
            vectors: trained(Arena::Vectors, Precision::F32)?,
            running: gpu.upload(&layout.packed_weights(Arena::Running, weights))?,
            scratch: gpu.buffer(scratch_bytes(widest))?,
            layout,
            encoder,
            decoder,
            memory: None,
            prepared: None,
        })
    }

    pub(super) fn architecture(&self) -> Architecture {
        self.architecture
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// Weight and bias of the convolution `conv` for scoring, with the batch norm `norm` after it folded in, if there is one.
    pub(super) fn folded(&self, conv: &str, norm: Option<&str>) -> Result<(Buffer, Buffer), CudaError> {
        let kernel = self.layout.slot(&format!("{conv}.weight"));
        let bias = self.layout.slot(&format!("{conv}.bias"));
        let rows = if norm.is_some() { bias.len } else { 1 };
        let weight = self.gpu.buffer(kernel.len * self.precision.bytes())?;
        let folded_bias = self.gpu.buffer(bias.len * size_of::<f32>())?;
        let norm = norm.map(|norm| {
            let running = |part: &str| {
                let slot = self.layout.slot(&format!("{norm}.{part}"));
                self.running.part::<f32>(slot.first, slot.len)
            };
            [
                self.vector(&format!("{norm}.weight")),
                self.vector(&format!("{norm}.bias")),
                running("running_mean"),
                running("running_var"),
            ]
        });
        let from = [
            self.kernels.values.part::<f32>(kernel.first, kernel.len),
            self.vector(&format!("{conv}.bias")),
        ];
        let shape = [rows, kernel.len, bias.len];
        let to = [weight.span(), folded_bias.span()];
        self.gpu.fold(self.precision, shape, from, norm, EPSILON as f32, to)?;
        Ok((weight, folded_bias))
    }

    /// A copy of the weights on the host. Waits for the GPU.
    pub(super) fn weights(&self) -> Result<Weights, CudaError> {
        let arenas = [
            self.kernels
                .values
                .read::<f32>(0, self.kernels.values.bytes() / size_of::<f32>())?,
            self.vectors
                .values
                .read(0, self.vectors.values.bytes() / size_of::<f32>())?,
            self.running.read(0, self.running.bytes() / size_of::<f32>())?,
        ];
        let mut unpacked = self.unpacked(|arena| &arenas[arena as usize]);
        Weights::try_from_fn(self.architecture, |TensorSpec { name, .. }| {
            Ok(unpacked.remove(name).unwrap_or_default())
        })
    }

    /// Every tensor in PyTorch's order from arenas on the host.
    fn unpacked<'a>(&self, arena: impl Fn(Arena) -> &'a [f32] + Sync) -> BTreeMap<String, Vec<f32>> {
        let tensors = self.architecture.tensors();
        let unpack = |spec: TensorSpec| {
            let slot = self.layout.slot(&spec.name);
            let values = slot.unpacked(&arena(slot.arena)[slot.range()]);
            (spec.name, values)
        };
        tensors.into_par_iter().map(unpack).collect()
    }

    /// A copy of the optimiser's moments on the host.
    pub(super) fn moments(&self) -> Result<Moments, CudaError> {
        let read = |buffer: &Buffer| buffer.read::<f32>(0, buffer.bytes() / size_of::<f32>());
        let [firsts, seconds] = [
            [read(&self.kernels.first)?, read(&self.vectors.first)?, Vec::new()],
            [read(&self.kernels.second)?, read(&self.vectors.second)?, Vec::new()],
        ];
        let mut moments = Moments::new();
        for TensorSpec { name, role, .. } in self.architecture.tensors() {
            if let Role::RunningMean | Role::RunningVariance = role {
                continue;
            }
            let slot = self.layout.slot(&name);
            let pair = [&firsts, &seconds].map(|arenas| slot.unpacked(&arenas[slot.arena as usize][slot.range()]));
            moments.insert(name, pair);
        }
        Ok(moments)
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
        let vectors = self
            .vectors
            .gradients
            .read::<f32>(0, self.vectors.gradients.bytes() / 4)?;
        let mut gradients = BTreeMap::new();
        for TensorSpec { name, role, .. } in self.architecture.tensors() {
            if let Role::RunningMean | Role::RunningVariance = role {
                continue;
            }
            let slot = self.layout.slot(&name);
            let arena = if slot.arena == Arena::Kernels {
                &kernels
            } else {
                &vectors
            };
            gradients.insert(name, slot.unpacked(&arena[slot.range()]));
        }
        Ok(gradients)
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
            self.memory = Some(Memory::new(
                &self.gpu,
                self.precision,
                &self.encoder,
                &self.decoder,
                side,
            )?);
        }
        if self.prepared.as_ref().is_none_or(|prepared| prepared.side != side) {
            self.prepared = Some(Prepared::new(
                &self.gpu,
                self.precision,
                &self.encoder,
                &self.decoder,
                side,
            )?);
        }
        Ok(is_new)
    }

    fn ready(&self) -> Result<(&Prepared, &Memory), CudaError> {
        let ready = self.prepared.as_ref().zip(self.memory.as_ref());
        ready.ok_or_else(|| CudaError::Failed {
            what: "a pass".into(),
            status: "the network was not prepared for it".into(),
        })
    }

    /// Where the masked copies go, before [`Self::forward`].
    pub(super) fn input(&self) -> Result<Pixels<'_>, CudaError> {
        let (prepared, memory) = self.ready()?;
        Ok(memory.input.pixels(self.precision, prepared.side.pixels(), PIXEL))
    }

    /// What the last convolution gave, before its bias and tanh; before [`Self::backward`] its gradient goes here.
    pub(super) fn output(&self) -> Result<Pixels<'_>, CudaError> {
        let (prepared, memory) = self.ready()?;
        Ok(memory.output.pixels(self.precision, prepared.side.pixels(), PIXEL))
    }

    /// The last convolution's bias.
    pub(super) fn last_bias(&self) -> Span<'_> {
        self.vector(&format!("{LAST}.bias"))
    }

    fn kernel(&self, layer: &str) -> Span<'_> {
        let slot = self.layout.slot(&format!("{layer}.weight"));
        self.kernels.layer(slot.first, slot.len)
    }

    fn kernel_gradient(&self, layer: &str) -> Span<'_> {
        let slot = self.layout.slot(&format!("{layer}.weight"));
        self.kernels.gradient(slot.first, slot.len)
    }

    fn vector(&self, name: &str) -> Span<'_> {
        let slot = self.layout.slot(name);
        self.vectors.layer(slot.first, slot.len)
    }

    fn vector_gradient(&self, name: &str) -> Span<'_> {
        let slot = self.layout.slot(name);
        self.vectors.gradient(slot.first, slot.len)
    }

    fn norm<'a>(&'a self, block: &Block, line: &'a Buffer) -> Norm<'a> {
        let running = |part: &str| {
            let slot = self.layout.slot(&format!("{}.{part}", block.norm));
            self.running.part::<f32>(slot.first, slot.len)
        };
        Norm {
            bias: self.vector(&format!("{}.bias", block.conv)),
            scale: self.vector(&format!("{}.weight", block.norm)),
            shift: self.vector(&format!("{}.bias", block.norm)),
            running_mean: running("running_mean"),
            running_variance: running("running_var"),
            line: line.span(),
        }
    }

    /// From [`Self::input`] to [`Self::output`]. Running statistics take in the batch's.
    pub(super) fn forward(&self) -> Result<(), CudaError> {
        let (prepared, memory) = self.ready()?;
        let (side, joints) = (prepared.side, &memory.joints);
        let view = side.in_precision(self.precision);
        let block = |block: &Block, kept: &Kept, passes: &Passes, x: Pixels<'_>, also: Option<Pixels<'_>>| {
            let convolved = view.pixels(&kept.convolved, block.level_after(), block.outputs);
            passes.forward.run(x, self.kernel(&block.conv), convolved, None)?;
            let y = view.pixels(&kept.output, block.level_after(), block.outputs);
            let settings = [MOMENTUM as f32, EPSILON as f32];
            let norm = self.norm(block, &kept.line);
            self.gpu
                .norm_relu(convolved, norm, settings, Some(y), also, &self.scratch)
        };

        let mut x = self.input()?;
        let levels = self.encoder.iter().zip(&memory.encoder).zip(&prepared.encoder);
        for (level, (([first, second], kept), passes)) in levels.enumerate() {
            block(first, &kept[0], &passes[0], x, None)?;
            let between = view.pixels(&kept[0].output, level, first.outputs);
            let joint = self.decoder.iter().find(|rise| rise.level == level && rise.skip > 0);
            let also = joint.map(|rise| {
                view.pixels(&joints[level][0], level, rise.outputs + rise.skip)
                    .channels(rise.outputs, rise.skip)
            });
            block(second, &kept[1], &passes[1], between, also)?;
            x = view.pixels(&kept[1].output, level, second.outputs);
        }
        let rises = self.decoder.iter().zip(&memory.decoder).zip(&prepared.decoder);
        for ((rise, kept), (passes, of_blocks)) in rises {
            let risen = view.pixels(&memory.risen, rise.level, rise.outputs);
            passes.forward.run(risen, self.kernel(&rise.conv), x, None)?;
            let joint = view.pixels(&joints[rise.level][0], rise.level, rise.outputs + rise.skip);
            let bias = self.vector(&format!("{}.bias", rise.conv));
            self.gpu.add_bias(risen, bias, joint.channels(0, rise.outputs))?;
            let [first, second] = &rise.blocks;
            block(first, &kept[0], &of_blocks[0], joint, None)?;
            let between = view.pixels(&kept[0].output, rise.level, first.outputs);
            block(second, &kept[1], &of_blocks[1], between, None)?;
            x = view.pixels(&kept[1].output, rise.level, second.outputs);
        }
        prepared.last.forward.run(x, self.kernel(LAST), self.output()?, None)
    }

    /// From the gradient in [`Self::output`] to that to every parameter.
    pub(super) fn backward(&self) -> Result<(), CudaError> {
        let (prepared, memory) = self.ready()?;
        let (side, joints) = (prepared.side, &memory.joints);
        let view = side.in_precision(self.precision);
        let input_pass = |passes: &Passes, layer: &str, dx: Pixels<'_>, dy: Pixels<'_>| match &passes.input {
            Some(pass) if pass.spec().kind == Kind::GradInput => pass.run(dx, self.kernel(layer), dy, None),
            Some(pass) => pass.run(dy, self.kernel(layer), dx, None),
            None => Ok(()),
        };
        // The gradient to the block's output becomes that to its convolution's, and leaves those to the parameters.
        let block =
            |block: &Block, kept: &Kept, passes: &Passes, x: Pixels<'_>, dy: &Buffer, more: Option<Pixels<'_>>| {
                let level = block.level_after();
                let convolved = view.pixels(&kept.convolved, level, block.outputs);
                let dy = view.pixels(dy, level, block.outputs);
                let gradients = ["weight", "bias"].map(|part| self.vector_gradient(&format!("{}.{part}", block.norm)));
                let norm = self.norm(block, &kept.line);
                self.gpu
                    .norm_relu_backward(convolved, norm, dy, more, gradients, &self.scratch)?;
                // The bias has no gradient: batch norm takes the mean away again. Its memory was zero from the start.
                passes.weight.run(x, self.kernel_gradient(&block.conv), dy, None)
            };

        let [current, next] = &memory.gradients;
        let (mut current, mut next) = (current, next);
        let output = self.output()?;
        let x = match (self.decoder.last(), memory.decoder.last()) {
            (Some(rise), Some(kept)) => view.pixels(&kept[1].output, rise.level, rise.blocks[1].outputs),
            _ => self.input()?,
        };
        prepared.last.weight.run(x, self.kernel_gradient(LAST), output, None)?;
        self.gpu.channel_sums(
            output,
            None,
            self.vector_gradient(&format!("{LAST}.bias")),
            &self.scratch,
        )?;
        input_pass(&prepared.last, LAST, view.pixels(current, 0, x.channel_count()), output)?;

        let rises = self.decoder.iter().zip(&memory.decoder).zip(&prepared.decoder);
        for (index, ((rise, kept), (passes, of_blocks))) in rises.enumerate().rev() {
            let [first, second] = &rise.blocks;
            let level = rise.level;
            let between = view.pixels(&kept[0].output, level, first.outputs);
            block(second, &kept[1], &of_blocks[1], between, current, None)?;
            let dy = view.pixels(current, level, second.outputs);
            input_pass(&of_blocks[1], &second.conv, view.pixels(next, level, second.inputs), dy)?;
            std::mem::swap(&mut current, &mut next);

            let channels = rise.outputs + rise.skip;
            let [joint, gradient] = &joints[level];
            block(
                first,
                &kept[0],
                &of_blocks[0],
                view.pixels(joint, level, channels),
                current,
                None,
            )?;
            let gradient = view.pixels(gradient, level, channels);
            input_pass(
                &of_blocks[0],
                &first.conv,
                gradient,
                view.pixels(current, level, first.outputs),
            )?;

            let risen = view.pixels(current, level, rise.outputs);
            let bias = self.vector_gradient(&format!("{}.bias", rise.conv));
            self.gpu
                .channel_sums(gradient.channels(0, rise.outputs), Some(risen), bias, &self.scratch)?;
            let below = match index.checked_sub(1) {
                Some(before) => &memory.decoder[before][1].output,
                None => &memory.encoder[self.encoder.len() - 1][1].output,
            };
            let below = view.pixels(below, level + 1, rise.inputs);
            passes
                .weight
                .run(risen, self.kernel_gradient(&rise.conv), below, None)?;
            input_pass(passes, &rise.conv, view.pixels(next, level + 1, rise.inputs), risen)?;
            std::mem::swap(&mut current, &mut next);
        }

        let levels = self.encoder.iter().zip(&memory.encoder).zip(&prepared.encoder);
        for (level, (([first, second], kept), passes)) in levels.enumerate().rev() {
            let joint = self.decoder.iter().find(|rise| rise.level == level && rise.skip > 0);
            let more = joint.map(|rise| {
                view.pixels(&joints[level][1], level, rise.outputs + rise.skip)
                    .channels(rise.outputs, rise.skip)
            });
            let between = view.pixels(&kept[0].output, level, first.outputs);
            block(second, &kept[1], &passes[1], between, current, more)?;
            let dy = view.pixels(current, level, second.outputs);
            input_pass(&passes[1], &second.conv, view.pixels(next, level, second.inputs), dy)?;
            std::mem::swap(&mut current, &mut next);

            let above = match level.checked_sub(1) {
                Some(above) => view.pixels(&memory.encoder[above][1].output, above, first.inputs),
                None => self.input()?,
            };
            block(first, &kept[0], &passes[0], above, current, None)?;
            if passes[0].input.is_some() {
                let dx = view.pixels(next, first.level, first.inputs);
                input_pass(&passes[0], &first.conv, dx, view.pixels(current, level, first.outputs))?;
                std::mem::swap(&mut current, &mut next);
            }
        }
        Ok(())
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
