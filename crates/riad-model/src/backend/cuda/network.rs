//! A network under training on a GPU: its parameters, and the memory that its passes take.

use std::collections::BTreeMap;

use rayon::prelude::*;
use riad_cuda::{AdamSettings, Buffer, CudaError, Gpu, Pixels, Precision, Span, Trained, scratch_bytes};

use super::{
    layout::{Arena, Layout},
    pass::{Memory, Prepared, Ready, unprepared},
    shape::Side,
    wiring::{Convolutions, Wiring},
};
use crate::{
    backend::adam,
    network::{EPSILON, Layer, Moments, TensorSpec, Weights},
};

/// Parameters with their moments, and running statistics, on a GPU.
pub(super) struct Network {
    pub(super) gpu: Gpu,
    /// The network without its tensors, which are below.
    network: Weights,
    pub(super) wiring: Wiring,
    precision: Precision,
    layout: Layout,
    kernels: Trained,
    vectors: Trained,
    running: Buffer,
    pub(super) scratch: Buffer,
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
            let layers = Convolutions::of_all(&self.gpu, &self.wiring, self.precision, side)?;
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
            stored: prepared.side.in_precision(self.precision),
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

    pub(super) fn kernel(&self, layer: &Layer) -> Result<Span<'_>, CudaError> {
        let slot = self.layout.slot(&format!("{}.weight", layer.name));
        self.kernels.layer(slot.first, slot.len)
    }

    pub(super) fn kernel_gradient(&self, layer: &Layer) -> Result<Span<'_>, CudaError> {
        let slot = self.layout.slot(&format!("{}.weight", layer.name));
        self.kernels.gradient(slot.first, slot.len)
    }

    pub(super) fn vector(&self, name: &str) -> Result<Span<'_>, CudaError> {
        let slot = self.layout.slot(name);
        self.vectors.layer(slot.first, slot.len)
    }

    pub(super) fn vector_gradient(&self, name: &str) -> Result<Span<'_>, CudaError> {
        let slot = self.layout.slot(name);
        self.vectors.gradient(slot.first, slot.len)
    }

    pub(super) fn running(&self, norm: &str, part: &str) -> Result<Span<'_>, CudaError> {
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
