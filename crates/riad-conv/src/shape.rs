//! Sizes: what is legal, and how large the outputs are.

use std::fmt;

use crate::ConvError;

/// A transposed layer has a stride's square of phases, each with a plan of its own.
const MAX_STRIDE: usize = 1024;

/// More zeros around an image than this would leave no room for the places in it, which count from before its border.
const MAX_PADDING: usize = isize::MAX as usize / 4;

/// Kernel side, stride and zero padding of a square, ungrouped, undilated convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Side of the square kernel, at least 1.
    pub kernel: usize,
    /// Stride in both directions, from 1 to 1024.
    pub stride: usize,
    /// Rows and columns of zeros around the image (for a transposed convolution: cut off the output), at most a quarter of
    /// `isize::MAX`.
    pub padding: usize,
}

impl Geometry {
    /// A geometry of the three numbers, checked when it is used.
    pub const fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            kernel,
            stride,
            padding,
        }
    }

    /// Output side of a convolution over an image of side `size`: ⌊(size + 2·padding − kernel) / stride⌋ + 1.
    ///
    /// # Errors
    /// [`ConvError::NoOutput`] if the kernel does not fit, [`ConvError::Zero`] or [`ConvError::Stride`] for a
    /// size of 0 or a stride beyond reason.
    pub fn conv2d_output(&self, size: usize) -> Result<usize, ConvError> {
        self.check()?;
        nonzero("image side", size)?;
        let too_large = ConvError::TooLarge { what: "padded image" };
        let padded = self
            .padding
            .checked_mul(2)
            .and_then(|p| p.checked_add(size))
            .ok_or(too_large)?;
        let span = padded.checked_sub(self.kernel).ok_or(self.no_output(size))?;
        Ok(span / self.stride + 1)
    }

    /// Output side of a transposed convolution over an image of side `size`:
    /// (size − 1)·stride − 2·padding + kernel.
    ///
    /// # Errors
    /// [`ConvError::NoOutput`] if nothing is left of it, [`ConvError::Zero`] or [`ConvError::Stride`] for a
    /// size of 0 or a stride beyond reason.
    pub fn conv_transpose2d_output(&self, size: usize) -> Result<usize, ConvError> {
        self.check()?;
        nonzero("image side", size)?;
        let too_large = ConvError::TooLarge {
            what: "transposed output",
        };
        let full = (size - 1)
            .checked_mul(self.stride)
            .and_then(|s| s.checked_add(self.kernel));
        let full = full.ok_or(too_large.clone())?;
        let cut = self.padding.checked_mul(2).ok_or(too_large)?;
        full.checked_sub(cut)
            .filter(|&side| side > 0)
            .ok_or(self.no_output(size))
    }

    pub(crate) fn check(&self) -> Result<(), ConvError> {
        nonzero("kernel", self.kernel)?;
        nonzero("stride", self.stride)?;
        if self.stride > MAX_STRIDE {
            return Err(ConvError::Stride {
                stride: self.stride,
                limit: MAX_STRIDE,
            });
        }
        if self.padding > MAX_PADDING {
            return Err(ConvError::TooLarge { what: "padding" });
        }
        Ok(())
    }

    fn no_output(&self, size: usize) -> ConvError {
        ConvError::NoOutput {
            size,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
        }
    }
}

/// Shape of a batch of images, channels last: value (image, y, x, channel) lies at
/// `((image·height + y)·width + x)·channels + channel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Images in the batch; 0 is legal.
    pub images: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            images,
            height,
            width,
            channels,
        } = self;
        write!(f, "{images} × {height} × {width} × {channels}")
    }
}

impl Dims {
    /// A shape of the four numbers, checked when it is used.
    pub const fn new(images: usize, height: usize, width: usize, channels: usize) -> Self {
        Self {
            images,
            height,
            width,
            channels,
        }
    }

    /// Number of values.
    ///
    /// # Errors
    /// [`ConvError::TooLarge`] if no buffer of this shape can exist, [`ConvError::Zero`] where height, width or
    /// channels are 0.
    pub fn values(&self) -> Result<usize, ConvError> {
        nonzero("image height", self.height)?;
        nonzero("image width", self.width)?;
        nonzero("number of channels", self.channels)?;
        product("image batch", &[self.images, self.height, self.width, self.channels])
    }

    /// Shape of the convolution of such a batch.
    ///
    /// # Errors
    /// See [`Geometry::conv2d_output`].
    pub fn conv2d(&self, out_channels: usize, geometry: Geometry) -> Result<Self, ConvError> {
        let (height, width) = (
            geometry.conv2d_output(self.height)?,
            geometry.conv2d_output(self.width)?,
        );
        Ok(Self {
            images: self.images,
            height,
            width,
            channels: out_channels,
        })
    }

    /// Shape of the transposed convolution of such a batch.
    ///
    /// # Errors
    /// See [`Geometry::conv_transpose2d_output`].
    pub fn conv_transpose2d(&self, out_channels: usize, geometry: Geometry) -> Result<Self, ConvError> {
        let height = geometry.conv_transpose2d_output(self.height)?;
        let width = geometry.conv_transpose2d_output(self.width)?;
        Ok(Self {
            images: self.images,
            height,
            width,
            channels: out_channels,
        })
    }
}

/// Number of weights of a kernel between `a` and `b` channels.
pub(crate) fn weights(a: usize, b: usize, geometry: Geometry) -> Result<usize, ConvError> {
    nonzero("number of channels", a)?;
    nonzero("number of channels", b)?;
    product("weight", &[a, b, geometry.kernel, geometry.kernel])
}

pub(crate) fn length(what: &'static str, expected: usize, found: usize) -> Result<(), ConvError> {
    if expected == found {
        Ok(())
    } else {
        Err(ConvError::Length { what, expected, found })
    }
}

pub(crate) fn nonzero(what: &'static str, value: usize) -> Result<(), ConvError> {
    if value == 0 {
        Err(ConvError::Zero { what })
    } else {
        Ok(())
    }
}

/// The product, kept a factor of 32 under what an allocation may hold: packing rounds channels up to blocks of 16.
fn product(what: &'static str, factors: &[usize]) -> Result<usize, ConvError> {
    let product = factors
        .iter()
        .try_fold(1_usize, |product, &factor| product.checked_mul(factor));
    product
        .filter(|&n| n <= isize::MAX as usize / size_of::<f32>() / 32)
        .ok_or(ConvError::TooLarge { what })
}
