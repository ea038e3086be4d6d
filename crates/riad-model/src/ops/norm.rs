//! Batch normalisation by the batch's own statistics, followed by ReLU, as one layer.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, D, Layout as Strides, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Layout, values, with_values};

/// Added to the variance, as PyTorch's default.
pub(crate) const EPSILON: f64 = 1e-5;

/// Pixels a task takes at a time. Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1024;

/// Values that the inner loops below run over at least: per-channel coefficients are repeated to this length, so that a
/// loop over 16 channels does not end before it has begun.
const RUN: usize = 256;

/// Mean and biased variance of each channel over a batch, `[channels]` each.
pub(crate) struct BatchStatistics {
    pub(crate) mean: Tensor,
    pub(crate) variance: Tensor,
    /// Values that each channel's statistics were taken over.
    pub(crate) count: usize,
}

/// ReLU of `input` normalised per channel to zero mean and unit variance over the batch, scaled and shifted.
pub(crate) fn batch_norm_relu(
    input: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    layout: Layout,
) -> Result<(Tensor, BatchStatistics)> {
    match layout {
        Layout::ChannelsLast => {
            let statistics = Arc::new(OnceLock::new());
            let output = input.apply_op3(
                scale,
                shift,
                NormaliseRelu {
                    statistics: Arc::clone(&statistics),
                },
            )?;
            let Some(Moments { mean, variance, count }) = statistics.get() else {
                candle_core::bail!("batch norm ran without taking statistics")
            };
            let tensor = |values: &Vec<f32>| Tensor::from_slice(values, values.len(), input.device());
            Ok((
                output,
                BatchStatistics {
                    mean: tensor(mean)?,
                    variance: tensor(variance)?,
                    count: *count,
                },
            ))
        }
        Layout::ChannelsFirst => {
            let (images, channels, height, width) = input.dims4()?;
            let flat = input.transpose(0, 1)?.flatten_from(1)?;
            let mean = flat.mean_keepdim(D::Minus1)?;
            let variance = flat.broadcast_sub(&mean)?.sqr()?.mean_keepdim(D::Minus1)?;
            let per_channel = |t: &Tensor| t.reshape((1, channels, 1, 1));
            let scale = (per_channel(scale)? / (per_channel(&variance)? + EPSILON)?.sqrt()?)?;
            let output = input
                .broadcast_sub(&per_channel(&mean)?)?
                .broadcast_mul(&scale)?
                .broadcast_add(&per_channel(shift)?)?
                .relu()?;
            let statistics = BatchStatistics {
                mean: mean.detach().flatten_all()?,
                variance: variance.detach().flatten_all()?,
                count: images * height * width,
            };
            Ok((output, statistics))
        }
    }
}

/// The CPU's batch norm and ReLU, channels-last. The forward pass leaves its statistics for the backward pass.
struct NormaliseRelu {
    statistics: Arc<OnceLock<Moments>>,
}

/// [`BatchStatistics`] on the CPU.
struct Moments {
    mean: Vec<f32>,
    variance: Vec<f32>,
    count: usize,
}

fn inverse_deviation(variance: &[f32]) -> Vec<f32> {
    variance
        .iter()
        .map(|&v| (1.0 / (f64::from(v) + EPSILON).sqrt()) as f32)
        .collect()
}

/// The length of the inner loops' runs: whole pixels, at least [`RUN`] values.
fn run_length(channels: usize) -> usize {
    channels * RUN.div_ceil(channels)
}

/// Per-channel values, one pixel after another up to `run` values.
fn repeated(values: &[f32], run: usize) -> Vec<f32> {
    values.iter().copied().cycle().take(run).collect()
}

/// The sums over the pixels of a run, per channel.
fn folded(sums: &[f32], channels: usize) -> Vec<f32> {
    let mut totals = vec![0.0; channels];
    for pixel in sums.chunks_exact(channels) {
        totals.iter_mut().zip(pixel).for_each(|(total, &sum)| *total += sum);
    }
    totals
}

