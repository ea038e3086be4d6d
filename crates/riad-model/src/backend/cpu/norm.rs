//! Batch normalisation by the batch's own statistics, followed by ReLU, as one layer over channels-last values.

use rayon::prelude::*;

use super::activation::View;
use crate::network::EPSILON;

/// Pixels a task takes at a time. Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1024;

/// Values that the inner loops below run over at least: per-channel coefficients are repeated to this length, so that a
/// loop over 16 channels does not end before it has begun.
const RUN: usize = 256;

/// Mean and biased variance of each channel over a batch.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    pub(super) mean: Vec<f32>,
    pub(super) variance: Vec<f32>,
    /// Values that each channel's statistics were taken over.
    pub(super) count: usize,
}

/// What turns a normalised value into the layer's output: `[channels]` each.
#[derive(Clone, Copy)]
pub(super) struct Affine<'a> {
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
}

/// Channels of wider pixels, to be written.
pub(super) struct Channels<'a> {
    pub(super) values: &'a mut [f32],
    /// Values from one pixel to the next.
    pub(super) pixel: usize,
    /// The first channel.
    pub(super) first: usize,
}

impl Statistics {
    /// Mean and variance of each channel of `x`. Chunks take their own mean and squared deviations, merged by Chan's
    /// formula in a fixed order: no cancellation where the mean is large, and the same sums on any number of threads.
    pub(super) fn of(x: &[f32], channels: usize) -> Self {
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
        Self {
            mean: mean.iter().map(|&m| m as f32).collect(),
            variance: squares.iter().map(|&s| (s / count) as f32).collect(),
            count: x.len() / channels,
        }
    }

    fn inverse_deviation(&self) -> Vec<f32> {
        self.variance
            .iter()
            .map(|&v| (1.0 / (f64::from(v) + EPSILON).sqrt()) as f32)
            .collect()
    }

    /// Factor and offset that bring a value to the layer's output before ReLU.
    fn line(&self, Affine { scale, shift }: Affine<'_>) -> [Vec<f32>; 2] {
        let factor: Vec<f32> = scale.iter().zip(self.inverse_deviation()).map(|(s, i)| s * i).collect();
        let offset = shift.iter().zip(&factor).zip(&self.mean).map(|((b, f), m)| b - f * m);
        let offset = offset.collect();
        [factor, offset]
    }

    /// Writes ReLU(scale·x̂ + shift), with x̂ the normalised `x`, into channels of `y`.
    pub(super) fn forward(&self, x: &[f32], affine: Affine<'_>, y: Channels<'_>) {
        let channels = self.mean.len();
        let line = self.line(affine);
        let Channels { values, pixel, first } = y;
        if pixel == channels {
            let run = run_length(channels);
            let [factor, offset] = line.map(|values| repeated(&values, run));
            (values.par_chunks_mut(CHUNK * channels), x.par_chunks(CHUNK * channels))
                .into_par_iter()
                .for_each(|(y, x)| {
                    for (y, x) in y.chunks_mut(run).zip(x.chunks(run)) {
                        for (((y, &x), &f), &o) in y.iter_mut().zip(x).zip(&factor).zip(&offset) {
                            *y = relu(x * f + o);
                        }
                    }
                });
        } else {
            let [factor, offset] = line;
            (values.par_chunks_mut(CHUNK * pixel), x.par_chunks(CHUNK * channels))
                .into_par_iter()
                .for_each(|(y, x)| {
                    for (y, x) in y.chunks_exact_mut(pixel).zip(x.chunks_exact(channels)) {
                        let y = &mut y[first..first + channels];
                        for (((y, &x), &f), &o) in y.iter_mut().zip(x).zip(&factor).zip(&offset) {
                            *y = relu(x * f + o);
                        }
                    }
                });
        }
    }

