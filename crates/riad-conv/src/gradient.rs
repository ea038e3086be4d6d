//! Gradients of weights and bias.

use rayon::prelude::*;

use crate::axis::Axis;
use crate::direct::DirectGrad;
use crate::shape::{Dims, Geometry};
use crate::simd::{Kernels, LANES};
use crate::winograd::{self, WinogradGrad};

/// Tasks that there should be, enough for the threads of any machine this is meant for.
const TASKS: usize = 64;
/// Cells that pay for one more set of partial sums.
const CELLS_PER_CHUNK: usize = 1024;
/// Values of one input block by one output block, at one tap.
pub(crate) const TILE: usize = LANES * LANES;

/// An input, the gradient of what a convolution made of it, and that convolution.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) input: &'a [f32],
    pub(crate) dims: Dims,
    pub(crate) grad: &'a [f32],
    pub(crate) grad_dims: Dims,
    pub(crate) geometry: Geometry,
}

impl Pair<'_> {
    pub(crate) fn in_blocks(&self) -> usize {
        self.dims.channels.div_ceil(LANES)
    }

    /// The gradient as the input and the input as the gradient, where that puts the few channels of a last layer where few
    /// are folded: dW\[k] = Σ grad\[y]·input\[y + k − p] = Σ input\[q]·grad\[q + (K − 1 − k) − (K − 1 − p)].
    fn swapped(&self) -> Option<Self> {
        let Geometry {
            kernel,
            stride,
            padding,
        } = self.geometry;
        let few = |channels: usize| kernel * channels <= LANES;
        let swap = stride == 1 && padding < kernel && few(self.grad_dims.channels) && !few(self.dims.channels);
        swap.then(|| Self {
            input: self.grad,
            dims: self.grad_dims,
            grad: self.input,
            grad_dims: self.dims,
            geometry: Geometry {
                kernel,
                stride,
                padding: kernel - 1 - padding,
            },
        })
    }

    /// The output channels of a group of `blocks` blocks.
    pub(crate) fn channels(&self, group: usize, blocks: usize) -> std::ops::Range<usize> {
        group * blocks * LANES..self.grad_dims.channels.min((group + 1) * blocks * LANES)
    }
}

/// A way to sum products.
pub(crate) trait Sums: Sync {
    /// Output blocks that one task takes.
    fn group(&self) -> usize;
    /// Pieces that the batch falls into, by shape alone.
    fn pieces(&self) -> usize;
    /// Sums over a run of pieces for one group, `[output block][input block][tap][input channel][output channel]`.
    fn sum(&self, pair: Pair, group: usize, pieces: std::ops::Range<usize>) -> Vec<f32>;
}

/// dW\[co]\[ci]\[ky]\[kx] = Σ over images and output pixels (y, x) of
/// input\[y·stride + ky − padding]\[x·stride + kx − padding]\[ci] · grad\[y]\[x]\[co], as OIHW.
pub(crate) fn grad_weight(kernels: &Kernels, pair: Pair) -> Vec<f32> {
    if let Some(swapped) = pair.swapped() {
        return flip(&grad_weight(kernels, swapped), pair);
    }
    let axis = Axis::conv(pair.geometry);
    let pays = winograd::pays(pair.dims.channels, pair.grad_dims.channels);
    #[cfg(test)]
    let pays = crate::correlation::WINOGRAD.get().unwrap_or(pays);
    match WinogradGrad::new(kernels, &axis, pair).filter(|_| pays) {
        Some(winograd) => sum(pair, &winograd),
        None => sum(pair, &DirectGrad::new(kernels, axis, pair)),
    }
}

/// The weights of a [swapped](Pair::swapped) pair as those of the pair.
fn flip(swapped: &[f32], pair: Pair) -> Vec<f32> {
    let taps = pair.geometry.kernel * pair.geometry.kernel;
    let (inputs, outputs) = (pair.dims.channels, pair.grad_dims.channels);
    let mut weights = vec![0.0; swapped.len()];
    for (index, weights) in weights.chunks_exact_mut(taps).enumerate() {
        let (output, input) = (index / inputs, index % inputs);
        let swapped = &swapped[(input * outputs + output) * taps..][..taps];
        weights
            .iter_mut()
            .zip(swapped.iter().rev())
            .for_each(|(weight, swapped)| *weight = *swapped);
    }
    weights
}

/// The batch is cut into chunks by a rule that sees only shapes, each chunk summed on its own and the chunks then added in
/// order: the same bits for any number of threads, and at most `TASKS` chunks of sums in memory.
fn sum(pair: Pair, method: &impl Sums) -> Vec<f32> {
    let taps = pair.geometry.kernel * pair.geometry.kernel;
    let out_channels = pair.grad_dims.channels;
    let mut weights = vec![0.0; out_channels * pair.dims.channels * taps];
    if pair.dims.images == 0 {
        return weights;
    }
    let groups = out_channels.div_ceil(LANES).div_ceil(method.group());
    let cells = pair.grad_dims.images * pair.grad_dims.height * pair.grad_dims.width;
    let pieces = method.pieces();
    let chunks = TASKS.div_ceil(groups).min(cells.div_ceil(CELLS_PER_CHUNK)).min(pieces);
    let chunk = pieces.div_ceil(chunks);
    let chunks = pieces.div_ceil(chunk);
    let of_task = |task: usize| {
        let (group, first) = (task / chunks, task % chunks * chunk);
        method.sum(pair, group, first..pieces.min(first + chunk))
    };
    let sums: Vec<Vec<f32>> = (0..groups * chunks).into_par_iter().map(of_task).collect();

    let in_block = taps * TILE;
    weights
        .par_chunks_mut(LANES * pair.dims.channels * taps)
        .enumerate()
        .for_each(|(block, weights)| {
            let sums = &sums[block / method.group() * chunks..][..chunks];
            let mut total = vec![0.0; in_block];
            for first in (0..pair.dims.channels).step_by(LANES) {
                let at = (block % method.group() * pair.in_blocks() + first / LANES) * in_block;
                total.copy_from_slice(&sums[0][at..][..in_block]);
                for sums in &sums[1..] {
                    total.iter_mut().zip(&sums[at..]).for_each(|(total, sum)| *total += sum);
                }
                let channels = LANES.min(pair.dims.channels - first);
                for (lane, weights) in weights.chunks_exact_mut(pair.dims.channels * taps).enumerate() {
                    let weights = &mut weights[first * taps..][..channels * taps];
                    for (channel, weights) in weights.chunks_exact_mut(taps).enumerate() {
                        for (tap, weight) in weights.iter_mut().enumerate() {
                            *weight = total[tap * TILE + channel * LANES + lane];
                        }
                    }
                }
            }
        });
    weights
}

/// Σ over images and pixels of `grad`, per channel; in chunks of fixed size, added in order.
pub(crate) fn grad_bias(grad: &[f32], channels: usize) -> Vec<f32> {
    let partial = |grad: &[f32]| {
        let mut sums = vec![0.0_f32; channels];
        for pixel in grad.chunks_exact(channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
        }
        sums
    };
    let partials: Vec<Vec<f32>> = grad.par_chunks(CELLS_PER_CHUNK * channels).map(partial).collect();
    let total = |channel: usize| partials.iter().map(|sums| f64::from(sums[channel])).sum::<f64>();
    (0..channels).map(|channel| total(channel) as f32).collect()
}