/// Mean and variance of each channel. Chunks take their own mean and squared deviations, merged by Chan's formula in a
/// fixed order: no cancellation where the mean is large, and the same sums on any number of threads.
fn statistics(x: &[f32], channels: usize) -> Moments {
    let run = run_length(channels);
    let chunks: Vec<(usize, Vec<f32>, Vec<f32>)> = x
        .par_chunks(CHUNK * channels)
        .map(|chunk| {
            let pixels = chunk.len() / channels;
            let mut sums = vec![0.0f32; run];
            for values in chunk.chunks(run) {
                sums.iter_mut().zip(values).for_each(|(s, &v)| *s += v);
            }
            let mean: Vec<f32> = folded(&sums, channels).into_iter().map(|s| s / pixels as f32).collect();
            let repeated = repeated(&mean, run);
            let mut squares = vec![0.0f32; run];
            for values in chunk.chunks(run) {
                for ((s, &m), &v) in squares.iter_mut().zip(&repeated).zip(values) {
                    *s += (v - m) * (v - m);
                }
            }
            (pixels, mean, folded(&squares, channels))
        })
        .collect();
    let (mut count, mut mean, mut squares) = (0.0f64, vec![0.0f64; channels], vec![0.0f64; channels]);
    for (pixels, chunk_mean, chunk_squares) in chunks {
        let pixels = pixels as f64;
        let total = count + pixels;
        for c in 0..channels {
            let delta = f64::from(chunk_mean[c]) - mean[c];
            mean[c] += delta * pixels / total;
            squares[c] += f64::from(chunk_squares[c]) + delta * delta * count * pixels / total;
        }
        count = total;
    }
    Moments {
        mean: mean.into_iter().map(|m| m as f32).collect(),
        variance: squares.into_iter().map(|s| (s / count) as f32).collect(),
        count: count as usize,
    }
}

