//! Batch norm with ReLU, and batch norms folded into the convolutions before them.
#![allow(unsafe_code)] // Launches kernels.

use half::bf16;

use super::{
    arguments::{Fold, NormBackward, NormForward, NormGradientLine, NormGradientSums, NormLine, NormSums},
    launch::{kernel, one_thread_each},
    pixels::{BLOCKS, View, WALKERS, adding_up, dense, scratch_for, view, walk},
};
use crate::{
    CudaError, Precision,
    device::{Buffer, Gpu, Pixels, Span},
    lengths::count,
};

/// A batch norm's parameters and state, one number in f32 for each channel, but for `line`.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Bias of the convolution before it, which is not in what that gave: the mean takes it away again.
    pub bias: Span<'a>,
    /// Scale.
    pub scale: Span<'a>,
    /// Shift.
    pub shift: Span<'a>,
    /// Running mean.
    pub running_mean: Span<'a>,
    /// Running variance.
    pub running_variance: Span<'a>,
    /// Four numbers for each channel, which the forward pass leaves to the backward pass.
    pub line: Span<'a>,
}

impl Gpu {
    /// Batch norm by the statistics of `x`, dense, which the running ones take in with the weight `momentum`, then ReLU; into
    /// `y` and `also`, of as many pixels and channels. `epsilon` is added to the variance. `scratch` has [`scratch_bytes`](crate::scratch_bytes).
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn norm_relu(
        &self,
        x: Pixels<'_>,
        norm: Norm<'_>,
        [momentum, epsilon]: [f32; 2],
        y: Option<Pixels<'_>>,
        also: Option<Pixels<'_>>,
        scratch: &Buffer,
    ) -> Result<(), CudaError> {
        let View {
            count: pixels,
            channels,
            ..
        } = view("a norm's input", x)?;
        let x_at = dense("a norm's input", x)?;
        let each = x.channels;
        let grid = walk(x, BLOCKS);
        let partial = scratch_for(scratch, each)?;
        let sums = NormSums {
            x: x_at,
            partial,
            pixels,
            channels,
        };
        let line = NormLine {
            x: x_at,
            partial,
            bias: norm.bias.of::<f32>("a bias", each)?,
            scale: norm.scale.of::<f32>("a scale", each)?,
            shift: norm.shift.of::<f32>("a shift", each)?,
            running_mean: norm.running_mean.of::<f32>("a running mean", each)?,
            running_variance: norm.running_variance.of::<f32>("a running variance", each)?,
            line: norm.line.vectors::<f32>("a norm's line", 4 * each)?,
            pixels,
            channels,
            blocks: grid[0],
            momentum,
            epsilon,
        };
        let out = |what, pixels: Option<Pixels<'_>>| match pixels {
            Some(pixels) => pixels.like(what, x),
            None => Ok((0, 0)),
        };
        let ((y, y_pixel), (also, also_pixel)) = (out("a norm's output", y)?, out("a norm's second output", also)?);
        let forward = NormForward {
            x: x_at,
            line: line.line,
            y,
            also,
            pixels,
            channels,
            y_pixel,
            also_pixel,
        };
        // SAFETY: lengths were checked above.
        unsafe {
            self.launch(kernel!("norm_sums", x.precision), grid, &sums)?;
            self.launch(kernel!("norm_line", x.precision), adding_up(each), &line)?;
            self.launch(kernel!("norm_forward", x.precision), walk(x, WALKERS), &forward)
        }
    }

    /// The backward pass of [`Self::norm_relu`]: from the gradient to its output, `dy` and, where there is one, `more`, to
    /// that to its input, which replaces `dy`, and to scale and shift, in this order in `gradients`. `x` and `dy` are dense.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn norm_relu_backward(
        &self,
        x: Pixels<'_>,
        norm: Norm<'_>,
        dy: Pixels<'_>,
        more: Option<Pixels<'_>>,
        gradients: [Span<'_>; 2],
        scratch: &Buffer,
    ) -> Result<(), CudaError> {
        let View {
            count: pixels,
            channels,
            ..
        } = view("a norm's input", x)?;
        let x_at = dense("a norm's input", x)?;
        let each = x.channels;
        let grid = walk(x, BLOCKS);
        let partial = scratch_for(scratch, each)?;
        let slope = partial + (2 * BLOCKS * each * size_of::<f32>()) as u64;
        let line = norm.line.vectors::<f32>("a norm's line", 4 * each)?;
        dy.like("a norm's gradient", x)?;
        let dy = dense("a norm's gradient", dy)?;
        let (more, more_pixel) = match more {
            Some(more) => more.like("a norm's second gradient", x)?,
            None => (0, 0),
        };
        let sums = NormGradientSums {
            x: x_at,
            dy,
            more,
            line,
            partial,
            pixels,
            channels,
            more_pixel,
        };
        let gradient_line = NormGradientLine {
            partial,
            line,
            scale_gradient: gradients[0].of::<f32>("a scale's gradient", each)?,
            shift_gradient: gradients[1].of::<f32>("a shift's gradient", each)?,
            slope,
            pixels,
            channels,
            blocks: grid[0],
        };
        let backward = NormBackward {
            x: x_at,
            dy,
            more,
            line,
            slope,
            dx: dy,
            pixels,
            channels,
            more_pixel,
        };
        // SAFETY: lengths were checked above.
        unsafe {
            self.launch(kernel!("norm_gradient_sums", x.precision), grid, &sums)?;
            self.launch("norm_gradient_line", adding_up(each), &gradient_line)?;
            self.launch(kernel!("norm_backward", x.precision), walk(x, WALKERS), &backward)
        }
    }

    /// A convolution's weight and bias with the batch norm after it folded in: `norm` is its scale, shift, mean and
    /// variance. Without one the weight is rounded to `precision` alone. All else is f32. The `weights` values of the weight
    /// are in `rows` rows of one length: where there is a norm, one for each of the `biases` output channels.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn fold(
        &self,
        precision: Precision,
        [rows, weights, biases]: [usize; 3],
        [weight, bias]: [Span<'_>; 2],
        norm: Option<[Span<'_>; 4]>,
        epsilon: f32,
        [folded_weight, folded_bias]: [Span<'_>; 2],
    ) -> Result<(), CudaError> {
        let what = "a folded layer";
        let is_whole = rows > 0 && weights.is_multiple_of(rows) && (norm.is_none() || biases == rows);
        if !is_whole {
            return Err(CudaError::Unsupported {
                what,
                reason: format!("{weights} weights in {rows} rows do not go with {biases} biases"),
            });
        }
        let [scale, shift, mean, variance] = match norm {
            Some(parts) => {
                let mut pointers = [0; 4];
                for (pointer, part) in pointers.iter_mut().zip(parts) {
                    *pointer = part.of::<f32>("a norm to fold", rows)?;
                }
                pointers
            }
            None => [0; 4],
        };
        let arguments = Fold {
            weight: weight.of::<f32>("a weight to fold", weights)?,
            bias: bias.of::<f32>("a bias to fold", biases)?,
            scale,
            shift,
            mean,
            variance,
            folded_weight: match precision {
                Precision::Bf16 => folded_weight.of::<bf16>("a folded weight", weights)?,
                Precision::F32 | Precision::Tf32 => folded_weight.of::<f32>("a folded weight", weights)?,
            },
            folded_bias: folded_bias.of::<f32>("a folded bias", biases)?,
            weights: count(what, weights)?,
            row: count(what, weights / rows)?,
            biases: count(what, biases)?,
            epsilon,
        };
        let grid = one_thread_each(what, weights.max(biases))?;
        // SAFETY: lengths were checked above.
        unsafe { self.launch(kernel!("fold", precision), grid, &arguments) }
    }
}
