//! Layers whose weights are packed once, for networks that only run forward.

use std::fmt;

use crate::ConvError;
use crate::axis::Axis;
use crate::batch::{Batch, BatchMut};
use crate::buffer::Buffer;
use crate::correlation::{Correlation, Filter};
use crate::kernel::Activation;
use crate::ops::fits;
use crate::shape::{self, Dims, Geometry};
use crate::simd::{Bf16Kernels, Kernels};

/// The precision of a layer's products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32, on every machine.
    #[default]
    F32,
    /// bf16, with sums in f32, in layers with at least sixteen input channels; the others stay in f32. An image's and a
    /// weight's values are rounded to 8 significant bits. Only for processors that compute bf16 products much faster
    /// than f32, which for now are processors with AMX.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl Precision {
    /// # Errors
    /// [`ConvError::NoBf16`] if this machine does not have it, or `RIAD_CONV_SIMD` asks for less than the machine has.
    pub fn check(self) -> Result<(), ConvError> {
        match self {
            Self::F32 => Ok(()),
            Self::Bf16 => Bf16Kernels::active().map(|_| ()),
        }
    }
}

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
    /// If a slice's length does not fit its shape, a size is 0, or this machine does not have `precision`.
    pub fn new(
        weight: &[f32],
        in_channels: usize,
        out_channels: usize,
        bias: Option<&[f32]>,
        geometry: Geometry,
        activation: Activation,
        precision: Precision,
    ) -> Result<Self, ConvError> {
        geometry.check()?;
        let filter = Filter::new(weight, geometry, in_channels, out_channels, true)?;
        let correlation = packed(Axis::conv(geometry), filter, bias, activation, precision)?;
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
    /// If the kernel does not fit.
    pub fn output(&self, dims: Dims) -> Result<Dims, ConvError> {
        dims.conv2d(self.out_channels, self.geometry)
    }

    /// Runs the layer on `x` into `out`, a batch of shape [`Self::output`].
    ///
    /// # Errors
    /// If a batch's shape does not fit the layer or the other batch.
    pub fn forward(&self, x: Batch<'_>, out: BatchMut<'_>) -> Result<(), ConvError> {
        run(&self.correlation, self.in_channels, self.output(x.dims())?, x, out)
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
    /// If a slice's length does not fit its shape, a size is 0, or this machine does not have `precision`.
    pub fn new(
        weight: &[f32],
        in_channels: usize,
        out_channels: usize,
        bias: Option<&[f32]>,
        geometry: Geometry,
        activation: Activation,
        precision: Precision,
    ) -> Result<Self, ConvError> {
        geometry.check()?;
        let filter = Filter::new(weight, geometry, in_channels, out_channels, false)?;
        let correlation = packed(Axis::transposed(geometry), filter, bias, activation, precision)?;
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
    /// If the output would have no pixel.
    pub fn output(&self, dims: Dims) -> Result<Dims, ConvError> {
        dims.conv_transpose2d(self.out_channels, self.geometry)
    }

    /// Runs the layer on `x` into `out`, a batch of shape [`Self::output`].
    ///
    /// # Errors
    /// As [`Conv2d::forward`].
    pub fn forward(&self, x: Batch<'_>, out: BatchMut<'_>) -> Result<(), ConvError> {
        run(&self.correlation, self.in_channels, self.output(x.dims())?, x, out)
    }
}

fn packed(
    axis: Axis,
    filter: Filter,
    bias: Option<&[f32]>,
    activation: Activation,
    precision: Precision,
) -> Result<Correlation, ConvError> {
    if let Some(bias) = bias {
        shape::length("bias", filter.out_channels, bias.len())?;
    }
    let bf16 = match precision {
        Precision::F32 => None,
        Precision::Bf16 => Some(Bf16Kernels::active()?),
    };
    Ok(Correlation::new(
        Kernels::active()?,
        bf16,
        axis,
        filter,
        bias,
        activation,
        Buffer::new(),
    ))
}

fn run(
    correlation: &Correlation,
    in_channels: usize,
    out_dims: Dims,
    x: Batch<'_>,
    out: BatchMut<'_>,
) -> Result<(), ConvError> {
    if x.dims().channels != in_channels {
        return Err(ConvError::Mismatch {
            what: "number of input channels",
            expected: in_channels,
            found: x.dims().channels,
        });
    }
    fits("output", out_dims, out.dims())?;
    correlation.run(Kernels::active()?, x, out);
    Ok(())
}
