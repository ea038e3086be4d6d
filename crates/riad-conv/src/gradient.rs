//! Gradients of weights and bias.

use std::ops::Range;

use rayon::prelude::*;

use crate::axis::Axis;
use crate::batch::Batch;
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
    pub(crate) input: Batch<'a>,
    pub(crate) grad: Batch<'a>,
    pub(crate) geometry: Geometry,
}

impl Pair<'_> {
    pub(crate) fn in_blocks(&self) -> usize {
        self.input.dims().channels.div_ceil(LANES)
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
        let swap =
            stride == 1 && padding < kernel && few(self.grad.dims().channels) && !few(self.input.dims().channels);
        swap.then(|| Self {
            input: self.grad,
            grad: self.input,
            geometry: Geometry {
                kernel,
                stride,
                padding: kernel - 1 - padding,
            },
        })
    }

    /// The output channels of a group of `blocks` blocks.
    pub(crate) fn channels(&self, group: usize, blocks: usize) -> Range<usize> {
        group * blocks * LANES..self.grad.dims().channels.min((group + 1) * blocks * LANES)
    }
}

/// A way to sum products.
pub(crate) trait Sums: Sync {
    /// Output blocks that one task takes.
    fn group(&self) -> usize;
    /// Pieces that the batch falls into, by shape alone.
    fn pieces(&self) -> usize;
    /// Sums over a run of pieces for one group, `[output block][input block][tap][input channel][output channel]`.
    fn sum(&self, pair: Pair, group: usize, pieces: Range<usize>) -> Vec<f32>;
}

/// dW\[co]\[ci]\[ky]\[kx] = Σ over images and output pixels (y, x) of
/// input\[y·stride + ky − padding]\[x·stride + kx − padding]\[ci] · grad\[y]\[x]\[co], as OIHW.
pub(crate) fn grad_weight(kernels: &Kernels, pair: Pair<'_>, weights: &mut [f32]) {
    if let Some(swapped) = pair.swapped() {
        let mut flipped = vec![0.0; weights.len()];
        grad_weight(kernels, swapped, &mut flipped);
        return flip(&flipped, pair, weights);
    }
    let axis = Axis::conv(pair.geometry);
    let pays = winograd::pays(pair.input.dims().channels, pair.grad.dims().channels);
    #[cfg(test)]
    let pays = crate::correlation::WINOGRAD.get().unwrap_or(pays);
    match WinogradGrad::new(kernels, &axis, pair).filter(|_| pays) {
        Some(winograd) => sum(pair, &winograd, weights),
        None => sum(pair, &DirectGrad::new(kernels, axis, pair), weights),
    }
}

/// The weights of a [swapped](Pair::swapped) pair as those of the pair.
fn flip(swapped: &[f32], pair: Pair<'_>, weights: &mut [f32]) {
    let taps = pair.geometry.kernel * pair.geometry.kernel;
    let (inputs, outputs) = (pair.input.dims().channels, pair.grad.dims().channels);
    for (index, weights) in weights.chunks_exact_mut(taps).enumerate() {
        let (output, input) = (index / inputs, index % inputs);
        let swapped = &swapped[(input * outputs + output) * taps..][..taps];
        weights
            .iter_mut()
            .zip(swapped.iter().rev())
            .for_each(|(weight, swapped)| *weight = *swapped);
    }
}

/// The batch is cut into chunks by a rule that sees only shapes, each chunk summed on its own and the chunks then added in
/// order: the same bits for any number of threads, and at most `TASKS` chunks of sums in memory.
fn sum(pair: Pair<'_>, method: &impl Sums, weights: &mut [f32]) {
    let taps = pair.geometry.kernel * pair.geometry.kernel;
    let out_channels = pair.grad.dims().channels;
    if pair.input.dims().images == 0 {
        return weights.fill(0.0);
    }
    let groups = out_channels.div_ceil(LANES).div_ceil(method.group());
    let cells = pair.grad.dims().images * pair.grad.dims().height * pair.grad.dims().width;
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
        .par_chunks_mut(LANES * pair.input.dims().channels * taps)
        .enumerate()
        .for_each(|(block, weights)| {
            let sums = &sums[block / method.group() * chunks..][..chunks];
            let mut total = vec![0.0; in_block];
            for first in (0..pair.input.dims().channels).step_by(LANES) {
                let at = (block % method.group() * pair.in_blocks() + first / LANES) * in_block;
                total.copy_from_slice(&sums[0][at..][..in_block]);
                for sums in &sums[1..] {
                    total.iter_mut().zip(&sums[at..]).for_each(|(total, sum)| *total += sum);
                }
                let channels = LANES.min(pair.input.dims().channels - first);
                for (lane, weights) in weights.chunks_exact_mut(pair.input.dims().channels * taps).enumerate() {
                    let weights = &mut weights[first * taps..][..channels * taps];
                    for (channel, weights) in weights.chunks_exact_mut(taps).enumerate() {
                        for (tap, weight) in weights.iter_mut().enumerate() {
                            *weight = total[tap * TILE + channel * LANES + lane];
                        }
                    }
                }
            }
        });
}

/// Σ over images and pixels of `grad`, per channel; in chunks of fixed size, added in order.
pub(crate) fn grad_bias(grad: Batch<'_>, sums: &mut [f32]) {
    let Dims {
        images,
        height,
        width,
        channels,
    } = grad.dims();
    let chunk = CELLS_PER_CHUNK.div_ceil(width);
    let partial = |rows: Range<usize>| {
        let mut sums = vec![0.0_f32; channels];
        for row in rows {
            for pixel in grad.row(row / height, row % height).chunks(grad.pixel()) {
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
            }
        }
        sums
    };
    let rows = images * height;
    let partials: Vec<Vec<f32>> = (0..rows.div_ceil(chunk))
        .into_par_iter()
        .map(|index| partial(index * chunk..rows.min((index + 1) * chunk)))
        .collect();
    for (channel, sum) in sums.iter_mut().enumerate() {
        *sum = partials.iter().map(|sums| f64::from(sums[channel])).sum::<f64>() as f32;
    }
}
