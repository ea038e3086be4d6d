//! What a convolution is asked to compute.

/// In what numbers activations, weights and their gradients lie on the device, and are multiplied. Sums are in f32 always.
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
    /// What is computed.
    pub kind: Kind,
    /// In what numbers.
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
    /// What follows.
    pub epilogue: Epilogue,
}

impl ConvolutionSpec {
    /// Height and width of y.
    pub fn y_size(&self) -> (usize, usize) {
        let side = |size: usize| (size + 2 * self.padding - self.kernel) / self.stride + 1;
        (side(self.height), side(self.width))
    }
}