    /// Replaces the gradient `dy` to the layer's output by that to its input, and gives those to scale and shift. With x̂ the
    /// normalised input, g the gradient where ReLU let through, and means over the batch:
    /// dx = scale/σ · (g − mean(g) − x̂·mean(g·x̂)), dscale = Σ g·x̂, dshift = Σ g.
    pub(super) fn backward(&self, x: &[f32], affine: Affine<'_>, dy: &mut [f32]) -> [Vec<f32>; 2] {
        let channels = self.mean.len();
        let (chunk, run) = (CHUNK * channels, run_length(channels));
        // What ReLU let through is asked again of the input, by the forward pass's own arithmetic: its output lies
        // elsewhere, and to read it would cost more.
        let [line_factor, line_offset] = self.line(affine).map(|values| repeated(&values, run));
        let mean = repeated(&self.mean, run);
        let sums: Vec<(Vec<f32>, Vec<f32>)> = (x.par_chunks(chunk), dy.par_chunks(chunk))
            .into_par_iter()
            .map(|(x, dy)| {
                let (mut sum, mut product) = (vec![0.0f32; run], vec![0.0f32; run]);
                for (x, dy) in x.chunks(run).zip(dy.chunks(run)) {
                    let coefficients = line_factor.iter().zip(&line_offset).zip(&mean);
                    let sums = sum.iter_mut().zip(&mut product);
                    for (((sum, product), (&x, &dy)), ((&f, &o), &mean)) in sums.zip(x.iter().zip(dy)).zip(coefficients)
                    {
                        let g = if x * f + o > 0.0 { dy } else { 0.0 };
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
        let (count, inverse) = (self.count as f64, self.inverse_deviation());
        // dx = factor·g + slope·(x − mean) + offset
        let (mut factor, mut slope, mut offset) = (vec![0.0; channels], vec![0.0; channels], vec![0.0; channels]);
        for c in 0..channels {
            let inverse = f64::from(inverse[c]);
            let line = f64::from(affine.scale[c]) * inverse;
            factor[c] = line as f32;
            slope[c] = (-line * inverse * inverse * product[c] / count) as f32;
            offset[c] = (-line * sum[c] / count) as f32;
        }
        let dscale = (0..channels)
            .map(|c| (product[c] * f64::from(inverse[c])) as f32)
            .collect();
        let dshift = sum.iter().map(|&sum| sum as f32).collect();
        let [factor, slope, offset] = [factor, slope, offset].map(|values| repeated(&values, run));
        (dy.par_chunks_mut(chunk), x.par_chunks(chunk))
            .into_par_iter()
            .for_each(|(dy, x)| {
                for (dy, x) in dy.chunks_mut(run).zip(x.chunks(run)) {
                    let line = line_factor.iter().zip(&line_offset);
                    let coefficients = factor.iter().zip(&slope).zip(&offset).zip(&mean).zip(line);
                    for ((dy, &x), ((((&factor, &slope), &offset), &mean), (&f, &o))) in
                        dy.iter_mut().zip(x).zip(coefficients)
                    {
                        let g = if x * f + o > 0.0 { *dy } else { 0.0 };
                        *dy = factor * g + slope * (x - mean) + offset;
                    }
                }
            });
        [dscale, dshift]
    }
}

/// Adds channels of wider pixels to `sum`, which has no others.
pub(super) fn add_channels(sum: &mut [f32], from: View<'_>) {
    let (channels, pixel, first) = (from.channels, from.pixel(), from.first);
    (
        sum.par_chunks_mut(CHUNK * channels),
        from.values.par_chunks(CHUNK * pixel),
    )
        .into_par_iter()
        .for_each(|(sum, from)| {
            for (sum, from) in sum.chunks_exact_mut(channels).zip(from.chunks_exact(pixel)) {
                let from = &from[first..first + channels];
                sum.iter_mut().zip(from).for_each(|(sum, value)| *sum += value);
            }
        });
}

/// Copies channels of pixels into pixels of `pixel` channels, from the channel `first` on.
pub(super) fn copy_channels(to: &mut [f32], pixel: usize, first: usize, from: View<'_>) {
    (
        to.par_chunks_mut(CHUNK * pixel),
        from.values.par_chunks(CHUNK * from.pixel()),
    )
        .into_par_iter()
        .for_each(|(to, values)| {
            for (to, values) in to.chunks_exact_mut(pixel).zip(values.chunks_exact(from.pixel())) {
                let values = &values[from.first..from.first + from.channels];
                to[first..first + values.len()].copy_from_slice(values);
            }
        });
}

/// ReLU that lets NaN through, as PyTorch's: a network that overflows must show it in its loss.
fn relu(value: f32) -> f32 {
    if value <= 0.0 { 0.0 } else { value }
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
