//! Convolutions of a batch with weights as they lie in a checkpoint, and their gradients.

use std::cell::Cell;
use std::mem::MaybeUninit;

use crate::ConvError;
use crate::axis::Axis;
use crate::buffer::Buffer;
use crate::correlation::{Correlation, Filter, Output};
use crate::gradient::{Pair, grad_bias, grad_weight};
use crate::kernel::Activation;
use crate::shape::{self, Dims, Geometry};
use crate::simd::Kernels;

/// Convolution: out\[n]\[y]\[x]\[co] = bias\[co] + Σ x\[n]\[y·s + ky − p]\[x·s + kx − p]\[ci] · weight\[co]\[ci]\[ky]\[kx],
/// zeros around the image, as PyTorch's `conv2d`.
///
/// - `x`: a batch of shape `dims`, channels last.
/// - `weight`: out_channels × dims.channels × kernel × kernel (OIHW).
/// - `bias`: out_channels values.
///
/// Returns a batch of shape [`Dims::conv2d`], channels last.
///
/// # Errors
/// Where a slice's length does not fit its shape, a size is 0, or the output would be empty or too large.
pub fn conv2d(
    x: &[f32],
    dims: Dims,
    weight: &[f32],
    out_channels: usize,
    bias: Option<&[f32]>,
    geometry: Geometry,
) -> Result<Vec<f32>, ConvError> {
    let filter = Filter::new(weight, geometry, dims.channels, out_channels, true)?;
    let out_dims = dims.conv2d(out_channels, geometry)?;
    correlate(
        Kernels::active()?,
        Axis::conv(geometry),
        "x",
        x,
        dims,
        filter,
        bias,
        out_dims,
    )
}

/// Gradient of [`conv2d`] for its input: given `dy`, the gradient of the output, returns that of a batch of shape
/// `x_dims`, channels last. `weight` and `geometry` are the forward pass's.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_grad_input(
    dy: &[f32],
    x_dims: Dims,
    weight: &[f32],
    out_channels: usize,
    geometry: Geometry,
) -> Result<Vec<f32>, ConvError> {
    let dy_dims = x_dims.conv2d(out_channels, geometry)?;
    let filter = Filter::new(weight, geometry, out_channels, x_dims.channels, false)?;
    correlate(
        Kernels::active()?,
        Axis::transposed(geometry),
        "dy",
        dy,
        dy_dims,
        filter,
        None,
        x_dims,
    )
}

/// Gradients of [`conv2d`] for its weight (OIHW) and its bias, given the input and the output's gradient `dy`.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_grad_weight(
    x: &[f32],
    dims: Dims,
    dy: &[f32],
    out_channels: usize,
    geometry: Geometry,
) -> Result<(Vec<f32>, Vec<f32>), ConvError> {
    let dy_dims = dims.conv2d(out_channels, geometry)?;
    Ok((
        weight_gradient(Kernels::active()?, ("x", x, dims), ("dy", dy, dy_dims), geometry)?,
        grad_bias(dy, out_channels),
    ))
}

/// Transposed convolution: every input pixel adds x\[ci] · weight\[ci]\[co]\[ky]\[kx] to the output at
/// (y·s + ky − p, x·s + kx − p), as PyTorch's `conv_transpose2d` with no output padding.
///
/// - `x`: a batch of shape `dims`, channels last.
/// - `weight`: dims.channels × out_channels × kernel × kernel (IOHW).
/// - `bias`: out_channels values.
///
/// Returns a batch of shape [`Dims::conv_transpose2d`], channels last.
///
/// # Errors
/// As [`conv2d`].
pub fn conv_transpose2d(
    x: &[f32],
    dims: Dims,
    weight: &[f32],
    out_channels: usize,
    bias: Option<&[f32]>,
    geometry: Geometry,
) -> Result<Vec<f32>, ConvError> {
    let filter = Filter::new(weight, geometry, dims.channels, out_channels, false)?;
    let out_dims = dims.conv_transpose2d(out_channels, geometry)?;
    correlate(
        Kernels::active()?,
        Axis::transposed(geometry),
        "x",
        x,
        dims,
        filter,
        bias,
        out_dims,
    )
}

