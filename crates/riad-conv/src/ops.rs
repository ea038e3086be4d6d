//! Convolutions of a batch with weights as they lie in a checkpoint, and their gradients.

use std::cell::Cell;

use crate::ConvError;
use crate::axis::Axis;
use crate::batch::{Batch, BatchMut};
use crate::buffer::Buffer;
use crate::correlation::{Correlation, Filter};
use crate::gradient::{self, Pair};
use crate::kernel::Activation;
use crate::shape::{self, Dims, Geometry};
use crate::simd::Kernels;

/// Convolution: out\[n]\[y]\[x]\[co] = bias\[co] + Σ x\[n]\[y·s + ky − p]\[x·s + kx − p]\[ci] · weight\[co]\[ci]\[ky]\[kx],
/// zeros around the image, as PyTorch's `conv2d`.
///
/// - `weight`: out channels × x channels × kernel × kernel (OIHW).
/// - `bias`: out channels.
/// - `out`: of the shape [`Dims::conv2d`].
///
/// # Errors
/// If shapes do not fit each other, or the kernel does not fit the image.
pub fn conv2d(
    x: Batch<'_>,
    weight: &[f32],
    bias: Option<&[f32]>,
    geometry: Geometry,
    out: BatchMut<'_>,
) -> Result<(), ConvError> {
    let (inputs, outputs) = (x.dims().channels, out.dims().channels);
    fits("output", x.dims().conv2d(outputs, geometry)?, out.dims())?;
    let filter = Filter::new(weight, geometry, inputs, outputs, true)?;
    correlate(Axis::conv(geometry), x, filter, bias, out)
}

/// Gradient of [`conv2d`] for its input: given `dy`, the gradient of the output, writes that of the input to `dx`.
/// `weight` and `geometry` are the forward pass's.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_grad_input(dy: Batch<'_>, weight: &[f32], geometry: Geometry, dx: BatchMut<'_>) -> Result<(), ConvError> {
    let (inputs, outputs) = (dx.dims().channels, dy.dims().channels);
    fits("output gradient", dx.dims().conv2d(outputs, geometry)?, dy.dims())?;
    let filter = Filter::new(weight, geometry, outputs, inputs, false)?;
    correlate(Axis::transposed(geometry), dy, filter, None, dx)
}

/// Gradient of [`conv2d`] for its weight, written to `dw` (OIHW), given the input and the output's gradient `dy`.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_grad_weight(x: Batch<'_>, dy: Batch<'_>, geometry: Geometry, dw: &mut [f32]) -> Result<(), ConvError> {
    let expected = x.dims().conv2d(dy.dims().channels, geometry)?;
    fits("output gradient", expected, dy.dims())?;
    weight_gradient(x, dy, geometry, dw)
}

/// Transposed convolution: every input pixel adds x\[ci] · weight\[ci]\[co]\[ky]\[kx] to the output at
/// (y·s + ky − p, x·s + kx − p), as PyTorch's `conv_transpose2d` with no output padding.
///
/// - `weight`: x channels × out channels × kernel × kernel (IOHW).
/// - `bias`: out channels.
/// - `out`: of the shape [`Dims::conv_transpose2d`].
///
/// # Errors
/// As [`conv2d`].
pub fn conv_transpose2d(
    x: Batch<'_>,
    weight: &[f32],
    bias: Option<&[f32]>,
    geometry: Geometry,
    out: BatchMut<'_>,
) -> Result<(), ConvError> {
    let (inputs, outputs) = (x.dims().channels, out.dims().channels);
    fits("output", x.dims().conv_transpose2d(outputs, geometry)?, out.dims())?;
    let filter = Filter::new(weight, geometry, inputs, outputs, false)?;
    correlate(Axis::transposed(geometry), x, filter, bias, out)
}

