//! The specification of a convolution.

use crate::{
    CudaError,
    lengths::{count, product},
};

/// The precision of activations, weights and their gradients on the device, and of products. Sums are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32 throughout.
    F32,
    /// f32 in memory; factors rounded to TF32, which has 10 bits of 23, as they are multiplied.
    Tf32,
    /// bf16 in memory.
    Bf16,
}

impl Precision {
    /// Bytes of a value in memory.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::Tf32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// Which of a convolution's three tensors is computed from the other two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// y from x and w: the convolution.
    Forward,
    /// x from w and y: its input's gradient, which is also a transposed convolution.
    GradInput,
    /// w from x and y: its weights' gradient.
    GradWeight,
}

/// What follows the convolution before its result is rounded and written. Only of [`Kind::Forward`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// A bias in f32 for each output channel is added, then negative values are replaced by 0.
    BiasRelu,
}

/// A convolution: shapes, layouts and numbers of its tensors.
///
/// All are channels-last. x is `[images, height, width, inputs]`, w `[outputs, kernel, kernel, inputs]`, dense, and y
/// `[images, (height + 2·padding − kernel)/stride + 1, likewise, outputs]`. From one pixel of x to the next it is `x_pixel`
/// values, of y `y_pixel`: as many as channels, or more where the tensor is a part of wider pixels. All numbers of channels and both
/// pixels are multiples of 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvolutionSpec {
    /// The result to compute.
    pub kind: Kind,
    /// The precision.
    pub precision: Precision,
    /// Images in the batch.
    pub images: usize,
    /// Height of x.
    pub height: usize,
    /// Width of x.
    pub width: usize,
    /// Channels of x.
    pub inputs: usize,
    /// Channels of y.
    pub outputs: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Zero padding on all sides.
    pub padding: usize,
    /// Values from one pixel of x to the next.
    pub x_pixel: usize,
    /// Values from one pixel of y to the next.
    pub y_pixel: usize,
    /// The epilogue.
    pub epilogue: Epilogue,
}

impl ConvolutionSpec {
    /// Height and width of y, in pixels.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] if the kernel does not fit into x with its padding, or has no size, or no stride.
    pub fn y_size(&self) -> Result<(usize, usize), CudaError> {
        let side = |size: usize| {
            let padded = self.padding.checked_mul(2)?.checked_add(size)?;
            let steps = padded.checked_sub(self.kernel.max(1))?.checked_div(self.stride)?;
            (self.kernel > 0).then_some(steps + 1)
        };
        let sides = side(self.height).zip(side(self.width));
        sides.ok_or_else(|| self.unsupported("the kernel does not fit into the image"))
    }

    /// Refuses what no device computes.
    pub(crate) fn check(&self) -> Result<(), CudaError> {
        let multiples = [self.inputs, self.outputs, self.x_pixel, self.y_pixel];
        if multiples.iter().any(|&values| values == 0 || values % 8 != 0) {
            return Err(self.unsupported("channels and pixels must be multiples of 8"));
        }
        if self.x_pixel < self.inputs || self.y_pixel < self.outputs {
            return Err(self.unsupported("a pixel has fewer values than channels"));
        }
        if self.epilogue != Epilogue::None && self.kind != Kind::Forward {
            return Err(self.unsupported("only what computes y has an epilogue"));
        }
        let (height, width) = self.y_size()?;
        count("a convolution's x", product(&[self.images, self.height, self.width]))?;
        count("a convolution's y", product(&[self.images, height, width]))?;
        Ok(())
    }

    fn unsupported(&self, reason: &str) -> CudaError {
        CudaError::Unsupported {
            what: "a convolution",
            reason: format!("{reason}: {self:?}"),
        }
    }
}