/// Gradient of [`conv_transpose2d`] for its input: given `dy`, the gradient of the output, returns that of a batch of
/// shape `x_dims`, channels last. `weight` and `geometry` are the forward pass's.
///
/// # Errors
/// As [`conv2d`].
pub fn conv_transpose2d_grad_input(
    dy: &[f32],
    x_dims: Dims,
    weight: &[f32],
    out_channels: usize,
    geometry: Geometry,
) -> Result<Vec<f32>, ConvError> {
    let dy_dims = x_dims.conv_transpose2d(out_channels, geometry)?;
    let filter = Filter::new(weight, geometry, out_channels, x_dims.channels, true)?;
    correlate(
        Kernels::active()?,
        Axis::conv(geometry),
        "dy",
        dy,
        dy_dims,
        filter,
        None,
        x_dims,
    )
}

/// Gradients of [`conv_transpose2d`] for its weight (IOHW) and its bias, given the input and the output's gradient `dy`.
///
/// # Errors
/// As [`conv2d`].
pub fn conv_transpose2d_grad_weight(
    x: &[f32],
    dims: Dims,
    dy: &[f32],
    out_channels: usize,
    geometry: Geometry,
) -> Result<(Vec<f32>, Vec<f32>), ConvError> {
    let dy_dims = dims.conv_transpose2d(out_channels, geometry)?;
    // A transposed convolution is a convolution's input gradient: what it reads and what it writes trade places.
    Ok((
        weight_gradient(Kernels::active()?, ("dy", dy, dy_dims), ("x", x, dims), geometry)?,
        grad_bias(dy, out_channels),
    ))
}

impl<'a> Filter<'a> {
    pub(crate) fn new(
        weights: &'a [f32],
        geometry: Geometry,
        in_channels: usize,
        out_channels: usize,
        out_first: bool,
    ) -> Result<Self, ConvError> {
        shape::length(
            "weight",
            shape::weights(in_channels, out_channels, geometry)?,
            weights.len(),
        )?;
        Ok(Self {
            weights,
            kernel: geometry.kernel,
            in_channels,
            out_channels,
            out_first,
        })
    }
}

thread_local! {
    /// Memory for packed weights, as large as this thread's largest layer needed: new pages cost more than packing.
    static PACKED: Cell<Buffer> = const { Cell::new(Buffer::new()) };
}

#[allow(unsafe_code)] // Returns memory that only the kernels initialised.
#[expect(
    clippy::too_many_arguments,
    reason = "the six public functions reduce to this one call"
)]
fn correlate(
    kernels: &Kernels,
    axis: Axis,
    what: &'static str,
    input: &[f32],
    dims: Dims,
    filter: Filter,
    bias: Option<&[f32]>,
    out_dims: Dims,
) -> Result<Vec<f32>, ConvError> {
    dims.check(what, input)?;
    if let Some(bias) = bias {
        shape::length("bias", filter.out_channels, bias.len())?;
    }
    let len = out_dims.values()?;
    let mut out = Vec::with_capacity(len);
    let values = &mut out.spare_capacity_mut()[..len];
    if cfg!(debug_assertions) {
        values.fill(MaybeUninit::new(f32::NAN)); // So that a test sees what was not written.
    }
    let Dims {
        height,
        width,
        channels: pixel,
        ..
    } = out_dims;
    let memory = PACKED.take();
    let correlation = Correlation::new(kernels, axis, filter, bias, Activation::None, memory);
    correlation.run(
        kernels,
        input,
        dims,
        Output {
            values,
            height,
            width,
            pixel,
            channel: 0,
        },
    );
    PACKED.set(correlation.into_memory());
    // SAFETY: the layer wrote all channels of every output pixel. Zeros first would cost large layers a tenth of their time.
    unsafe { out.set_len(len) };
    Ok(out)
}

type Batch<'a> = (&'static str, &'a [f32], Dims);

fn weight_gradient(kernels: &Kernels, input: Batch, grad: Batch, geometry: Geometry) -> Result<Vec<f32>, ConvError> {
    let ((input_name, input, dims), (grad_name, grad, grad_dims)) = (input, grad);
    dims.check(input_name, input)?;
    grad_dims.check(grad_name, grad)?;
    shape::weights(dims.channels, grad_dims.channels, geometry)?;
    Ok(grad_weight(
        kernels,
        Pair {
            input,
            dims,
            grad,
            grad_dims,
            geometry,
        },
    ))
}
