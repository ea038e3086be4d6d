//! Correlation of a batch with packed weights: the forward pass and the input gradient of every layer here.

use crate::axis::Axis;
use crate::batch::{Batch, BatchMut};
use crate::bf16::{self, Bf16};
use crate::buffer::Buffer;
use crate::direct::Direct;
use crate::kernel::Activation;
use crate::narrow::Narrow;
use crate::simd::{Bf16Kernels, Kernels, LANES};
use crate::winograd::{self, Winograd};

/// Weights as PyTorch lays them out, a kernel's rows and columns last.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) weights: &'a [f32],
    /// Side of the kernel.
    pub(crate) kernel: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    /// Whether the output channel is the slowest index (else the input channel is).
    pub(crate) out_first: bool,
}

impl Filter<'_> {
    /// Number of taps.
    pub(crate) fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// The weights between input channels from `first` and a block of output channels: `[input channel][tap][16]`, zeros
    /// for output channels beyond the last. Reads runs of memory, since large weights fit into no cache.
    pub(crate) fn gather(&self, block: usize, first: usize, vectors: &mut [[f32; LANES]]) {
        let (out, taps) = (block * LANES, self.taps());
        let lanes = LANES.min(self.out_channels - out);
        if lanes < LANES {
            vectors.fill([0.0; LANES]);
        }
        if self.out_first {
            for lane in 0..lanes {
                let weights = &self.weights[((out + lane) * self.in_channels + first) * taps..][..vectors.len()];
                for (vector, weight) in vectors.iter_mut().zip(weights) {
                    vector[lane] = *weight;
                }
            }
        } else {
            for (channel, vectors) in vectors.chunks_exact_mut(taps).enumerate() {
                let weights = &self.weights[((first + channel) * self.out_channels + out) * taps..][..lanes * taps];
                for (lane, weights) in weights.chunks_exact(taps).enumerate() {
                    for (vector, weight) in vectors.iter_mut().zip(weights) {
                        vector[lane] = *weight;
                    }
                }
            }
        }
    }
}

/// What follows the sums: whole vectors of bias, and an activation.
pub(crate) struct Epilogue {
    pub(crate) out_channels: usize,
    pub(crate) bias: Buffer,
    pub(crate) activation: Activation,
}

/// A layer ready to run.
pub(crate) struct Correlation {
    in_channels: usize,
    epilogue: Epilogue,
    method: Method,
}

enum Method {
    Bf16(Bf16),
    Direct(Direct),
    Narrow(Narrow),
    Winograd(Winograd),
}

impl Correlation {
    /// Packs the weights into `memory`, whatever was in it; for `bf16` kernels where the layer gains by them.
    pub(crate) fn new(
        kernels: &Kernels,
        bf16: Option<&'static Bf16Kernels>,
        axis: Axis,
        filter: Filter,
        bias: Option<&[f32]>,
        activation: Activation,
        memory: Buffer,
    ) -> Self {
        let mut padded = Buffer::zeros(filter.out_channels);
        if let Some(bias) = bias {
            padded[..filter.out_channels].copy_from_slice(bias);
        }
        let epilogue = Epilogue {
            out_channels: filter.out_channels,
            bias: padded,
            activation,
        };
        if let Some(bf16) = bf16.filter(|_| bf16::pays(filter.in_channels)) {
            return Self {
                in_channels: filter.in_channels,
                epilogue,
                method: Method::Bf16(Bf16::new(bf16, axis, filter, memory)),
            };
        }
        let pays = winograd::pays(filter.in_channels, filter.out_channels);
        #[cfg(test)]
        let pays = WINOGRAD.get().unwrap_or(pays);
        let winograd = if pays { Winograd::plan(&axis, filter) } else { None };
        let method = match winograd {
            Some(winograd) => Method::Winograd(winograd.packed(kernels, filter, memory)),
            None if Narrow::fits(&axis, filter) => Method::Narrow(Narrow::new(axis, filter, memory)),
            None => Method::Direct(Direct::new(axis, filter, memory)),
        };
        Self {
            in_channels: filter.in_channels,
            epilogue,
            method,
        }
    }

    /// The memory of the packed weights, for the next one.
    pub(crate) fn into_memory(self) -> Buffer {
        match self.method {
            Method::Bf16(bf16) => bf16.into_memory(),
            Method::Direct(direct) => direct.into_memory(),
            Method::Narrow(narrow) => narrow.into_memory(),
            Method::Winograd(winograd) => winograd.into_memory(),
        }
    }

    /// Writes the correlation of `input` into all pixels of `out`, whose size must be that of the geometry's output, or larger by
    /// less than a stride (the rest is then the activation of the bias).
    pub(crate) fn run(&self, kernels: &Kernels, input: Batch<'_>, out: BatchMut<'_>) {
        let (dims, out_dims) = (input.dims(), out.dims());
        // The kernels write through raw pointers, so what they rely on is checked here.
        assert!(dims.channels == self.in_channels && out_dims.channels == self.epilogue.out_channels);
        assert!(dims.images == out_dims.images);
        if dims.images > 0 {
            match &self.method {
                Method::Bf16(bf16) => bf16.run(input, &self.epilogue, out),
                Method::Direct(direct) => direct.run(kernels, input, &self.epilogue, out),
                Method::Narrow(narrow) => narrow.run(kernels, input, &self.epilogue, out),
                Method::Winograd(winograd) => winograd.run(kernels, input, &self.epilogue, out),
            }
        }
    }
}

#[cfg(test)]
thread_local! {
    /// Overrides whether Winograd's method is taken where it can be, so that tests reach both on any shape.
    pub(crate) static WINOGRAD: std::cell::Cell<Option<bool>> = const { std::cell::Cell::new(None) };
}

/// An output's start, shared by tasks that write different pixels or channels.
#[derive(Clone, Copy)]
pub(crate) struct Target(*mut f32);

#[allow(unsafe_code)] // Shares the pointer; who writes through it argues why.
// SAFETY: the pointer comes from an exclusive borrow that outlives the parallel loop it is used in, and each task writes
// only values of its own.
unsafe impl Sync for Target {}

impl Target {
    pub(crate) fn new(start: *mut f32) -> Self {
        Self(start)
    }

    /// # Safety
    /// `index` lies inside the slice that the pointer came from.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn at(&self, index: usize) -> *mut f32 {
        // SAFETY: by this function's own contract.
        unsafe { self.0.add(index) }
    }
}