/// Gradient of [`conv_transpose2d`] for its input: given `dy`, the gradient of the output, writes that of the input to
/// `dx`. `weight` and `geometry` are the forward pass's.
///
/// # Errors
/// As [`conv2d`].
pub fn conv_transpose2d_grad_input(
    dy: Batch<'_>,
    weight: &[f32],
    geometry: Geometry,
    dx: BatchMut<'_>,
) -> Result<(), ConvError> {
    let (inputs, outputs) = (dx.dims().channels, dy.dims().channels);
    let expected = dx.dims().conv_transpose2d(outputs, geometry)?;
    fits("output gradient", expected, dy.dims())?;
    let filter = Filter::new(weight, geometry, outputs, inputs, true)?;
    correlate(Axis::conv(geometry), dy, filter, None, dx)
}

/// Gradient of [`conv_transpose2d`] for its weight, written to `dw` (IOHW), given the input and the output's gradient
/// `dy`.
///
/// # Errors
/// As [`conv2d`].
pub fn conv_transpose2d_grad_weight(
    x: Batch<'_>,
    dy: Batch<'_>,
    geometry: Geometry,
    dw: &mut [f32],
) -> Result<(), ConvError> {
    let expected = x.dims().conv_transpose2d(dy.dims().channels, geometry)?;
    fits("output gradient", expected, dy.dims())?;
    // A transposed convolution is a convolution's input gradient: what it reads and what it writes trade places.
    weight_gradient(dy, x, geometry, dw)
}

/// Gradient of any convolution for its bias: the sum over images and pixels of `dy`, the gradient of the output, written to
/// `db`, a value for each channel.
///
/// # Errors
/// If `db` does not have one value for each channel of `dy`.
pub fn grad_bias(dy: Batch<'_>, db: &mut [f32]) -> Result<(), ConvError> {
    shape::length("bias gradient", dy.dims().channels, db.len())?;
    gradient::grad_bias(dy, db);
    Ok(())
}

impl<'a> Filter<'a> {
    pub(crate) fn new(
        weights: &'a [f32],
        geometry: Geometry,
        in_channels: usize,
        out_channels: usize,
        out_first: bool,
    ) -> Result<Self, ConvError> {
        let expected = shape::weights(in_channels, out_channels, geometry)?;
        shape::length("weight", expected, weights.len())?;
        Ok(Self {
            weights,
            kernel: geometry.kernel,
            in_channels,
            out_channels,
            out_first,
        })
    }
}

/// Checks that a batch has the shape that the other arguments ask for.
pub(crate) fn fits(what: &'static str, expected: Dims, found: Dims) -> Result<(), ConvError> {
    if expected == found {
        Ok(())
    } else {
        Err(ConvError::Shape { what, expected, found })
    }
}

thread_local! {
    /// Memory for packed weights, as large as this thread's largest layer needed: new pages cost more than packing.
    static PACKED: Cell<Buffer> = const { Cell::new(Buffer::new()) };
}

fn correlate(
    axis: Axis,
    input: Batch<'_>,
    filter: Filter<'_>,
    bias: Option<&[f32]>,
    out: BatchMut<'_>,
) -> Result<(), ConvError> {
    if let Some(bias) = bias {
        shape::length("bias", filter.out_channels, bias.len())?;
    }
    let kernels = Kernels::active()?;
    let memory = PACKED.take();
    let correlation = Correlation::new(kernels, None, axis, filter, bias, Activation::None, memory);
    correlation.run(kernels, input, out);
    PACKED.set(correlation.into_memory());
    Ok(())
}

fn weight_gradient(input: Batch<'_>, grad: Batch<'_>, geometry: Geometry, dw: &mut [f32]) -> Result<(), ConvError> {
    let expected = shape::weights(input.dims().channels, grad.dims().channels, geometry)?;
    shape::length("weight gradient", expected, dw.len())?;
    let pair = Pair { input, grad, geometry };
    gradient::grad_weight(Kernels::active()?, pair, dw);
    Ok(())
}