impl CustomOp3 for NormaliseRelu {
    fn name(&self) -> &'static str {
        "riad-batch-norm-relu"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_strides: &Strides,
        scale: &CpuStorage,
        scale_strides: &Strides,
        shift: &CpuStorage,
        shift_strides: &Strides,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values(input, input_strides)?;
        let (scale, shift) = (values(scale, scale_strides)?, values(shift, shift_strides)?);
        let channels = scale.len();
        let statistics = self.statistics.get_or_init(|| statistics(x, channels));
        let inverse = inverse_deviation(&statistics.variance);
        // y = factor·x + offset
        let factor: Vec<f32> = scale.iter().zip(&inverse).map(|(s, i)| s * i).collect();
        let offset: Vec<f32> = shift
            .iter()
            .zip(&factor)
            .zip(&statistics.mean)
            .map(|((b, f), m)| b - f * m)
            .collect();
        let run = run_length(channels);
        let (factor, offset) = (repeated(&factor, run), repeated(&offset, run));
        let mut y = vec![0.0f32; x.len()];
        y.par_chunks_mut(CHUNK * channels)
            .zip(x.par_chunks(CHUNK * channels))
            .for_each(|(y, x)| {
                for (y, x) in y.chunks_mut(run).zip(x.chunks(run)) {
                    for (((y, &x), &f), &o) in y.iter_mut().zip(x).zip(&factor).zip(&offset) {
                        *y = (x * f + o).max(0.0);
                    }
                }
            });
        Ok((CpuStorage::F32(y), input_strides.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        scale: &Tensor,
        _shift: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(statistics) = self.statistics.get() else {
            candle_core::bail!("batch norm's backward ran before its forward")
        };
        let channels = scale.elem_count();
        let (input_grad, scale_grad, shift_grad) = with_values(input, |x| {
            with_values(output, |y| {
                with_values(grad, |dy| {
                    with_values(scale, |scale| Ok(backward(x, y, dy, scale, statistics)))
                })
            })
        })?;
        let device = input.device();
        Ok((
            Some(Tensor::from_vec(input_grad, input.shape(), device)?),
            Some(Tensor::from_vec(scale_grad, channels, device)?),
            Some(Tensor::from_vec(shift_grad, channels, device)?),
        ))
    }
}

/// Gradients to input, scale and shift. With x̂ the normalised input, g the gradient where ReLU let through, and means
/// over the batch: dx = scale/σ · (g − mean(g) − x̂·mean(g·x̂)), dscale = Σ g·x̂, dshift = Σ g.
fn backward(x: &[f32], y: &[f32], dy: &[f32], scale: &[f32], statistics: &Moments) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let channels = scale.len();
    let (chunk, run) = (CHUNK * channels, run_length(channels));
    let Moments { mean, variance, count } = statistics;
    let inverse = inverse_deviation(variance);
    let mean = repeated(mean, run);
    let sums: Vec<(Vec<f32>, Vec<f32>)> = (x.par_chunks(chunk), y.par_chunks(chunk), dy.par_chunks(chunk))
        .into_par_iter()
        .map(|(x, y, dy)| {
            let (mut sum, mut product) = (vec![0.0f32; run], vec![0.0f32; run]);
            for ((x, y), dy) in x.chunks(run).zip(y.chunks(run)).zip(dy.chunks(run)) {
                let sums = sum.iter_mut().zip(&mut product);
                for (((((sum, product), &x), &y), &dy), &mean) in sums.zip(x).zip(y).zip(dy).zip(&mean) {
                    let g = if y > 0.0 { dy } else { 0.0 };
                    *sum += g;
                    *product += g * (x - mean);
                }
            }
            (folded(&sum, channels), folded(&product, channels))
        })
        .collect();
    let (mut sum, mut product) = (vec![0.0f64; channels], vec![0.0f64; channels]);
    for (chunk_sum, chunk_product) in sums {
        for c in 0..channels {
            sum[c] += f64::from(chunk_sum[c]);
            product[c] += f64::from(chunk_product[c]);
        }
    }
    let count = *count as f64;
    let scale_grad: Vec<f32> = product
        .iter()
        .zip(&inverse)
        .map(|(&p, &i)| (p * f64::from(i)) as f32)
        .collect();
    let shift_grad: Vec<f32> = sum.iter().map(|&s| s as f32).collect();
    // dx = factor·g + slope·(x − mean) + offset
    let factor: Vec<f32> = scale.iter().zip(&inverse).map(|(s, i)| s * i).collect();
    let slope: Vec<f32> = (0..channels)
        .map(|c| (-f64::from(factor[c]) * f64::from(inverse[c]).powi(2) * product[c] / count) as f32)
        .collect();
    let offset: Vec<f32> = (0..channels)
        .map(|c| (-f64::from(factor[c]) * sum[c] / count) as f32)
        .collect();
    let [factor, slope, offset] = [factor, slope, offset].map(|values| repeated(&values, run));
    let mut dx = vec![0.0f32; x.len()];
    (
        dx.par_chunks_mut(chunk),
        x.par_chunks(chunk),
        y.par_chunks(chunk),
        dy.par_chunks(chunk),
    )
        .into_par_iter()
        .for_each(|(dx, x, y, dy)| {
            for (((dx, x), y), dy) in dx
                .chunks_mut(run)
                .zip(x.chunks(run))
                .zip(y.chunks(run))
                .zip(dy.chunks(run))
            {
                let coefficients = factor.iter().zip(&slope).zip(&offset).zip(&mean);
                let values = dx.iter_mut().zip(x).zip(y).zip(dy);
                for ((((dx, &x), &y), &dy), (((&factor, &slope), &offset), &mean)) in values.zip(coefficients) {
                    let g = if y > 0.0 { dy } else { 0.0 };
                    *dx = factor * g + slope * (x - mean) + offset;
                }
            }
        });
    (dx, scale_grad, shift_grad)
}
