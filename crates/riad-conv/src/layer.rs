//! Layers whose weights are packed once, for networks that only run forward.

use std::mem::MaybeUninit;

use crate::ConvError;
use crate::axis::Axis;
use crate::buffer::Buffer;
use crate::correlation::{Correlation, Filter, Output};
use crate::kernel::Activation;
use crate::shape::{self, Dims, Geometry};
use crate::simd::Kernels;

/// A convolution with packed weights, bias and activation; the mathematics of [`conv2d`](crate::conv2d).
pub struct Conv2d {
    correlation: Correlation,
    geometry: Geometry,
    in_channels: usize,
    out_channels: usize,
}

impl Conv2d {
    /// Packs `weight` (OIHW: out_channels × in_channels × kernel × kernel) and `bias` (out_channels).
    ///
    /// # Errors
    /// Where a slice's length does not fit its shape or a size is 0.
    pub fn new(
        weight: &[f32],
        in_channels: usize,
        out_channels: usize,
        bias: Option<&[f32]>,
        geometry: Geometry,
        activation: Activation,
    ) -> Result<Self, ConvError> {
        geometry.check()?;
        let filter = Filter::new(weight, geometry, in_channels, out_channels, true)?;
        let correlation = packed(Axis::conv(geometry), filter, bias, activation)?;
        Ok(Self {
            correlation,
            geometry,
            in_channels,
            out_channels,
        })
    }

    /// Shape of the output for a batch of shape `dims`.
    ///
    /// # Errors
    /// Where the kernel does not fit.
    pub fn output(&self, dims: Dims) -> Result<Dims, ConvError> {
        dims.conv2d(self.out_channels, self.geometry)
    }

    /// Runs the layer on `x`, a batch of shape `dims`, into channels
    /// `channel_offset..channel_offset + out_channels` of `out`, a batch of the output's images, height and width with
    /// `pixel_stride` values per pixel. The other channels are left alone, so that layers can write side by side into
    /// what a network concatenates.
    ///
    /// # Errors
    /// Where a slice's length does not fit its shape, `dims` has other channels than the weights, or the channels do not
    /// fit into `pixel_stride`.
    pub fn forward_into(
        &self,
        x: &[f32],
        dims: Dims,
        out: &mut [f32],
        pixel_stride: usize,
        channel_offset: usize,
    ) -> Result<(), ConvError> {
        let out_dims = self.output(dims)?;
        run(
            &self.correlation,
            self.in_channels,
            x,
            dims,
            out,
            out_dims,
            pixel_stride,
            channel_offset,
        )
    }
}

/// A transposed convolution with packed weights, bias and activation; the mathematics of
/// [`conv_transpose2d`](crate::conv_transpose2d).
pub struct ConvTranspose2d {
    correlation: Correlation,
    geometry: Geometry,
    in_channels: usize,
    out_channels: usize,
}

impl ConvTranspose2d {
    /// Packs `weight` (IOHW: in_channels × out_channels × kernel × kernel) and `bias` (out_channels).
    ///
    /// # Errors
    /// Where a slice's length does not fit its shape or a size is 0.
    pub fn new(
        weight: &[f32],
        in_channels: usize,
        out_channels: usize,
        bias: Option<&[f32]>,
        geometry: Geometry,
        activation: Activation,
    ) -> Result<Self, ConvError> {
        geometry.check()?;
        let filter = Filter::new(weight, geometry, in_channels, out_channels, false)?;
        let correlation = packed(Axis::transposed(geometry), filter, bias, activation)?;
        Ok(Self {
            correlation,
            geometry,
            in_channels,
            out_channels,
        })
    }

    /// Shape of the output for a batch of shape `dims`.
    ///
    /// # Errors
    /// Where nothing would be left of the output.
    pub fn output(&self, dims: Dims) -> Result<Dims, ConvError> {
        dims.conv_transpose2d(self.out_channels, self.geometry)
    }

    /// Runs the layer into a range of channels; see [`Conv2d::forward_into`].
    ///
    /// # Errors
    /// As [`Conv2d::forward_into`].
    pub fn forward_into(
        &self,
        x: &[f32],
        dims: Dims,
        out: &mut [f32],
        pixel_stride: usize,
        channel_offset: usize,
    ) -> Result<(), ConvError> {
        let out_dims = self.output(dims)?;
        run(
            &self.correlation,
            self.in_channels,
            x,
            dims,
            out,
            out_dims,
            pixel_stride,
            channel_offset,
        )
    }
}

fn packed(axis: Axis, filter: Filter, bias: Option<&[f32]>, activation: Activation) -> Result<Correlation, ConvError> {
    if let Some(bias) = bias {
        shape::length("bias", filter.out_channels, bias.len())?;
    }
    Ok(Correlation::new(
        Kernels::active()?,
        axis,
        filter,
        bias,
        activation,
        Buffer::new(),
    ))
}

#[expect(
    clippy::too_many_arguments,
    reason = "both layers' public call, with what they know about themselves"
)]
fn run(
    correlation: &Correlation,
    in_channels: usize,
    x: &[f32],
    dims: Dims,
    out: &mut [f32],
    out_dims: Dims,
    pixel_stride: usize,
    channel_offset: usize,
) -> Result<(), ConvError> {
    dims.check("x", x)?;
    if dims.channels != in_channels {
        return Err(ConvError::Mismatch {
            what: "number of input channels",
            expected: in_channels,
            found: dims.channels,
        });
    }
    let end = channel_offset
        .checked_add(out_dims.channels)
        .ok_or(ConvError::TooLarge { what: "output pixel" })?;
    if end > pixel_stride {
        return Err(ConvError::Mismatch {
            what: "pixel stride",
            expected: end,
            found: pixel_stride,
        });
    }
    Dims {
        channels: pixel_stride,
        ..out_dims
    }
    .check("out", out)?;
    let view = Output {
        values: writable(out),
        height: out_dims.height,
        width: out_dims.width,
        pixel: pixel_stride,
        channel: channel_offset,
    };
    correlation.run(Kernels::active()?, x, dims, view);
    Ok(())
}

/// The slice as one that may also hold nothing yet.
#[allow(unsafe_code)] // A cast that the standard library has no safe name for.
fn writable(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: both have one layout, and this crate only ever writes initialised values through it.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<f32>]) }
}
